"""Measure the accuracy of progress: the time remaining, and the projected match rate with its interval.

    python -m scripts.measure_progress            the figures of docs/explanation/progress.md (some 10 minutes)
    python -m scripts.measure_progress --quick    a trial
    python -m scripts.measure_progress --run work --config FILE    steady farms, and a finished run from its files

Time remaining: the estimates of a farm are compared with its end. A steady farm has real Dask workers and checkpoints,
but each chunk takes a set time with a set variation, so that other load on the machine does not matter. The real run
matches generated recipients. Match rate: random subsets of the chunks of a finished run are projected, and the
projections compared with the final rate. Prints tables and writes a record.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.cluster.client import open_client
from enrich_dist.core.files import read_json
from enrich_dist.core.matcher import Matcher
from enrich_dist.core.tables import markdown_table
from enrich_dist.events import Event, FarmProgress, listening
from enrich_dist.farm.logs import read_chunk_log
from enrich_dist.matching.warm import warm_up
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.progress.partial_results import MatchRateProjector
from enrich_dist.progress.remaining import RemainingTime
from enrich_dist.settings import Settings, load_settings
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import Output
from scripts.measuring import ROOT, benchmark_parser, generate_case, machine_facts, show_progress, write_record
from tests.support.delegating import DelegatingMatcher

SAMPLE = ROOT / "data" / "sample"
SEED = 1
MARKS = (0.1, 0.25, 0.5, 0.75)
SHARES = (0.1, 0.2, 0.4)
# (chunks, workers, seconds per chunk, their coefficient of variation)
STEADY = [(40, 2, 0.5, 0.1), (66, 4, 0.5, 0.1), (66, 8, 1.0, 0.2)]
QUICK_STEADY = STEADY[:1]


@dataclass(frozen=True)
class Stretched(DelegatingMatcher):
    """Matches like ``inner``, but takes ``seconds`` per chunk with the coefficient of variation ``scatter``."""

    seconds: float
    scatter: float

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Match, then sleep for the rest of the time."""
        started = time.monotonic()
        result = self.inner.match(index, recipients)
        target = random.Random(recipients["source_row"][0].as_py()).gammavariate(1 / self.scatter**2, self.scatter**2)
        time.sleep(max(0.0, target * self.seconds - (time.monotonic() - started)))
        return result


class StretchedPipeline(Pipeline):
    """A pipeline whose matcher is stretched."""

    stretch: tuple[float, float] = (0.0, 0.1)

    def matcher(self) -> Matcher:
        """Return the stretched matcher."""
        return Stretched(super().matcher(), *self.stretch)


@contextmanager
def recorded() -> Iterator[list[tuple[float, FarmProgress]]]:
    """Yield a list that collects the farm's progress with its monotonic time."""
    estimates: list[tuple[float, FarmProgress]] = []

    def listener(event: Event) -> None:
        if isinstance(event, FarmProgress):
            estimates.append((time.monotonic(), event))

    with listening(listener):
        yield estimates


def errors_of(estimates: list[tuple[float, FarmProgress]]) -> list[dict[str, float]]:
    """Return the errors of the first estimate after each mark."""
    began, ended = estimates[0][0], estimates[-1][0]
    found = []
    for mark in MARKS:
        now, progress = next((now, one) for now, one in estimates if one.records_done >= mark * one.records_total)
        left = ended - now
        error = (progress.remaining_seconds or 0.0) - left
        found.append(
            {
                "share_done": mark,
                "elapsed_seconds": round(now - began, 2),
                "estimated_remaining_seconds": round(progress.remaining_seconds or 0.0, 2),
                "true_remaining_seconds": round(left, 2),
                "error_of_total": round(error / (ended - began), 4),
                "error_of_remaining": round(error / left, 4) if left > 0 else 0.0,
            }
        )
    return found


