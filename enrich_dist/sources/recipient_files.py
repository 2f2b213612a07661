"""Rows of a recipient file as they stand: Parquet or CSV, streamed, cut into batches of one size.

Covers what the bytes are, which column is which, and row numbers. Memory depends on the batch size, not on the length
of the file or of its row groups. Does not clean a value (``recipients``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.errors import SourceError
from enrich_dist.sources.bytes import require_file
from enrich_dist.sources.columns import RECIPIENT_LAYOUT, Layout, resolve_columns
from enrich_dist.sources.delimited import BadRecord, DelimitedFile, open_delimited
from enrich_dist.sources.letters import Letters

_STREAM_BUFFER_BYTES: Final = 1 << 20  # per column; without it a whole column chunk is read at once
_PARQUET_MAGIC: Final = b"PAR1"
_PARQUET_SUFFIXES: Final = (".parquet", ".pq")


@dataclass(frozen=True)
class RawBatch:
    """Consecutive rows of the source.

    ``cells``: an array per canonical column that the file has, of any type that can be read as text; ``source_rows``:
    int64, of the same length; ``swallowed``: boolean, rows in which a cell seems to hold other rows; ``bad_records``:
    rows that could not be split into columns. ``rows_read`` counts all of them.
    """

    cells: dict[str, pa.Array]
    source_rows: pa.Array
    swallowed: pa.Array
    bad_records: list[BadRecord]

    @property
    def rows_read(self) -> int:
        """Source rows of the batch."""
        return len(self.source_rows) + len(self.bad_records)


def open_raw(
    path: Path, column_map: Mapping[str, str | None], batch_rows: int, layout: Layout = RECIPIENT_LAYOUT
) -> Iterator[RawBatch]:
    """Open the file and stream it in batches of exactly ``batch_rows`` source rows; the last may be shorter.

    Raises ``SourceError`` at once when the file cannot be used, and while streaming when it turns out damaged.
    """
    require_file(path)
    with reading(path), path.open("rb") as handle:
        start = handle.read(len(_PARQUET_MAGIC))
    # A damaged Parquet file is told so, and not that it is bad CSV.
    if start == _PARQUET_MAGIC or path.suffix.lower() in _PARQUET_SUFFIXES:
        return _open_parquet(path, column_map, batch_rows, layout)
    return _open_csv(path, column_map, batch_rows, layout)


def _open_parquet(
    path: Path, column_map: Mapping[str, str | None], batch_rows: int, layout: Layout
) -> Iterator[RawBatch]:
    with reading(path):
        # Not the caller's `with`: the file is open as long as the stream is read.
        file = pq.ParquetFile(
            path, pre_buffer=False, buffer_size=_STREAM_BUFFER_BYTES, memory_map=False, page_checksum_verification=True
        )
    try:
        columns = _choose_columns(file, column_map, path, layout)
    except SourceError:
        file.close()
        raise
    return _stream_parquet(file, columns, batch_rows, path)


def _choose_columns(
    file: pq.ParquetFile, column_map: Mapping[str, str | None], path: Path, layout: Layout
) -> dict[str, str]:
    """The file's column for every canonical column that it has."""
    if not file.metadata.num_rows:
        raise SourceError("the file has no rows.", path=path, remedy="Export it again.")
    source_schema = file.schema_arrow
    positions = resolve_columns(source_schema.names, column_map, layout, path)
    for canonical, position in positions.items():
        _require_text(canonical, source_schema.field(position), path)
    return {canonical: source_schema.names[position] for canonical, position in positions.items()}


def _stream_parquet(
    file: pq.ParquetFile, columns: Mapping[str, str], batch_rows: int, path: Path
) -> Iterator[RawBatch]:
    with file:
        source_row = 1
        for raw in _exact_batches(file, list(columns.values()), batch_rows, path):
            _require_utf8(raw, source_row, path)
            rows = np.arange(source_row, source_row + raw.num_rows, dtype=np.int64)
            yield RawBatch(
                cells={name: raw.column(header) for name, header in columns.items()},
                source_rows=pa.array(rows),
                swallowed=pa.array(np.zeros(raw.num_rows, dtype=bool)),
                bad_records=[],
            )
            source_row += raw.num_rows


