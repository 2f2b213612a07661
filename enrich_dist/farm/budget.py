"""The memory budget of a worker: the projected peak of a chunk, and batch sizes that fit the budget.

The matcher declares what a batch, an index and a result take (``MatchMemory``). Does not measure
(``core.resource_usage``), and knows no settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from enrich_dist.core.matcher import MatchMemory
from enrich_dist.errors import BudgetError

# Share of a worker's memory that a projection may use. Above it Dask pauses the worker, and soon its nanny ends it.
USABLE_SHARE: Final = 0.8
MB: Final = 1_000_000


@dataclass(frozen=True)
class Projection:
    """The projected peak memory of a worker that matches a chunk, in bytes, by component."""

    process_bytes: int
    index_bytes: int
    batch_bytes: int
    batch_rows: int
    chunk_bytes: int
    """For reading the chunk: its file size. Decoded rows are part of the batch."""
    output_bytes: int

    @property
    def peak_bytes(self) -> int:
        """Return the sum of all components."""
        return self.process_bytes + self.index_bytes + self.batch_bytes + self.chunk_bytes + self.output_bytes

    @property
    def min_threshold_mb(self) -> int:
        """Return the smallest ``memory_threshold_mb`` that it fits."""
        return -int(-self.peak_bytes // (USABLE_SHARE * MB))

    def fits(self, threshold_mb: int) -> bool:
        """Return whether it fits ``memory_threshold_mb``."""
        return self.min_threshold_mb <= threshold_mb

    def arithmetic(self) -> str:
        """Return the sum in words."""
        parts = (
            (self.process_bytes, "for the worker itself"),
            (self.index_bytes, "for the index"),
            (self.batch_bytes, f"for a batch of {self.batch_rows:,} rows"),
            (self.chunk_bytes, "for reading the chunk"),
            (self.output_bytes, "for its result"),
        )
        terms = [f"{size / MB:,.1f} {what}" for size, what in parts if size]
        return f"{self.peak_bytes / MB:,.0f} MB = {' + '.join(terms)}"


def project(memory: MatchMemory, *, chunk_rows: int, chunk_bytes: int, batch_rows: int) -> Projection:
    """Return the projection for a chunk of ``chunk_rows`` rows in a file of ``chunk_bytes``."""
    rows = min(batch_rows, chunk_rows)
    return Projection(
        process_bytes=memory.process_bytes,
        index_bytes=memory.index_bytes,
        batch_bytes=round(memory.batch_row_bytes * rows),
        batch_rows=rows,
        chunk_bytes=chunk_bytes,
        output_bytes=round(memory.output_row_bytes * chunk_rows),
    )


def fitted(projection: Callable[[int], Projection], *, batch_rows: int, min_rows: int, threshold_mb: int) -> Projection:
    """Return the projection with the largest batch that fits: ``batch_rows``, halved as often as necessary.

    If none fits ``threshold_mb``, return that of ``min_rows``.
    """
    rows = batch_rows
    while rows > min_rows and not projection(rows).fits(threshold_mb):
        rows = max(min_rows, -(-rows // 2))
    return projection(rows)


def require_fit(smallest: Projection, threshold_mb: int) -> None:
    """Raise ``BudgetError``, with the arithmetic, if the projection with the smallest batches does not fit."""
    if smallest.fits(threshold_mb):
        return
    excess_bytes = smallest.peak_bytes - USABLE_SHARE * threshold_mb * MB
    smaller_chunks_help = smallest.chunk_bytes + smallest.output_bytes >= excess_bytes
    raise BudgetError(
        "The chunks do not fit into a worker's memory, even with the smallest batches. A worker needs "
        f"{smallest.arithmetic()}; memory_threshold_mb is {threshold_mb:,}, of which {USABLE_SHARE:.0%} "
        f"({USABLE_SHARE * threshold_mb:,.0f} MB) may be used.",
        remedy=f"Raise memory_threshold_mb to {smallest.min_threshold_mb:,} or more"
        + (", or lower chunk_size." if smaller_chunks_help else "."),
    )


class BatchMemoryEstimator:
    """Estimate the memory that a batch adds to the process: as projected, until batches were measured here."""

    def __init__(self, row_bytes: float) -> None:
        self._row_bytes = row_bytes
        self._measured_rows = 0
        self._measured_bytes = 0

    def of(self, rows: int) -> int:
        """Return the expected bytes of a batch of ``rows`` rows."""
        # A part of the cost is fixed, so a small batch does not predict a large one.
        if rows <= 2 * self._measured_rows:
            return round(self._measured_bytes * rows / self._measured_rows)
        return round(self._row_bytes * rows)

    def learn(self, rows: int, taken_bytes: int) -> None:
        """Take a measured batch into account if it is the largest so far, or nearly and took more per row."""
        more = taken_bytes * self._measured_rows > self._measured_bytes * rows
        if rows >= self._measured_rows or (more and 2 * rows >= self._measured_rows):
            self._measured_rows, self._measured_bytes = rows, taken_bytes


class AdaptiveBatcher:
    """Choose the batch size of a worker: halve it while a batch would bring the process near its memory limit.

    ``resident`` returns the resident bytes of the process, ``release`` returns unused memory to the operating system. A
    limit of 0 is none.
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
        """Current rows per batch."""
        self.degradations = 0
        """Number of times that the batch size was halved."""
        self._min_rows = min_rows
        self._usable_bytes = USABLE_SHARE * limit_bytes
        self._cost = cost
        self._resident = resident
        self._release = release
        self._before_bytes = 0
        self._min_taken_bytes = 0

    def next_rows(self, waiting_rows: int, *, further_bytes: int = 0) -> int:
        """Return the rows of the next batch, at most ``waiting_rows``.

        ``further_bytes``: expected memory of anything else that the batch loads.
        """
        rows = min(self.rows, waiting_rows)
        self._before_bytes = self._resident() + further_bytes
        if self._usable_bytes and not self._fits(rows):
            self._release()
            self._before_bytes = self._resident() + further_bytes
            while rows > self._min_rows and not self._fits(rows):
                rows = self.rows = max(self._min_rows, -(-rows // 2))
                self.degradations += 1
        # The further memory may be less than expected: the batch must not seem cheaper for that.
        self._min_taken_bytes = self._cost.of(rows) if further_bytes else 0
        return rows

    def matched(self, rows: int, peak_bytes: int) -> None:
        """Learn from a batch that was matched with this peak memory."""
        self._cost.learn(rows, max(self._min_taken_bytes, peak_bytes - self._before_bytes))

    def finish(self) -> None:
        """Release unused memory at the end of a chunk, so that it does not shrink the batches of the next one."""
        if self._usable_bytes and self._resident() > self._usable_bytes:
            self._release()

    def _fits(self, rows: int) -> bool:
        return self._before_bytes + self._cost.of(rows) <= self._usable_bytes
