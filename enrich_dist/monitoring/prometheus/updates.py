"""Set metrics from the events of a run, and from the records that its steps leave.

Values are those of the records, converted to base units. A number that a record of an earlier version lacks has no
value.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from enrich_dist.core.files import read_json
from enrich_dist.errors import EnrichError
from enrich_dist.events import (
    AttemptTimes,
    Event,
    FarmProgress,
    Notice,
    Step,
    StepFinished,
    StepStarted,
    WorkerSample,
    WorkersSeen,
)
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.monitoring.prometheus.metrics import OUTCOMES, MetricValues
from enrich_dist.results.reduce import STATUSES
from enrich_dist.runs.limits import Limit, step_limits
from enrich_dist.settings.performance import PerformanceSettings
from enrich_dist.store.run_directory import STEPS, Number, Output, RunDirectory, StepReport
from enrich_dist.store.run_totals import run_totals

_FARM: Final = {
    "farm_duration_seconds": ("farm_seconds", 1.0),
    "farm_worker_restarts": ("worker_restarts", 1.0),
    "farm_degradations": ("degradations", 1.0),
    "quarantined_rows": ("rows_quarantined", 1.0),
    "worker_peak_memory_bytes": ("worker_peak_memory_mb", 1e6),
    "worker_projected_peak_memory_bytes": ("worker_projected_peak_memory_mb", 1e6),
    "worker_memory_threshold_bytes": ("worker_memory_threshold_mb", 1e6),
}
# Checks of the verdict whose value and threshold have metrics of the same name.
_CHECKS: Final = ("match_rate", "estimated_precision", "quarantined_share")
_BY_METHOD: Final = "awards_matched_by_"
_OUTCOME_LABELS: Final = {"finished": "finished", **{kind.value: kind.name.lower() for kind in FailureKind}}


class MetricsListener:
    """Set metrics from the events of one run."""

    def __init__(
        self, values: MetricValues, directory: RunDirectory, performance: PerformanceSettings | None = None
    ) -> None:
        self._values = values
        self._directory = directory
        self._performance = performance
        self._chunks_done = -1
        self.active_step: str | None = None
        """The step that has started and not finished."""
        self.dask_addresses: tuple[str, ...] = ()
        """Where Dask's scheduler and workers serve their own metrics, as ``host:port``."""
        for label in _OUTCOME_LABELS.values():  # increase() ignores the first increment of a counter that starts at 1
            values.set("attempts_total", 0, outcome=label)
        values.set("warnings_total", 0)
        self._record_progress()

    def __call__(self, event: Event) -> None:
        """Update the metrics that depend on an event."""
        match event:
            case StepStarted(step):
                self.active_step = step
                self._values.replace("step_active", {step: 1})
                self._record_progress()
            case StepFinished(step):
                self.active_step = None
                self._values.replace("step_active", {})
                self._record_progress()
                report = self._directory.latest(step)
                set_step(self._values, report)
                if self._performance is not None:
                    set_limits(self._values, step_limits(report, self._performance))
            case FarmProgress():
                self._set_farm_progress(event)
            case WorkersSeen():
                self._set_workers(event.workers)
                self.dask_addresses = event.metrics_addresses
            case AttemptTimes():
                self._values.increment("attempts_total", outcome=_OUTCOME_LABELS.get(event.outcome, event.outcome))
            case Notice() if event.warning:
                self._values.increment("warnings_total")

    def _record_progress(self) -> None:
        self._values.set("last_progress_timestamp_seconds", time.time())

    def _set_farm_progress(self, event: FarmProgress) -> None:
        if event.chunks_done > self._chunks_done:
            self._record_progress()
        self._chunks_done = event.chunks_done
        for name, value in (
            ("progress_chunks", event.chunks_total),
            ("progress_chunks_done", event.chunks_done),
            ("progress_chunks_resumed", event.chunks_resumed),
            ("progress_records", event.records_total),
            ("progress_records_done", event.records_done),
            ("progress_records_per_second", event.records_per_second),
            ("progress_remaining_seconds", event.remaining_seconds),
            ("progress_awards", event.awards_total),
            ("progress_awards_matched", event.awards_matched),
            ("worker_threads", event.workers),
        ):
            self._values.set(name, value)
        projected = {
            "estimate": event.projected_match_rate,
            "low": event.projected_match_rate_low,
            "high": event.projected_match_rate_high,
        }
        self._values.replace(
            "progress_projected_match_rate", {bound: rate for bound, rate in projected.items() if rate is not None}
        )
        if event.match_rate_threshold is not None:  # the first run has no verdict to take it from
            self._values.set("match_rate_threshold", event.match_rate_threshold)

    def _set_workers(self, workers: tuple[WorkerSample, ...]) -> None:
        for name, values in (
            ("worker_memory_bytes", {worker.worker: worker.memory_bytes for worker in workers}),
            ("worker_memory_limit_bytes", {worker.worker: worker.memory_limit_bytes for worker in workers}),
            ("worker_paused", {worker.worker: worker.paused for worker in workers}),
            ("worker_restarts_total", {worker.worker: worker.restarts for worker in workers}),
        ):
            self._values.replace(name, values)


