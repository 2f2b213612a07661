"""Report the progress of a step other than matching: records done, and the time remaining at the rate so far.

A step that handles all of its records in several stages counts each stage as the share of the records that its share
of the time corresponds to.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Final, TypeVar

from enrich_dist.events import Step, StepProgress, emit

Item = TypeVar("Item")
_INTERVAL_SECONDS: Final = 0.2  # listeners draw or count an event; the log has an interval of its own


class StepMeter:
    """Emits ``StepProgress``. ``total``: records to do, None where it is unknown; ``what``: what they are."""

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

    def reach(self, share: float) -> None:
        """Count this share of the records as done, from 0 to 1: a stage of the step has ended."""
        self._emitted = float("-inf")
        self.add(round((self._total or 0) * share) - self._done)

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
