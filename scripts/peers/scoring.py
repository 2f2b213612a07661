"""Accuracy of answers against what is known, at every threshold that the scores allow.

A company with an answer counts as predicted; the answer is right if it is one of its acceptable recipients, so any
answer for a company without partner is wrong. Precision is right over predicted, recall right over the companies with
a partner. A threshold takes all answers of equal score or none. Does not give intervals: with few companies a figure
may be a matter of one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scripts.peers.cases import Known

PRECISION_FLOOR: Final = 0.98
KIND_SEPARATOR: Final = "+"

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Answer:
    """The best recipient that a contestant has for a company, None if it has none."""

    left_id: str
    right_id: str | None
    score: float | None
    accepted: bool


@dataclass(frozen=True)
class Point:
    """What a contestant achieves if it accepts these answers and no others. ``threshold`` is None where none is.

    ``f1_findable`` leaves companies out whose partner cannot be told from their names and places.

    A kind of several parts (``cut+city``) counts under each. ``recall_by_kind`` is of companies with a partner,
    ``wrong_by_kind`` the share wrongly matched of those without.
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
    """Answers as columns, one entry for each company asked."""

    score: npt.NDArray[np.float64]
    has: Bools
    accepted: Bools
    right: Bools
    partner: Bools
    findable: Bools
    kinds: Mapping[str, Bools]


def score(answers: Iterable[Answer], known: Mapping[str, Known], floor: float = PRECISION_FLOOR) -> dict[str, Point]:
    """Four operating points over the companies that were asked, one answer each.

    ``own``: what the contestant accepts itself. ``best_f1``, ``best_f1_findable``: the thresholds of the
    greatest F1, of all and of the findable. ``floor``: the one of
    the greatest recall among those of at least this precision; nothing is accepted where no threshold is worth it.
    The higher threshold wins among equals.
    """
    judged = _judged(list(answers), known)
    own = judged.has & judged.accepted
    thresholds = _thresholds(judged, floor)
    return {
        "own": _point(judged, own, float(judged.score[own].min()) if own.any() else None),
        **{
            name: _point(judged, judged.has & (judged.score >= (np.inf if value is None else value)), value)
            for name, value in thresholds.items()
        },
    }


def _judged(answers: list[Answer], known: Mapping[str, Known]) -> _Judged:
    facts = [known[answer.left_id] for answer in answers]
    if len({answer.left_id for answer in answers}) != len(answers):
        raise ValueError("more than one answer for a company")
    return _Judged(
        score=np.array([-np.inf if answer.score is None else answer.score for answer in answers], dtype=np.float64),
        has=np.array([answer.right_id is not None for answer in answers], dtype=bool),
        accepted=np.array([answer.accepted for answer in answers], dtype=bool),
        right=np.array(
            [answer.right_id in fact.acceptable for answer, fact in zip(answers, facts, strict=True)], dtype=bool
        ),
        partner=np.array([bool(fact.acceptable) for fact in facts], dtype=bool),
        findable=np.array([fact.findable for fact in facts], dtype=bool),
        kinds=_kinds(facts),
    )


def _kinds(facts: Sequence[Known]) -> dict[str, Bools]:
    """Which companies are of each kind."""
    rows = defaultdict(list)
    for row, fact in enumerate(facts):
        for kind in set(fact.kind.split(KIND_SEPARATOR)):
            rows[kind].append(row)
    masks = {}
    for kind in sorted(rows):
        masks[kind] = np.zeros(len(facts), dtype=bool)
        masks[kind][rows[kind]] = True
    return masks


def _thresholds(judged: _Judged, floor: float) -> dict[str, float | None]:
    """The thresholds of the greatest F1 and of the greatest recall at the floor; None where nothing is worth taking."""
    rows = np.flatnonzero(judged.has)
    rows = rows[np.argsort(-judged.score[rows], kind="stable")]
    values = judged.score[rows]
    last = np.flatnonzero(np.append(values[1:] != values[:-1], True)) if len(rows) else rows
    predicted = last + 1
    right = np.cumsum(judged.right[rows])[last]
    f1 = 2 * right / (predicted + judged.partner.sum())
    fair = (judged.findable | ~judged.partner)[rows]
    right_findable = np.cumsum((judged.right & judged.findable)[rows])[last]
    f1_findable = 2 * right_findable / np.maximum(np.cumsum(fair)[last] + judged.findable.sum(), 1)
    reached = np.where(right >= floor * predicted, right, 0)
    chosen: dict[str, float | None] = {"best_f1": None, "best_f1_findable": None, "floor": None}
    for name, gain in (("best_f1", f1), ("best_f1_findable", f1_findable), ("floor", reached)):
        if len(last) and gain.max() > 0:
            chosen[name] = float(values[last[int(np.argmax(gain))]])
    return chosen


def _point(judged: _Judged, taken: Bools, threshold: float | None) -> Point:
    predicted, right = int(taken.sum()), int((taken & judged.right).sum())
    precision = right / predicted if predicted else None
    recall = _share(taken & judged.right, judged.partner)
    f1 = 2 * right / (predicted + int(judged.partner.sum())) if right else 0.0
    # Companies of which nobody could say more than that their partner cannot be found are left out.
    fair = judged.findable | ~judged.partner
    right_findable = int((taken & judged.right & judged.findable).sum())
    asked = int((taken & fair).sum()) + int(judged.findable.sum())
    return Point(
        threshold=threshold,
        predicted=predicted,
        right=right,
        precision=precision,
        recall=recall,
        recall_findable=_share(taken & judged.right, judged.findable),
        f1=f1,
        f1_findable=2 * right_findable / asked if right_findable else 0.0,
        no_match_wrong=_share(taken, ~judged.partner),
        recall_by_kind=_by_kind(taken & judged.right, judged.partner, judged.kinds),
        wrong_by_kind=_by_kind(taken, ~judged.partner, judged.kinds),
    )


def _by_kind(what: Bools, of: Bools, kinds: Mapping[str, Bools]) -> dict[str, float]:
    return {kind: _share(what, of & mask) for kind, mask in kinds.items() if (of & mask).any()}


def _share(what: Bools, of: Bools) -> float:
    """Share of the companies ``of`` that are also ``what``; 0 where there are none."""
    total = int(of.sum())
    return int((what & of).sum()) / total if total else 0.0


def counts(answers: Iterable[Answer], known: Mapping[str, Known]) -> dict[str, Any]:
    """How many companies were asked, and of which sort."""
    facts = [known[answer.left_id] for answer in answers]
    return {
        "asked": len(facts),
        "with_partner": sum(bool(fact.acceptable) for fact in facts),
        "findable": sum(fact.findable for fact in facts),
        "no_partner": sum(not fact.acceptable for fact in facts),
    }
