"""Estimate the time remaining of a farm from the cost of its finished chunks and the current worker threads.

Every worker thread is a slot that takes one chunk after another. The cost of a recipient is slot time: from the end of
one chunk of a slot to the end of its next, so time between chunks counts. Its mean weighs later chunks more (polynomial
decay averaging, Shamir and Zhang 2013, *Stochastic gradient descent for non-smooth optimization*): it averages steady
work over nearly all chunks and follows changes. The first chunk of a slot opens files and touches memory for the first
time; it counts only until other chunks are known.

The remaining chunks are assigned to slots as these become free (list scheduling); as all have the same expected cost,
this has a closed form. Running chunks count by their age, so the estimate decreases between two finished chunks, and a
last wave on only some of the workers is included. The caller passes all times. Does not cover chunks of earlier runs.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

# The weight of a chunk grows with its number to this power: the later half has three quarters of the weight.
_DECAY = 1.0
# The mean covers about the latest 30 chunks, or 4 per slot if that is more, so that a long run follows a machine that
# becomes slower.
_MIN_CHUNKS = 30
_WAVES = 4
# An overdue chunk is expected to take this share of its age in addition.
_OVERDUE_SHARE = 0.1


class RemainingTime:
    """Estimator for one farm. Times are seconds of one monotonic clock."""

    def __init__(self, chunks: int, rows: int) -> None:
        """``chunks``, ``rows``: the work of this run."""
        self._chunks = chunks
        self._rows = rows
        # By worker: when each of its slots last became free.
        self._free: dict[str, list[float]] = {}
        self._warm: dict[str, int] = {}
        self._seen = 0
        self._first_only = True
        self._cost_seconds = 0.0
        self._cost_rows = 0.0

    def set_workers(self, names: Collection[str], now: float) -> None:
        """Set the current workers; a new one is assumed to start a chunk now."""
        for name in names:
            self._free.setdefault(name, [now])
        for name in self._free.keys() - set(names):
            del self._free[name]
            self._warm.pop(name, None)

    def record_finished(self, rows: int, worker: str, started: float, ended: float) -> None:
        """Record that a worker finished a chunk of ``rows`` rows."""
        self._chunks -= 1
        self._rows -= rows
        own_seconds = max(ended - started, 0.0)
        free = self._free.setdefault(worker, [started])
        before = [end for end in free if end <= started + own_seconds / 2]
        # A longer idle time is not part of the cost: the worker was paused or had no chunk.
        idle_seconds = min(max(started - max(before), 0.0), own_seconds) if before else 0.0
        if before:
            free.remove(max(before))
        free.append(ended)
        first = self._warm.get(worker, 0) < len(free)
        if first:
            self._warm[worker] = self._warm.get(worker, 0) + 1
        self._learn(rows, own_seconds + idle_seconds, first=first)

    def record_failed(self, worker: str, ended: float) -> None:
        """Record that an attempt ended without a result; its slot is free again."""
        if free := self._free.get(worker):
            free[free.index(min(free))] = ended

    def rows_per_second(self, threads: int) -> float:
        """Return the throughput of ``threads`` worker threads; 0 before the first chunk."""
        return threads * self._cost_rows / self._cost_seconds if self._cost_seconds > 0 else 0.0

    def estimate_seconds(self, now: float, threads: int) -> float | None:
        """Return the time remaining with ``threads`` worker threads; None where it is unknown or there are none."""
        if self._chunks <= 0:
            return 0.0
        if threads <= 0 or self._cost_rows <= 0:
            return None
        chunk_seconds = self._rows / self._chunks * self._cost_seconds / self._cost_rows
        ages = self._ages(now, threads)
        left = sorted(max(chunk_seconds - age, _OVERDUE_SHARE * age) for age in ages)
        waves, more = divmod(self._chunks - len(left), threads)
        # After each whole wave, every slot has the same age as before it.
        last = max(left[-1], left[more - 1] + chunk_seconds) if more else left[-1]
        return waves * chunk_seconds + last

    def _ages(self, now: float, threads: int) -> list[float]:
        """Return the ages of the running chunks."""
        ends = sorted(chain.from_iterable(self._free.values()), reverse=True)[:threads]
        ends += [ends[-1] if ends else now] * (threads - len(ends))
        # Fewer chunks than slots: the slots that became free last have none.
        return [max(now - end, 0.0) for end in ends[-self._chunks :]]

    def _learn(self, rows: int, seconds: float, *, first: bool) -> None:
        if first and not self._first_only:
            return
        if self._first_only and not first:
            self._first_only, self._seen = False, 0
        self._seen += 1
        slots = sum(map(len, self._free.values()))
        step = max((1 + _DECAY) / (self._seen + _DECAY), 1 / max(_MIN_CHUNKS, _WAVES * slots))
        self._cost_rows += step * (rows - self._cost_rows)
        self._cost_seconds += step * (seconds - self._cost_seconds)
