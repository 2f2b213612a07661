"""Baseline comparison: is the candidate slower than the baseline, or does it use more memory?

A change is a *regression* if it is statistically significant and the ratio of the medians reaches the limit. Where the
variation of the repeats could hide a change as large as the limit, the verdict is *inconclusive*. Every verdict states
the smallest change that it could detect.

The calibration workload detects a machine that is slower in one session than in another. A slowdown that the machine
explains is *inconclusive*. Does not cover which records to compare (``archive``).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import Final

import numpy as np

from enrich_dist.errors import StateError
from enrich_dist.runs.metrics import METRICS, SECONDS, Metric, total_seconds
from enrich_dist.runs.records import RunRecord

FALSE_ALARM: Final = 0.01
"""Maximum probability that a comparison of the same code reports a growth, over all judged metrics together."""
_MACHINE_FALSE_ALARM = 0.05
_MIN_SHARE = 0.10  # of the run time; smaller parts are not judged
# A change of half the interval's width is detected with probability 0.5; 1.5 times as much with probability 0.9:
# 1 + z(0.90) / z(1 - FALSE_ALARM / 2).
_DETECTABLE_WIDTHS = 1.5


class Verdict(StrEnum):
    """Result of a comparison."""

    REGRESSION = "regression"
    NO_REGRESSION = "no regression"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Shift:
    """Ratio of the candidate's median to the baseline's, with its confidence interval.

    ``smallest_visible``: smallest growth (0.08: 8%) that is detected with probability 0.9. With too few repeats, the
    interval is from 0 to infinity, and no growth is visible.
    """

    ratio: float
    low: float = 0.0
    high: float = math.inf
    smallest_visible: float = math.inf


@dataclass(frozen=True)
class MetricComparison:
    """One metric: the medians of both sides, and the verdict; None where the metric is only displayed."""

    metric: Metric
    baseline: float
    candidate: float
    shift: Shift
    verdict: Verdict | None
    reason: str

    @property
    def delta(self) -> float:
        """Candidate minus baseline, in the metric's unit."""
        return self.candidate - self.baseline

    @property
    def percent(self) -> float:
        """``delta`` in percent of the baseline."""
        return 100 * (self.shift.ratio - 1)


@dataclass(frozen=True)
class Comparison:
    """All metrics, and their common verdict.

    ``machine``: ratio of the calibration times, how much slower the machine was; None where not measured for all runs.
    """

    baseline: tuple[RunRecord, ...]
    candidate: tuple[RunRecord, ...]
    metrics: tuple[MetricComparison, ...]
    machine: Shift | None
    verdict: Verdict

    @property
    def reasons(self) -> list[str]:
        """One sentence per metric that decided the verdict."""
        return [
            item.reason
            for item in self.metrics
            if item.verdict is self.verdict and (item.metric.headline or self.verdict is Verdict.REGRESSION)
        ]


def compare(baseline: Sequence[RunRecord], candidate: Sequence[RunRecord]) -> Comparison:
    """Compare the candidate's runs with the baseline's.

    Raises ``StateError`` unless all runs did the same complete work on the same kind of machine.
    """
    _require_comparable([*baseline, *candidate])
    before, after = (_values(lambda record: record.calibration_seconds, runs) for runs in (baseline, candidate))
    machine = shift(before, after, _MACHINE_FALSE_ALARM) if before and after else None
    values = {item.name: (_values(item.value, baseline), _values(item.value, candidate)) for item in METRICS}
    judged = {item.name for item in METRICS if _is_judged(item, values, baseline, candidate)}
    false_alarm = FALSE_ALARM / max(len(judged), 1)  # Bonferroni correction
    compared = []
    for item in METRICS:
        before, after = values[item.name]
        if before and after:
            found = shift(before, after, false_alarm)
            verdict, reason = _judge(item, found, machine, false_alarm) if item.name in judged else (None, "")
            medians = statistics.median(before), statistics.median(after)
            compared.append(MetricComparison(item, *medians, found, verdict, reason))
    return Comparison(tuple(baseline), tuple(candidate), tuple(compared), machine, _together(compared))


def shift(baseline: Sequence[float], candidate: Sequence[float], false_alarm: float) -> Shift:
    """Return the ratio of two samples of positive values, with an exact, distribution-free confidence interval.

    The interval inverts the Mann-Whitney test on logarithms: it contains all ratios that the test does not reject, with
    ``false_alarm`` on either side (Hodges and Lehmann 1963; Hollander, Wolfe and Chicken, "Nonparametric Statistical
    Methods", section 4.3). It is robust to outliers and exact for few repeats.
    """
    ratio = statistics.median(candidate) / statistics.median(baseline)
    differences = np.sort(np.subtract.outer(np.log(candidate), np.log(baseline)), axis=None)
    dropped = _dropped(len(baseline), len(candidate), false_alarm)
    if dropped is None:
        return Shift(ratio)
    low, high = float(differences[dropped]), float(differences[-1 - dropped])
    width = (high - low) / 2  # both sides estimate the noise; one alone may be short by chance
    return Shift(ratio, math.exp(low), math.exp(high), math.expm1(_DETECTABLE_WIDTHS * width))


