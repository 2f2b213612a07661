"""The section that sets a run beside what ``enrich-dist plan`` said before it. Does not compute it (``planning``)."""

from __future__ import annotations

from enrich_dist.reporting.html.facts import RunFacts
from enrich_dist.reporting.html.parts import Section, Table
from enrich_dist.reporting.plan_comparison import HEAD, comparison_rows

_TITLE = "Planned and actual"


def planned(facts: RunFacts) -> Section:
    """Seconds by stage, memory and disk, predicted and actual."""
    if facts.planned is None:
        return Section("planned", _TITLE, ("The run was not planned before: enrich-dist plan",))
    rows = tuple(comparison_rows(facts.planned))
    head = ("figure", *HEAD[1:])
    shown = Table("Seconds, and megabytes where it is said", head, rows, (False, True, True, True, True), folded=False)
    text = [facts.planned.note] if facts.planned.note else []
    return Section("planned", _TITLE, tuple(text), tables=(shown,))
