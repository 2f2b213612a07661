"""Report the progress of a step other than matching: records or stages done, and the time remaining."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Final, TypeVar

from enrich_dist.events import Step, StepProgress, emit

Item = TypeVar("Item")
_INTERVAL_SECONDS: Final = 0.2  # listeners draw or count an event; the log has an interval of its own


class StepMeter:
    """Emits ``StepProgress``, with the time remaining at the rate so far.

    ``total``: records to do, None where it is unknown; ``what``: what they are.
    """

    def __init__(self, step: Step, what: str, total: int | None) -> None:
        self._step, self._what, self._total = step, what, total
        self._done = 0
        self._started = time.monotonic()
        self._emitted = float("-inf")

    def add(self, records: int) -> None:
        """Count records that are done."""
        self._done += records
        now = time.monotonic()
        if now - self._emitted >= _INTERVAL_SECONDS or self._done == self._total:
            self._emitted = now
            self._emit(now - self._started)

    def counted(self, items: Generator[Item, None, None], size: Callable[[Item], int]) -> Generator[Item, None, None]:
        """Yield the items, and count each once the next one is asked for."""
        with closing(items):
            for item in items:
                records = size(item)
                yield item
                del item  # else it stays in memory while the next one is read
                self.add(records)

    def _emit(self, elapsed: float) -> None:
        remaining = None
        if self._total and 0 < self._done <= self._total:
            remaining = elapsed * (self._total / self._done - 1)
        emit(StepProgress(self._step, self._what, self._done, self._total, elapsed, remaining))


class StageMeter:
    """Emits ``StepProgress`` of a step whose stages each handle all of its records.

    ``ends``: share of the step's time after which each stage ends, the last one 1, for the time remaining only.
    """

    def __init__(self, step: Step, ends: Sequence[float]) -> None:
        self._step, self._ends = step, ends
        self._done = 0
        self._started = time.monotonic()

    def end_stage(self, *, reused: bool = False) -> None:
        """Count a stage; one whose output was ``reused`` is not reported."""
        elapsed = time.monotonic() - self._started
        remaining = elapsed * (1 / self._ends[self._done] - 1)
        self._done += 1
        if not reused:
            emit(StepProgress(self._step, "stages", self._done, len(self._ends), elapsed, remaining))
