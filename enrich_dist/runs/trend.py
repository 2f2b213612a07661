"""The trend of each metric over a time window: improving, steady or degrading.

Covers runs with the same ``RunRecord.trend_key`` that computed everything. The slope is the Theil-Sen estimate, which
is robust to outliers. The repeats of one session are one point, their median, as they share the state of the machine.
Does not cover whether a single run is worse (``drift``).
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

import numpy as np

from enrich_dist.errors import SettingsError
from enrich_dist.runs.metrics import METRICS, Metric
from enrich_dist.runs.records import RunRecord

MIN_RUNS: Final = 6  # or sessions, to fit a slope
STEADY_SHARE: Final = 0.05  # of the median: a smaller change over the window counts as steady
CONFIDENCE: Final = 0.99  # of the slope; high, because about ten metrics are tested
_DAY_SECONDS = 86_400.0
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class Direction(StrEnum):
    """Direction of a metric."""

    IMPROVING = "improving"
    STEADY = "steady"
    DEGRADING = "degrading"
    TOO_FEW = "too few runs"


@dataclass(frozen=True)
class Trend:
    """One metric over the window.

    ``days``: from the first run or session of the window to each, ascending; ``values``: of each, the median of a
    session. ``change``: by the slope from the first to the last run, as a share of the median (0.08: 8% up), with its
    interval (``CONFIDENCE``). Slope and change are 0 with too few runs.
    """

    metric: Metric
    days: tuple[float, ...]
    values: tuple[float, ...]
    median: float
    slope_per_day: float = 0.0
    change: float = 0.0
    change_low: float = 0.0
    change_high: float = 0.0
    direction: Direction = Direction.TOO_FEW


@dataclass(frozen=True)
class History:
    """All metrics of comparable runs over a window."""

    runs: int
    first: datetime | None
    last: datetime | None
    trends: tuple[Trend, ...]


def window(
    since: str | None, until: str | None, last: str | None, *, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Return start (included) and end (excluded) of the window.

    ``since`` and ``until`` are ISO dates or times, UTC by default; an end date includes the whole day. ``last`` is a
    number with h, d or w: hours, days or weeks before now.
    Raises ``SettingsError`` for a malformed value, for both ``since`` and ``last``, and for an empty window.
    """
    if since is not None and last is not None:
        raise SettingsError("--since and --last both set the start of the window.", remedy="Give one of them.")
    begin = _moment(since, "--since") if since is not None else None
    end = _moment(until, "--until") if until is not None else None
    if end is not None and until is not None and len(until.strip()) == len("2026-01-31"):
        end += timedelta(days=1)
    if last is not None:
        found = re.fullmatch(r"(\d{1,5})([hdw])", last.strip())
        if found is None:
            raise SettingsError(f"--last '{last}' is not a duration.", remedy="Write 12h, 30d or 8w.")
        begin = (end or now) - int(found[1]) * _UNITS[found[2]]
    if begin is not None and end is not None and begin >= end:
        raise SettingsError("The window ends before it starts.", remedy="Give --until a later date than --since.")
    return begin, end


def histories(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return the runs that computed everything by ``trend_key``; the group with the latest run comes last."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.computed_everything:
            found.setdefault(record.trend_key, []).append(record)
    return dict(sorted(found.items(), key=lambda item: max(record.timestamp for record in item[1])))


def trends(records: Sequence[RunRecord], begin: datetime | None, end: datetime | None) -> History:
    """Return the trends of these runs within the window."""
    sessions: dict[str, list[RunRecord]] = {}
    ended = []
    for record in records:
        moment = datetime.fromisoformat(record.timestamp)
        if (begin is None or moment >= begin) and (end is None or moment < end):
            ended.append(moment)
            sessions.setdefault(record.session or record.id, []).append(record)
    found = []
    for item in METRICS:
        points = []
        for name, runs in sessions.items():
            values = [(int(run.finished_seconds), value) for run in runs if (value := item.value(run)) is not None]
            if values:
                points.append((max(values)[0], name, statistics.median(value for _, value in values)))
        if points:
            seconds, _, medians = zip(*sorted(points), strict=True)
            found.append(trend(item, [(second - seconds[0]) / _DAY_SECONDS for second in seconds], medians))
    return History(len(ended), min(ended, default=None), max(ended, default=None), tuple(found))


def trend(metric: Metric, days: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the slope of one metric (``scipy.stats.theilslopes``, with the interval of Sen 1968) and its direction."""
    median = statistics.median(values)
    if len(set(days)) < MIN_RUNS:
        return Trend(metric, tuple(days), tuple(values), median)
    from scipy.stats import theilslopes  # takes a second to import

    fitted = theilslopes(np.asarray(values), np.asarray(days), alpha=CONFIDENCE)
    span = days[-1] - days[0]
    scale = span / median if median else 0.0
    slope, low, high = (float(item) for item in (fitted.slope, fitted.low_slope, fitted.high_slope))
    change = slope * scale
    direction = Direction.STEADY
    if abs(change) >= STEADY_SHARE and low * high > 0:  # both ends of the interval have the same sign
        direction = Direction.DEGRADING if (change > 0) == metric.larger_is_worse else Direction.IMPROVING
    return Trend(metric, tuple(days), tuple(values), median, slope, change, low * scale, high * scale, direction)


def _moment(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise SettingsError(
            f"{option} '{text}' is not a date.", remedy="Write 2026-01-31, or 2026-01-31T12:00."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
