"""Answers of a method as columns. ``enrich_dist.evaluation.figures`` has the figures and their definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from enrich_dist.evaluation.figures import Bools, Judged, Point, operating_points
from scripts.peers.cases import Known

KIND_SEPARATOR: Final = "+"


@dataclass(frozen=True)
class Answer:
    """The best recipient of a company, None without one."""

    left_id: str
    right_id: str | None
    score: float | None
    accepted: bool


def score(answers: Iterable[Answer], known: Mapping[str, Known]) -> dict[str, Point]:
    """Return the operating points over the companies that have an ``Answer``."""
    return operating_points(judge(list(answers), known))


def judge(answers: Sequence[Answer], known: Mapping[str, Known]) -> Judged:
    """Compare the answers with the truth; a kind of several parts (``cut+city``) counts under each.

    Raises ``ValueError`` for several answers of one company.
    """
    facts = [known[answer.left_id] for answer in answers]
    if len({answer.left_id for answer in answers}) != len(answers):
        raise ValueError("more than one answer for a company")

    def flags(values: Iterable[bool]) -> Bools:
        return np.fromiter(values, dtype=bool, count=len(answers))

    kinds = [set(fact.kind.split(KIND_SEPARATOR)) for fact in facts]
    return Judged(
        score=np.array([-np.inf if answer.score is None else answer.score for answer in answers], dtype=np.float64),
        has=flags(answer.right_id is not None for answer in answers),
        accepted=flags(answer.accepted for answer in answers),
        right=flags(answer.right_id in fact.acceptable for answer, fact in zip(answers, facts, strict=True)),
        partner=flags(bool(fact.acceptable) for fact in facts),
        findable=flags(fact.findable for fact in facts),
        kinds={kind: flags(kind in of for of in kinds) for kind in sorted(set().union(*kinds))},
    )


def count_companies(companies: Iterable[str], known: Mapping[str, Known]) -> dict[str, int]:
    """Return the number of companies, and of those with, with a findable and without a partner."""
    facts = [known[company] for company in companies]
    partners = sum(bool(fact.acceptable) for fact in facts)
    return {
        "companies": len(facts),
        "with_partner": partners,
        "findable": sum(fact.findable for fact in facts),
        "no_partner": len(facts) - partners,
    }
