"""What a worker will need to match a chunk, and how a chunk is worked through so that it stays within its memory.

Covers the arithmetic: the projected peak of a chunk and what it is made of, the largest batch that fits the budget,
the refusal where none does, and the pace of a worker that measures as it goes. What a batch, an index and a result
cost is told by the matcher (``MatchMemory``). Does not measure (``meter``), and knows no settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from enrich_dist.core.matcher import MatchMemory
from enrich_dist.errors import BudgetError

# Share of a worker's memory that is planned with. Above it Dask gives a worker no further task, and not far above that
# its nanny ends it.
USABLE_SHARE: Final = 0.8
MB: Final = 1_000_000
# Memory for reading a chunk, over the bytes of its file. What is read is unpacked batch by batch, as part of these.
READ_FACTOR: Final = 1.0


@dataclass(frozen=True)
class Projection:
    """The peak of a worker that matches a chunk, in bytes, by what it is made of."""

    process_bytes: int
    index_bytes: int
    batch_bytes: int
    batch_rows: int
    chunk_bytes: int
    """Of reading the chunk."""
    output_bytes: int

    @property
    def peak_bytes(self) -> int:
        """All of it."""
        return self.process_bytes + self.index_bytes + self.batch_bytes + self.chunk_bytes + self.output_bytes

    @property
    def min_threshold_mb(self) -> int:
        """The least ``memory_threshold_mb`` that it fits."""
        return -int(-self.peak_bytes // (USABLE_SHARE * MB))

    def fits(self, threshold_mb: int) -> bool:
        """Whether a worker may have it within ``memory_threshold_mb``."""
        return self.min_threshold_mb <= threshold_mb

    def arithmetic(self) -> str:
        """Its sum in words."""
        parts = (
            (self.process_bytes, "for the worker itself"),
            (self.index_bytes, "for the index"),
            (self.batch_bytes, f"for a batch of {self.batch_rows:,} rows"),
            (self.chunk_bytes, "for reading the chunk"),
            (self.output_bytes, "for its result"),
        )
        told = [f"{size / MB:,.1f} {what}" for size, what in parts if size]
        return f"{self.peak_bytes / MB:,.0f} MB = {' + '.join(told)}"


def project(memory: MatchMemory, *, chunk_rows: int, chunk_bytes: int, batch_rows: int) -> Projection:
    """The peak of a worker that matches a chunk of so many rows, whose file has ``chunk_bytes``."""
    rows = min(batch_rows, chunk_rows)
    return Projection(
        process_bytes=memory.process_bytes,
        index_bytes=memory.index_bytes,
        batch_bytes=round(memory.batch_row_bytes * rows),
        batch_rows=rows,
        chunk_bytes=round(READ_FACTOR * chunk_bytes),
        output_bytes=round(memory.output_row_bytes * chunk_rows),
    )


def fitted(projection: Callable[[int], Projection], *, batch_rows: int, min_rows: int, threshold_mb: int) -> Projection:
    """The projection in the largest batches, of ``batch_rows`` or halves of it, that fits ``threshold_mb``; that of
    ``min_rows`` where none does."""
    rows = batch_rows
    while rows > min_rows and not projection(rows).fits(threshold_mb):
        rows = max(min_rows, -(-rows // 2))
    return projection(rows)


def require_fit(least: Projection, threshold_mb: int) -> None:
    """Raise ``BudgetError``, with the arithmetic, where it does not fit."""
    if least.fits(threshold_mb):
        return
    # Only where the chunk is what is too large.
    smaller = least.chunk_bytes + least.output_bytes >= least.peak_bytes - USABLE_SHARE * threshold_mb * MB
    raise BudgetError(
        f"The chunks do not fit into the memory of a worker, not even in the smallest batches. A worker needs "
        f"{least.arithmetic()}; memory_threshold_mb is {threshold_mb:,}, of which {USABLE_SHARE:.0%} "
        f"({USABLE_SHARE * threshold_mb:,.0f} MB) may be used.",
        remedy=f"Raise memory_threshold_mb to {least.min_threshold_mb:,} or more"
        + (", or lower chunk_size." if smaller else "."),
    )


class BatchMemoryEstimator:
    """What a batch takes over what the process held before it: as projected, until it was measured here."""

    def __init__(self, row_bytes: float) -> None:
        self._row_bytes = row_bytes
        self._measured_rows = 0
        self._measured_bytes = 0

    def of(self, rows: int) -> int:
        """Bytes that a batch of so many rows is expected to take."""
        # A part of the cost does not depend on the rows: a small batch says nothing about a large one.
        if rows <= 2 * self._measured_rows:
            return round(self._measured_bytes * rows / self._measured_rows)
        return round(self._row_bytes * rows)

    def learn(self, rows: int, taken_bytes: int) -> None:
        """Take a measured batch into account: one that is as large as those before, or nearly so and took more."""
        more = taken_bytes * self._measured_rows > self._measured_bytes * rows
        if rows >= self._measured_rows or (more and 2 * rows >= self._measured_rows):
            self._measured_rows, self._measured_bytes = rows, taken_bytes


class AdaptiveBatcher:
    """How many rows of a chunk to match at a time: fewer, where more would bring the process near its limit.

    ``resident`` tells what the process holds now, ``release`` gives back what it holds and does not use. A limit of 0
    is none.
    """

    def __init__(
        self,
        *,
        rows: int,
        min_rows: int,
        limit_bytes: int,
        cost: BatchMemoryEstimator,
        resident: Callable[[], int],
        release: Callable[[], None],
    ) -> None:
        self.rows = rows
        """Rows of a batch, as they are now."""
        self.degradations = 0
        """How often they were halved."""
        self._min_rows = min_rows
        self._usable_bytes = USABLE_SHARE * limit_bytes
        self._cost = cost
        self._resident = resident
        self._release = release
        self._before_bytes = 0
        self._least_taken_bytes = 0

    def next_rows(self, waiting_rows: int, *, further_bytes: int = 0) -> int:
        """Rows of the next batch, of ``waiting_rows`` that are there; ``further_bytes`` will be taken besides."""
        rows = min(self.rows, waiting_rows)
        self._before_bytes = self._resident() + further_bytes
        if self._usable_bytes and not self._fits(rows):
            self._release()
            self._before_bytes = self._resident() + further_bytes
            while rows > self._min_rows and not self._fits(rows):
                rows = self.rows = max(self._min_rows, -(-rows // 2))
                self.degradations += 1
        # What is only expected to come besides may be less: then it must not make the batch look cheap.
        self._least_taken_bytes = self._cost.of(rows) if further_bytes else 0
        return rows

    def matched(self, rows: int, peak_bytes: int) -> None:
        """A batch was matched, and its peak was this."""
        self._cost.learn(rows, max(self._least_taken_bytes, peak_bytes - self._before_bytes))

    def finish(self) -> None:
        """The chunk is done: what is held and not used must not keep the next one waiting."""
        if self._usable_bytes and self._resident() > self._usable_bytes:
            self._release()

    def _fits(self, rows: int) -> bool:
        return self._before_bytes + self._cost.of(rows) <= self._usable_bytes
