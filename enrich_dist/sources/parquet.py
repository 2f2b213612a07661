"""Parquet files as streams of batches of text: of recipients, and of awards.

Covers columns and their types. Memory depends on the batch size, not on the length of the file or of its row groups.
Does not clean values (``recipients``, ``awards``).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.errors import SourceError
from enrich_dist.remedies import EXPORT_AGAIN
from enrich_dist.sources.arrow_text import UUID_BYTES, as_text, is_list, not_text, plain_type, require_utf8
from enrich_dist.sources.columns import AWARD_LAYOUT, Layout, resolve_columns
from enrich_dist.sources.delimited import Block, Records
from enrich_dist.sources.protocol import FileSource, RawBatch, ReadOptions
from enrich_dist.sources.recipient_files import rebatch
from enrich_dist.sources.source_file import SourceFile, as_file, translate_read_errors
from enrich_dist.sources.string_bytes import StringBytes

_STREAM_BUFFER_BYTES: Final = 1 << 20  # per column; without it a complete column chunk is read at once
_MAGICS: Final = (b"PAR1", b"PARE")  # PARE: with an encrypted footer
_PARQUET_SUFFIXES: Final = (".parquet", ".pq")
_BLOCK_ROWS: Final = 5_000
_UUID_SAMPLE_ROWS: Final = 1_000
_FLAGS: Final = ("hubzone_owned", "socially_and_economically_disadvantaged", "woman_owned")


class ParquetSource(FileSource):
    """A Parquet file."""

    def stream(self, options: ReadOptions) -> Generator[RawBatch, None, None]:
        """See ``Source.stream``."""
        with ExitStack() as opening:
            file = opening.enter_context(_open_parquet(self.file))
            columns = _choose_columns(file, options.column_map, options.layout, self.file)
            return _stream_parquet(file, columns, options.batch_rows, self.file, opening.pop_all())

    def row_count(self) -> tuple[int, bool]:
        """Return the number of rows in the file's footer."""
        with _open_parquet(self.file) as file:
            return int(file.metadata.num_rows), True

    def headers(self) -> list[str]:
        """Return the column names."""
        with _open_parquet(self.file) as file:
            return list(file.schema_arrow.names)


def open_parquet(location: str | Path | SourceFile, member: str | None = None) -> ParquetSource | None:
    """Return the Parquet file of a location; None for another format. Raises ``SourceError`` if it has a member."""
    file = as_file(location)
    file.require()
    with translate_read_errors(file), file.open() as handle:
        start = handle.read(4)
    # By its name too, so that a damaged Parquet file is not reported as bad CSV.
    if start not in _MAGICS and not file.name.lower().endswith(_PARQUET_SUFFIXES):
        return None
    if member is not None:
        problem = f"is a Parquet file, which has no member '{member}'."
        raise SourceError(problem, path=file, remedy="Remove inputs.recipients_member.")
    return ParquetSource(file)


class ParquetTable(Records):
    """An open Parquet file as blocks of text."""

    def __init__(self, file: pq.ParquetFile, path: SourceFile) -> None:
        super().__init__(path)
        self._location = path
        self.header = tuple(file.schema_arrow.names)
        self._file = file

    def blocks(self) -> Iterator[Block]:
        """Yield the rows in order, null as empty text. Raises ``SourceError``, also for columns that are no text."""
        first_row = 1
        for field in self._file.schema_arrow:
            _require_readable(field, self._location)
        for batch in _text_batches(self._file, None, _BLOCK_ROWS, self._location):
            rows = np.arange(first_row, first_row + len(batch), dtype=np.int64)
            first_row += len(batch)
            yield Block([pc.fill_null(cell, "") for cell in batch.columns], rows, pa.nulls(len(rows), pa.string()))


@contextmanager
def open_award_table(file: SourceFile, column_map: Mapping[str, str | None]) -> Iterator[ParquetTable]:
    """Open a Parquet file of awards. Raises ``SourceError`` for a column that cannot be read."""
    with _open_parquet(file) as opened:
        _choose_columns(opened, column_map, AWARD_LAYOUT, file)
        yield ParquetTable(opened, file)


