"""Backup tasks (speculative execution): which stragglers an idle worker computes as well. Pure.

The first attempt of a chunk to finish counts; both write the same checkpoint.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence

from enrich_dist.farm.in_flight import InFlightAttempt

# The median of fewer finished chunks is not a reliable estimate of how long a chunk takes.
_MIN_FINISHED_CHUNKS = 3


def find_stragglers(
    in_flight: Collection[InFlightAttempt],
    chunk_seconds: Sequence[float],
    *,
    now: float,
    factor: float,
    min_seconds: float,
    free_threads: int,
) -> list[InFlightAttempt]:
    """Return the in-flight attempts that a backup task should duplicate, at most ``free_threads``.

    An attempt is a straggler if it has run for ``factor`` times the median of ``chunk_seconds`` (the finished chunks)
    and for ``min_seconds``. A chunk has at most one backup task. A factor of 0 disables backup tasks.
    """
    if not factor or free_threads <= 0 or len(chunk_seconds) < _MIN_FINISHED_CHUNKS:
        return []
    limit_seconds = max(min_seconds, factor * statistics.median(chunk_seconds))
    attempts_by_chunk: dict[int, list[InFlightAttempt]] = {}
    for attempt in in_flight:
        attempts_by_chunk.setdefault(attempt.task.chunk_id, []).append(attempt)
    stragglers = [
        attempts[0]
        for attempts in attempts_by_chunk.values()
        if len(attempts) == 1 and attempts[0].running_seconds(now) >= limit_seconds
    ]
    return stragglers[:free_threads]
