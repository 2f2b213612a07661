"""What a report shows of a run, from top to bottom: its sentence, its figures and its sections.

Covers the choice and the order. The sections themselves are in ``quality`` (the result), ``work`` (how the run went),
``planned`` and ``comparison``. Does not cover how a page looks (``page``).
"""

from __future__ import annotations

from typing import Any, Literal

from enrich_dist.core.markdown import percent
from enrich_dist.events import format_duration
from enrich_dist.reporting.html import comparison, planned, quality, work
from enrich_dist.reporting.html.facts import RunFacts
from enrich_dist.reporting.html.parts import Section, Tile, megabytes


def headline(facts: RunFacts) -> str:
    """The run in a sentence."""
    awards = facts.metrics["awards"]
    return (
        f"{awards['matched']:,} of {awards['valid']:,} valid awards have an accepted match "
        f"({percent(facts.metrics['match_rate'])}); {awards['review']:,} wait for review, {awards['unmatched']:,} are "
        "unmatched."
    )


def tiles(facts: RunFacts) -> list[Tile]:
    """The figures at the top."""
    metrics, checks = facts.metrics, {check["name"]: check for check in facts.verdict["checks"]}
    precision, recall = metrics["accuracy"]["precision"], metrics["accuracy"]["recall"]

    def tone(check: str) -> Literal["good", "bad"]:
        return "good" if checks[check]["passed"] else "bad"

    shown = [
        Tile(
            "Match rate",
            percent(metrics["match_rate"]),
            f"of the awards; {percent(checks['match_rate']['threshold'])} are required",
            tone("match_rate"),
        ),
        Tile("By company", percent(metrics["companies"]["match_rate"]), f"of {metrics['companies']['valid']:,}"),
        Tile(
            "Estimated precision",
            _estimate(precision["estimate"]),
            f"{_interval(precision)}; {percent(checks['estimated_precision']['threshold'])} are required",
            tone("estimated_precision"),
        ),
        Tile("Estimated recall", _estimate(recall["estimate"]), _interval(recall)),
        Tile("Time", format_duration(facts.summary.numbers["run_seconds"]), "of all steps of this run"),
    ]
    if facts.workers:
        most = max(facts.workers, key=lambda worker: worker.peak_memory_bytes)
        limit = f"limit {megabytes(most.memory_limit_bytes)} MB" if most.memory_limit_bytes else "no limit"
        shown.append(Tile("Worker memory", f"{megabytes(most.peak_memory_bytes)} MB", f"the highest peak; {limit}"))
    return shown


def all_sections(facts: RunFacts) -> list[Section]:
    """The report from top to bottom."""
    return [
        quality.verdict(facts),
        comparison.compared(facts),
        quality.methods(facts),
        quality.groups(facts),
        quality.distributions(facts),
        quality.reliability(facts),
        quality.undecided(facts),
        work.steps(facts),
        planned.planned(facts),
        work.timeline(facts),
        work.memory(facts),
        work.trouble(facts),
        quality.accounting(facts),
        quality.model(facts),
        work.settings(facts),
    ]


def _estimate(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _interval(share: dict[str, Any]) -> str:
    return (
        "nothing is accepted" if share["estimate"] is None else f"{percent(share['low'])} to {percent(share['high'])}"
    )
