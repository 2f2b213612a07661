"""Recommended settings fit the memory budget and differ from the current ones only for a reason."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.planning.recommend import CHUNK_SIZES, MACHINE_SHARE, Choice, recommend
from tests.support.predictions import choice


@given(
    st.sampled_from(CHUNK_SIZES),
    st.sets(st.integers(1, 64), min_size=1, max_size=3),
    st.integers(10**9, 10**12),
    st.dictionaries(st.tuples(st.sampled_from(CHUNK_SIZES), st.integers(1, 64)), st.floats(1, 1e5), max_size=20),
    st.integers(1, 2_000),
)
def test_refused_settings_are_never_recommended(
    chunk_size: int,
    workers: set[int],
    machine_bytes: int,
    walls: dict[tuple[int, int], float],
    index_mb: int,
) -> None:
    advice = recommend(
        lambda size, count: choice(size, count, seconds=walls.get((size, count), 50.0), index_mb=index_mb),
        chunk_size=chunk_size,
        workers=workers,
        current_workers=2,
        timeout_seconds=1_800,
        machine_bytes=machine_bytes,
    )

    chosen = choice(advice.chunk_size, advice.workers, index_mb=index_mb)
    assert chosen.projection.fits(advice.memory_threshold_mb)
    if advice.fits:
        assert advice.workers * advice.memory_threshold_mb * 1e6 <= MACHINE_SHARE * machine_bytes
    else:
        assert len(advice.reasons) == 1


def test_current_settings_win_near_ties() -> None:
    def advised(**seconds: float) -> tuple[int, int]:
        advice = recommend(
            lambda size, count: choice(size, count, seconds=seconds.get(f"s{size}x{count}", 100.0)),
            chunk_size=50_000,
            workers=[1, 2],
            current_workers=2,
            timeout_seconds=1_800,
            machine_bytes=64 * 10**9,
        )
        return advice.chunk_size, advice.workers

    assert advised(s20000x2=97.0) == (50_000, 2)
    assert advised(s20000x2=80.0) == (20_000, 2)
    assert advised(s50000x1=60.0) == (50_000, 1)


def test_chunks_stay_far_below_timeout() -> None:
    def slow(size: int, count: int) -> Choice:
        return replace(choice(size, count, seconds=1e6 / size), chunk_seconds=size / 100)

    advice = recommend(
        slow, chunk_size=5_000, workers=[1], current_workers=1, timeout_seconds=1_800, machine_bytes=None
    )

    assert advice.chunk_size == 10_000  # 100 seconds; 20,000 rows would take 200 of at most 180
