"""Runs for tests of the report: one with markup in a company name, and one with thousands of chunks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from enrich_dist.events import AttemptTimes
from enrich_dist.farm.attempts import FailedAttempt, FailureKind, Marker
from enrich_dist.farm.logs import WorkerHistory
from enrich_dist.farm.worker_memory import memory_per_worker
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.reporting.html.report_data import ReportData
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.settings import Settings
from tests.support.in_process import run_in_process
from tests.support.known_case import settings, write_inputs

HOSTILE_NAME = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"


def hostile_settings(folder: Path) -> Settings:
    """Return the known case with this name for a company and an agency."""
    awards, recipients = write_inputs(folder / "inputs")
    text = awards.read_text("utf-8").replace("Nobody Knows Us Corporation", HOSTILE_NAME)
    awards.write_text(text.replace("Department of Energy", HOSTILE_NAME), "utf-8")
    return settings(folder, inputs=(awards, recipients))


def hostile_run(folder: Path) -> Pipeline:
    """Run that case up to the judged result and its report."""
    pipeline = run_in_process(hostile_settings(folder))
    finish_run(pipeline)
    return pipeline


def of_thousands(facts: ReportData, chunks: int = 3_000, workers: int = 120) -> ReportData:
    """Return the data of a run with many chunks and workers, and failed attempts, made from one real chunk."""
    record = next(iter(facts.records.values()))

    def worker(chunk: int) -> str:
        return f"tls://10.0.{chunk % workers}.7:41234"

    def began(chunk: int) -> float:
        return 2.0 * (chunk // workers)

    records = {
        chunk: replace(
            record,
            worker=worker(chunk),
            pid=1_000 + chunk % workers,
            degradations=int(chunk % 3 == 0),
            rows_in=record.rows_in + 1,
            rows_quarantined=1,
            quarantined=[{"source_row": chunk, "reason": "ValueError: a row that cannot be matched"}],
        )
        for chunk in range(chunks)
    }
    failures = tuple(
        FailedAttempt(
            checkpoint_key=f"{chunk:032x}",
            chunk_id=chunk,
            attempt=1,
            kind=FailureKind.CRASH,
            counted=True,
            message="The worker was lost while it worked on the chunk.",
            next_step="The chunk is retried.",
            traceback="",
            marker=Marker(f"{chunk:032x}", 1, worker(chunk), "host", 1, began(chunk)),
            memory_bytes=None,
            failed_seconds=began(chunk),
        )
        for chunk in range(0, chunks, 2)
    )
    attempts = tuple(
        AttemptTimes(chunk, number, outcome, worker(chunk), start, start + 0.1, start + 1.0, start + 1.1)
        for chunk in range(chunks)
        for start in [began(chunk)]
        for number, outcome in ([(1, "crash"), (2, "finished")] if chunk % 2 == 0 else [(1, "finished")])
    )
    histories = tuple(
        WorkerHistory(worker(number), tuple((30.0 * s, 200_000_000 + s) for s in range(120)), 1_500_000_000, 0, False)
        for number in range(workers)
    )
    return replace(
        facts,
        records=records,
        workers=tuple(memory_per_worker(records.values())),
        failures=failures,
        attempts=attempts,
        worker_histories=histories,
    )
