"""Where each figure is heading: improving, steady or degrading over a window of time.

Covers one history (``RunRecord.trend_key``): equal machines, about as much data, the same settings; only runs that
computed everything. The window is cut by DuckDB over the records; the slope is that of Theil and Sen, which a few wild
runs do not move. The repeats of one session are one point, their median: whatever the machine did that hour they share,
and seven witnesses of one event are one. Does not cover whether the latest run alone is worse (``compare``).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from scipy import stats

from enrich_dist.core.database import connect
from enrich_dist.errors import SettingsError
from enrich_dist.runs.metrics import METRICS, Metric
from enrich_dist.runs.records import RunRecord

MIN_RUNS: Final = 6
"""Runs or sessions below which a slope says nothing."""
STEADY_SHARE: Final = 0.05
"""A change over the whole window below this share of the median is none that matters."""
CONFIDENCE: Final = 0.99
"""Of the interval of a slope; some ten figures are looked at, and one of them would too often be odd at 0.95."""

_MEMORY_MB = 200
_DAY_SECONDS = 86_400.0
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_POINTS = pa.schema(
    [
        ("ended", pa.timestamp("us", "UTC")),
        ("run", pa.string()),
        ("sitting", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
    ]
)


class Direction(StrEnum):
    """Where a figure is heading."""

    IMPROVING = "improving"
    STEADY = "steady"
    DEGRADING = "degrading"
    TOO_FEW = "too few runs"


@dataclass(frozen=True)
class Trend:
    """One figure over the window."""

    metric: Metric
    days: tuple[float, ...]
    """Days from the first run or session of the window to each, ascending."""
    values: tuple[float, ...]
    """Of each; the median of a session."""
    median: float
    slope_per_day: float
    """In the metric's unit; 0 with too few runs."""
    change: float
    """By the slope, from the first run to the last one, as a share of the median (0.08: 8% up)."""
    change_low: float
    change_high: float
    """Interval of ``change`` (``CONFIDENCE``)."""
    direction: Direction


@dataclass(frozen=True)
class History:
    """All figures of one history over a window."""

    runs: int
    first: datetime | None
    last: datetime | None
    trends: tuple[Trend, ...]


def window(
    since: str | None, until: str | None, last: str | None, *, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """Beginning (included) and end (left out) of the window: ISO dates or times, in UTC where they name no zone; a date
    as the end means the whole day. ``last`` is a number with h, d or w: hours, days or weeks before now.

    Raises ``SettingsError`` for a text that is neither, for both ``since`` and ``last``, and for an empty window.
    """
    if since is not None and last is not None:
        raise SettingsError("--since and --last both say where the window begins.", remedy="Give one of them.")
    begin = _moment(since, "--since") if since is not None else None
    end = _moment(until, "--until") if until is not None else None
    if end is not None and until is not None and len(until.strip()) == len("2026-01-31"):
        end += timedelta(days=1)
    if last is not None:
        found = re.fullmatch(r"(\d{1,5})([hdw])", last.strip())
        if found is None:
            raise SettingsError(f"--last '{last}' is no length of time.", remedy="Write 12h, 30d or 8w.")
        begin = (end or now) - int(found[1]) * _UNITS[found[2]]
    if begin is not None and end is not None and begin >= end:
        raise SettingsError("The window ends before it begins.", remedy="Give --until a later date than --since.")
    return begin, end


def histories(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Runs that computed everything, by the history they belong to; the one with the latest run comes last."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.computed_everything:
            found.setdefault(record.trend_key, []).append(record)
    return dict(sorted(found.items(), key=lambda item: max(record.timestamp for record in item[1])))


def trends(records: Sequence[RunRecord], begin: datetime | None, end: datetime | None) -> History:
    """The figures of these runs within the window."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        connect(memory_mb=_MEMORY_MB, scratch=Path(scratch), threads=1) as connection,
    ):
        connection.register("points", _points(records))
        connection.execute(
            """
            create temp table seen as select * from points
            where ended >= coalesce($begin, ended) and (cast($end as timestamptz) is null or ended < $end)
            """,
            {"begin": begin, "end": end},
        )
        [(runs, first, last)] = connection.execute(
            "select count(distinct run), epoch(min(ended)), epoch(max(ended)) from seen"
        ).fetchall()
        series = {
            name: (days, values, median)
            for name, days, values, median in connection.execute(
                """
                with sittings as (
                    select metric, sitting, epoch(max(ended)) as ended, median(value) as value
                    from seen group by metric, sitting
                )
                select metric, list((ended - first) / $day order by ended, sitting),
                       list(value order by ended, sitting), median(value)
                from sittings, (select min(ended) as first from sittings) group by metric
                """,
                {"day": _DAY_SECONDS},
            ).fetchall()
        }
    return History(
        runs=runs,
        first=None if first is None else datetime.fromtimestamp(first, UTC),
        last=None if last is None else datetime.fromtimestamp(last, UTC),
        trends=tuple(trend(item, *series[item.name]) for item in METRICS if item.name in series),
    )


def trend(metric: Metric, days: Sequence[float], values: Sequence[float], median: float) -> Trend:
    """The slope of one figure (``scipy.stats.theilslopes``: Sen 1968, with his interval) and what it means."""
    nothing = Trend(metric, tuple(days), tuple(values), median, 0.0, 0.0, 0.0, 0.0, Direction.TOO_FEW)
    if len(set(days)) < MIN_RUNS:
        return nothing
    fitted = stats.theilslopes(np.asarray(values), np.asarray(days), alpha=CONFIDENCE)
    span = days[-1] - days[0]
    scale = span / median if median else 0.0
    slope, low, high = (float(item) for item in (fitted.slope, fitted.low_slope, fitted.high_slope))
    change = slope * scale
    direction = Direction.STEADY
    if abs(change) >= STEADY_SHARE and low * high > 0:  # both ends of the interval on the same side of none
        direction = Direction.DEGRADING if (change > 0) == metric.larger_is_worse else Direction.IMPROVING
    return Trend(metric, tuple(days), tuple(values), median, slope, change, low * scale, high * scale, direction)


def _points(records: Sequence[RunRecord]) -> pa.Table:
    rows = [
        (datetime.fromisoformat(record.timestamp), record.id, record.session or record.id, item.name, value)
        for record in records
        for item in METRICS
        for value in [item.value(record)]
        if value is not None
    ]
    return pa.Table.from_pylist([dict(zip(_POINTS.names, row, strict=True)) for row in rows], _POINTS)


def _moment(text: str, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise SettingsError(
            f"{option} '{text}' is no date.", remedy="Write 2026-01-31, or 2026-01-31T12:00."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
