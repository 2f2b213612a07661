"""The protocol of recipient sources: what a source yields, and how it is asked. ``recipients`` cleans the values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from enrich_dist.sources.columns import RECIPIENT_LAYOUT, ColumnHeaders, Layout, name_headers, resolve_columns
from enrich_dist.sources.delimited import BadRecord
from enrich_dist.sources.rejects import RowRange, single_range
from enrich_dist.sources.source_file import SourceFile

DEFAULT_TABLE: Final = "recipient_lookup"  # of a database or its dump


@dataclass(frozen=True)
class RawBatch:
    """Consecutive rows of a source, not cleaned.

    ``cells``: an array per canonical column that the source has, of any type that can be cast to string.
    ``source_rows`` (int64, ascending) and ``unusable`` (string: why a row is rejected, else null) have the same length.
    ``bad_records``: rows that could not be split into columns. ``rows_merged``: rows that were merged into others, as
    they are of the same recipient.
    """

    cells: dict[str, pa.Array]
    source_rows: pa.Array
    unusable: pa.Array
    bad_records: list[BadRecord]
    row_ranges: tuple[RowRange, ...]
    rows_merged: int = 0

    @classmethod
    def of_rows(cls, cells: dict[str, pa.Array], first_row: int, count: int, name: str) -> RawBatch:
        """Return usable rows of a source that is one file, numbered from ``first_row``."""
        rows = pa.array(np.arange(first_row, first_row + count, dtype=np.int64))
        return cls(cells, rows, pa.nulls(count, pa.string()), [], single_range(name))

    @property
    def rows_read(self) -> int:
        """Source rows of the batch."""
        return len(self.source_rows) + len(self.bad_records) + self.rows_merged

    @property
    def last_row(self) -> int:
        """The largest row number in the batch; 0 without rows."""
        last: list[int] = self.source_rows[-1:].to_pylist()
        return max([0, *(record.source_row for record in self.bad_records), *last])


@dataclass(frozen=True)
class ReadOptions:
    """How to read a source.

    ``column_map``: canonical column to source column, or None for an absent column. ``batch_rows``: rows per batch; the
    last may have fewer. ``layout``: the columns and their names in messages. ``scratch``: a directory for data that do
    not fit into memory.
    """

    column_map: Mapping[str, str | None]
    batch_rows: int
    scratch: Path
    layout: Layout = RECIPIENT_LAYOUT


class Source(ABC):
    """A table of recipients. The constructor opens nothing."""

    name: str
    """Its name in the rejects."""
    where: str
    """Its location in messages, logs and records, without secrets."""

    def check(self, options: ReadOptions) -> None:
        """Raise ``SourceError`` unless it can be opened, has the columns and has rows."""
        with closing(self.stream(replace(options, batch_rows=1))) as batches:
            next(batches)

    @abstractmethod
    def digest(self, options: ReadOptions) -> str:
        """Return a digest of everything that ``stream`` yields; until ``close``, ``stream`` yields that content."""

    @abstractmethod
    def stream(self, options: ReadOptions) -> Generator[RawBatch, None, None]:
        """Open the source at once and yield its batches. Raises ``SourceError`` at once, or at damaged data."""

    @abstractmethod
    def headers(self) -> list[str]:
        """Return the column names in their order."""

    def columns(self, options: ReadOptions) -> ColumnHeaders:
        """Return the headers and their meaning. Raises ``SourceError``."""
        headers = self.headers()
        positions = resolve_columns(headers, options.column_map, options.layout, self.where)
        return name_headers(headers, positions, options.layout)

    @abstractmethod
    def row_count(self) -> tuple[int, bool]:
        """Return the number of rows, and whether it is exact."""

    def close(self) -> None:  # noqa: B027  # most sources hold nothing
        """Release what is held open between calls."""


class FileSource(Source):
    """A source that is one file."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.name = file.name
        self.where = file.location

    def digest(self, options: ReadOptions) -> str:  # noqa: ARG002
        """Return the BLAKE3 digest of the file's bytes, as ``b3sum`` prints it."""
        return self.file.digest()
