"""Project the final match rate of a run from its finished chunks: an estimate with its 95% interval.

Chunks are computed in random order (``tasks.randomize_order``), so the finished chunks are a simple random sample of
clusters (Cochran 1977, *Sampling Techniques*, chapter 9). A source lists some firms several times: a company whose
partner is in several chunks is found early, so a proportional estimate is too high. The correction follows from how
many companies were found in exactly one and in exactly two finished chunks, as for unseen species in ecology:

- the estimate assumes that the number of chunks with a company's partner is Poisson distributed (zero truncated);
- where all partners are in equally many chunks, it is too high. So the interval begins below bounds that hold for any
  distribution: Chao and Lin 2012, *Nonparametric lower bounds for species richness and shared species richness under
  sampling without replacement*, and the second Bonferroni inequality.

The sampling error is that of the delete-one-chunk jackknife with finite population correction and Student's t.
Does not cover which companies are accepted (``partial_results``) nor the warning (``early_warning``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MIN_CHUNKS = 5
"""With fewer chunks, the variation between chunks is unknown."""
CONFIDENCE = 0.95

_NOTHING, _MANY = 1e-9, 50.0

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Projection:
    """The projected final match rate with its 95% interval, as shares of the valid awards.

    ``chunks``: finished chunks that it is based on.
    """

    rate: float
    low: float
    high: float
    chunks: int


@dataclass(frozen=True)
class AcceptedByChunk:
    """Accepted companies by finished chunk: pairs, each once.

    ``company``, ``chunk``: int64, of equal length; chunks are numbered from 0 to ``chunks`` - 1.
    """

    company: Ints
    chunk: Ints
    chunks: int


def project(found: AcceptedByChunk, award_counts: npt.NDArray[np.int32], *, chunks_total: int) -> Projection:
    """Project from at least ``MIN_CHUNKS`` finished chunks. ``award_counts``: awards by company id."""
    from scipy.special import stdtrit  # scipy.stats takes seconds to import

    n, awards_total = found.chunks, float(award_counts.sum())
    once, twice, seen = _awards_by_times_seen(found, award_counts)
    if n >= chunks_total:
        rate = float(seen[0]) / awards_total
        return Projection(rate=rate, low=rate, high=rate, chunks=n)
    chunks = np.concatenate([[n], np.full(n, n - 1)]).astype(np.float64)
    share = chunks / chunks_total
    expected = _by_poisson(once, twice, seen, share)
    lower = np.minimum(
        expected, np.maximum(_by_chao(once, twice, seen, chunks, share), _by_bonferroni(once, twice, share))
    )
    quantile = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    low = lower[0] - quantile * _standard_error(lower[1:], share[0])
    high = expected[0] + quantile * _standard_error(expected[1:], share[0])
    return Projection(
        rate=min(float(expected[0]), awards_total) / awards_total,
        low=min(max(float(low), float(seen[0])), awards_total) / awards_total,
        high=min(float(high), awards_total) / awards_total,
        chunks=n,
    )


def _standard_error(without: Floats, share: float) -> float:
    """Return the jackknife error; ``without``: the estimates without each of the chunks."""
    n = len(without)
    return float(((1 - share) * (n - 1) / n * np.square(without - without.mean()).sum()) ** 0.5)


def _awards_by_times_seen(found: AcceptedByChunk, award_counts: npt.NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
    """Return awards of companies found in exactly one, in exactly two, and in any finished chunk.

    Each array has the value for all chunks, then for all without the first chunk, without the second, and so on.
    """
    times = np.bincount(found.company, minlength=len(award_counts))
    awards = award_counts[found.company].astype(np.float64)

    def of_chunks(count: int) -> Floats:
        """Return by chunk the awards of its companies that ``count`` chunks have in all."""
        chosen = times[found.company] == count
        counted = np.bincount(found.chunk[chosen], weights=awards[chosen], minlength=found.chunks)
        return counted.astype(np.float64)  # without pairs, bincount returns integers

    def of_all(count: int) -> float:
        return float(award_counts[times == count].sum())

    ones, twos, threes = of_chunks(1), of_chunks(2), of_chunks(3)
    once, twice, seen = of_all(1), of_all(2), float(award_counts[times > 0].sum())
    return (
        np.concatenate([[once], once - ones + twos]),
        np.concatenate([[twice], twice - twos + threes]),
        np.concatenate([[seen], seen - ones]),
    )


def _by_poisson(once: Floats, twice: Floats, seen: Floats, share: Floats) -> Floats:
    """Return the awards expected in all chunks if the chunks of a company are Poisson distributed.

    The mean number of chunks found so far is twice the ratio of companies seen twice and once.
    """
    mean = np.maximum(2 * twice / np.maximum(once, _NOTHING), _NOTHING)
    mean = np.where(once > 0, mean, _MANY)  # all were seen several times: few are left to find
    return np.asarray(seen * np.expm1(-mean / share) / np.expm1(-mean))


def _by_chao(once: Floats, twice: Floats, seen: Floats, chunks: Floats, share: Floats) -> Floats:
    divisor = 2 * chunks / (chunks - 1) * twice + share / (1 - share) * once
    return np.asarray(seen + np.square(once) / np.maximum(divisor, _NOTHING))


def _by_bonferroni(once: Floats, twice: Floats, share: Floats) -> Floats:
    return np.asarray(once / share - (1 - 2 * share) / np.square(share) * twice)
