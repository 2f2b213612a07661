"""Files of recipients with text cells (``table_file``) as streams of batches with a fixed number of rows.

Covers columns and row numbers. Memory depends on the batch size, not on the length of the file. Does not clean values
(``recipients``) or detect the format (``formats``).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa

from enrich_dist.core.files import text_digest
from enrich_dist.errors import SourceError
from enrich_dist.remedies import EXPORT_AGAIN
from enrich_dist.sources.columns import ColumnHeaders, name_headers, resolve_columns
from enrich_dist.sources.delimited import BadRecord, Records
from enrich_dist.sources.protocol import FileSource, RawBatch, ReadOptions
from enrich_dist.sources.rejects import RowRange, single_range
from enrich_dist.sources.source_file import SourceFile, as_file
from enrich_dist.sources.table_file import count_rows, open_table


class CsvSource(FileSource):
    """A file that ``open_table`` reads. ``member``: the file to read in a zip, or the sheet of a workbook."""

    def __init__(self, file: SourceFile, member: str | None = None) -> None:
        super().__init__(file)
        self._member = member

    def stream(self, options: ReadOptions) -> Generator[RawBatch, None, None]:
        """See ``Source.stream``."""
        with ExitStack() as opening:
            file = opening.enter_context(open_table(self.file, self._member, options.column_map))
            positions = resolve_columns(file.header, options.column_map, options.layout, self.file)
            ranges = single_range(self.name)
            return batch_records(file, positions, options.batch_rows, self.file, ranges, opening.pop_all())

    def digest(self, options: ReadOptions) -> str:
        """Return the digest of the file's bytes and, if set, the member."""
        digest = super().digest(options)
        return digest if self._member is None else text_digest("member", digest, self._member)

    def row_count(self) -> tuple[int, bool]:
        """Return the rows of a workbook, or an estimate that counts every line as a row."""
        return count_rows(self.file, self._member)

    def columns(self, options: ReadOptions) -> ColumnHeaders:
        """See ``Source.columns``. The column map may say which row is the header."""
        headers = self.headers(options.column_map.values())
        positions = resolve_columns(headers, options.column_map, options.layout, self.file)
        return name_headers(headers, positions, options.layout)

    def headers(self, mapped: Iterable[str | None] = ()) -> list[str]:
        """Return the column names; ``mapped``: some of them."""
        with open_table(self.file, self._member, {header: header for header in mapped if header}) as file:
            return list(file.header)


def open_csv(location: str | Path | SourceFile, member: str | None = None) -> CsvSource:
    """Return the CSV file of a location. Reading it raises ``SourceError`` for other content."""
    return CsvSource(as_file(location), member)


def rebatch(batches: Iterator[pa.RecordBatch], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the rows in batches of exactly ``batch_rows`` rows; the last may have fewer."""
    pending: list[pa.RecordBatch] = []
    pending_rows = 0
    for batch in batches:
        pending.append(batch)
        pending_rows += batch.num_rows
        while pending_rows >= batch_rows:
            # A batch of the right size is not copied; an empty rest would keep it in memory.
            joined = pa.concat_batches(pending) if len(pending) > 1 else pending[0]
            pending_rows -= batch_rows
            pending = [joined.slice(batch_rows)] if pending_rows else []
            yield joined.slice(0, batch_rows)
    if pending_rows:
        yield pa.concat_batches(pending)


def batch_records(
    reader: Records,
    positions: Mapping[str, int],
    batch_rows: int,
    path: object,
    row_ranges: tuple[RowRange, ...],
    opened: ExitStack,
) -> Generator[RawBatch, None, None]:
    """Yield batches of ``batch_rows`` rows, then close ``opened``. ``positions``: of canonical columns in blocks."""
    columns = pa.schema([("source_row", pa.int64()), *((name, pa.string()) for name in ("unusable", *positions))])
    with opened:
        pending = columns.empty_table()
        end_row, last_row = reader.header_row + 1, reader.header_row
        bad_yielded = 0
        for block in chain(reader.blocks(), [None]):
            if block is not None:
                arrays = [pa.array(block.source_rows), block.unusable, *(block.cells[at] for at in positions.values())]
                pending = pa.concat_tables([pending, pa.table(arrays, schema=columns)])
                last_row = int(block.source_rows[-1])
                # All bad records before a row that was read are known, so batches that end before it are complete.
                complete_row = last_row - batch_rows
            else:
                complete_row = last_row = max([last_row, *(bad.source_row for bad in reader.bad_records)])
            while end_row <= complete_row:
                end_row += batch_rows
                batch, pending = _cut(pending, reader.bad_records[bad_yielded:], end_row, row_ranges)
                bad_yielded += len(batch.bad_records)
                yield batch
        if last_row == reader.header_row:
            problem = "the file has a header but no rows." if reader.header_row else "the table has no rows."
            raise SourceError(problem, path=path, remedy=EXPORT_AGAIN)


def _cut(
    pending: pa.Table, bad_records: list[BadRecord], end_row: int, row_ranges: tuple[RowRange, ...]
) -> tuple[RawBatch, pa.Table]:
    count = int(np.searchsorted(pending.column("source_row").to_numpy(), end_row))
    taken = pending.slice(0, count)
    columns = {name: taken.column(name).combine_chunks() for name in taken.column_names}
    rows, unusable = columns.pop("source_row"), columns.pop("unusable")
    bad = [record for record in bad_records if record.source_row < end_row]
    return RawBatch(columns, rows, unusable, bad, row_ranges), pending.slice(count)
