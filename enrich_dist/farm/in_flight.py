"""Attempts that are out: what the driver knows of each, when it did what, and the records that they brought.

Does not cover what follows from an attempt's end (``driver``, ``policy``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from distributed import CancelledError, Client, Future, KilledWorker

from enrich_dist.errors import CorruptionError
from enrich_dist.events import AttemptTimes, emit
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.store.checkpoints import CheckpointRecord, CheckpointStore

# A record is a few hundred bytes: a worker that does not hand it over by then has stopped.
_FETCH_TIMEOUT_SECONDS = 5.0


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

    def kept(self) -> tuple[CheckpointRecord | None, BaseException | None]:
        """The record as the store has it, which is the truth about a chunk; else why it has none."""
        try:
            return CheckpointStore(self.task.checkpoint_location).read_record(self.task.checkpoint_key), None
        except (FileNotFoundError, CorruptionError) as error:
            return None, error


_Fetched = tuple[Flight, CheckpointRecord | None, BaseException | None]


def fetch_records(client: Client, landed: Mapping[Future[Any], Flight]) -> Iterator[_Fetched]:
    """The record of each attempt that has finished, or the error why there is none, in the order of ``landed``.

    All in one request: one for each costs driver and worker 3 ms of CPU a time. Where the records cannot be had, as a
    worker went silent or was lost with them, those in the store are read.
    """
    futures = dict(enumerate(landed))
    records: dict[int, CheckpointRecord | None] = {}
    with suppress(KilledWorker, CancelledError, OSError):
        # Skipped is what was lost meanwhile, computed again by Dask, and failed then.
        gather = partial(client.gather, futures, errors="skip", asynchronous=True)
        records = client.sync(gather, callback_timeout=_FETCH_TIMEOUT_SECONDS)
    for number, (future, flight) in enumerate(landed.items()):
        record = records.get(number)
        # Not left to the garbage collector: what is wanted and lost with its worker is computed again.
        future.release()
        yield flight, *((record, None) if record is not None else flight.kept())