@contextmanager
def open_text_table(file: SourceFile) -> Iterator[ParquetTable]:
    """Open a Parquet file with any columns as rows of text."""
    with _open_parquet(file) as opened:
        yield ParquetTable(opened, file)


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
        _ = opened.schema_arrow.names
    with opened:
        yield opened


def _choose_columns(
    file: pq.ParquetFile, column_map: Mapping[str, str | None], layout: Layout, path: SourceFile
) -> dict[str, str]:
    if not file.metadata.num_rows:
        raise SourceError("the file has no rows.", path=path, remedy=EXPORT_AGAIN)
    fields = file.schema_arrow
    positions = resolve_columns(fields.names, column_map, layout, path)
    meanings = schema.AWARD if layout is AWARD_LAYOUT else schema.RECIPIENT
    for canonical, position in positions.items():
        if not _fits(fields.field(position).type, canonical, meanings.field(canonical).type):
            raise not_text(canonical, fields.names[position], fields.field(position).type, path, layout)
    return {canonical: fields.names[position] for canonical, position in positions.items()}


def _fits(kind: Any, canonical: str, meaning: pa.DataType) -> bool:
    """Return whether a column of this type can be read as the canonical column of type ``meaning``."""
    if pa.types.is_list(meaning) and is_list(kind):
        kind = kind.value_type
    kind = plain_type(kind)
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return bool(pa.types.is_date(meaning))
    if pa.types.is_boolean(kind):
        return canonical in _FLAGS
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return not pa.types.is_string(meaning)  # seven digits: nine of a DUNS number are not exact
    return not (pa.types.is_nested(kind) or pa.types.is_temporal(kind))


def _require_readable(field: pa.Field, path: SourceFile) -> None:
    """Raise ``SourceError`` unless the values of a column, of any meaning, have a text."""
    try:
        readable = not pa.types.is_nested(plain_type(field.type))
        as_text(pa.nulls(0, plain_type(field.type)))
    except pa.ArrowNotImplementedError:
        readable = False
    if not readable:
        problem, remedy = f"cannot be read as text: its type is {field.type}.", "Export it as text, or without it."
        raise SourceError(problem, path=path, column=field.name, remedy=remedy)


def _stream_parquet(
    file: pq.ParquetFile, columns: Mapping[str, str], batch_rows: int, path: SourceFile, opened: ExitStack
) -> Generator[RawBatch, None, None]:
    with opened:
        first_row = 1
        batches = _text_batches(file, list(columns.values()), batch_rows, path, identifier=columns.get("recipient_id"))
        for batch in rebatch(batches, batch_rows):
            cells = {name: batch.column(header) for name, header in columns.items()}
            yield RawBatch.of_rows(cells, first_row, batch.num_rows, path.name)
            first_row += batch.num_rows


def _text_batches(
    file: pq.ParquetFile, columns: list[str] | None, rows: int, path: SourceFile, identifier: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield batches of at most ``rows`` rows whose columns are text, or lists of text."""
    with translate_read_errors(path):
        first_row = 1
        uuids = identifier is not None and _has_plain_uuids(file, identifier)
        for raw in file.iter_batches(batch_size=rows, columns=columns, use_threads=False):
            chosen = raw if columns is None else raw.select(columns)  # "a.b" also reads the field b of a struct a
            named = zip(chosen.schema.names, chosen.columns, strict=True)
            arrays = [as_text(values, uuids=uuids and name == identifier) for name, values in named]
            batch = pa.record_batch(arrays, names=chosen.schema.names)
            require_utf8(batch, first_row, path)
            first_row += len(batch)
            yield batch


def _has_plain_uuids(file: pq.ParquetFile, name: str) -> bool:
    """Return whether a column has UUIDs without their logical type, as some writers leave it out: 16 bytes, no text."""
    kind = file.schema_arrow.field(name).type
    if not pa.types.is_fixed_size_binary(kind) or kind.byte_width != UUID_BYTES:
        return False
    first = next(file.iter_batches(_UUID_SAMPLE_ROWS, columns=[name]), None)
    return first is not None and not bool(StringBytes(as_text(first.column(name))).between(" ", "~").all())
