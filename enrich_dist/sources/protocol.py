"""What every source of recipients gives: rows as they stand, in batches, and where a row is found again.

Covers what is handed between a source and ``recipients``, which cleans it, and what a source is asked for. Reads
nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from enrich_dist.sources.columns import RECIPIENT_LAYOUT, Layout
from enrich_dist.sources.delimited import BadRecord


class RowRange(NamedTuple):
    """Rows from number ``first_row`` on, until the next part begins, are those of ``name`` from ``own_first`` on."""

    first_row: int
    name: str
    own_first: int


def whole(name: str) -> tuple[RowRange, ...]:
    """The parts of a source that is one file, and whose rows have its own numbers."""
    return (RowRange(1, name, 1),)


def find_rows(parts: Sequence[RowRange], rows: npt.NDArray[np.int64]) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """The file of each row (string), and its number there."""
    firsts = np.array([part.first_row for part in parts], dtype=np.int64)
    owns = np.array([part.own_first for part in parts], dtype=np.int64)
    which = np.searchsorted(firsts, rows, side="right") - 1
    return pa.array([part.name for part in parts], pa.string()).take(pa.array(which)), rows - firsts[which] + owns[
        which
    ]


@dataclass(frozen=True)
class RawBatch:
    """Consecutive rows of the source.

    ``cells``: an array per canonical column that the source has, of any type that can be read as text; ``source_rows``:
    int64, of the same length, ascending; ``unusable``: string, why a row cannot be taken, null where it can;
    ``bad_records``: rows that could not be split into columns; ``rows_merged``: rows that tell of a recipient of
    another row; ``parts``: where the rows of this batch are found again. ``rows_read`` counts all of them.
    """

    cells: dict[str, pa.Array]
    source_rows: pa.Array
    unusable: pa.Array
    bad_records: list[BadRecord]
    parts: tuple[RowRange, ...]
    rows_merged: int = 0

    @property
    def rows_read(self) -> int:
        """Source rows of the batch."""
        return len(self.source_rows) + len(self.bad_records) + self.rows_merged

    @property
    def last_row(self) -> int:
        """The largest number of a row in the batch; 0 without any."""
        rows = [record.source_row for record in self.bad_records]
        last: list[int] = self.source_rows[-1:].to_pylist()
        return max([0, *rows, *last])


@dataclass(frozen=True)
class ReadOptions:
    """How a source is to be read.

    ``column_map``: canonical column -> the source's, or None where it has none. ``batch_rows``: rows of each batch, of
    which the last may have fewer. ``layout``: what messages call the columns. ``scratch``: a directory for what does
    not fit into memory.
    """

    column_map: Mapping[str, str | None]
    batch_rows: int
    scratch: Path
    layout: Layout = RECIPIENT_LAYOUT


class Source(ABC):
    """A table of recipients. Making one opens nothing."""

    name: str
    """What the rejects call it."""
    where: str
    """What messages, logs and records call it: without secrets."""

    @abstractmethod
    def check(self, reading: ReadOptions) -> None:
        """Open it, find its columns, and see that it has rows.

        Raises ``SourceError`` where it cannot be used.
        """

    @abstractmethod
    def digest(self, reading: ReadOptions) -> str:
        """A digest of all that ``stream`` would give: equal content, equal digest.

        What is read afterwards, until ``close``, is what was digested.
        """

    @abstractmethod
    def stream(self, reading: ReadOptions) -> Iterator[RawBatch]:
        """Open it at once, and read it in batches. Raises ``SourceError`` at once, or when damage shows."""

    @abstractmethod
    def row_count(self) -> tuple[int, bool]:
        """(rows, whether that is exact)."""

    def close(self) -> None:  # noqa: B027  # most hold nothing
        """Let go of what is held open between the calls."""
