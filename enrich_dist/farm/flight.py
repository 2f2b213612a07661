"""An attempt that is out: what the driver knows of it, when it did what, and what it brought.

Covers one attempt. Does not cover what follows from its end (``driver``, ``policy``).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from distributed import CancelledError, Future, KilledWorker

from enrich_dist.errors import CorruptionError
from enrich_dist.farm.worker import ChunkTask
from enrich_dist.observe.events import AttemptTimes, emit
from enrich_dist.store.checkpoints import CheckpointRecord, CheckpointStore

# A record is a few hundred bytes: a worker that does not hand it over by then has stopped.
_RESULT_SECONDS = 5.0


@dataclass
class Flight:
    """An attempt that is out. Times are of ``time.monotonic`` here; ``begun`` and ``worker`` are known once its worker
    has said that it is at it."""

    task: ChunkTask
    submitted: float
    begun: float | None = None
    worker: str | None = None
    done: float | None = None

    def tell_times(self, outcome: str, worker: str | None, record: CheckpointRecord | None = None) -> None:
        """Tell when the attempt, which has ended, did what: for the timeline, which nothing else depends on."""
        now = time.monotonic()
        finished = now if self.done is None else self.done
        # The worker's clock may be another: how long it took is certain, and so is when word of it came.
        started = self.begun if record is None else max(self.submitted, finished - record.seconds)
        emit(
            AttemptTimes(
                chunk_id=self.task.chunk_id,
                attempt=self.task.attempt,
                outcome=outcome,
                worker=worker,
                submitted_seconds=self.submitted,
                started_seconds=started,
                finished_seconds=finished,
                received_seconds=now,
                peak_memory_bytes=None if record is None else record.peak_memory_bytes,
            )
        )

    def result(self, future: Future[Any]) -> tuple[CheckpointRecord | None, BaseException | None]:
        """What its future, which is done, brought: a record, or an error; neither where it was lost with the
        scheduler."""
        if future.status != "finished":
            return None, None if future.cancelled() else future.exception()
        try:
            record: CheckpointRecord = future.result(timeout=_RESULT_SECONDS)
        except (KilledWorker, CancelledError, OSError):  # its worker went silent or was lost, with the record
            return self._kept()
        return record, None

    def _kept(self) -> tuple[CheckpointRecord | None, BaseException | None]:
        """The record as the store has it, which is the truth about a chunk."""
        try:
            return CheckpointStore(self.task.checkpoint_location).read_record(self.task.checkpoint_key), None
        except (FileNotFoundError, CorruptionError) as error:
            return None, error
