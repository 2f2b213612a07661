"""Benchmark comparisons and trends: tables for terminal and Markdown, JSON documents, and plots in characters."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from enrich_dist.core.tables import Table, make_table, markdown_table
from enrich_dist.plain_text import markdown_text
from enrich_dist.reporting.terminal import rich_table
from enrich_dist.runs.baseline import Comparison, MetricComparison, Verdict
from enrich_dist.runs.metrics import BYTES, CALIBRATION_UNITS, SECONDS, Metric, worker_peak_bytes
from enrich_dist.runs.records import RunRecord
from enrich_dist.runs.trend import Direction, History, Trend
from enrich_dist.store.run_directory import Number

_BARS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH = 24
_PLOT_WIDTH, _PLOT_HEIGHT = 64, 10
_STYLES: Mapping[str, str] = {
    Verdict.REGRESSION: "bold red",
    Verdict.NO_REGRESSION: "green",
    Verdict.INCONCLUSIVE: "yellow",
    Direction.DEGRADING: "bold red",
    Direction.IMPROVING: "green",
    Direction.TOO_FEW: "dim",
}
_HEAD = ("metric", "baseline", "now", "delta", "change", "confidence interval", "detectable change", "verdict")


def comparison_table(comparison: Comparison) -> RichTable:
    """Return all metrics of both sides for the terminal."""
    return rich_table(comparison_metrics(comparison), _STYLES)


def comparison_metrics(comparison: Comparison) -> Table:
    """Return all metrics of both sides."""
    return make_table(_HEAD, map(_cells, comparison.metrics), "Metrics of both sides")


def comparison_markdown(comparison: Comparison) -> str:
    """Return the comparison as a Markdown document."""
    lines = [f"# Benchmark: {comparison.verdict}", *map(markdown_text, comparison_context(comparison))]
    lines += [f"- {markdown_text(reason)}" for reason in comparison.reasons]
    return "\n\n".join([*lines, markdown_table(_HEAD, map(_cells, comparison.metrics))]) + "\n"


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as a JSON object; unknown ratios are null."""
    return {
        "verdict": str(comparison.verdict),
        "reasons": comparison.reasons,
        "machine": comparison.candidate[0].machine.digest,
        "machine_slower_ratio": None if comparison.machine is None else round(comparison.machine.ratio, 4),
        "size_class": comparison.candidate[0].size_class,
        "baseline": _side(comparison.baseline),
        "candidate": _side(comparison.candidate),
        "metrics": {
            item.metric.name: {
                "unit": item.metric.unit,
                "baseline_median": item.baseline,
                "candidate_median": item.candidate,
                "delta": round(item.delta, 6),
                "percent": round(item.percent, 2),
                "ratio_low": _finite(item.shift.low),
                "ratio_high": _finite(item.shift.high),
                "smallest_visible_percent": _finite(100 * item.shift.smallest_visible),
                "limit_percent": None if item.metric.limit is None else round(100 * (item.metric.limit - 1), 2),
                "verdict": None if item.verdict is None else str(item.verdict),
                "reason": item.reason,
            }
            for item in comparison.metrics
        },
    }


def comparison_context(comparison: Comparison) -> list[str]:
    """Return what was compared, a line each: code, runs, data and machine."""
    before, after = comparison.baseline, comparison.candidate
    lines = [
        f"Baseline {_codes(before)}, {len(before)} runs until {before[-1].timestamp}; "
        f"now {_codes(after)}, {len(after)} runs until {after[-1].timestamp}.",
        f"{after[0].size_class} on {after[0].machine.line()}.",
    ]
    if comparison.machine is None:
        lines.append("The speed of the machine was not measured with these runs.")
    else:
        change = 100 * (comparison.machine.ratio - 1)
        lines.append(f"Time of the calibration workload on this machine: {change:+.1f}%.")
    return lines


def record_line(number: int, repeats: int, record: RunRecord) -> str:
    """Return a line of plain text on one repeat."""
    peak = worker_peak_bytes(record) or 0.0
    note = "" if record.computed_everything else "; it reused earlier outputs, so it will not be compared"
    rate = record.matching(Number.FARM_RECORDS_PER_SECOND)
    return (
        f"{number}/{repeats}  {record.wall_seconds or 0.0:.1f} s, {rate:,.0f} records/s, "
        f"peak per worker {peak / 1e6:,.0f} MB, machine {record.calibration_seconds or 0.0:.3f} s{note}"
    )


def trend_table(history: History) -> RichTable:
    """Return all metrics over the window for the terminal."""
    return rich_table(trend_metrics(history), _STYLES)


