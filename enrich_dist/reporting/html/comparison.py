"""The section that sets a run beside the one before it, one that a person named, and the latest runs."""

from __future__ import annotations

from enrich_dist.core.markdown import percent
from enrich_dist.reporting.html import charts
from enrich_dist.reporting.html.charts import Chart
from enrich_dist.reporting.html.facts import RunFacts
from enrich_dist.reporting.html.parts import Section, Table, table
from enrich_dist.reporting.run_figures import FIGURES, change
from enrich_dist.reporting.run_figures import text as figure_text
from enrich_dist.runs.entry import RunEntry

_MAX_RUNS = 30


def compared(facts: RunFacts) -> Section:
    """The run beside the one before, and the one that a person named."""
    others = compared_with(facts)
    text = []
    if facts.previous is None:
        text.append("No earlier run was judged in this work directory.")
    else:
        text.append("Which awards gained, lost or changed their match since: enrich-dist runs diff")
    if not others:
        return Section("comparison", "Compared with earlier runs", tuple(text))
    rows = []
    numbers = facts.summary.numbers
    for figure in FIGURES:
        own = numbers.get(figure.name)
        cells: list[str] = [figure.title, figure_text(figure, own)]
        for _, other in others:
            value = other.numbers.get(figure.name)
            cells += [figure_text(figure, value), change(figure, own, value)]
        rows.append(tuple(cells))
    rows.append(("verdict", facts.summary.status, *(cell for _, other in others for cell in (other.status, ""))))
    head = ("figure", "this run", *(cell for title, _ in others for cell in (title, "change")))
    shown_table = Table("This run beside others", head, tuple(rows), (False, *(True for _ in head[1:])), folded=False)
    return Section("comparison", "Compared with earlier runs", tuple(text), charts=_trend(facts), tables=(shown_table,))


def _trend(facts: RunFacts) -> tuple[tuple[Chart, Table | None], ...]:
    runs = [*facts.history[-_MAX_RUNS + 1 :], facts.summary]
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


def _share(value: float | None) -> str:
    return "" if value is None else percent(value)


def compared_with(facts: RunFacts) -> list[tuple[str, RunEntry]]:
    """The runs that this one is compared with."""
    named = "" if facts.against is None else f"run {facts.against.short_id}"
    return [(title, run) for title, run in (("previous run", facts.previous), (named, facts.against)) if run]
