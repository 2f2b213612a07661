"""What the files of a run directory say about its latest run: all that a report shows, and nothing is computed twice.

Quality comes from the metrics document and the verdict of the latest result, time and counts from the steps' records,
memory from the records of the chunks. Covers gathering. Does not say what is shown of it (``sections``).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from enrich_dist.core.files import read_json, write_json
from enrich_dist.errors import CorruptionError, EnrichError, StateError
from enrich_dist.events import AttemptTimes, Step
from enrich_dist.farm import diagnosis as doctor
from enrich_dist.farm.attempts import FailedAttempt
from enrich_dist.farm.chunk_log import read_chunk_log
from enrich_dist.farm.worker_log import WorkerHistory
from enrich_dist.farm.worker_memory import WorkerMemory, memory_per_worker
from enrich_dist.planning.compare import Comparison, read_comparison
from enrich_dist.remedies import RUN_AGAIN, RUN_FIRST
from enrich_dist.results.calibration import Calibration, CalibrationBin, measure_calibration
from enrich_dist.results.unresolved import UnresolvedCompanies, read_unresolved
from enrich_dist.runs.entry import RunEntry
from enrich_dist.runs.journal import find_run, latest_run, read_runs
from enrich_dist.settings import UsedSetting
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.checkpoints import CheckpointRecord
from enrich_dist.store.run_directory import Output, RunDirectory, StepReport

COMPANIES_SHOWN = 50


@dataclass(frozen=True)
class RunFacts:
    """The latest run of a work directory.

    ``published``: whether this very result is the published one; ``records``: of the finished chunks, by chunk number;
    ``reliability``: a sentence where it could not be measured; ``settings``: empty where the run did not record them;
    ``summary``: what is kept of the run; ``history``: judged runs before this one, the oldest first; ``against``: a
    further run that a person wants to compare with; ``planned``: the run beside its plan, where it had one.
    """

    steps: Mapping[Step, StepReport]
    metrics: Mapping[str, Any]
    verdict: Mapping[str, Any]
    published: bool
    records: Mapping[int, CheckpointRecord]
    workers: tuple[WorkerMemory, ...]
    histories: tuple[WorkerHistory, ...]
    attempts: tuple[AttemptTimes, ...]
    failures: tuple[FailedAttempt, ...]
    candidates: UnresolvedCompanies
    reliability: Calibration | str
    settings: tuple[UsedSetting, ...]
    summary: RunEntry
    history: tuple[RunEntry, ...]
    against: RunEntry | None
    planned: Comparison | None

    @property
    def passed(self) -> bool:
        """Whether the verdict lets the result be published."""
        return bool(self.verdict["status"] == "passed")

    @property
    def previous(self) -> RunEntry | None:
        """The run that was judged before this one."""
        return self.history[-1] if self.history else None

    @property
    def status(self) -> str:
        """What became of the result, in a few words."""
        if not self.passed:
            return "blocked"
        return "published" if self.published else "passed, not published yet"


def gather(directory: RunDirectory, *, against: str | None = None) -> RunFacts:
    """Read the facts of the latest run; ``against``: a further run to compare with (``journal.find_run``).

    Raises ``StateError`` when nothing was judged there yet, ``CorruptionError`` when a file cannot be read.
    """
    steps = directory.all_latest()
    if Step.ENRICHED_AWARDS not in steps:
        raise StateError(f"{directory.root} holds no judged result to report.", remedy=RUN_FIRST)
    result = steps[Step.ENRICHED_AWARDS].path(Output.RESULT)
    try:
        metrics, verdict = read_json(result / "metrics.json"), read_json(result / "verdict.json")
        candidates = read_unresolved(result, directory.scratch, limit=COMPANIES_SHOWN)
        content = open_unverified(result).content_digest
    except FileNotFoundError as error:
        raise StateError(f"{result} is not there any more.", remedy=RUN_AGAIN) from error
    findings = doctor.examine(directory)
    records = {chunk.chunk_id: chunk.record for chunk in findings.chunks if chunk.record is not None}
    summary = latest_run(directory)
    return RunFacts(
        steps=steps,
        metrics=metrics,
        verdict=verdict,
        published=summary.status == "published",
        records=records,
        workers=tuple(memory_per_worker(records.values())),
        histories=tuple(findings.workers),
        attempts=tuple(read_chunk_log(directory.chunk_log)),
        failures=tuple(failure for chunk in findings.chunks for failure in chunk.failures),
        candidates=candidates,
        reliability=_reliability(directory, content),
        settings=summary.settings,
        summary=summary,
        history=tuple(run for run in read_runs(directory) if run.key != summary.key),
        against=None if against is None else find_run(directory, against),
        planned=_planned(directory, summary.run_id),
    )


def _planned(directory: RunDirectory, run_id: str) -> Comparison | None:
    """A run that only judged anew has none of its own."""
    with suppress(EnrichError):
        comparison = read_comparison(directory)
        if comparison.run_id == run_id:
            return comparison
    return None


def _reliability(directory: RunDirectory, content: str) -> Calibration | str:
    """Measured once for a result and kept: the report is made when it is judged, and again when it is published."""
    kept = directory.steps / "reliability.json"
    with suppress(OSError, CorruptionError, KeyError, TypeError):
        document = read_json(kept)
        if document["result"] == content:
            bins = tuple(CalibrationBin(**item) for item in document["reliability"].pop("bins"))
            return Calibration(**document["reliability"], bins=bins)
    try:
        measured = measure_calibration(directory)
    except EnrichError as error:
        return f"It could not be measured: {error.message}"
    with suppress(OSError):  # a report of a directory that cannot be written to
        write_json(kept, {"result": content, "reliability": asdict(measured)})
    return measured
