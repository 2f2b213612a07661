"""Parquet and CSV files of recipients, streamed, cut into batches of one size.

Covers which column is which, and row numbers. Memory depends on the batch size, not on the length of the file or of its
row groups. Does not clean a value (``recipients``) nor tell which file is what (``kinds``).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.core.files import text_digest
from enrich_dist.errors import SourceError
from enrich_dist.sources.columns import resolve_columns
from enrich_dist.sources.delimited import BadRecord, RecordReader, open_delimited
from enrich_dist.sources.protocol import RawBatch, ReadOptions, RowRange, Source, whole
from enrich_dist.sources.source_file import SourceFile, as_file, translate_read_errors
from enrich_dist.sources.string_bytes import StringBytes
from enrich_dist.sources.text_file import count_lines

_STREAM_BUFFER_BYTES: Final = 1 << 20  # per column; without it a whole column chunk is read at once

_PARQUET_MAGIC: Final = b"PAR1"
_PARQUET_SUFFIXES: Final = (".parquet", ".pq")


class FileSource(Source):
    """A table in one file."""

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.name = file.name
        self.where = file.location

    def digest(self, reading: ReadOptions) -> str:  # noqa: ARG002
        """BLAKE3 of the file's bytes (``b3sum``)."""
        return self.file.digest()

    def check(self, reading: ReadOptions) -> None:
        """As ``Source.check``."""
        batches = self.stream(replace(reading, batch_rows=1))
        with closing(batches):
            next(batches)

    @abstractmethod
    def stream(self, reading: ReadOptions) -> Generator[RawBatch, None, None]:
        """As ``Source.stream``."""


class ParquetSource(FileSource):
    """A Parquet file."""

    def stream(self, reading: ReadOptions) -> Generator[RawBatch, None, None]:
        """As ``Source.stream``."""
        with ExitStack() as opening:
            file = opening.enter_context(_open_parquet(self.file))
            columns = _choose_columns(file, reading, self.file)
            return _stream_parquet(file, columns, reading.batch_rows, self.file, opening.pop_all())

    def row_count(self) -> tuple[int, bool]:
        """As the file's footer tells."""
        with _open_parquet(self.file) as file:
            return int(file.metadata.num_rows), True

    def headers(self) -> list[str]:
        """The names of its columns."""
        with _open_parquet(self.file) as file:
            return list(file.schema_arrow.names)


class CsvSource(FileSource):
    """A CSV file, plain, gzip or zip. ``member``: which one of a zip that holds several."""

    def __init__(self, file: SourceFile, member: str | None = None) -> None:
        super().__init__(file)
        self._member = member

    def stream(self, reading: ReadOptions) -> Generator[RawBatch, None, None]:
        """As ``Source.stream``."""
        with ExitStack() as opening:
            file = opening.enter_context(open_delimited(self.file, self._member))
            positions = resolve_columns(file.header, reading.column_map, reading.layout, self.file)
            return cut_records(file, positions, reading.batch_rows, self.file, whole(self.name), opening.pop_all())

    def digest(self, reading: ReadOptions) -> str:
        """Of the file's bytes, and which member of it is read, where one is named."""
        digest = super().digest(reading)
        return digest if self._member is None else text_digest("member", digest, self._member)

    def row_count(self) -> tuple[int, bool]:
        """An estimate that takes every line for a row."""
        return count_lines(self.file), False

    def headers(self) -> list[str]:
        """The names of its columns."""
        with open_delimited(self.file, self._member) as file:
            return list(file.header)


def open_parquet(location: str | Path, _: str | None = None) -> ParquetSource | None:
    """The Parquet file of a location."""
    file = as_file(location)
    file.require()
    with translate_read_errors(file), file.open() as handle:
        start = handle.read(len(_PARQUET_MAGIC))
    # A damaged Parquet file is told so, and not that it is bad CSV.
    if start == _PARQUET_MAGIC or file.suffix.lower() in _PARQUET_SUFFIXES:
        return ParquetSource(file)
    return None


def open_csv(location: str | Path, member: str | None = None) -> CsvSource:
    """The CSV file of a location; what is none is told when it is read."""
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


def _choose_columns(file: pq.ParquetFile, reading: ReadOptions, path: object) -> dict[str, str]:
    """The file's column for every canonical column that it has."""
    if not file.metadata.num_rows:
        raise SourceError("the file has no rows.", path=path, remedy="Export it again.")
    source_schema = file.schema_arrow
    positions = resolve_columns(source_schema.names, reading.column_map, reading.layout, path)
    for canonical, position in positions.items():
        require_text(canonical, source_schema.field(position), path)
    return {canonical: source_schema.names[position] for canonical, position in positions.items()}


def _stream_parquet(
    file: pq.ParquetFile, columns: Mapping[str, str], batch_rows: int, path: SourceFile, opened: ExitStack
) -> Generator[RawBatch, None, None]:
    with opened:
        source_row = 1
        for raw in exact_batches(_parquet_batches(file, list(columns.values()), batch_rows, path), batch_rows):
            require_utf8(raw, source_row, path)
            rows = np.arange(source_row, source_row + raw.num_rows, dtype=np.int64)
            yield RawBatch(
                cells={name: raw.column(header) for name, header in columns.items()},
                source_rows=pa.array(rows),
                unusable=pa.nulls(raw.num_rows, pa.string()),
                bad_records=[],
                parts=whole(path.name),
            )
            source_row += raw.num_rows


