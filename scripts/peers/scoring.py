"""Accuracy of answers compared with the truth, at every threshold that the scores allow.

A company with an answer counts as predicted. The answer is right if it is one of the acceptable recipients, so any
answer for a company without a partner is wrong. Precision is right over predicted, recall right over the companies
with a partner. A threshold takes all answers of equal score or none. Does not compute confidence intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scripts.peers.cases import Known

PRECISION_FLOOR: Final = 0.98
KIND_SEPARATOR: Final = "+"

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Answer:
    """The best recipient of a company, None without one."""

    left_id: str
    right_id: str | None
    score: float | None
    accepted: bool


@dataclass(frozen=True)
class Point:
    """Accuracy if these answers are accepted and no others. ``threshold`` is None where nothing is accepted.

    ``*_findable`` exclude companies whose partner cannot be identified by name and place. A kind of several parts
    (``cut+city``) counts under each. ``recall_by_kind`` is of companies with a partner, ``wrong_by_kind`` the share
    wrongly matched of those without.
    """

    threshold: float | None
    predicted: int
    right: int
    precision: float | None
    recall: float
    recall_findable: float
    f1: float
    f1_findable: float
    no_match_wrong: float
    recall_by_kind: Mapping[str, float]
    wrong_by_kind: Mapping[str, float]


@dataclass(frozen=True)
class _Judged:
    """Answers as columns, one entry per company."""

    score: npt.NDArray[np.float64]
    has: Bools
    accepted: Bools
    right: Bools
    partner: Bools
    findable: Bools
    kinds: Mapping[str, Bools]

    @property
    def fair(self) -> Bools:
        """Companies that count for the findable: without those whose partner cannot be identified."""
        return self.findable | ~self.partner


def score(answers: Iterable[Answer], known: Mapping[str, Known]) -> dict[str, Point]:
    """Return four operating points over the companies that have an ``Answer``.

    ``own``: what the method accepts itself. ``best_f1`` and ``best_f1_findable``: the thresholds of maximum F1.
    ``floor``: maximum recall at ``PRECISION_FLOOR``; nothing is accepted if no threshold reaches it. The higher
    threshold wins a tie. Raises ``ValueError`` for several answers of one company.
    """
    judged = _judged(list(answers), known)
    own = judged.has & judged.accepted
    points = {"own": _point(judged, own, float(judged.score[own].min()) if own.any() else None)}
    for name, threshold in _thresholds(judged).items():
        accepted = judged.has & (judged.score >= (np.inf if threshold is None else threshold))
        points[name] = _point(judged, accepted, threshold)
    return points


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


def _judged(answers: list[Answer], known: Mapping[str, Known]) -> _Judged:
    facts = [known[answer.left_id] for answer in answers]
    if len({answer.left_id for answer in answers}) != len(answers):
        raise ValueError("more than one answer for a company")

    def flags(values: Iterable[bool]) -> Bools:
        return np.fromiter(values, dtype=bool, count=len(answers))

    kinds = [set(fact.kind.split(KIND_SEPARATOR)) for fact in facts]
    return _Judged(
        score=np.array([-np.inf if answer.score is None else answer.score for answer in answers], dtype=np.float64),
        has=flags(answer.right_id is not None for answer in answers),
        accepted=flags(answer.accepted for answer in answers),
        right=flags(answer.right_id in fact.acceptable for answer, fact in zip(answers, facts, strict=True)),
        partner=flags(bool(fact.acceptable) for fact in facts),
        findable=flags(fact.findable for fact in facts),
        kinds={kind: flags(kind in of for of in kinds) for kind in sorted(set().union(*kinds))},
    )


def _thresholds(judged: _Judged) -> dict[str, float | None]:
    """The thresholds of maximum F1 and of maximum recall at the floor; None where nothing is worth accepting."""
    rows = np.flatnonzero(judged.has)
    rows = rows[np.argsort(-judged.score[rows], kind="stable")]
    values = judged.score[rows]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True)) if len(rows) else rows

    def accepted(mask: Bools) -> npt.NDArray[np.int64]:
        return np.cumsum(mask[rows], dtype=np.int64)[last]

    predicted, right = last + 1, accepted(judged.right)
    findable, fair = accepted(judged.right & judged.findable), accepted(judged.fair)
    gains = {
        "best_f1": _f1(right, predicted, judged.partner),
        "best_f1_findable": _f1(findable, fair, judged.findable),
        "floor": np.where(right >= PRECISION_FLOOR * predicted, right, 0),
    }
    return {
        name: float(values[last[int(np.argmax(gain))]]) if len(last) and gain.max() > 0 else None
        for name, gain in gains.items()
    }


def _f1(right: npt.ArrayLike, predicted: npt.ArrayLike, wanted: Bools) -> npt.NDArray[np.float64]:
    return np.asarray(2 * np.asarray(right) / np.maximum(np.asarray(predicted) + wanted.sum(), 1))


def _point(judged: _Judged, accepted: Bools, threshold: float | None) -> Point:
    hits = accepted & judged.right
    predicted, right = int(accepted.sum()), int(hits.sum())
    return Point(
        threshold=threshold,
        predicted=predicted,
        right=right,
        precision=right / predicted if predicted else None,
        recall=_share(hits, judged.partner),
        recall_findable=_share(hits, judged.findable),
        f1=float(_f1(right, predicted, judged.partner)),
        f1_findable=float(_f1((hits & judged.findable).sum(), (accepted & judged.fair).sum(), judged.findable)),
        no_match_wrong=_share(accepted, ~judged.partner),
        recall_by_kind=_by_kind(hits, judged.partner, judged.kinds),
        wrong_by_kind=_by_kind(accepted, ~judged.partner, judged.kinds),
    )


def _by_kind(what: Bools, of: Bools, kinds: Mapping[str, Bools]) -> dict[str, float]:
    return {kind: _share(what, of & mask) for kind, mask in kinds.items() if (of & mask).any()}


def _share(what: Bools, of: Bools) -> float:
    """The share of ``of`` that is also ``what``; 0 if there is none."""
    return float(what[of].mean()) if of.any() else 0.0
