"""Read what a report shows from the files of a run directory.

The metrics document and the verdict give the quality of the result, the steps' records time and counts, the chunks'
records memory. Does not compute numbers, except the calibration, which is measured once per result.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from enrich_dist.core.files import read_json, write_json
from enrich_dist.errors import CorruptionError, EnrichError, StateError
from enrich_dist.events import AttemptTimes, Step
from enrich_dist.farm import diagnosis
from enrich_dist.farm.attempts import FailedAttempt
from enrich_dist.farm.logs import WorkerHistory, read_chunk_log
from enrich_dist.farm.worker_memory import WorkerMemory, memory_per_worker
from enrich_dist.planning.plan_vs_actual import Comparison, read_comparison
from enrich_dist.remedies import RUN_AGAIN, RUN_FIRST
from enrich_dist.results.calibration import Calibration, CalibrationBin, measure_calibration
from enrich_dist.results.unresolved import UnresolvedCompanies, read_unresolved
from enrich_dist.runs.journal import find_run, latest_run, read_runs
from enrich_dist.runs.performance import Finding, read_performance
from enrich_dist.runs.records import RunRecord
from enrich_dist.settings import UsedSetting
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.checkpoints import CheckpointRecord
from enrich_dist.store.run_directory import Output, RunDirectory, StepReport

MAX_COMPANIES = 50


@dataclass(frozen=True)
class ReportData:
    """What is known of the latest run of a work directory.

    ``published``: whether its result is the published one. ``records``: of finished chunks, by chunk number.
    ``calibration``: a sentence where it could not be measured. ``earlier_runs``: those that were judged, the oldest
    first. ``against``: another run to compare with.
    """

    steps: Mapping[Step, StepReport]
    metrics: Mapping[str, Any]
    verdict: Mapping[str, Any]
    published: bool
    records: Mapping[int, CheckpointRecord]
    workers: tuple[WorkerMemory, ...]
    worker_histories: tuple[WorkerHistory, ...]
    attempts: tuple[AttemptTimes, ...]
    failures: tuple[FailedAttempt, ...]
    unresolved: UnresolvedCompanies
    calibration: Calibration | str
    settings: tuple[UsedSetting, ...]
    run: RunRecord
    earlier_runs: tuple[RunRecord, ...]
    against: RunRecord | None
    plan_comparison: Comparison | None
    performance: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether the result may be published."""
        return bool(self.verdict["status"] == "passed")

    @property
    def previous(self) -> RunRecord | None:
        """The run that was judged before this one."""
        return self.earlier_runs[-1] if self.earlier_runs else None

    @property
    def status(self) -> str:
        """The state of the result in a few words."""
        if not self.passed:
            return "blocked"
        return "published" if self.published else "passed, not published yet"


def read_report_data(directory: RunDirectory, *, against: str | None = None) -> ReportData:
    """Read the data of the latest run; ``against``: another run to compare with (``journal.find_run``). Raises
    ``StateError`` when no run was judged, ``CorruptionError`` when a file cannot be read."""
    steps = directory.all_latest()
    if Step.ENRICHED_AWARDS not in steps:
        raise StateError(f"{directory.root} has no judged result to report.", remedy=RUN_FIRST)
    result = steps[Step.ENRICHED_AWARDS].path(Output.RESULT)
    try:
        metrics, verdict = read_json(result / "metrics.json"), read_json(result / "verdict.json")
        unresolved = read_unresolved(result, directory.scratch, limit=MAX_COMPANIES)
        content = open_unverified(result).content_digest
    except FileNotFoundError as error:
        raise StateError(f"{result} does not exist any more.", remedy=RUN_AGAIN) from error
    findings = diagnosis.examine(directory)
    records = {chunk.chunk_id: chunk.record for chunk in findings.chunks if chunk.record is not None}
    run = latest_run(directory)
    return ReportData(
        steps=steps,
        metrics=metrics,
        verdict=verdict,
        published=run.status == "published",
        records=records,
        workers=tuple(memory_per_worker(records.values())),
        worker_histories=tuple(findings.workers),
        attempts=tuple(read_chunk_log(directory.chunk_log)),
        failures=tuple(failure for chunk in findings.chunks for failure in chunk.failures),
        unresolved=unresolved,
        calibration=_calibration(directory, content),
        settings=run.settings,
        run=run,
        earlier_runs=tuple(other for other in read_runs(directory) if other.key != run.key),
        against=None if against is None else find_run(directory, against),
        plan_comparison=_plan_comparison(directory, run.run_id),
        performance=read_performance(directory, run.run_id),
    )


def _plan_comparison(directory: RunDirectory, run_id: str) -> Comparison | None:
    with suppress(EnrichError):
        comparison = read_comparison(directory)
        if comparison.run_id == run_id:
            return comparison
    return None


def _calibration(directory: RunDirectory, content: str) -> Calibration | str:
    """Measure it once per result: reports are written when a result is judged, and again when it is published."""
    path = directory.steps / "reliability.json"
    with suppress(OSError, CorruptionError, KeyError, TypeError):
        document = read_json(path)
        if document["result"] == content:
            bins = tuple(CalibrationBin(**item) for item in document["reliability"].pop("bins"))
            return Calibration(**document["reliability"], bins=bins)
    try:
        measured = measure_calibration(directory)
    except EnrichError as error:
        return f"It could not be measured: {error.message}"
    with suppress(OSError):  # the directory may be read-only
        write_json(path, {"result": content, "reliability": asdict(measured)})
    return measured