def replayed(pipeline: Pipeline) -> list[tuple[float, FarmProgress]]:
    """Return the estimates of a finished farm after each chunk, from its log, with all of its workers."""
    attempts = [one for one in read_chunk_log(pipeline.directory.chunk_log) if one.outcome == "finished"]
    rows = {task.chunk_id: task.chunk_rows for task in pipeline.tasks()}
    workers = {str(one.worker) for one in attempts}
    total = sum(rows[one.chunk_id] for one in attempts)
    remaining = RemainingTime(len(attempts), total)
    remaining.set_workers(workers, 0.0)
    estimates, done = [], 0
    for number, one in enumerate(attempts, start=1):
        started = one.started_seconds if one.started_seconds is not None else one.submitted_seconds
        remaining.record_finished(rows[one.chunk_id], str(one.worker), started, one.finished_seconds)
        done += rows[one.chunk_id]
        now = one.received_seconds
        seconds = remaining.estimate_seconds(now, len(workers))
        estimates.append((now, FarmProgress(len(attempts), number, 0, total, done, 0, 0, 0.0, seconds, len(workers))))
    return [(0.0, replace(estimates[0][1], records_done=0, remaining_seconds=None)), *estimates]


def farm(pipeline: Pipeline, scratch: Path) -> list[tuple[float, FarmProgress]]:
    """Run all steps up to the farm; return its progress events."""
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    with open_client(pipeline.settings, scratch / "dask") as client, recorded() as estimates:
        client.run(asyncio.to_thread, warm_up)
        pipeline.farm_chunks(lambda: client)
    return estimates


def steady(scratch: Path, chunks: int, workers: int, seconds: float, scatter: float) -> dict[str, Any]:
    """Measure a farm whose chunks take ``seconds``."""
    rows = 500 * chunks
    inputs = _inputs(scratch, rows, 500)
    pipeline = _stretched(inputs, scratch / "work", workers, seconds, scatter)
    estimates = farm(pipeline, scratch)
    shutil.rmtree(scratch / "work")
    facts = {"chunks": chunks, "workers": workers, "chunk_seconds": seconds, "scatter": scatter}
    return {**facts, "errors": errors_of(estimates)}


def _stretched(
    inputs: tuple[Path, Path], work_dir: Path, workers: int, seconds: float, scatter: float
) -> StretchedPipeline:
    from scripts import measure_progress  # workers import this name, not __main__

    pipeline = measure_progress.StretchedPipeline(
        _settings(inputs, work_dir, chunk_size=500, workers=workers), "steady"
    )
    pipeline.stretch = (seconds, scatter)
    return pipeline


def projections(pipeline: Pipeline, draws: int) -> dict[str, Any]:
    """Project the match rate of a finished farm from ``draws`` random subsets of its chunks."""
    directory = pipeline.directory
    final = read_json(pipeline.enrich_awards().path(Output.RESULT) / "metrics.json")["match_rate"]
    tasks = pipeline.tasks()
    table = pq.read_table(directory.output(Output.COMPANIES) / "companies.parquet")
    counts = table.sort_by("company_id")["award_count"].to_numpy()
    projector = MatchRateProjector(
        directory,
        CheckpointStore(pipeline.checkpoint_location),
        pipeline.settings.matching.decision(),
        counts,
        chunks_total=len(tasks),
    )
    orders = np.random.default_rng(SEED)
    found = []
    for share in SHARES:
        rates, lows, highs, seconds = [], [], [], []
        for _ in range(draws):
            drawn = [tasks[n] for n in orders.permutation(len(tasks))[: max(5, round(share * len(tasks)))]]
            rows = sum(task.chunk_rows for task in drawn)
            started = time.process_time()
            one = projector([task.checkpoint_key for task in drawn], rows / sum(task.chunk_rows for task in tasks))
            seconds.append(time.process_time() - started)
            rates.append(one.rate)
            lows.append(one.low)
            highs.append(one.high)
        low, high = np.array(lows), np.array(highs)
        found.append(
            {
                "share_done": share,
                "chunks": len(drawn),
                "mean": round(statistics.mean(rates), 4),
                "interval_width": round(float((high - low).mean()), 4),
                "covered": round(float(((low <= final) & (final <= high)).mean()), 3),
                "warned_at_its_own_threshold": round(float((high < final).mean()), 3),
                "cpu_seconds": round(statistics.median(seconds), 3),
            }
        )
    return {"chunks": len(tasks), "companies": len(counts), "draws": draws, "final": final, "projections": found}


def main() -> None:
    """Measure, write the record and print the tables."""
    options = _options()
    facts = machine_facts()
    scratch = Path(tempfile.mkdtemp(prefix="enrich-progress-", dir=options.scratch))
    try:
        figures = _measure_run(scratch, options) if options.run else _measure(scratch, quick=options.quick)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    write_record(options.output, "progress", {**facts, "seed": SEED, **figures}, quick=options.quick)
    print(tables(figures))