def _require_utf8(batch: pa.RecordBatch, first_row: int, path: Path) -> None:
    """Raise ``SourceError`` unless all text is UTF-8, which Parquet does not promise."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        # ASCII is UTF-8, and told in a fraction of the time.
        if (pa.types.is_string(column.type) and Letters(column).are_ascii()) or _is_valid(column):
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


def _exact_batches(file: pq.ParquetFile, columns: list[str], batch_rows: int, path: Path) -> Iterator[pa.RecordBatch]:
    """Batches of exactly ``batch_rows`` rows: pyarrow cuts its own at will, so they are sewn together."""
    batches = file.iter_batches(batch_size=batch_rows, columns=columns, use_threads=False)
    pending: list[pa.RecordBatch] = []
    pending_rows = 0
    while True:
        with reading(path):
            batch = next(batches, None)
        if batch is None:
            break
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


def _open_csv(path: Path, column_map: Mapping[str, str | None], batch_rows: int, layout: Layout) -> Iterator[RawBatch]:
    with ExitStack() as opening:
        file = opening.enter_context(open_delimited(path))
        positions = resolve_columns(file.header, column_map, layout, path)
        return _stream_csv(file, positions, batch_rows, path, opening.pop_all())


def _stream_csv(
    file: DelimitedFile, positions: Mapping[str, int], batch_rows: int, path: Path, opened: ExitStack
) -> Iterator[RawBatch]:
    with opened:
        pending = _csv_table(positions).empty_table()
        first_row, last_row = file.header_row + 1, file.header_row
        given = 0  # bad records that are in a batch already
        for block in file.blocks():
            cells = [block.cells[position] for position in positions.values()]
            block_rows = pa.array(block.source_rows)
            arrays = [block_rows, block.swallowed, *cells]
            pending = pa.concat_tables([pending, pa.table(arrays, schema=pending.schema)])
            last_row = int(block.source_rows[-1])
            # Bad records before a row that was read are known by now, so batches that end before it are complete.
            while first_row + batch_rows <= last_row:
                first_row += batch_rows
                batch, pending, given = _cut(pending, file.bad_records, given, first_row)
                yield batch
        end = max([last_row, *(record.source_row for record in file.bad_records[given:])]) + 1
        if end == file.header_row + 1:
            raise SourceError("the file has a header but no rows.", path=path, remedy="Export it again.")
        while first_row < end:
            first_row += batch_rows
            batch, pending, given = _cut(pending, file.bad_records, given, first_row)
            yield batch


def _csv_table(positions: Mapping[str, int]) -> pa.Schema:
    return pa.schema(
        [("source_row", pa.int64()), ("swallowed", pa.bool_()), *((name, pa.string()) for name in positions)]
    )


def _cut(pending: pa.Table, bad_records: list[BadRecord], given: int, end_row: int) -> tuple[RawBatch, pa.Table, int]:
    """The rows before ``end_row`` as a batch, the rows that are left, and the bad records given so far."""
    count = int(np.searchsorted(pending.column("source_row").to_numpy(), end_row))
    taken = pending.slice(0, count).combine_chunks()
    until = given
    while until < len(bad_records) and bad_records[until].source_row < end_row:
        until += 1
    columns = {name: _one_array(taken.column(name)) for name in taken.column_names}
    rows, swallowed = columns.pop("source_row"), columns.pop("swallowed")
    return RawBatch(columns, rows, swallowed, bad_records[given:until]), pending.slice(count), until


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _require_text(canonical: str, field: pa.Field, path: Path) -> None:
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


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises about the file's bytes into a ``SourceError``."""
    try:
        yield
    except PermissionError as error:
        raise SourceError("the file may not be read.", path=path, remedy="Grant this user read permission.") from error
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"is not a Parquet file, or is damaged or incomplete ({error}).",
            path=path,
            remedy="Export or copy it again, as Parquet with text in UTF-8.",
        ) from error