def latest_steps(directory: RunDirectory) -> dict[Step, StepReport]:
    """Return the latest record of every step; damaged ones are left out, as the run itself reports them."""
    found = {}
    for step in STEPS:
        try:
            found[step] = directory.latest(step)
        except (EnrichError, OSError):
            continue
    return found


def set_step(values: MetricValues, report: StepReport) -> None:
    """Set the metrics of a finished step."""
    values.set("step_duration_seconds", report.seconds, step=report.step)
    values.set("step_rows", report.rows, step=report.step)
    values.set("step_reused", report.reused, step=report.step)
    values.set("step_peak_memory_bytes", report.peak_memory_bytes, step=report.step)
    if report.step == Step.CHUNK_MATCHES:
        _set_farm(values, report.numbers)
    elif report.step == Step.ENRICHED_AWARDS:
        _set_quality(values, report.numbers)
        _set_verdict(values, report.path(Output.RESULT) / "verdict.json")


def set_limits(values: MetricValues, limits: Iterable[Limit]) -> None:
    """Set limits of time and memory with their values, in base units."""
    for limit in limits:
        labels, unit = {"scope": limit.scope, "limit": limit.name}, 1e6 if limit.name.endswith("_mb") else 1.0
        values.set("limit_threshold", unit * limit.limit, **labels)
        values.set("limit_value", unit * limit.value, **labels)
        values.set("limit_ratio", limit.ratio, **labels)
        values.set("limit_error_ratio", limit.error_ratio)


def set_outcome(values: MetricValues, reports: Mapping[Step, StepReport], run_id: str, *, failed: bool) -> None:
    """Set how the run ended; ``failed``: a step that it started has no output.

    ``unpublished``: all steps ended well without a publication. The run was a part of the job, or a check that is not
    of the verdict blocked it.
    """
    own = {step for step, report in reports.items() if report.run_id == run_id}
    if Step.PUBLISHED_AWARDS in own:
        outcome = "published"
    elif Step.ENRICHED_AWARDS in own and not reports[Step.ENRICHED_AWARDS].numbers.get(Number.VERDICT_PASSED):
        outcome = "blocked"
    else:
        outcome = "failed" if failed or not own else "unpublished"
    values.replace("run_outcome", {name: name == outcome for name in OUTCOMES})
    values.set("run_duration_seconds", run_totals(reports, run_id).seconds)


def set_last_success(values: MetricValues, directory: RunDirectory) -> None:
    """Set when a result was last published."""
    record = directory.steps / f"{Step.PUBLISHED_AWARDS}.json"
    if record.exists():
        values.set("last_success_timestamp_seconds", record.stat().st_mtime)


def _set_farm(values: MetricValues, numbers: Mapping[str, float]) -> None:
    for name, (number, factor) in _FARM.items():
        values.set(name, numbers[number] * factor if number in numbers else None)
    # A run that computed no chunk has no rate; 0 would look like a slow run.
    values.set("farm_records_per_second", numbers.get(Number.FARM_RECORDS_PER_SECOND) or None)
    for origin in ("computed", "resumed"):
        values.set("farm_chunks", numbers.get(f"chunks_{origin}"), origin=origin)
    for kind in FailureKind:
        label = kind.name.lower()
        values.set("farm_failed_attempts", numbers.get(f"failed_attempts_{label}"), kind=label)


def _set_quality(values: MetricValues, numbers: Mapping[str, float]) -> None:
    for name in ("estimated_recall", "verdict_passed"):
        values.set(name, numbers.get(name))
    for what in ("awards", "companies"):
        values.replace(what, {status: numbers[f"{what}_{status}"] for status in STATUSES})
    values.replace(
        "awards_matched",
        {name.removeprefix(_BY_METHOD): value for name, value in numbers.items() if name.startswith(_BY_METHOD)},
    )


def _set_verdict(values: MetricValues, path: Path) -> None:
    checks = read_json(path)["checks"]
    values.replace("check_passed", {check["name"]: check["passed"] for check in checks})
    for check in checks:
        if (name := check["name"]) in _CHECKS:
            values.set(name, check["value"])
            values.set(f"{name}_threshold", check["threshold"])
