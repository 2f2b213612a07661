"""The in-flight attempt: what the driver knows of an attempt that was submitted and has not ended."""

from __future__ import annotations

from dataclasses import dataclass

from enrich_dist.events import AttemptTimes
from enrich_dist.farm.attempts import Marker
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.store.checkpoints import CheckpointRecord


@dataclass
class InFlightAttempt:
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
