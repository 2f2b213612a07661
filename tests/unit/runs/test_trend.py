"""Trends: drift is detected, noise is steady, and the window is respected."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from enrich_dist.errors import SettingsError
from enrich_dist.reporting import benchmark_tables as tables
from enrich_dist.runs.metrics import METRICS, metric
from enrich_dist.runs.records import RunRecord
from enrich_dist.runs.trend import Direction, History, histories, trend, trends, window
from tests.support.histories import BEGIN, RESUMED, a_run, vary

NOW = datetime(2026, 12, 1, tzinfo=UTC)
RUNS = 20


def a_history(*, slower_per_day: float = 0.0, memory_per_day: float = 0.0, noise: float = 0.03) -> list[RunRecord]:
    """Return one run per day."""
    random = np.random.default_rng(1)
    return [
        a_run(
            f"run{day:03d}",
            slower=(1 + slower_per_day * day) * float(random.lognormal(0, noise)),
            memory=(1 + memory_per_day * day) * float(random.lognormal(0, 0.01)),
            session=None,
            at=BEGIN + timedelta(days=day),
        )
        for day in range(RUNS)
    ]


def directions(history: History) -> dict[str, Direction]:
    return {item.metric.name: item.direction for item in history.trends}


def test_noise_is_steady() -> None:
    assert set(directions(trends(a_history(), None, None)).values()) == {Direction.STEADY}


def test_each_metric_has_its_trend() -> None:
    found = directions(trends(a_history(slower_per_day=0.01, memory_per_day=-0.01), None, None))

    assert found["total_seconds"] is Direction.DEGRADING
    assert found["chunk_matches_seconds"] is Direction.DEGRADING
    assert found["records_per_second"] is Direction.DEGRADING  # a lower rate is worse
    assert found["worker_peak_memory_bytes"] is Direction.IMPROVING
    assert found["match_rate"] is Direction.STEADY


def test_change_over_the_window() -> None:
    found = trends(a_history(slower_per_day=0.01, noise=0.0001), None, None)
    total = next(item for item in found.trends if item.metric.name == "total_seconds")

    assert total.change == pytest.approx(0.19 / 1.095, rel=0.01)
    assert total.change_low <= total.change <= total.change_high


def test_one_wild_run_changes_nothing() -> None:
    history = a_history()
    history[-1] = a_run("wild", slower=20, session=None, at=BEGIN + timedelta(days=RUNS - 1))

    assert directions(trends(history, None, None))["total_seconds"] is Direction.STEADY


def test_window_excludes_its_end() -> None:
    found = trends(a_history(), BEGIN + timedelta(days=2), BEGIN + timedelta(days=12))

    assert (found.runs, found.first, found.last) == (10, BEGIN + timedelta(days=2), BEGIN + timedelta(days=11))
    assert all(item.days[0] == 0 and item.days[-1] == 9 for item in found.trends)


def test_too_few_runs_in_window() -> None:
    nothing = trends(a_history(), NOW + timedelta(days=99), None)
    few = trends(a_history()[:5], None, None)

    assert (nothing.runs, nothing.first, nothing.trends) == (0, None, ())
    assert set(directions(few).values()) == {Direction.TOO_FEW}


def test_session_is_one_point() -> None:
    """Two sessions, one on a slow machine, are no trend."""
    repeats = [
        a_run(f"{name}{number}", slower=slower, session=name, at=BEGIN + timedelta(days=day, minutes=number))
        for day, (name, slower) in enumerate([("one", 1.0), ("two", 1.2)])
        for number in range(7)
    ]

    found = trends(repeats, None, None)

    assert found.runs == 14
    assert set(directions(found).values()) == {Direction.TOO_FEW}
    assert all(len(item.values) == 2 for item in found.trends)


def test_trend_excludes_incomparable_runs() -> None:
    runs = a_history()
    larger = vary(runs[3], run_id="large", recipients=3_300_000)
    refreshed = vary(runs[4], run_id="new", recipients=97_001)

    found = histories([*runs, larger, refreshed, vary(runs[5], run_id="resumed", numbers=RESUMED)])

    assert sorted(len(items) for items in found.values()) == [1, RUNS + 1]


@pytest.mark.parametrize(
    ("since", "until", "last", "expected"),
    [
        (None, None, None, (None, None)),
        ("2026-11-01", "2026-11-30", None, (datetime(2026, 11, 1, tzinfo=UTC), NOW)),
        ("2026-11-01T06:00", None, None, (datetime(2026, 11, 1, 6, tzinfo=UTC), None)),
        (None, None, "30d", (datetime(2026, 11, 1, tzinfo=UTC), None)),
        (None, "2026-11-30", "1w", (datetime(2026, 11, 24, tzinfo=UTC), NOW)),
    ],
)
def test_windows(
    since: str | None, until: str | None, last: str | None, expected: tuple[datetime | None, datetime | None]
) -> None:
    assert window(since, until, last, now=NOW) == expected


@pytest.mark.parametrize(
    ("since", "until", "last", "message"),
    [
        ("soon", None, None, "--since 'soon' is not a date"),
        (None, None, "a month", "--last 'a month' is not a duration"),
        ("2026-11-01", None, "3d", "both set the start"),
        ("2026-11-02", "2026-11-01", None, "ends before it starts"),
    ],
)
def test_invalid_window_is_refused(since: str | None, until: str | None, last: str | None, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        window(since, until, last, now=NOW)


@given(st.lists(st.floats(0.01, 1e9), min_size=6, max_size=30), st.floats(0.1, 1e3))
def test_direction_is_independent_of_unit(values: list[float], unit: float) -> None:
    figure = metric("total_seconds")
    assert figure is not None
    days = [float(day) for day in range(len(values))]

    def direction(scaled: list[float]) -> tuple[Direction, float]:
        found = trend(figure, days, scaled)
        return found.direction, found.change

    one, other = direction(values), direction([value * unit for value in values])
    assert other[1] == pytest.approx(one[1], rel=1e-6, abs=1e-9)


def test_plots_show_every_metric() -> None:
    history = trends(a_history(slower_per_day=0.01), None, None)
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(tables.trend_table(history))
    console.print(tables.plot(history.trends[0]))
    text = console.export_text()

    for item in METRICS:
        assert item.title in text
    assert "degrading" in text
    assert "●" in text
    assert max(map(len, text.splitlines())) <= 140
    assert tables.trend_document(history)["metrics"]["total_seconds"]["direction"] == "degrading"


def test_sparkline_width() -> None:
    assert tables.sparkline([1, 2, 8]) == "▁▂█"
    assert tables.sparkline([5, 5, 5]) == "▄▄▄"
    assert len(tables.sparkline(list(range(1_000)))) == 24
