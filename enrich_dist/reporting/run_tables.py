"""Tables of a run that the terminal and the reports share: its metrics, steps, settings and failures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from enrich_dist.core.tables import Table, make_table, megabytes, percent
from enrich_dist.events import Step
from enrich_dist.reporting.terminal import STEP_TITLES
from enrich_dist.store.run_directory import STEPS, StepReport

if TYPE_CHECKING:
    from enrich_dist.runs.performance import Finding
    from enrich_dist.runs.records import RunRecord
    from enrich_dist.settings import UsedSetting

_MIN_RATE_SECONDS = 0.1  # a rate over less time means nothing
_METHOD: Final = "awards_matched_by_"


@dataclass(frozen=True)
class RunMetric:
    """A number of ``RunRecord.numbers`` by which runs are compared; ``decimals`` are those of a difference."""

    name: str
    title: str
    format: Callable[[float], str]
    decimals: int = 0

    def text(self, value: float | None) -> str:
        """Return the value as text; empty where a run has none."""
        return "" if value is None else self.format(value)

    def change(self, now: float | None, before: float | None) -> str:
        """Return the difference: in percentage points of a share, else in its unit and as a percentage."""
        if now is None or before is None:
            return ""
        difference = now - before
        if self.format is percent:
            return "none" if abs(difference) < 0.0005 else f"{100 * difference:+.1f} points"
        if self.format(now) == self.format(before):
            return "none"
        return f"{difference:+,.{self.decimals}f}" + (f" ({100 * difference / before:+.0f}%)" if before else "")


_whole: Final = "{:,.0f}".format
_tenths: Final = "{:,.1f}".format
_METRICS: Final = (
    RunMetric("match_rate", "match rate", percent),
    RunMetric("match_rate_by_company", "match rate by company", percent),
    RunMetric("estimated_precision", "estimated precision", percent),
    RunMetric("estimated_recall", "estimated recall", percent),
    RunMetric("awards_matched", "awards matched", _whole),
    RunMetric("awards_review", "awards for review", _whole),
    RunMetric("awards_unmatched", "awards unmatched", _whole),
    RunMetric("run_seconds", "run time (s)", _tenths, 1),
    RunMetric("farm_seconds", "matching time (s)", _tenths, 1),
    RunMetric("chunks_computed", "chunks computed", _whole),
    RunMetric("worker_peak_memory_mb", "worker peak memory (MB)", _whole),
    RunMetric("failed_attempts", "failed attempts", _whole),
    RunMetric("degradations", "batch size reductions", _whole),
)
_FAILURES: Final = (
    ("failed_attempts", "failed attempts"),
    ("worker_restarts", "worker restarts"),
    ("checkpoints_damaged", "damaged checkpoints, recomputed"),
    ("chunks_doubled", "backup tasks"),
    ("chunks_in_parts", "chunks split into parts"),
    ("degradations", "batch size reductions"),
    ("rows_quarantined", "quarantined recipients"),
)


def metric_rows(run: RunRecord, *others: RunRecord) -> list[tuple[str, ...]]:
    """Return a row per metric: title, value, and for each other run its value and the change from it."""
    rows = []
    for metric in run_metrics(run, *others):
        value, *old = (_numbers(each).get(metric.name) for each in (run, *others))
        cells = [cell for other in old for cell in (metric.text(other), metric.change(value, other))]
        rows.append((metric.title, metric.text(value), *cells))
    return rows


def _numbers(run: RunRecord) -> dict[str, float]:
    return run.numbers | {f"{_METHOD}{method}": count for method, count in run.matched_by_method.items()}


def run_metrics(*runs: RunRecord) -> list[RunMetric]:
    """Return the metrics that any of the runs has, in a fixed order."""
    methods = dict.fromkeys(method for run in runs for method in run.matched_by_method)
    by_method = [RunMetric(_METHOD + method, f"awards matched by {method}", _whole) for method in methods]
    known = {name for run in runs for name in _numbers(run)}
    return [metric for metric in (*_METRICS, *by_method) if metric.name in known]


def failure_counts(numbers: Mapping[str, float]) -> list[str]:
    """Return what went wrong while chunks were matched and did not end the run, each with its count."""
    return [f"{title} {int(numbers[name]):,}" for name, title in _FAILURES if numbers.get(name)]


def steps_table(steps: Mapping[Step, StepReport], run_id: str | None = None) -> Table:
    """Return every step with its time and memory; ``run_id``: steps of other runs are marked."""

    def cells(step: StepReport | None) -> Sequence[object]:
        if step is None:
            return "", "", "", "", "not run"
        has_rate = not step.reused and step.seconds >= _MIN_RATE_SECONDS
        is_earlier = run_id is not None and step.run_id != run_id
        return (
            step.rows,
            f"{step.seconds:,.1f}",
            f"{step.rows_per_second:,.0f}" if has_rate else "",
            megabytes(step.peak_memory_bytes),
            "earlier run" if is_earlier else "reused" if step.reused else "computed",
        )

    rows = [(STEP_TITLES[name], *cells(steps.get(name))) for name in STEPS]
    return make_table(("step", "rows", "seconds", "rows/s", "peak MB", "output"), rows, "Steps of the run")


def settings_table(settings: Iterable[UsedSetting], caption: str = "") -> Table:
    """Return settings with their values and origins."""
    rows = [(item.key, item.value, item.origin) for item in settings]
    return make_table(("setting", "value", "origin"), rows, caption)


def performance_table(findings: Sequence[Finding]) -> Table:
    """Return a row per limit and comparison: value, limit or earlier value, their ratio, and the verdict."""
    rows = [(item.title, item.value, item.limit, item.ratio, str(item.severity), item.reason) for item in findings]
    head = ("limit or comparison", "value", "limit or reference", "ratio", "verdict", "details")
    return make_table(head, rows, "Limits of time and memory, and comparison with earlier runs")