def _parquet_batches(
    file: pq.ParquetFile, columns: list[str], batch_rows: int, path: SourceFile
) -> Iterator[pa.RecordBatch]:
    batches = file.iter_batches(batch_size=batch_rows, columns=columns, use_threads=False)
    while True:
        with translate_read_errors(path):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def require_utf8(batch: pa.RecordBatch, first_row: int, path: object) -> None:
    """Raise ``SourceError`` unless all text is UTF-8, which neither Parquet nor every database promises."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        # ASCII is UTF-8, and told in a fraction of the time.
        if (pa.types.is_string(column.type) and StringBytes(column).are_ascii()) or _is_valid(column):
            continue
        start, end = 0, len(column)
        while end - start > 1:
            middle = (start + end) // 2
            if _is_valid(column.slice(start, middle - start)):
                start = middle
            else:
                end = middle
        raise SourceError(
            "holds text that is not UTF-8, as Parquet demands.",
            path=path,
            column=name,
            row=first_row + start,
            remedy="Export it again, with text in UTF-8.",
        )


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def exact_batches(batches: Iterator[pa.RecordBatch], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of exactly ``batch_rows`` rows: libraries cut their own at will, so they are sewn together."""
    pending: list[pa.RecordBatch] = []
    pending_rows = 0
    for batch in batches:
        pending.append(batch)
        pending_rows += batch.num_rows
        while pending_rows >= batch_rows:
            # A batch of the right size, as most files give, is not copied, and an empty rest would keep it in memory.
            joined = pa.concat_batches(pending) if len(pending) > 1 else pending[0]
            pending_rows -= batch_rows
            pending = [joined.slice(batch_rows)] if pending_rows else []
            yield joined.slice(0, batch_rows)
    if pending_rows:
        yield pa.concat_batches(pending)


def cut_records(
    file: RecordReader,
    positions: Mapping[str, int],
    batch_rows: int,
    path: object,
    parts: tuple[RowRange, ...],
    opened: ExitStack,
) -> Generator[RawBatch, None, None]:
    """The records as batches of ``batch_rows`` rows; ``positions``: of each canonical column in the blocks' cells.

    ``opened`` is closed at the end.
    """
    with opened:
        pending = _csv_table(positions).empty_table()
        first_row, last_row = file.header_row + 1, file.header_row
        given = 0  # bad records that are in a batch already
        for block in file.blocks():
            cells = [block.cells[position] for position in positions.values()]
            block_rows = pa.array(block.source_rows)
            arrays = [block_rows, block.unusable, *cells]
            pending = pa.concat_tables([pending, pa.table(arrays, schema=pending.schema)])
            last_row = int(block.source_rows[-1])
            # Bad records before a row that was read are known by now, so batches that end before it are complete.
            while first_row + batch_rows <= last_row:
                first_row += batch_rows
                batch, pending, given = _cut(pending, file.bad_records, given, first_row, parts)
                yield batch
        end = max([last_row, *(record.source_row for record in file.bad_records[given:])]) + 1
        if end == file.header_row + 1:
            raise SourceError(
                "the file has a header but no rows." if file.header_row else "the table has no rows.",
                path=path,
                remedy="Export it again.",
            )
        while first_row < end:
            first_row += batch_rows
            batch, pending, given = _cut(pending, file.bad_records, given, first_row, parts)
            yield batch


def _csv_table(positions: Mapping[str, int]) -> pa.Schema:
    return pa.schema(
        [("source_row", pa.int64()), ("unusable", pa.string()), *((name, pa.string()) for name in positions)]
    )


def _cut(
    pending: pa.Table, bad_records: list[BadRecord], given: int, end_row: int, parts: tuple[RowRange, ...]
) -> tuple[RawBatch, pa.Table, int]:
    """The rows before ``end_row`` as a batch, the rows that are left, and the bad records given so far."""
    count = int(np.searchsorted(pending.column("source_row").to_numpy(), end_row))
    taken = pending.slice(0, count).combine_chunks()
    until = given
    while until < len(bad_records) and bad_records[until].source_row < end_row:
        until += 1
    columns = {name: _one_array(taken.column(name)) for name in taken.column_names}
    rows, unusable = columns.pop("source_row"), columns.pop("unusable")
    return RawBatch(columns, rows, unusable, bad_records[given:until], parts), pending.slice(count), until


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def require_text(canonical: str, field: pa.Field, path: object) -> None:
    """Raise ``SourceError`` unless the column's type can be read as text (or, alternate names, as lists of it)."""
    kind: Any = field.type
    if canonical == "alternate_names" and (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        raise SourceError(
            f"cannot be read as text: its type is {field.type}.",
            path=path,
            column=field.name,
            remedy=f"Set inputs.recipient_columns.{canonical} to a text column.",
        )
