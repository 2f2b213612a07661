"""Accuracy of answers compared with the truth, at every threshold, with 95% intervals; arrays in, figures out.

The unit is a company with a label. A company with an accepted answer counts as predicted; the answer is right if it is
one of the acceptable recipients, so any answer for a company without a partner is wrong. Precision is right over
predicted, recall right over the companies with a partner, F1 = 2 right / (predicted + companies with a partner). A
threshold takes all answers of equal score or none.

Intervals cover chance in the choice of companies, not errors in the labels. Does not cover where answers and labels
come from (``labels``, ``subjects``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from enrich_dist.results.calibration import BINS, CalibrationBin

PRECISION_FLOOR: Final = 0.98
OWN, BEST_F1, BEST_F1_FINDABLE, FLOOR = "own", "best_f1", "best_f1_findable", "floor"
_Z: Final = 1.959964  # quantile of the normal distribution for 95%, two-sided

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Judged:
    """Answers compared with the truth: arrays with one entry per company, all of one length.

    ``score``: float64, higher is better, any value without an answer; ``has``: there is an answer; ``accepted``: the
    method itself accepts it; ``right``: it is acceptable; ``partner``: the company has an acceptable recipient;
    ``findable``: that can be identified by name and place; ``kinds``: companies of each kind, for shares by kind.
    """

    score: Floats
    has: Bools
    accepted: Bools
    right: Bools
    partner: Bools
    findable: Bools
    kinds: Mapping[str, Bools] = field(default_factory=dict)

    @property
    def fair(self) -> Bools:
        """Companies that count for the findable: without those whose partner cannot be identified."""
        return self.findable | ~self.partner

    @property
    def own(self) -> Bools:
        """Companies whose answer the method itself accepts."""
        return self.has & self.accepted


@dataclass(frozen=True)
class Point:
    """Accuracy if these answers are accepted and no others. ``threshold`` is None where nothing is accepted.

    ``*_findable`` exclude companies whose partner cannot be identified by name and place. ``recall_by_kind`` is of
    companies with a partner, ``wrong_by_kind`` the share wrongly matched of those without. A share of nothing is 0,
    and ``precision`` None.
    """

    threshold: float | None
    predicted: int
    right: int
    precision: float | None
    precision_interval: Interval
    recall: float
    recall_interval: Interval
    recall_findable: float
    recall_findable_interval: Interval
    f1: float
    f1_interval: Interval
    f1_findable: float
    no_match_wrong: float
    no_match_wrong_interval: Interval
    recall_by_kind: Mapping[str, float]
    wrong_by_kind: Mapping[str, float]


@dataclass(frozen=True)
class Curve:
    """Arrays over all distinct scores, the highest first: what is accepted at each, and the figures."""

    threshold: Floats
    predicted: npt.NDArray[np.int64]
    right: npt.NDArray[np.int64]
    precision: Floats
    recall: Floats
    f1: Floats


def wilson_interval(part: float, whole: float) -> Interval:
    """Return the 95% interval of the share ``part / whole`` (Wilson 1927); (0, 1) if ``whole`` is 0."""
    if not whole:
        return 0.0, 1.0
    z2 = _Z**2
    centre = (part + z2 / 2) / (whole + z2)
    spread = (_Z * max(0.0, part * (whole - part) / whole + z2 / 4) ** 0.5) / (whole + z2)
    low = 0.0 if part <= 0 else max(0.0, centre - spread)
    return low, 1.0 if part >= whole else min(1.0, centre + spread)


def f1_interval(right: int, predicted: int, partners: int, mixed_up: int) -> Interval:
    """Return the 95% interval of F1. ``mixed_up``: wrong answers for companies with a partner.

    F1 is 2 J / (1 + J) with J = right / (right + errors), where an answer for a company with a partner that is wrong is
    two errors. The interval is Wilson's of J, transformed. Its sample size is right + errors, reduced by the factor by
    which pairs of errors increase the variance of J: errors / (errors + 2 J mixed_up).
    """
    errors = predicted + partners - 2 * right
    size: float = right + errors
    if not size:
        return 0.0, 1.0
    ratio = right / size
    if errors:
        size = size * errors / (errors + 2 * ratio * mixed_up)
    low, high = wilson_interval(ratio * size, size)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def point(judged: Judged, accepted: Bools, threshold: float | None) -> Point:
    """Return the figures if the answers ``accepted`` (bool per company) are accepted."""
    hits = accepted & judged.right
    predicted, right, partners = int(accepted.sum()), int(hits.sum()), int(judged.partner.sum())
    mixed_up = int((accepted & judged.partner & ~judged.right).sum())
    found_findable = int((hits & judged.findable).sum())
    without = ~judged.partner
    return Point(
        threshold=threshold,
        predicted=predicted,
        right=right,
        precision=right / predicted if predicted else None,
        precision_interval=wilson_interval(right, predicted),
        recall=share(hits, judged.partner),
        recall_interval=wilson_interval(right, partners),
        recall_findable=share(hits, judged.findable),
        recall_findable_interval=wilson_interval(found_findable, int(judged.findable.sum())),
        f1=_f1(right, predicted, partners),
        f1_interval=f1_interval(right, predicted, partners, mixed_up),
        f1_findable=_f1(found_findable, int((accepted & judged.fair).sum()), int(judged.findable.sum())),
        no_match_wrong=share(accepted, without),
        no_match_wrong_interval=wilson_interval(int((accepted & without).sum()), int(without.sum())),
        recall_by_kind=_by_kind(hits, judged.partner, judged.kinds),
        wrong_by_kind=_by_kind(accepted, without, judged.kinds),
    )


def operating_points(judged: Judged, *, floor: float = PRECISION_FLOOR) -> dict[str, Point]:
    """Return four operating points.

    ``own``: what the method accepts itself. ``best_f1`` and ``best_f1_findable``: the thresholds of maximum F1.
    ``floor``: maximum recall at a precision of at least ``floor``; nothing is accepted if no threshold reaches it. The
    higher threshold wins a tie.
    """
    found = curve(judged)
    findable, fair = (_accepted(judged, mask) for mask in (judged.right & judged.findable, judged.fair))
    gains = {
        BEST_F1: found.f1,
        BEST_F1_FINDABLE: 2 * findable / np.maximum(fair + judged.findable.sum(), 1),
        FLOOR: np.where(found.right >= floor * found.predicted, found.right, 0),
    }
    own = judged.own
    points = {OWN: point(judged, own, float(judged.score[own].min()) if own.any() else None)}
    for name, gain in gains.items():
        reached = len(gain) > 0 and gain.max() > 0
        threshold = float(found.threshold[int(np.argmax(gain))]) if reached else None
        points[name] = point_at(judged, threshold)
    return points


def point_at(judged: Judged, threshold: float | None) -> Point:
    """Return the figures if all answers of at least this score are accepted, none for None."""
    return point(judged, judged.has & (judged.score >= (np.inf if threshold is None else threshold)), threshold)


def curve(judged: Judged) -> Curve:
    """Return the figures at every distinct score."""
    right, predicted = _accepted(judged, judged.right), _accepted(judged, np.ones_like(judged.has))
    partners = int(judged.partner.sum())
    scores = np.sort(np.unique(judged.score[judged.has]))[::-1]
    return Curve(
        threshold=scores,
        predicted=predicted,
        right=right,
        precision=right / np.maximum(predicted, 1),
        recall=right / max(partners, 1),
        f1=2 * right / np.maximum(predicted + partners, 1),
    )


def calibration_bins(probability: Floats, right: Bools) -> tuple[CalibrationBin, ...]:
    """Return answers in ``BINS`` bins of equal width of their match probability, without empty bins."""
    number = np.clip((probability * BINS + 1e-9).astype(np.int64), 0, BINS - 1)
    companies = np.bincount(number, minlength=BINS)
    total = np.bincount(number, weights=probability, minlength=BINS)
    correct = np.bincount(number, weights=right, minlength=BINS)
    return tuple(
        CalibrationBin(at / BINS, (at + 1) / BINS, int(companies[at]), float(total[at] / companies[at]),
                       int(correct[at]))
        for at in np.flatnonzero(companies).tolist()
    )  # fmt: skip


def expected_calibration_error(bins: Sequence[CalibrationBin]) -> float | None:
    """Return the mean difference of probability and share right, weighted by companies; None without any.

    Naeini, Cooper and Hauskrecht 2015.
    """
    companies = sum(item.companies for item in bins)
    differences = (abs(item.mean_probability * item.companies - item.correct) for item in bins)
    return sum(differences) / companies if companies else None


def mcnemar_p_value(only_first: int, only_second: int) -> float:
    """Return the two-sided p-value of two results that are right for the same share of companies.

    ``only_first``, ``only_second``: companies for which one of both is right (McNemar 1947). Uses the exact binomial
    distribution for all counts, of which McNemar's statistic is an approximation.
    """
    from scipy.special import bdtr  # the distribution function of scipy.stats.binom, which takes seconds to import

    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def share(what: Bools, of: Bools) -> float:
    """Return the share of ``of`` that is also ``what``; 0 if there is none."""
    return float(what[of].mean()) if of.any() else 0.0


def _accepted(judged: Judged, mask: Bools) -> npt.NDArray[np.int64]:
    """Count the answers of ``mask`` at each distinct score and above, the highest score first."""
    rows = np.flatnonzero(judged.has)
    rows = rows[np.argsort(-judged.score[rows], kind="stable")]
    scores = judged.score[rows]
    last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(rows) else rows
    return np.cumsum(mask[rows], dtype=np.int64)[last]


def _f1(right: int, predicted: int, partners: int) -> float:
    return 2 * right / max(predicted + partners, 1)


def _by_kind(what: Bools, of: Bools, kinds: Mapping[str, Bools]) -> dict[str, float]:
    return {kind: share(what, of & mask) for kind, mask in kinds.items() if (of & mask).any()}
