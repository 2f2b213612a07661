"""Is the candidate slower, or does it take more memory, than the baseline? Repeats of both tell what chance allows.

Covers the statistics. A change is a *regression* when it is real (chance alone would hardly show it) and the ratio of
the medians reaches the limit. Where the scatter of the repeats could hide a change as large as the limit, the answer is
*cannot tell*, never a guess; and every answer says how small a change it could have seen.

Repeats of one session say nothing of a machine that is slower in the next one: the yardstick measured beside every
repeat does. A slowdown that the machine itself explains is no regression of the code; it is *cannot tell*.

Does not cover which records to compare (``archive``), nor how a comparison is shown (``tables``).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from enrich_dist.errors import StateError
from enrich_dist.runs.metrics import METRICS, SECONDS, Metric, total_seconds
from enrich_dist.runs.records import RunRecord

FALSE_ALARM: Final = 0.01
"""Chance, at most, that a comparison of the same code holds any growth for real; all judged figures share it."""
_MACHINE_FALSE_ALARM = 0.05
_MIN_SHARE = 0.10  # of the run's time: a part below it cannot move the run by as much as its own limit
# A change as large as half the width of the interval is found every other time. Half as much again is found nine times
# in ten: 1 + z(0.90) / z(1 - FALSE_ALARM / 2).
_WIDTHS_TO_BE_SEEN = 1.5


class Verdict(StrEnum):
    """What a comparison says."""

    REGRESSION = "regression"
    NO_REGRESSION = "no regression"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Shift:
    """By what factor the candidate's values lie above the baseline's."""

    ratio: float
    """Of the medians."""
    low: float
    """The least factor that chance would hardly exceed; 0 where there are too few repeats to say anything."""
    high: float
    """The largest one; infinite where there are too few repeats."""
    smallest_visible: float
    """The least growth (0.08: 8%) that would be held for real nine times in ten; infinite with too few repeats."""


@dataclass(frozen=True)
class MetricComparison:
    """One figure of both sides."""

    metric: Metric
    baseline: float
    """Median."""
    candidate: float
    """Median."""
    shift: Shift
    verdict: Verdict | None
    """None where the figure is only told."""
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
    """All figures, and what they say together."""

    baseline: tuple[RunRecord, ...]
    candidate: tuple[RunRecord, ...]
    metrics: tuple[MetricComparison, ...]
    machine: Shift | None
    """Of the yardstick: how much slower the machine itself was; None where it was not measured beside all runs."""
    verdict: Verdict

    @property
    def reasons(self) -> list[str]:
        """Why, a sentence per figure that decided."""
        return [
            item.reason
            for item in self.metrics
            if item.verdict is self.verdict and (item.metric.headline or self.verdict is Verdict.REGRESSION)
        ]


def compare(baseline: Sequence[RunRecord], candidate: Sequence[RunRecord]) -> Comparison:
    """Hold the candidate's runs against the baseline's.

    Raises ``StateError`` when a run did not do the same work on an equal machine, or did not do all of it.
    """
    _require_comparable([*baseline, *candidate])
    machine = _machine_shift(baseline, candidate)
    values = {item.name: (_values(item, baseline), _values(item, candidate)) for item in METRICS}
    judged = {item.name for item in METRICS if _is_judged(item, values, baseline, candidate)}
    # Each figure gets its share of the chance of a false alarm (Bonferroni).
    share = FALSE_ALARM / max(len(judged), 1)
    compared = tuple(
        _compared(item, before, after, share, machine, judged=item.name in judged)
        for item in METRICS
        for before, after in [values[item.name]]
        if before and after
    )
    return Comparison(tuple(baseline), tuple(candidate), compared, machine, _together(compared))


def shift(baseline: Sequence[float], candidate: Sequence[float], false_alarm: float) -> Shift:
    """The factor between two samples of positive values, with an exact interval that assumes no distribution.

    The interval is that of the Mann-Whitney test on logarithms, turned around: all factors that the test would not
    reject, ``false_alarm`` on either side (Hodges and Lehmann 1963; Hollander, Wolfe and Chicken, "Nonparametric
    Statistical Methods", section 4.3). One wild repeat does not move it far, and it holds for few repeats.
    """
    ratio = statistics.median(candidate) / statistics.median(baseline)
    differences = np.sort(np.subtract.outer(np.log(candidate), np.log(baseline)), axis=None)
    dropped = _dropped(len(baseline), len(candidate), false_alarm)
    if dropped is None:
        return Shift(ratio, 0.0, math.inf, math.inf)
    low, high = float(differences[dropped]), float(differences[-1 - dropped])
    width = (high - low) / 2  # both sides tell of the noise, and one alone may be short by luck
    return Shift(ratio, math.exp(low), math.exp(high), math.expm1(_WIDTHS_TO_BE_SEEN * width))


def min_repeats(false_alarm: float) -> int:
    """Repeats of either side without which nothing can be held for real: two samples that do not overlap at all must be
    rarer by chance than ``false_alarm``."""
    repeats = 1
    while 1 / math.comb(2 * repeats, repeats) > false_alarm:
        repeats += 1
    return repeats


def _dropped(baseline: int, candidate: int, false_alarm: float) -> int | None:
    """How many of the sorted pairwise differences lie outside of the interval at either end; None where even the widest
    one is not wide enough."""
    at_most = np.cumsum(_arrangements(baseline, candidate)) / math.comb(baseline + candidate, baseline)
    allowed = int(np.searchsorted(at_most, false_alarm, side="right"))
    return None if allowed == 0 else allowed - 1


def _arrangements(baseline: int, candidate: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """In how many orders of both samples together the Mann-Whitney statistic is 0, 1, 2, …: coefficients of the
    Gaussian binomial, prod (1 - q^(candidate + i)) / (1 - q^i) for i = 1 … baseline (Mann and Whitney 1947)."""
    counts = np.zeros(baseline * candidate + 1)
    counts[0] = 1.0
    for i in range(1, baseline + 1):
        step = candidate + i
        if step < len(counts):
            counts[step:] = counts[step:] - counts[:-step].copy()
        for position in range(i, len(counts)):
            counts[position] += counts[position - i]
    return counts


def _require_comparable(records: Sequence[RunRecord]) -> None:
    keys = {record.comparable_key for record in records}
    if len(keys) != 1:
        raise StateError(
            "The runs did not do the same work on an equal machine: inputs, settings or machines differ.",
            remedy="Compare runs of one machine, input and settings.",
        )
    if not all(record.computed_everything for record in records):
        raise StateError(
            "A run reused or repeated work, so that its times are not those of the work.",
            remedy="Measure with `enrich-dist bench run`, which always begins in an empty work directory.",
        )


def _values(metric: Metric, records: Sequence[RunRecord]) -> list[float]:
    """The figure of every run; none where a run lacks it, or it is 0 and no ratio exists."""
    found = [metric.value(record) for record in records]
    values = [value for value in found if value is not None and value > 0]
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
        return False  # the whole command holds it, and more
    if not metric.is_part:
        return True
    total = statistics.median(total_seconds(record) for record in baseline)
    total_after = statistics.median(total_seconds(record) for record in candidate)
    return max(statistics.median(before) / total, statistics.median(after) / total_after) >= _MIN_SHARE


def _machine_shift(baseline: Sequence[RunRecord], candidate: Sequence[RunRecord]) -> Shift | None:
    before = [record.calibration_seconds for record in baseline if record.calibration_seconds]
    after = [record.calibration_seconds for record in candidate if record.calibration_seconds]
    if len(before) < len(baseline) or len(after) < len(candidate):
        return None
    return shift(before, after, _MACHINE_FALSE_ALARM)


def _compared(
    metric: Metric,
    before: Sequence[float],
    after: Sequence[float],
    false_alarm: float,
    machine: Shift | None,
    *,
    judged: bool,
) -> MetricComparison:
    found = shift(before, after, false_alarm)
    verdict: Verdict | None = None
    reason = ""
    if judged and metric.limit is not None:
        slower = machine.ratio if machine and machine.low > 1 and metric.unit == SECONDS else 1.0
        verdict, reason = _judge(metric, metric.limit, found, slower, false_alarm)
    return MetricComparison(metric, statistics.median(before), statistics.median(after), found, verdict, reason)


def _judge(metric: Metric, limit: float, found: Shift, machine_ratio: float, false_alarm: float) -> tuple[Verdict, str]:
    """The verdict on one figure and the sentence that says why. ``machine_ratio``: how much slower the machine was."""
    change, allowed = f"{100 * (found.ratio - 1):+.1f}%", f"{100 * (limit - 1):.0f}%"
    if math.isinf(found.smallest_visible):
        least = min_repeats(false_alarm)
        return Verdict.CANNOT_TELL, f"{metric.title}: too few repeats to tell chance apart, {least} of each are needed"
    visible = f"a change of {100 * found.smallest_visible:.1f}% or more would have been seen"
    if found.low > 1 and found.ratio >= limit:
        if found.ratio / machine_ratio < limit:
            return Verdict.CANNOT_TELL, (
                f"{metric.title}: {change}, but the machine itself was {100 * (machine_ratio - 1):.1f}% slower than "
                "for the baseline"
            )
        return Verdict.REGRESSION, f"{metric.title}: {change}, more than {allowed}, and not by chance ({visible})"
    if found.high < limit:
        worst = f"even the worst that chance allows ({100 * (found.high - 1):+.1f}%) is less than {allowed}"
        return Verdict.NO_REGRESSION, f"{metric.title}: {change}; {worst}; {visible}"
    if found.ratio < limit and found.smallest_visible <= limit - 1:
        return Verdict.NO_REGRESSION, f"{metric.title}: {change}, less than {allowed}; {visible}"
    return Verdict.CANNOT_TELL, f"{metric.title}: {change}, but the repeats scatter too much: only {visible}"


def _together(metrics: Sequence[MetricComparison]) -> Verdict:
    """A regression of any figure is one; else what the headlines say."""
    if any(item.verdict is Verdict.REGRESSION for item in metrics):
        return Verdict.REGRESSION
    headlines = [item.verdict for item in metrics if item.metric.headline and item.verdict is not None]
    certain = headlines and all(verdict is Verdict.NO_REGRESSION for verdict in headlines)
    return Verdict.NO_REGRESSION if certain else Verdict.CANNOT_TELL
