"""The time a farm will still take: from what its chunks have cost so far and the worker threads there are now.

Every worker thread is a slot that takes one chunk after the other. What a recipient costs is slot time: from the end
of a slot's chunk to the end of its next, so that what lies between chunks counts, too. Its mean weighs later chunks
more (polynomial decay averaging, Shamir and Zhang 2013, *Stochastic gradient descent for non-smooth optimization*):
steady work is averaged over nearly all that was seen, and a change is followed. A slot's first chunk, in which files
are opened and memory is touched for the first time, counts only as long as nothing else is known.

The chunks that are left are then dealt to the slots as they fall free (list scheduling), which closes in a formula as
they are all expected to cost the same. Chunks under way count by how long they have been; so the estimate goes down
with the clock between two ends, and a last wave that keeps only some of the workers busy is in it.

Clocks are given, never read. Covers this run's work alone: what was finished before it has no part in it. Does not
show anything.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

# The weight of a chunk grows with its number to this power: the later half of the chunks has three quarters of it.
_DECAY = 1.0
# Once so many chunks, and so many for each slot, are behind, what lies further back is forgotten: a machine that got
# slower in a long night is told by its last hour.
_MIN_CHUNKS = 30
_WAVES = 4
# A chunk that takes longer than expected is expected to take this share of its time again.
_OVERDUE_SHARE = 0.1


class RemainingTime:
    """Estimator of one farm. Seconds are of one monotonic clock."""

    def __init__(self, chunks: int, rows: int) -> None:
        """``chunks``, ``rows``: what this run has to do."""
        self._chunks = chunks
        self._rows = rows
        # By worker: when each of its slots was last known to fall free.
        self._free: dict[str, list[float]] = {}
        self._warm: dict[str, int] = {}
        self._seen = 0
        self._first_only = True
        self._cost_seconds = 0.0
        self._cost_rows = 0.0

    def workers(self, names: Collection[str], now: float) -> None:
        """Take these for the workers that are there; new ones have a chunk from now on."""
        for name in names:
            self._free.setdefault(name, [now])
        for name in self._free.keys() - set(names):
            del self._free[name]
            self._warm.pop(name, None)

    def finished(self, rows: int, worker: str, started: float, ended: float) -> None:
        """A chunk of so many rows was finished by the worker."""
        self._chunks -= 1
        self._rows -= rows
        own_seconds = max(ended - started, 0.0)
        free = self._free.setdefault(worker, [started])
        before = [end for end in free if end <= started + own_seconds / 2]
        # A slot that stood still for longer, as its worker was paused or had nothing to do, tells of no chunk.
        idle_seconds = min(max(started - max(before), 0.0), own_seconds) if before else 0.0
        if before:
            free.remove(max(before))
        free.append(ended)
        first = self._warm.get(worker, 0) < len(free)
        if first:
            self._warm[worker] = self._warm.get(worker, 0) + 1
        self._learn(rows, own_seconds + idle_seconds, first=first)

    def failed(self, worker: str, ended: float) -> None:
        """An attempt of the worker ended without a result: its slot is free for the next."""
        if free := self._free.get(worker):
            free[free.index(min(free))] = ended

    def rows_per_second(self, threads: int) -> float:
        """What so many worker threads get done; 0 before the first chunk."""
        return threads * self._cost_rows / self._cost_seconds if self._cost_seconds > 0 else 0.0

    def seconds(self, now: float, threads: int) -> float | None:
        """Time remaining with so many worker threads; None where nothing is known, or nobody works."""
        if self._chunks <= 0:
            return 0.0
        if threads <= 0 or self._cost_rows <= 0:
            return None
        chunk_seconds = self._rows / self._chunks * self._cost_seconds / self._cost_rows
        ages = self._ages(now, threads)
        left = sorted(max(chunk_seconds - age, _OVERDUE_SHARE * age) for age in ages)
        waves, more = divmod(self._chunks - len(left), threads)
        # After each whole wave every slot stands as it stands now.
        last = max(left[-1], left[more - 1] + chunk_seconds) if more else left[-1]
        return waves * chunk_seconds + last

    def _ages(self, now: float, threads: int) -> list[float]:
        """For how long the chunks that are under way have been."""
        ends = sorted(chain.from_iterable(self._free.values()), reverse=True)[:threads]
        ends += [ends[-1] if ends else now] * (threads - len(ends))
        # Fewer chunks than slots: who fell free last found nothing to take.
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
