"""A benchmark comparison and a trend, each as one self-contained HTML file (``render``)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from enrich_dist.core.files import write_file
from enrich_dist.core.owned_files import require_replaceable
from enrich_dist.core.tables import Table, make_table
from enrich_dist.reporting import benchmark_tables as texts
from enrich_dist.reporting.html import charts, is_page
from enrich_dist.reporting.html.charts import Change, Chart
from enrich_dist.reporting.html.render import render_page
from enrich_dist.reporting.html.section import Page, Section, Tile, make_section
from enrich_dist.runs.baseline import Comparison, MetricComparison, Verdict
from enrich_dist.runs.metrics import BYTES, SECONDS, Metric
from enrich_dist.runs.records import RunRecord
from enrich_dist.runs.trend import Direction, History, Trend


def require_page(html: Path | None) -> None:
    """Raise ``SettingsError`` unless the file is new or a page of this program."""
    if html is not None:
        require_replaceable(html, option="--html", is_ours=is_page)


def write_comparison(comparison: Comparison, html: Path) -> None:
    """Write the comparison; raises ``OSError`` where the file cannot be written."""
    write_file(html.absolute(), comparison_page(comparison))


def write_trend(history: History, runs: Sequence[RunRecord], html: Path) -> None:
    """Write the trend of comparable runs; raises ``OSError`` where the file cannot be written."""
    write_file(html.absolute(), trend_page(history, runs))


def comparison_page(comparison: Comparison) -> str:
    """Return the comparison as one HTML file."""
    verdict, (first, *context) = comparison.verdict, texts.comparison_context(comparison)
    judged = [item for item in comparison.metrics if item.verdict is not None]
    page = Page(
        eyebrow="enrich-dist benchmark",
        title="Benchmark comparison",
        badge=str(verdict),
        is_good=verdict is Verdict.NO_REGRESSION,
        headline=first,
        reasons=tuple(comparison.reasons),
        tiles=tuple(_tile(item) for item in judged if item.metric.headline),
        footer=f"Latest record {comparison.candidate[-1].id}.",
    )
    return render_page(page, [_changes(comparison, context), _repeats(comparison)])


def trend_page(history: History, runs: Sequence[RunRecord]) -> str:
    """Return the trends as one HTML file; ``runs``: comparable, of which the window has at least one."""
    if history.first is None or history.last is None:
        raise ValueError("no run in the window")
    counts = {direction: sum(item.direction is direction for item in history.trends) for direction in Direction}
    page = Page(
        eyebrow="enrich-dist benchmark",
        title="Benchmark trend",
        badge=f"{counts[Direction.DEGRADING]} degrading" if counts[Direction.DEGRADING] else "none degrading",
        is_good=not counts[Direction.DEGRADING],
        headline=f"{history.runs} runs from {history.first:%Y-%m-%d %H:%M} to {history.last:%Y-%m-%d %H:%M} UTC: "
        f"{runs[-1].size_class} on {runs[-1].machine.line()}.",
        reasons=(),
        tiles=tuple(Tile(str(direction).capitalize(), str(count), "metrics") for direction, count in counts.items()),
        footer=f"Latest record {runs[-1].id}.",
    )
    metrics = make_section("metrics", "Metrics", tables=[texts.trend_metrics(history)])
    over_time = [_over_time(item, history.first) for item in history.trends]
    return render_page(page, [metrics, make_section("over-time", "Metrics over time", charts=over_time)])


def _tile(item: MetricComparison) -> Tile:
    tone = {Verdict.REGRESSION: "bad", Verdict.NO_REGRESSION: "good"}.get(item.verdict or Verdict.INCONCLUSIVE, "plain")
    detail = f"{item.percent:+.1f}% from {item.metric.text(item.baseline)}"
    return Tile(_title(item.metric), item.metric.text(item.candidate), detail, tone)  # type: ignore[arg-type]


def _changes(comparison: Comparison, context: list[str]) -> Section:
    rows = []
    for item in comparison.metrics:
        known = math.isfinite(item.shift.high)
        low, high = (item.shift.low - 1, item.shift.high - 1) if known else (item.percent / 100, item.percent / 100)
        limit = None if item.verdict is None or item.metric.limit is None else item.metric.limit - 1
        is_bad = item.verdict is Verdict.REGRESSION
        rows.append(Change(item.metric.title, item.percent / 100, low, high, limit, is_bad))
    title = "Change from the baseline"
    chart = charts.changes("changes", title, f"Verdict: {comparison.verdict}.", rows)
    limits = [(row.label, f"{row.value:+.1%}", "none" if row.limit is None else f"{row.limit:+.0%}") for row in rows]
    table = make_table(("metric", "change", "limit"), limits, "Changes and limits")
    legend = "A point is the change of the median, with its confidence interval; a mark is the limit."
    return make_section("metrics", title, *context, legend, charts=[(chart, table)],
                        tables=[texts.comparison_metrics(comparison)])  # fmt: skip


def _repeats(comparison: Comparison) -> Section:
    made: list[tuple[Chart, Table]] = []
    for item in (item.metric for item in comparison.metrics if item.metric.limit is not None):
        values = [[item.value(run) for run in runs] for runs in (comparison.baseline, comparison.candidate)]
        names = ("baseline", "now")
        series = [
            (name, list(range(1, len(side) + 1)), [_scaled(item, value) for value in side])
            for name, side in zip(names, values, strict=True)
        ]
        medians = (statistics.median(value for value in side if value is not None) for side in values)
        summary = "; ".join(f"{name} {item.text(value)}" for name, value in zip(names, medians, strict=True))
        rows = [
            (name, str(number), "" if value is None else item.text(value))
            for name, side in zip(names, values, strict=True)
            for number, value in enumerate(side, start=1)
        ]
        chart = charts.lines(f"repeats-{item.name}", _title(item), f"Medians: {summary}.", series,
                             x_title="repeat", y_title=_unit(item))  # fmt: skip
        made.append((chart, make_table(("session", "repeat", "value"), rows, f"Repeats: {item.title}")))
    return make_section("repeats", "Repeats", "Each point is one run.", charts=made)


def _over_time(item: Trend, start: datetime) -> tuple[Chart, Table]:
    title = _title(item.metric)
    times = [f"{start + timedelta(days=day):%Y-%m-%d %H:%M}" for day in item.days]
    series: list[tuple[str, Sequence[float | str], Sequence[float | None]]] = [
        ("measured", times, [_scaled(item.metric, value) for value in item.values])
    ]
    if item.direction is not Direction.TOO_FEW:
        middle = statistics.median(item.days)  # the line passes through the medians (``scipy.stats.theilslopes``)
        fitted = [_scaled(item.metric, item.median + item.slope_per_day * (day - middle)) for day in item.days]
        series.append(("trend", times, fitted))
    change = "" if item.direction is Direction.TOO_FEW else f", {100 * item.change:+.1f}%"
    chart = charts.lines(
        f"trend-{item.metric.name}",
        f"{title}: {item.direction}{change}",
        f"Median {item.metric.text(item.median)}.",
        series,
        y_title=_unit(item.metric),
    )
    values = zip(times, map(item.metric.text, item.values), strict=True)
    return chart, make_table(("time (UTC)", "value"), values, f"{title}: runs and medians of sessions")


def _title(metric: Metric) -> str:
    return metric.title[0].upper() + metric.title[1:]


def _scaled(metric: Metric, value: float | None) -> float | None:
    return None if value is None else round(value / 1e6 if metric.unit == BYTES else value, 4)


def _unit(metric: Metric) -> str:
    return {BYTES: "MB", SECONDS: "s"}.get(metric.unit, metric.unit)