def trend_metrics(history: History) -> Table:
    """Return all metrics over the window."""
    rows = []
    for item in history.trends:
        known = item.direction is not Direction.TOO_FEW
        rows.append(
            (
                item.metric.title,
                item.metric.text(item.median),
                item.metric.text(item.values[-1]),
                f"{100 * item.change:+.1f}%" if known else "",
                f"{100 * item.change_low:+.1f}% to {100 * item.change_high:+.1f}%" if known else "",
                item.direction,
                sparkline(item.values),
            )
        )
    head = ("metric", "median", "latest", "change", "confidence interval", "trend", "values")
    return make_table(head, rows, "Metrics over the window")


def trend_document(history: History) -> dict[str, Any]:
    """Return the trends as a JSON object."""
    return {
        "runs": history.runs,
        "first": None if history.first is None else history.first.isoformat(),
        "last": None if history.last is None else history.last.isoformat(),
        "metrics": {
            item.metric.name: {
                "unit": item.metric.unit,
                "median": item.median,
                "latest": item.values[-1],
                "slope_per_day": item.slope_per_day,
                "change_percent": round(100 * item.change, 2),
                "change_low_percent": round(100 * item.change_low, 2),
                "change_high_percent": round(100 * item.change_high, 2),
                "direction": str(item.direction),
            }
            for item in history.trends
        },
    }


def sparkline(values: Sequence[float], width: int = _SPARK_WIDTH) -> str:
    """Return the values as bars from minimum to maximum; more than ``width`` values are grouped by their medians."""
    if len(values) > width:
        edges = [round(number * len(values) / width) for number in range(width + 1)]
        values = [statistics.median(values[a:b]) for a, b in pairwise(edges)]
    low, high = min(values), max(values)
    if high == low:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def plot(item: Trend) -> Group:
    """Return the values of one metric as points over time, with the fitted line if there is one."""
    days, span = item.days, item.days[-1] - item.days[0]
    low, high = min(item.values), max(item.values)
    height = (high - low) or abs(high) or 1.0
    low, high = low - 0.05 * height, high + 0.05 * height
    cells = [[" "] * _PLOT_WIDTH for _ in range(_PLOT_HEIGHT)]

    def put(day: float, value: float, sign: str) -> None:
        column = round((day - days[0]) / span * (_PLOT_WIDTH - 1)) if span else 0
        row = round((high - value) / (high - low) * (_PLOT_HEIGHT - 1))
        if 0 <= row < _PLOT_HEIGHT:
            cells[row][column] = sign

    if item.direction is not Direction.TOO_FEW:
        # The line passes through the medians, as in scipy.stats.theilslopes.
        middle = statistics.median(days)
        for column in range(_PLOT_WIDTH):
            day = days[0] + span * column / (_PLOT_WIDTH - 1)
            put(day, item.median + item.slope_per_day * (day - middle), "·")
    for day, value in zip(days, item.values, strict=True):
        put(day, value, "●")
    labels = {0: item.metric.text(high), _PLOT_HEIGHT - 1: item.metric.text(low)}
    width = max(map(len, labels.values()))
    lines = [Text(f"{labels.get(row, ''):>{width}} │{''.join(line)}") for row, line in enumerate(cells)]
    axis = f"{'':>{width}} └{'─' * _PLOT_WIDTH}"
    return Group(Text(item.metric.title, style="bold"), *lines, Text(axis), Text(f"{'':>{width}}  {span:.1f} days"))


def _cells(item: MetricComparison) -> tuple[str, ...]:
    metric, found = item.metric, item.shift
    known = not math.isinf(found.smallest_visible)
    return (
        metric.title,
        metric.text(item.baseline),
        metric.text(item.candidate),
        _delta(metric, item.delta),
        f"{item.percent:+.1f}%",
        f"{100 * (found.low - 1):+.1f}% to {100 * (found.high - 1):+.1f}%" if known else "unknown",
        f"{100 * found.smallest_visible:.1f}%" if known else "none",
        "not judged" if item.verdict is None else str(item.verdict),
    )


def _delta(metric: Metric, delta: float) -> str:
    texts = {
        BYTES: f"{delta / 1e6:+,.1f} MB",
        SECONDS: f"{delta:+,.2f} s",
        CALIBRATION_UNITS: f"{delta:+,.1f}",
        "records/s": f"{delta:+,.0f}/s",
    }
    return texts.get(metric.unit, f"{100 * delta:+.2f} points")


def _side(records: Sequence[RunRecord]) -> dict[str, Any]:
    return {
        "records": [record.id for record in records],
        "code": sorted({record.code.label for record in records}),
        "until": records[-1].timestamp,
    }


def _codes(records: Sequence[RunRecord]) -> str:
    return " and ".join(sorted({record.code.label for record in records}))


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