def _measure_run(scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Measure steady farms, and a finished run from its files."""
    farms = [{"farm": "steady", **steady(scratch, *case)} for case in (QUICK_STEADY if options.quick else STEADY)]
    overrides = [f"paths.work_dir={options.run}", *options.overrides]
    run = Pipeline(load_settings(options.config, overrides).settings, "measured")
    estimates = replayed(run)
    farms.append(
        {
            "farm": "real",
            "chunks": estimates[-1][1].chunks_total,
            "workers": estimates[-1][1].workers,
            "errors": errors_of(estimates),
        }
    )
    rows = sum(task.chunk_rows for task in run.tasks())
    return {
        "time_remaining": farms,
        "match_rate": [{"data": f"{rows:,} recipients", **projections(run, options.draws)}],
    }


def _measure(scratch: Path, *, quick: bool) -> dict[str, Any]:
    farms = []
    for case in QUICK_STEADY if quick else STEADY:
        show_progress(f"steady farm of {case[0]} chunks on {case[1]} workers")
        farms.append({"farm": "steady", **steady(scratch, *case)})
    rows, companies = (150_000, 4_000) if quick else (3_300_000, 40_000)
    show_progress(f"real run of {rows:,} recipients")
    chunk_size = min(50_000, rows // 30)
    real = Pipeline(_settings(_inputs(scratch, rows, companies), scratch / "real", chunk_size=chunk_size), "real")
    estimates = farm(real, scratch)
    farms.append({"farm": "real", "chunks": len(real.tasks()), "workers": 2, "errors": errors_of(estimates)})
    show_progress("projections of the real run")
    draws = 5 if quick else 60
    projected = [{"data": f"generated, {rows:,}", **projections(real, draws)}]
    show_progress("projections of the bundled sample")
    sample = Pipeline(
        _settings((SAMPLE / "sbir_awards.csv.gz", SAMPLE / "recipients.parquet"), scratch / "sample", chunk_size=1_000),
        "sample",
    )
    farm(sample, scratch)
    projected.append({"data": "bundled sample", **projections(sample, draws)})
    return {"time_remaining": farms, "match_rate": projected}


def tables(report: dict[str, Any]) -> str:
    """Return the figures as Markdown tables."""
    remaining = [
        (
            item["farm"],
            item["chunks"],
            item["workers"],
            item.get("chunk_seconds", ""),
            *(f"{error['error_of_total']:+.1%} / {error['error_of_remaining']:+.1%}" for error in item["errors"]),
        )
        for item in report["time_remaining"]
    ]
    rates = [
        (
            item["data"],
            f"{one['chunks']} of {item['chunks']}",
            f"{item['final']:.1%}",
            f"{one['mean']:.1%}",
            f"{one['interval_width']:.1%}",
            f"{one['covered']:.1%}",
            f"{one['warned_at_its_own_threshold']:.1%}",
            f"{one['cpu_seconds']:.2f}",
        )
        for item in report["match_rate"]
        for one in item["projections"]
    ]
    marks = [f"at {mark:.0%}" for mark in MARKS]
    return "\n\n".join(
        [
            markdown_table(("farm", "chunks", "workers", "chunk seconds", *marks), remaining),
            markdown_table(
                ("data", "chunks", "final", "mean projection", "width", "covered", "warned at own rate", "CPU seconds"),
                rates,
            ),
        ]
    )


def _settings(inputs: tuple[Path, Path], work_dir: Path, *, chunk_size: int, workers: int = 2) -> Settings:
    return Settings(
        inputs={"awards": inputs[0], "recipients": inputs[1]},
        paths={"work_dir": work_dir},
        chunk_size=chunk_size,
        cluster={"n_workers": workers},
    )


def _inputs(scratch: Path, rows: int, companies: int) -> tuple[Path, Path]:
    folder = scratch / f"inputs-{rows}-{companies}"
    if not folder.exists():
        generate_case(folder, recipients=rows, companies=companies, seed=SEED)
    return folder / "awards.csv", folder / "recipients.parquet"


def _options() -> argparse.Namespace:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--run", type=Path, help="work directory of a finished run to measure instead of new ones")
    parser.add_argument("--config", type=Path, help="settings file of that run")
    parser.add_argument("--set", dest="overrides", action="append", default=[], help="key=value, a setting of that run")
    parser.add_argument("--draws", type=int, default=60, help="random subsets of its chunks")
    return parser.parse_args()


if __name__ == "__main__":
    main()
