"""The section that sets a run beside the one before it, the baseline, and the latest runs."""

from __future__ import annotations

from collections.abc import Callable

from enrich_dist.observe.html import charts
from enrich_dist.observe.html.charts import Chart
from enrich_dist.observe.html.facts import RunFacts
from enrich_dist.observe.html.history import RunSummary
from enrich_dist.observe.html.parts import Section, Table, table
from enrich_dist.observe.report import percent

_MOST_RUNS = 30
_Format = Callable[[float], str]
_COMPARED: tuple[tuple[str, str, _Format], ...] = (
    ("match_rate", "match rate", percent),
    ("match_rate_by_company", "match rate by company", percent),
    ("estimated_precision", "estimated precision", percent),
    ("estimated_recall", "estimated recall", percent),
    ("awards_matched", "awards matched", lambda value: f"{value:,.0f}"),
    ("awards_review", "awards for review", lambda value: f"{value:,.0f}"),
    ("awards_unmatched", "awards unmatched", lambda value: f"{value:,.0f}"),
    ("run_seconds", "seconds of all steps", lambda value: f"{value:,.1f}"),
    ("farm_seconds", "seconds of the farm", lambda value: f"{value:,.1f}"),
    ("chunks_computed", "chunks computed", lambda value: f"{value:,.0f}"),
    ("worker_peak_memory_mb", "worker peak memory, MB", lambda value: f"{value:,.0f}"),
    ("failed_attempts", "failed attempts", lambda value: f"{value:,.0f}"),
    ("degradations", "batches made smaller", lambda value: f"{value:,.0f}"),
)


def compared(facts: RunFacts) -> Section:
    """The run beside the one before and the baseline."""
    others = compared_with(facts)
    text = []
    if facts.previous is None:
        text.append("No earlier run was reported in this work directory.")
    if facts.baseline is None:
        text.append("No baseline is set: enrich-dist report --save-baseline FILE makes this run one to compare with.")
    if not others:
        return Section("comparison", "Compared with earlier runs", tuple(text))
    rows = []
    for name, title, shown in _COMPARED:
        own = facts.summary.numbers.get(name)
        cells: list[str] = [title, "" if own is None else shown(own)]
        for _, other in others:
            value = other.numbers.get(name)
            cells += ["" if value is None else shown(value), _change(own, value, shown)]
        rows.append(tuple(cells))
    rows.append(("verdict", facts.summary.status, *(cell for _, other in others for cell in (other.status, ""))))
    head = ("figure", "this run", *(cell for title, _ in others for cell in (title, "change")))
    shown_table = Table("This run beside others", head, tuple(rows), (False, *(True for _ in head[1:])), folded=False)
    return Section("comparison", "Compared with earlier runs", tuple(text), charts=_trend(facts), tables=(shown_table,))


def _trend(facts: RunFacts) -> tuple[tuple[Chart, Table | None], ...]:
    runs = [*facts.history[-_MOST_RUNS + 1 :], facts.summary]
    if len(runs) < 3:  # two are in the table
        return ()
    names = ("match_rate", "estimated_precision", "estimated_recall")
    labels = [f"run {number}" for number in range(1, len(runs))] + ["this run"]
    series = [(name.replace("_", " "), labels, [run.numbers.get(name) for run in runs]) for name in names]
    chart = charts.lines(
        "trend",
        "Rates of the latest runs",
        f"Lines over the latest {len(runs)} runs of this work directory; the last match rate is "
        f"{percent(facts.metrics['match_rate'])}.",
        series,
        x_title="",
        y_title="",
        share=True,
    )
    rows = [
        (label, run.status, *(_share(run.numbers.get(name)) for name in names), f"{run.numbers['run_seconds']:,.1f}")
        for label, run in zip(labels, runs, strict=True)
    ]
    head = ("run", "verdict", "match rate", "precision", "recall", "seconds")
    return ((chart, table("Rates of the latest runs", head, rows)),)


def _change(own: float | None, other: float | None, shown: _Format) -> str:
    if own is None or other is None:
        return ""
    difference = own - other
    if shown is percent:
        return "none" if abs(difference) < 0.0005 else f"{100 * difference:+.1f} points"
    if shown(own) == shown(other):
        return "none"
    return f"{difference:+,.1f}" + (f" ({100 * difference / other:+.0f} %)" if other else "")


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def compared_with(facts: RunFacts) -> list[tuple[str, RunSummary]]:
    """The runs that this one is compared with."""
    return [(title, run) for title, run in (("previous run", facts.previous), ("baseline", facts.baseline)) if run]
