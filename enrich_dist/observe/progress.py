"""Turns finished chunks into progress: records done, rate, time remaining, awards matched so far.

Counts what was there before the run apart, so that rate and time remaining are of the work that is left. Does not
show anything (listeners do).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from enrich_dist.farm.worker import ChunkTask
from enrich_dist.observe.events import FarmProgress, Notice, emit
from enrich_dist.store.checkpoints import Checkpoint, CheckpointRecord


class MatchCounter(Protocol):
    """Counts awards matched in the checkpoints it was given."""

    def add(self, checkpoints: Sequence[Path]) -> None:
        """Take further checkpoints into account."""

    def awards(self) -> int:
        """Awards matched so far."""


class FarmObserver:
    """Emits ``FarmProgress`` after every chunk and on every tick of the farm."""

    def __init__(
        self,
        tasks: Sequence[ChunkTask],
        finished: Mapping[str, Checkpoint],
        candidates: Callable[[str], Path],
        *,
        matched: MatchCounter,
        awards_total: int,
    ) -> None:
        """``finished``: the checkpoints there were before; ``candidates``: gives a file with those of a key."""
        self._candidates = candidates
        self._matched = matched
        self._awards_total = awards_total
        self._chunks_total = len(tasks)
        self._records_total = sum(task.chunk_rows for task in tasks)
        resumed = [task for task in tasks if task.checkpoint_key in finished]
        self._chunks_resumed = len(resumed)
        self._records_resumed = sum(task.chunk_rows for task in resumed)
        self._chunks_now = 0
        self._records_now = 0
        self._threads = 0
        self._started = time.monotonic()
        matched.add([checkpoint.candidates for checkpoint in finished.values()])
        self._awards_matched = matched.awards()

    def chunk_finished(self, task: ChunkTask, record: CheckpointRecord) -> None:
        """Count a chunk that this run computed."""
        self._chunks_now += 1
        self._records_now += record.rows_in
        try:
            self._matched.add([self._candidates(task.checkpoint_key)])
        except (OSError, pa.ArrowException) as error:  # the reduce reads it again, and judges it
            emit(Notice(f"Progress counts no matches of chunk {task.chunk_id}: {error}", warning=True))
        self._awards_matched = self._matched.awards()
        self._emit()

    def tick(self, threads: int) -> None:
        """Tell where the farm stands, with the worker threads there are now."""
        self._threads = threads
        self._emit()

    def _emit(self) -> None:
        seconds = time.monotonic() - self._started
        rate = self._records_now / seconds if seconds > 0 else 0.0
        left = self._records_total - self._records_resumed - self._records_now
        emit(
            FarmProgress(
                chunks_total=self._chunks_total,
                chunks_done=self._chunks_resumed + self._chunks_now,
                chunks_resumed=self._chunks_resumed,
                records_total=self._records_total,
                records_done=self._records_resumed + self._records_now,
                awards_total=self._awards_total,
                awards_matched=self._awards_matched,
                records_per_second=rate,
                remaining_seconds=left / rate if rate > 0 else None,
                workers=self._threads,
            )
        )
