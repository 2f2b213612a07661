"""The projected match rate: its interval covers the end as promised, also where sources list firms several times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.progress.projection import AcceptedByChunk, Projection, project

CHUNKS = 60
# Shares of companies whose partner is in 1, 2, 3, … chunks.
LISTINGS = {
    "once each": [1.0],
    "half of them twice": [0.5, 0.5],
    "any number of times": [0.58, 0.29, 0.10, 0.03],
    "all of them twice": [0.0, 1.0],
}


class Population:
    """Companies with their awards, and the chunks that hold the partners of those that have one."""

    def __init__(self, listings: Sequence[float], *, companies: int, partner_share: float, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.award_counts = self.random.geometric(0.4, companies).astype(np.int32)
        matched = np.flatnonzero(self.random.random(companies) < partner_share)
        times = self.random.choice(np.arange(1, len(listings) + 1), size=len(matched), p=listings)
        self.company = np.repeat(matched, times)
        self.chunk = np.concatenate([self.random.choice(CHUNKS, count, replace=False) for count in times])
        self.last_seen = 0.0
        self.rate = float(self.award_counts[matched].sum() / self.award_counts.sum())

    def projected(self, chunks: int) -> Projection:
        """From so many chunks drawn at random."""
        drawn = self.random.permutation(CHUNKS)[:chunks]
        number = np.full(CHUNKS, -1)
        number[drawn] = np.arange(chunks)
        seen = number[self.chunk] >= 0
        found = AcceptedByChunk(self.company[seen], number[self.chunk[seen]], chunks)
        self.last_seen = float(self.award_counts[np.unique(found.company)].sum() / self.award_counts.sum())
        return project(found, self.award_counts, chunks_total=CHUNKS)


@pytest.mark.parametrize("chunks", [6, 12, 24])
@pytest.mark.parametrize("listings", LISTINGS.values(), ids=LISTINGS)
def test_interval_covers_the_final_rate(listings: list[float], chunks: int) -> None:
    covered, warned = [], []
    for seed in range(15):
        population = Population(listings, companies=4_000, partner_share=0.6, seed=seed)
        for _ in range(20):
            found = population.projected(chunks)
            covered.append(found.low <= population.rate <= found.high)
            warned.append(found.high < population.rate)  # whether a run exactly at its threshold would be warned

    assert np.mean(covered) >= 0.91
    assert np.mean(warned) <= 0.06


def test_duplicate_listings_are_corrected() -> None:
    population = Population(LISTINGS["half of them twice"], companies=20_000, partner_share=0.5, seed=1)

    found, seen = population.projected(12), population.last_seen

    threshold = 0.65
    assert found.high < threshold
    assert seen / (12 / CHUNKS) > threshold


@given(
    counts=st.lists(st.integers(1, 50), min_size=20, max_size=20),
    pairs=st.sets(st.tuples(st.integers(0, 19), st.integers(0, CHUNKS - 1)), max_size=60),
    chunks=st.integers(5, CHUNKS),
)
def test_interval_ends_are_ordered(counts: list[int], pairs: set[tuple[int, int]], chunks: int) -> None:
    awards = np.array(counts, dtype=np.int32)
    found_in = np.array(sorted({(company, chunk % chunks) for company, chunk in pairs}), dtype=np.int64).reshape(-1, 2)

    found = project(AcceptedByChunk(found_in[:, 0], found_in[:, 1], chunks), awards, chunks_total=CHUNKS)

    seen = awards[np.unique(found_in[:, 0])].sum() / awards.sum()
    assert seen - 1e-9 <= found.low <= found.rate + 1e-9
    assert found.rate <= found.high + 1e-9
    assert found.high <= 1 + 1e-9
    if chunks == CHUNKS:
        assert found.low == found.rate == found.high == pytest.approx(seen)
