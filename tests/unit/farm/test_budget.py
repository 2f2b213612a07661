"""The arithmetic of memory: what fits, what is refused and how a worker paces itself."""

from __future__ import annotations

import pytest

from enrich_dist.core.matcher import MatchMemory
from enrich_dist.errors import BudgetError
from enrich_dist.farm.budget import MB, AdaptiveBatcher, BatchMemoryEstimator, Projection, fitted, project, require_fit

MEMORY = MatchMemory(
    process_bytes=300 * MB, index_bytes=100 * MB, batch_row_bytes=0.01 * MB, output_row_bytes=0.001 * MB
)


def at(batch_rows: int) -> Projection:
    return project(MEMORY, chunk_rows=50_000, chunk_bytes=0, batch_rows=batch_rows)


def test_peak_is_sum_of_parts() -> None:
    found = project(MEMORY, chunk_rows=10_000, chunk_bytes=5 * MB, batch_rows=2_000)

    assert (found.process_bytes, found.index_bytes, found.batch_bytes) == (300 * MB, 100 * MB, 20 * MB)
    assert found.output_bytes == 10 * MB
    assert found.chunk_bytes >= 5 * MB
    assert found.peak_bytes == 430 * MB + found.chunk_bytes


def test_batch_never_exceeds_its_chunk() -> None:
    assert at(65_536) == at(50_000)


def test_recommended_threshold_is_minimal() -> None:
    least = at(20_000).min_threshold_mb

    assert at(20_000).fits(least)
    assert not at(20_000).fits(least - 1)


def test_batch_is_halved_until_fits() -> None:
    def batch(threshold_mb: int) -> int:
        return fitted(at, batch_rows=40_000, min_rows=1_000, threshold_mb=threshold_mb).batch_rows

    assert batch(at(40_000).min_threshold_mb) == 40_000
    assert batch(at(40_000).min_threshold_mb - 1) == 20_000
    assert batch(at(1_000).min_threshold_mb) == 1_000
    assert batch(at(1_000).min_threshold_mb - 1) == 1_000


def test_smallest_batch_over_limit_is_refused() -> None:
    least = at(1_000)
    require_fit(least, least.min_threshold_mb)

    with pytest.raises(BudgetError) as refused:
        require_fit(least, least.min_threshold_mb - 1)

    assert refused.value.exit_code == 2
    for part in ("460 MB = 300.0 for the worker itself + 100.0 for the index", "1,000 rows", "is 574, of which 80%"):
        assert part in refused.value.message
    assert refused.value.remedy == "Raise memory_threshold_mb to 575 or more, or lower chunk_size."


def test_smaller_chunks_are_advised_if_useful() -> None:
    with pytest.raises(BudgetError) as refused:
        require_fit(at(1_000), 300)

    assert refused.value.remedy == "Raise memory_threshold_mb to 575 or more."


class Process:
    """A process of which the figures are known; each released byte was free."""

    def __init__(self, resident_mb: int, free_mb: int = 0) -> None:
        self.resident_mb, self.free_mb = resident_mb, free_mb

    def release(self) -> None:
        self.resident_mb, self.free_mb = self.resident_mb - self.free_mb, 0


def pace_of(process: Process, cost: BatchMemoryEstimator, rows: int = 1_000, limit_mb: int = 1_000) -> AdaptiveBatcher:
    return AdaptiveBatcher(
        rows=rows,
        min_rows=100,
        limit_bytes=limit_mb * MB,
        cost=cost,
        resident=lambda: process.resident_mb * MB,
        release=process.release,
    )


def test_batch_near_limit_is_halved() -> None:
    pace = pace_of(Process(500), BatchMemoryEstimator(0.5 * MB))

    assert pace.next_rows(10_000) == 500  # 500 + 500 of 800 MB do not fit, 500 + 250 do
    assert (pace.rows, pace.degradations) == (500, 1)


def test_what_is_about_to_come_counts() -> None:
    cost = BatchMemoryEstimator(0.5 * MB)

    assert pace_of(Process(300), cost).next_rows(10_000) == 1_000
    assert pace_of(Process(300), cost).next_rows(10_000, further_bytes=200 * MB) == 500


def test_free_memory_is_returned_before_halving() -> None:
    process = Process(500, free_mb=250)
    pace = pace_of(process, BatchMemoryEstimator(0.5 * MB))

    assert pace.next_rows(10_000) == 1_000
    assert (process.resident_mb, pace.degradations) == (250, 0)


def test_there_is_a_floor() -> None:
    pace = pace_of(Process(790), BatchMemoryEstimator(0.5 * MB))

    assert pace.next_rows(10_000) == 100
    assert pace.next_rows(10_000) == 100


def test_without_a_limit_nothing_is_halved() -> None:
    assert pace_of(Process(5_000), BatchMemoryEstimator(0.5 * MB), limit_mb=0).next_rows(10_000) == 1_000


def test_remaining_rows_are_no_degradation() -> None:
    pace = pace_of(Process(100), BatchMemoryEstimator(0.1 * MB))

    assert pace.next_rows(7) == 7
    assert (pace.rows, pace.degradations) == (1_000, 0)


def test_batch_above_projection_shrinks_later_ones() -> None:
    process, cost = Process(400), BatchMemoryEstimator(0.1 * MB)
    pace = pace_of(process, cost)

    assert pace.next_rows(10_000) == 1_000
    pace.matched(1_000, peak_bytes=1_000 * MB)
    assert pace.next_rows(10_000) == 500
    pace.matched(500, peak_bytes=700 * MB)
    assert pace.next_rows(10_000) == 500
    assert pace_of(process, cost).next_rows(10_000) == 500


def test_growing_batches_are_halved_again() -> None:
    pace = pace_of(Process(400), BatchMemoryEstimator(0.1 * MB))
    taken = []
    for number in range(1, 20):
        rows = pace.next_rows(10_000)
        taken.append(rows * number / 10)
        pace.matched(rows, peak_bytes=400 * MB + round(taken[-1]) * MB)

    assert pace.degradations == 3
    assert max(taken) < 550


def test_small_batch_predicts_no_large_one() -> None:
    process, cost = Process(400), BatchMemoryEstimator(0.1 * MB)
    pace = pace_of(process, cost)

    assert pace.next_rows(10) == 10
    pace.matched(10, peak_bytes=420 * MB)
    assert pace.next_rows(10_000) == 1_000


def test_low_fixed_memory_hides_no_cost() -> None:
    process, cost = Process(300), BatchMemoryEstimator(0.2 * MB)
    pace = pace_of(process, cost)

    assert pace.next_rows(10_000, further_bytes=200 * MB) == 1_000
    pace.matched(1_000, peak_bytes=450 * MB)
    assert cost.of(1_000) == 200 * MB


def test_finished_chunk_returns_excess_free_memory() -> None:
    process = Process(900, free_mb=500)

    pace_of(process, BatchMemoryEstimator(1.0)).finish()

    assert process.resident_mb == 400
