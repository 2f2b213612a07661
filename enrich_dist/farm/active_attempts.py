"""Active attempts: submitted and not ended. Stragglers get a backup task (speculative execution). Pure.

The first attempt of a chunk to finish counts; both write the same checkpoint.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from enrich_dist.events import AttemptTimes
from enrich_dist.farm.attempts import Marker
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.store.checkpoints import CheckpointRecord

# The median of fewer finished chunks is not a reliable estimate of how long a chunk takes.
_MIN_FINISHED_CHUNKS = 3


@dataclass
class ActiveAttempt:
    """An attempt that was submitted. Times are of the driver's monotonic clock."""

    task: ChunkTask
    submitted: float
    queued_since: float
    """Start of the timeout of an attempt that has not started; it starts again while a worker is busy or missing."""
    started: float | None = None
    """When the driver saw the attempt's marker."""
    marker: Marker | None = None
    done: float | None = None
    """When Dask reported its end."""

    @property
    def worker(self) -> str | None:
        """Address of the worker that has started it."""
        return self.marker.worker if self.marker else None

    def running_seconds(self, now: float) -> float:
        """Return how long it has been running, 0 if it has not started."""
        return 0.0 if self.started is None else now - self.started

    def times(
        self, outcome: str, worker: str | None, received: float, record: CheckpointRecord | None = None
    ) -> AttemptTimes:
        """Return the times of the attempt, which has ended, for the timeline of the report."""
        finished = received if self.done is None else self.done
        # The worker's clock may differ from the driver's; only its durations are reliable.
        started = self.started if record is None else max(self.submitted, finished - record.seconds)
        return AttemptTimes(
            chunk_id=self.task.chunk_id,
            attempt=self.task.attempt,
            outcome=outcome,
            worker=worker,
            submitted_seconds=self.submitted,
            started_seconds=started,
            finished_seconds=finished,
            received_seconds=received,
            peak_memory_bytes=None if record is None else record.peak_memory_bytes,
        )


def find_stragglers(
    active_attempts: Collection[ActiveAttempt],
    chunk_seconds: Sequence[float],
    *,
    now: float,
    factor: float,
    min_seconds: float,
    free_threads: int,
) -> list[ActiveAttempt]:
    """Return the active attempts that a backup task should duplicate, at most ``free_threads``.

    An attempt is a straggler if it has run for ``factor`` times the median of ``chunk_seconds`` (the finished chunks)
    and for ``min_seconds``. A chunk has at most one backup task. A factor of 0 disables backup tasks.
    """
    if not factor or free_threads <= 0 or len(chunk_seconds) < _MIN_FINISHED_CHUNKS:
        return []
    limit_seconds = max(min_seconds, factor * statistics.median(chunk_seconds))
    attempts_by_chunk: dict[int, list[ActiveAttempt]] = {}
    for attempt in active_attempts:
        attempts_by_chunk.setdefault(attempt.task.chunk_id, []).append(attempt)
    stragglers = [
        attempts[0]
        for attempts in attempts_by_chunk.values()
        if len(attempts) == 1 and attempts[0].running_seconds(now) >= limit_seconds
    ]
    return stragglers[:free_threads]
