"""Parquet and CSV files of recipients as streams of batches with a fixed number of rows.

Covers columns and row numbers. Memory depends on the batch size, not on the length of the file or of its row groups.
Does not clean values (``recipients``) or detect the format (``formats``).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.core.files import text_digest
from enrich_dist.errors import SourceError
from enrich_dist.remedies import EXPORT_AGAIN
from enrich_dist.sources.columns import resolve_columns
from enrich_dist.sources.delimited import BadRecord, RecordReader, open_delimited
from enrich_dist.sources.protocol import FileSource, RawBatch, ReadOptions
from enrich_dist.sources.rejects import RowRange, single_range
from enrich_dist.sources.source_file import SourceFile, as_file, translate_read_errors
from enrich_dist.sources.string_bytes import StringBytes
from enrich_dist.sources.text_file import count_lines

_STREAM_BUFFER_BYTES: Final = 1 << 20  # per column; without it a complete column chunk is read at once
_PARQUET_MAGIC: Final = b"PAR1"
_PARQUET_SUFFIXES: Final = (".parquet", ".pq")


class ParquetSource(FileSource):
    """A Parquet file."""

    def stream(self, options: ReadOptions) -> Generator[RawBatch, None, None]:
        """See ``Source.stream``."""
        with ExitStack() as opening:
            file = opening.enter_context(_open_parquet(self.file))
            columns = _choose_columns(file, options, self.file)
            return _stream_parquet(file, columns, options.batch_rows, self.file, opening.pop_all())

    def row_count(self) -> tuple[int, bool]:
        """Return the number of rows in the file's footer."""
        with _open_parquet(self.file) as file:
            return int(file.metadata.num_rows), True

    def headers(self) -> list[str]:
        """Return the column names."""
        with _open_parquet(self.file) as file:
            return list(file.schema_arrow.names)


class CsvSource(FileSource):
    """A CSV file, plain, gzip or zip. ``member``: the file to read in a zip with several."""

    def __init__(self, file: SourceFile, member: str | None = None) -> None:
        super().__init__(file)
        self._member = member

    def stream(self, options: ReadOptions) -> Generator[RawBatch, None, None]:
        """See ``Source.stream``."""
        with ExitStack() as opening:
            file = opening.enter_context(open_delimited(self.file, self._member))
            positions = resolve_columns(file.header, options.column_map, options.layout, self.file)
            ranges = single_range(self.name)
            return batch_records(file, positions, options.batch_rows, self.file, ranges, opening.pop_all())

    def digest(self, options: ReadOptions) -> str:
        """Return the digest of the file's bytes and, if set, the member."""
        digest = super().digest(options)
        return digest if self._member is None else text_digest("member", digest, self._member)

    def row_count(self) -> tuple[int, bool]:
        """Return an estimate that counts every line as a row."""
        return count_lines(self.file), False

    def headers(self) -> list[str]:
        """Return the column names."""
        with open_delimited(self.file, self._member) as file:
            return list(file.header)


def open_parquet(location: str | Path, member: str | None = None) -> ParquetSource | None:
    """Return the Parquet file of a location; None for another format. Raises ``SourceError`` if it has a member."""
    file = as_file(location)
    file.require()
    with translate_read_errors(file), file.open() as handle:
        start = handle.read(len(_PARQUET_MAGIC))
    # By its name too, so that a damaged Parquet file is not reported as bad CSV.
    if start != _PARQUET_MAGIC and not file.name.lower().endswith(_PARQUET_SUFFIXES):
        return None
    if member is not None:
        problem = f"is a Parquet file, which has no member '{member}'."
        raise SourceError(problem, path=file, remedy="Remove inputs.recipients_member.")
    return ParquetSource(file)


def open_csv(location: str | Path, member: str | None = None) -> CsvSource:
    """Return the CSV file of a location. Reading it raises ``SourceError`` for other content."""
    return CsvSource(as_file(location), member)


@contextmanager
def _open_parquet(file: SourceFile) -> Iterator[pq.ParquetFile]:
    with translate_read_errors(file):
        opened = pq.ParquetFile(
            file.path or file.open(),
            pre_buffer=False,
            buffer_size=_STREAM_BUFFER_BYTES,
            memory_map=False,
            page_checksum_verification=True,
        )
    with opened:
        yield opened


def _choose_columns(file: pq.ParquetFile, options: ReadOptions, path: object) -> dict[str, str]:
    if not file.metadata.num_rows:
        raise SourceError("the file has no rows.", path=path, remedy=EXPORT_AGAIN)
    source_schema = file.schema_arrow
    positions = resolve_columns(source_schema.names, options.column_map, options.layout, path)
    for canonical, position in positions.items():
        _require_text(canonical, source_schema.field(position), path)
    return {canonical: source_schema.names[position] for canonical, position in positions.items()}


def _stream_parquet(
    file: pq.ParquetFile, columns: Mapping[str, str], batch_rows: int, path: SourceFile, opened: ExitStack
) -> Generator[RawBatch, None, None]:
    with opened, translate_read_errors(path):
        batches = file.iter_batches(batch_size=batch_rows, columns=list(columns.values()), use_threads=False)
        first_row = 1
        for raw in rebatch(batches, batch_rows):
            require_utf8(raw, first_row, path)
            cells = {name: raw.column(header) for name, header in columns.items()}
            yield RawBatch.of_rows(cells, first_row, raw.num_rows, path.name)
            first_row += raw.num_rows


def require_utf8(batch: pa.RecordBatch, first_row: int, path: object) -> None:
    """Raise ``SourceError`` unless all text is UTF-8, which neither Parquet nor every database guarantees."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        # ASCII is UTF-8, and much faster to recognise.
        if (pa.types.is_string(column.type) and StringBytes(column).are_ascii()) or _is_valid(column):
            continue
        row = next(first_row + row for row in range(len(column)) if not _is_valid(column.slice(row, 1)))
        remedy = "Export it again, with text in UTF-8."
        raise SourceError("contains text that is not UTF-8.", path=path, column=name, row=row, remedy=remedy)


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


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
    reader: RecordReader,
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


def _require_text(canonical: str, field: pa.Field, path: object) -> None:
    """Raise ``SourceError`` unless the column can be read as text (or, for alternate names, as lists of text)."""
    kind: Any = field.type
    if canonical == "alternate_names" and isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        raise not_text(canonical, field.name, field.type, path)


def not_text(canonical: str, header: str, kind: object, path: object) -> SourceError:
    """Return the error for a column of a type that cannot be read as text."""
    remedy = f"Set inputs.recipient_columns.{canonical} to a text column, or to null."
    return SourceError(f"cannot be read as text: its type is {kind}.", path=path, column=header, remedy=remedy)
