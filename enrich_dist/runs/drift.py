"""Drift: is one run worse than the recent runs in time, memory, matching rate or match rate?

The reference is the median of the recent comparable runs. A time or a memory counts as worse when it exceeds the
reference by the limit *and* by more than the normal variation (a modified z-score above 3.5: Iglewicz and Hoaglin
1993). The repeats of one ``bench run`` session count as one run. A match rate has no noise, so it is compared with all
runs of the same size class.

Does not cover repeated runs against a baseline, which detect smaller changes (``baseline``).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from itertools import islice
from typing import Final

import numpy as np

from enrich_dist.runs.archive import archive_path, newest_first
from enrich_dist.runs.metrics import METRICS, SECONDS, Metric, stage_seconds
from enrich_dist.runs.records import RunRecord, latest_record
from enrich_dist.settings import Settings
from enrich_dist.settings.tree import CheckSettings
from enrich_dist.store.run_directory import STEPS, RunDirectory

MIN_RUNS: Final = 6  # to estimate the variation of a time or a memory
Z_SCORE: Final = 3.5  # modified z-score above which a value is outside the normal variation
_NORMAL_MAD: Final = 0.6744897501960817  # median absolute deviation of the standard normal distribution
_SHARE, _POINTS = "share", "points"
_MAX_RECORDS = 500
JUDGED_STEPS: Final = STEPS[:-1]  # of every judged run, published or blocked


class Severity(StrEnum):
    """Result of the comparison; unknown where the run has no value, or there are too few recent runs."""

    UNKNOWN = "unknown"
    PASSED = "passed"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True)
class Drift:
    """One metric of the run compared with the recent runs.

    ``name``: of the asset check; ``runs``: recent runs, where a session counts as one; ``value`` in the metric's unit,
    None where it cannot be compared; ``reference``: median of the recent runs. ``worse_by`` is negative where the run
    is better; it and the limits of a warning and an error have ``unit``: ``share`` of the reference (0.1: 10%), or
    percentage ``points``. ``reference`` and ``worse_by`` are None with too few runs.
    """

    name: str
    metric: Metric
    unit: str
    warn_from: float
    fail_from: float
    runs: int
    value: float | None
    severity: Severity = Severity.UNKNOWN
    reason: str = ""
    reference: float | None = None
    worse_by: float | None = None


def judge_drift(current: RunRecord, past: Iterable[RunRecord], limits: CheckSettings) -> tuple[Drift, ...]:
    """Compare the run with earlier runs (``past``: newest first; runs that are not comparable are ignored)."""
    others = [record for record in islice(past, _MAX_RECORDS) if record.id != current.id]
    equal = [item for item in others if item.computed_everything and item.trend_key == current.trend_key]
    alike = [item for item in others if item.size_class == current.size_class]
    slower = limits.warn_slower_share, limits.fail_slower_share
    memory = limits.warn_memory_share, limits.fail_memory_share
    points = limits.warn_match_rate_points, limits.fail_match_rate_points
    seconds = _growth(current, equal, "run_seconds", _JUDGED_SECONDS, limits.recent_runs, slower)
    return (
        _with_step(seconds, current, equal, limits.recent_runs),
        _growth(current, equal, "worker_peak_memory", _BY_NAME["worker_peak_memory_bytes"], limits.recent_runs, memory),
        _growth(current, equal, "records_per_second", _BY_NAME["records_per_second"], limits.recent_runs, slower),
        _match_rate(current, alike, limits.recent_runs, points),
    )


def drift_of_latest(directory: RunDirectory, settings: Settings) -> tuple[Drift, ...]:
    """Compare the latest judged run of the directory with the earlier runs in the archive.

    Raises ``StateError`` when nothing was judged there yet, and what reading the run directory raises.
    """
    return judge_drift(latest_record(directory, settings), newest_first(archive_path(settings)), settings.checks)


def judged_seconds(record: RunRecord) -> float:
    """Return the wall seconds of all steps up to the verdict."""
    return sum(step.seconds for name, step in record.own_steps.items() if name in JUDGED_STEPS)


_BY_NAME = {item.name: item for item in METRICS}
_JUDGED_SECONDS = Metric("judged_seconds", "all steps up to the verdict", SECONDS, judged_seconds)


def _growth(
    current: RunRecord, past: Sequence[RunRecord], name: str, item: Metric, recent: int, limits: tuple[float, float]
) -> Drift:
    """Judge a metric by the ratio to its reference; for a rate, by the inverse ratio."""
    value = item.value(current) if current.computed_everything else None
    values = [found for found in _recent(past, item.value, recent) if found > 0]
    drift = Drift(name, item, _SHARE, *limits, len(values), value)
    if not value:
        why = "the run reused or repeated work" if item.value(current) else "the run has no value"
        return replace(drift, reason=f"{item.title}: not compared, because {why}")
    text = f"{item.title} {item.text(value)}"
    if len(values) < MIN_RUNS:
        return replace(drift, reason=f"{text}: {_too_few(len(values), MIN_RUNS)}")
    logarithms = np.log(values) if item.larger_is_worse else -np.log(values)
    change = (math.log(value) if item.larger_is_worse else -math.log(value)) - float(np.median(logarithms))
    deviation = float(np.median(np.abs(logarithms - np.median(logarithms))))
    normal = Z_SCORE * deviation / _NORMAL_MAD
    share = math.expm1(change if item.larger_is_worse else -change)
    more, less = ("longer", "shorter") if item.unit == SECONDS else ("more", "less")
    reference, worse_by = float(np.median(values)), math.expm1(change)
    text += (
        f", {100 * abs(share):.1f}% {more if share >= 0 else less} than the median of the last {len(values)} "
        f"comparable runs ({item.text(reference)})"
    )
    severity = _severity(worse_by, limits)
    if severity is not Severity.PASSED and change <= normal:
        severity = Severity.PASSED
        text += f", within their normal variation (up to {100 * math.expm1(normal):.0f}%)"
    else:
        text += _limit_text(severity, *(f"{100 * limit:g}%" for limit in limits))
    return replace(drift, severity=severity, reason=text, reference=reference, worse_by=worse_by)


def _match_rate(current: RunRecord, past: Sequence[RunRecord], recent: int, limits: tuple[float, float]) -> Drift:
    item = _BY_NAME["match_rate"]
    value = current.match_rate
    values = _recent(past, item.value, recent)
    drift = Drift("match_rate_drift", item, _POINTS, *limits, len(values), value)
    text = f"match rate {item.text(value)}"
    if not values:
        return replace(drift, reason=f"{text}: {_too_few(0, 1)}")
    reference = float(np.median(values))
    points = round(100 * (reference - value), 6)
    severity = _severity(points, limits)
    if points:
        way, median = "lower" if points > 0 else "higher", item.text(reference)
        text += f", {abs(points):.2f} points {way} than the median of the last {len(values)} runs ({median})"
    else:
        text += f", the same as in the last {len(values)} runs"
    text += _limit_text(severity, *(f"{limit:g} points" for limit in limits))
    return replace(drift, severity=severity, reason=text, reference=reference, worse_by=points)


def _with_step(drift: Drift, current: RunRecord, past: Sequence[RunRecord], recent: int) -> Drift:
    """Name the step that slowed down most, where the run is too slow."""
    if drift.severity not in (Severity.WARN, Severity.ERROR):
        return drift
    growths = {
        step: current.own_steps[step].seconds - statistics.median(_recent(past, partial(stage_seconds, step), recent))
        for step in JUDGED_STEPS
    }
    worst = max(growths, key=growths.__getitem__)
    return replace(drift, reason=f"{drift.reason}; mostly in {worst} ({growths[worst]:+.2f} s)")


def _recent(past: Sequence[RunRecord], value: Callable[[RunRecord], float | None], max_runs: int) -> list[float]:
    """Return the values of the newest runs that have one; the median of each session."""
    sessions: dict[str, list[float]] = {}
    for record in past:
        found = value(record)
        if found is not None:
            sessions.setdefault(record.session or record.id, []).append(found)
    return [statistics.median(values) for values in islice(sessions.values(), max_runs)]


def _severity(worse_by: float, limits: tuple[float, float]) -> Severity:
    warn_from, fail_from = limits
    if worse_by >= fail_from:
        return Severity.ERROR
    return Severity.WARN if worse_by >= warn_from else Severity.PASSED


def _limit_text(severity: Severity, warn: str, fail: str) -> str:
    if severity is Severity.PASSED:
        return ""
    return f"; {warn} or more is a warning" if severity is Severity.WARN else f"; {fail} or more is an error"


def _too_few(found: int, min_runs: int) -> str:
    return f"not compared yet ({found} of at least {min_runs} comparable runs)"
