"""What the records in a run directory say, as metrics: the figures of the steps, of the farm, and of the verdict.

Every value is one that a step or the verdict has left; only units are changed. A figure that a record lacks, as one of
an older version may, has no value. Does not cover what is known while a step works (``listener``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from enrich_dist.core.files import read_json
from enrich_dist.errors import EnrichError
from enrich_dist.events import Step
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.monitoring.prometheus.metrics import OUTCOMES, Figures
from enrich_dist.results.reduce import STATUSES
from enrich_dist.store.run_directory import STEPS, Number, Output, RunDirectory, StepReport, run_totals

_FARM: Final = {
    "farm_duration_seconds": ("farm_seconds", 1.0),
    "farm_worker_restarts": ("worker_restarts", 1.0),
    "farm_degradations": ("degradations", 1.0),
    "quarantined_rows": ("rows_quarantined", 1.0),
    "worker_peak_memory_bytes": ("worker_peak_memory_mb", 1e6),
    "worker_projected_peak_memory_bytes": ("worker_projected_peak_memory_mb", 1e6),
    "worker_memory_threshold_bytes": ("worker_memory_threshold_mb", 1e6),
}
_QUALITY: Final = {"estimated_recall": ("estimated_recall", 1.0), "verdict_passed": ("verdict_passed", 1.0)}
# Checks of the verdict that have metrics of their own, for the value and the threshold.
_CHECKS: Final = {
    "match_rate": "match_rate",
    "estimated_precision": "estimated_precision",
    "quarantined_share": "quarantined_share",
}
_BY_METHOD: Final = "awards_matched_by_"


def latest_steps(directory: RunDirectory) -> dict[Step, StepReport]:
    """The latest record of every step that has a readable one: a damaged one is for the run to judge."""
    found = {}
    for step in STEPS:
        try:
            found[step] = directory.latest(step)
        except (EnrichError, OSError):
            continue
    return found


def show_step(figures: Figures, report: StepReport) -> None:
    """Take over what a step has recorded."""
    figures.set("step_duration_seconds", report.seconds, step=report.step)
    figures.set("step_rows", report.rows, step=report.step)
    figures.set("step_reused", report.reused, step=report.step)
    figures.set("step_peak_memory_bytes", report.peak_memory_bytes, step=report.step)
    if report.step == Step.CHUNK_MATCHES:
        _show_farm(figures, report.numbers)
    elif report.step == Step.ENRICHED_AWARDS:
        _show_quality(figures, report.numbers)
        _show_verdict(figures, report.path(Output.RESULT) / "verdict.json")


def show_outcome(figures: Figures, reports: Mapping[Step, StepReport], run_id: str, *, failed: bool) -> None:
    """How the run ended. ``failed``: a step that it had begun has no output.

    ``unpublished`` is a run all of whose steps ended well without a publication: a part of the job, or one that a
    check outside of the verdict held back.
    """
    own = {step for step, report in reports.items() if report.run_id == run_id}
    if Step.PUBLISHED_AWARDS in own:
        outcome = "published"
    elif Step.ENRICHED_AWARDS in own and not reports[Step.ENRICHED_AWARDS].numbers.get(Number.VERDICT_PASSED):
        outcome = "blocked"
    else:
        outcome = "failed" if failed or not own else "unpublished"
    figures.replace("run_outcome", {name: name == outcome for name in OUTCOMES})
    figures.set("run_duration_seconds", run_totals(reports, run_id).seconds)


def show_last_success(figures: Figures, directory: RunDirectory) -> None:
    """When the publishing step last had its output, which is when it left its record."""
    record = directory.steps / "published_awards.json"
    if record.exists():
        figures.set("last_success_timestamp_seconds", record.stat().st_mtime)


def failure_label(kind: FailureKind) -> str:
    """A kind of failure as a label's value, which is also how the farm's figures are named."""
    return kind.name.lower()


def _show(figures: Figures, wanted: Mapping[str, tuple[str, float]], numbers: Mapping[str, float]) -> None:
    for name, (number, factor) in wanted.items():
        figures.set(name, numbers[number] * factor if number in numbers else None)


def _show_farm(figures: Figures, numbers: Mapping[str, float]) -> None:
    _show(figures, _FARM, numbers)
    # A run that computed no chunk has no rate, and must not be taken for a slow one.
    figures.set("farm_records_per_second", numbers.get(Number.FARM_RECORDS_PER_SECOND) or None)
    for origin in ("computed", "resumed"):
        figures.set("farm_chunks", numbers.get(f"chunks_{origin}"), origin=origin)
    for kind in FailureKind:
        label = failure_label(kind)
        figures.set("farm_failed_attempts", numbers.get(f"failed_attempts_{label}"), kind=label)


def _show_quality(figures: Figures, numbers: Mapping[str, float]) -> None:
    _show(figures, _QUALITY, numbers)
    for what in ("awards", "companies"):
        figures.replace(what, {status: numbers[f"{what}_{status}"] for status in STATUSES})
    figures.replace(
        "awards_matched",
        {name.removeprefix(_BY_METHOD): value for name, value in numbers.items() if name.startswith(_BY_METHOD)},
    )


def _show_verdict(figures: Figures, path: Path) -> None:
    checks = read_json(path)["checks"]
    figures.replace("check_passed", {check["name"]: check["passed"] for check in checks})
    for check in checks:
        if check["name"] in _CHECKS:
            name = _CHECKS[check["name"]]
            figures.set(name, check["value"])
            figures.set(f"{name}_threshold", check["threshold"])
