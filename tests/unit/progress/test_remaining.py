"""The time remaining: right on a steady farm, moving with the clock, following the workers that are there."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.progress.remaining import RemainingTime

ROWS = 100


@dataclass(frozen=True)
class Moment:
    """Just after a chunk ended: the clock, the work done (share), the estimate, and the truth."""

    now: float
    share: float
    estimate: float
    truth: float


def steady_farm(chunks: int, threads: int, *, scatter: float, warm_up: float, seed: int) -> Iterator[Moment]:
    """A farm whose chunks take a second, with that coefficient of variation; a worker's first so much longer."""
    random = np.random.default_rng(seed)
    seconds = random.gamma(1 / scatter**2, scatter**2, chunks)
    estimator = RemainingTime(chunks, chunks * ROWS)
    estimator.set_workers([str(worker) for worker in range(threads)], 0.0)
    free = [(0.0, worker, warm_up) for worker in range(threads)]
    ends = []
    for own in seconds:
        begins, worker, first = heapq.heappop(free)
        ends.append((begins + own + first, begins, worker))
        heapq.heappush(free, (begins + own + first, worker, 0.0))
    ends.sort()
    for number, (end, begins, worker) in enumerate(ends, start=1):
        estimator.record_finished(ROWS, str(worker), begins, end)
        found = estimator.estimate_seconds(end, threads)
        assert found is not None
        yield Moment(end, number / chunks, found, ends[-1][0] - end)


@pytest.mark.parametrize(("chunks", "threads"), [(20, 2), (66, 2), (66, 8), (97, 4), (660, 16), (660, 64)])
def test_estimate_is_within_a_fifth(chunks: int, threads: int) -> None:
    worst = [
        max(abs(m.estimate - m.truth) / (m.now + m.truth) for m in farm if m.share >= 0.25)
        for seed in range(40)
        for farm in [steady_farm(chunks, threads, scatter=0.15, warm_up=0.5, seed=seed)]
    ]

    assert np.quantile(worst, 0.95) <= 0.2


def test_error_relative_to_time_remaining() -> None:
    for share in (0.25, 0.5, 0.75):
        errors = []
        for seed in range(40):
            farm = steady_farm(66, 2, scatter=0.15, warm_up=0.5, seed=seed)
            moment = next(moment for moment in farm if moment.share >= share)
            errors.append(abs(moment.estimate - moment.truth) / moment.truth)
        assert np.quantile(errors, 0.95) <= 0.2


Ends = st.lists(st.tuples(st.floats(0.1, 60), st.integers(0, 3), st.integers(1, 1000)), min_size=1, max_size=30)


@given(ends=Ends, further=st.integers(0, 40), threads=st.integers(1, 9), waits=st.lists(st.floats(0, 500), max_size=8))
def test_estimate_decreases_with_the_clock(
    ends: list[tuple[float, int, int]], further: int, threads: int, waits: list[float]
) -> None:
    estimator = RemainingTime(len(ends) + further, sum(rows for *_, rows in ends) + further * ROWS)
    estimator.set_workers([str(number) for number in range(4)], 0.0)
    clocks = [0.0] * 4
    for seconds, worker, rows in ends:
        estimator.record_finished(rows, str(worker), clocks[worker], clocks[worker] + seconds)
        clocks[worker] += seconds
    now = max(clocks)
    before = estimator.estimate_seconds(now, threads)
    assert before is not None
    assert (before == 0) == (further == 0)
    for wait in waits:
        now += wait
        after = estimator.estimate_seconds(now, threads)
        assert after is not None
        assert after >= 0
        # Down as fast as the clock at most; up only where a chunk is overdue, and slowly.
        assert before - wait - 1e-6 <= after <= before + 0.1 * wait + 1e-6
        before = after


def test_estimate_needs_chunk_and_worker() -> None:
    estimator = RemainingTime(10, 1000)
    estimator.set_workers(["0"], 0.0)
    assert estimator.estimate_seconds(5.0, 1) is None
    assert estimator.rows_per_second(1) == 0
    estimator.record_finished(ROWS, "0", 0.0, 5.0)
    assert estimator.estimate_seconds(5.0, 0) is None
    assert estimator.estimate_seconds(5.0, 1) == pytest.approx(45)
    assert estimator.rows_per_second(1) == pytest.approx(20)


def test_estimate_follows_joining_and_leaving_workers() -> None:
    estimator = RemainingTime(100, 100 * ROWS)
    estimator.set_workers(["0"], 0.0)
    for end in range(1, 21):
        estimator.record_finished(ROWS, "0", end - 1.0, float(end))
    alone = estimator.estimate_seconds(20.0, 1)
    estimator.set_workers(["0", "1", "2", "3"], 20.0)
    joined = estimator.estimate_seconds(20.0, 4)
    estimator.set_workers(["2", "3"], 20.0)
    left = estimator.estimate_seconds(20.0, 2)

    assert (alone, joined, left) == (pytest.approx(80), pytest.approx(20), pytest.approx(40))


def test_estimate_includes_a_partial_wave() -> None:
    estimator = RemainingTime(9, 9 * ROWS)
    estimator.set_workers("0123", 0.0)
    for worker in "0123":
        estimator.record_finished(ROWS, worker, 0.0, 10.0)

    assert estimator.estimate_seconds(10.0, 4) == pytest.approx(20)  # four, and then one alone


def test_warm_up_and_pauses_cost_nothing() -> None:
    estimator = RemainingTime(12, 12 * ROWS)
    estimator.set_workers(["0"], 0.0)
    estimator.record_finished(ROWS, "0", 0.0, 30.0)  # opens files, compiles
    assert estimator.estimate_seconds(30.0, 1) == pytest.approx(330)
    estimator.record_finished(ROWS, "0", 30.0, 40.0)
    assert estimator.estimate_seconds(40.0, 1) == pytest.approx(100)
    estimator.record_failed("0", 45.0)
    estimator.record_finished(ROWS, "0", 45.0, 55.0)
    assert estimator.estimate_seconds(55.0, 1) == pytest.approx(90)
    estimator.record_finished(ROWS, "0", 3655.0, 3665.0)  # an hour paused
    found = estimator.estimate_seconds(3665.0, 1)
    assert found is not None
    assert found < 8 * 20


def test_estimate_follows_a_slowing_machine() -> None:
    estimator = RemainingTime(400, 400 * ROWS)
    estimator.set_workers(["0"], 0.0)
    now = 0.0
    for number in range(300):
        took = 1.0 if number < 200 else 3.0
        estimator.record_finished(ROWS, "0", now, now + took)
        now += took

    assert estimator.estimate_seconds(now, 1) == pytest.approx(300, rel=0.1)


def test_each_thread_is_a_slot() -> None:
    estimator = RemainingTime(40, 40 * ROWS)
    estimator.set_workers(["0"], 0.0)
    for end in (1.0, 2.0, 3.0, 4.0):
        for _ in range(4):
            estimator.record_finished(ROWS, "0", end - 1, end)

    assert estimator.estimate_seconds(4.0, 4) == pytest.approx(6)