def min_repeats(false_alarm: float) -> int:
    """Return the minimum repeats of either side: two samples without overlap must be rarer by chance than
    ``false_alarm``."""
    return next(repeats for repeats in count(1) if 1 / math.comb(2 * repeats, repeats) <= false_alarm)


def _dropped(baseline: int, candidate: int, false_alarm: float) -> int | None:
    """Return how many of the sorted pairwise differences are outside the interval at either end; None with too few
    repeats."""
    at_most = np.cumsum(_arrangements(baseline, candidate)) / math.comb(baseline + candidate, baseline)
    allowed = int(np.searchsorted(at_most, false_alarm, side="right"))
    return None if allowed == 0 else allowed - 1


def _arrangements(baseline: int, candidate: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the number of orders of both samples in which the Mann-Whitney statistic is 0, 1, 2, …

    These are the coefficients of the Gaussian binomial, prod (1 - q^(candidate + i)) / (1 - q^i) for i = 1 … baseline
    (Mann and Whitney 1947).
    """
    counts = np.zeros(baseline * candidate + 1)
    counts[0] = 1.0
    for i in range(1, baseline + 1):
        counts[candidate + i :] -= counts[: -(candidate + i)].copy()
        for start in range(i):
            counts[start::i] = counts[start::i].cumsum()
    return counts


def _require_comparable(records: Sequence[RunRecord]) -> None:
    keys = {record.comparable_key for record in records}
    if len(keys) != 1:
        raise StateError(
            "The runs did not do the same work on the same kind of machine: inputs, settings or machines differ.",
            remedy="Compare runs of one machine, input and settings.",
        )
    if not all(record.computed_everything for record in records):
        raise StateError(
            "A run reused or repeated work, so its times cannot be compared.",
            remedy="Measure with `enrich-dist bench run`, which starts in an empty work directory.",
        )


def _values(value: Callable[[RunRecord], float | None], records: Sequence[RunRecord]) -> list[float]:
    """Return the values of all runs; empty where one is missing or 0."""
    values = [found for record in records if (found := value(record)) is not None and found > 0]
    return values if len(values) == len(records) else []


def _is_judged(
    metric: Metric,
    values: dict[str, tuple[list[float], list[float]]],
    baseline: Sequence[RunRecord],
    candidate: Sequence[RunRecord],
) -> bool:
    before, after = values[metric.name]
    if metric.limit is None or not before or not after:
        return False
    if metric.name == "total_seconds" and all(values["wall_seconds"]):
        return False  # the whole command includes it
    if not metric.is_part:
        return True
    total = statistics.median(total_seconds(record) for record in baseline)
    total_after = statistics.median(total_seconds(record) for record in candidate)
    return max(statistics.median(before) / total, statistics.median(after) / total_after) >= _MIN_SHARE


def _judge(metric: Metric, found: Shift, machine: Shift | None, false_alarm: float) -> tuple[Verdict, str]:
    """Return the verdict on one metric that has a limit, and its reason."""
    limit = metric.limit or math.inf
    machine_ratio = machine.ratio if machine and machine.low > 1 and metric.unit == SECONDS else 1.0
    change, allowed = f"{100 * (found.ratio - 1):+.1f}%", f"{100 * (limit - 1):.0f}%"
    if math.isinf(found.smallest_visible):
        least = min_repeats(false_alarm)
        return Verdict.INCONCLUSIVE, f"{metric.title}: too few repeats, at least {least} of each are needed"
    visible = f"a change of {100 * found.smallest_visible:.1f}% or more would be detected"
    if found.low > 1 and found.ratio >= limit:
        if found.ratio / machine_ratio < limit:
            return Verdict.INCONCLUSIVE, (
                f"{metric.title}: {change}, but the machine was {100 * (machine_ratio - 1):.1f}% slower than for the "
                "baseline"
            )
        return Verdict.REGRESSION, f"{metric.title}: {change}, more than {allowed}, and significant ({visible})"
    if found.high < limit:
        worst = f"the upper end of the interval ({100 * (found.high - 1):+.1f}%) is less than {allowed}"
        return Verdict.NO_REGRESSION, f"{metric.title}: {change}; {worst}; {visible}"
    if found.ratio < limit and found.smallest_visible <= limit - 1:
        return Verdict.NO_REGRESSION, f"{metric.title}: {change}, less than {allowed}; {visible}"
    return Verdict.INCONCLUSIVE, f"{metric.title}: {change}, but the repeats vary too much: only {visible}"


def _together(metrics: Sequence[MetricComparison]) -> Verdict:
    """Return a regression if any metric has one; otherwise the headline metrics decide."""
    if any(item.verdict is Verdict.REGRESSION for item in metrics):
        return Verdict.REGRESSION
    headlines = [item.verdict for item in metrics if item.metric.headline and item.verdict is not None]
    certain = headlines and all(verdict is Verdict.NO_REGRESSION for verdict in headlines)
    return Verdict.NO_REGRESSION if certain else Verdict.INCONCLUSIVE
