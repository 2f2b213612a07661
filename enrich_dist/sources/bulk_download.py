"""Files with several rows for a recipient as a source: USAspending's bulk downloads of prime awards (a CSV file, or a
zip with several) and SAM's public extract.

Rows with the same UEI, else DUNS, else name and place, become one row: the most frequent name and address (the first
among equals), all other names as alternate names, the row number of the first award. DuckDB aggregates in bounded
memory. A bulk download has columns for a recipient's name and an award's key; other CSV files of a zip are ignored.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.core.database import connect, execute_on_batches
from enrich_dist.core.files import text_digest
from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN
from enrich_dist.sources.columns import RECIPIENT_LAYOUT, plain_header, resolve_columns
from enrich_dist.sources.delimited import BadRecord, Block
from enrich_dist.sources.protocol import FileSource, RawBatch, ReadOptions
from enrich_dist.sources.recipient_files import rebatch
from enrich_dist.sources.rejects import RowRange
from enrich_dist.sources.sam_extract import SamExtract
from enrich_dist.sources.source_file import SourceFile, as_file
from enrich_dist.sources.table_file import count_rows, open_table
from enrich_dist.sources.text_file import csv_members

_RECIPIENT: Final = plain_header("recipient_name")
_AWARD_KEYS: Final = frozenset(
    plain_header(header)
    for header in (
        "contract_transaction_unique_key",
        "assistance_transaction_unique_key",
        "contract_award_unique_key",
        "assistance_award_unique_key",
        "award_id_piid",
        "award_id_fain",
    )
)
_COLUMNS: Final = tuple(name for name in RECIPIENT_LAYOUT.aliases if name != "recipient_id")
_STAGED: Final = pa.schema([("source_row", pa.int64()), *((name, pa.string()) for name in _COLUMNS)])

_BLANK_AS_NULL: Final = ", ".join(f"nullif(trim({name}), '') as {name}" for name in _COLUMNS)
_PLAIN: Final = "regexp_replace(upper({}), '[^A-Z0-9]', '', 'g')"
_KEY: Final = f"""
    coalesce('uei ' || nullif({_PLAIN.format("uei")}, ''), 'duns ' || nullif({_PLAIN.format("duns")}, ''),
             concat_ws('|', 'name', {_PLAIN.format("name")}, coalesce(state, ''), coalesce(zip5, city, ''),
                       coalesce(country_code, '')))
"""
# Distinct descriptions of recipients with the number of their awards; then one row per recipient.
_VARIANTS: Final = f"""
    create temp table variants as
    select {_KEY} as key, {", ".join(_COLUMNS)}, count(*) as awards, min(source_row) as source_row
    from (select source_row, {_BLANK_AS_NULL} from staged) group by all
"""
_OTHER_COLUMNS: Final = tuple(name for name in _COLUMNS if name not in ("alternate_names", "name"))
_RECIPIENTS: Final = f"""
    create temp table recipients as
    select min(source_row) as source_row, sum(awards)::bigint as awards,
           arg_max(struct_pack({", ".join(f"{name} := {name}" for name in ("name", *_OTHER_COLUMNS))}),
                   (awards, -source_row)) as best,
           list_sort(list_distinct(list(name) || list(alternate_names))) as names
    from variants group by key
"""
_ROWS: Final = f"""
    select source_row, awards, best.name as name, list_filter(names, lambda n: n is distinct from best.name)
           as alternate_names, {", ".join(f"best.{name} as {name}" for name in _OTHER_COLUMNS)}
    from recipients order by source_row
"""


def open_source(location: str | Path | SourceFile, member: str | None) -> BulkDownload | None:
    """Return the bulk download of a location; None for other columns. Raises ``SourceError`` for a damaged file."""
    file = as_file(location)
    members: Sequence[str | None] = csv_members(file) or [None]
    if member is not None:
        members = [name for name in members if name and member in (name, PurePosixPath(name).name)]
    found = tuple(name for name in members if _has_repeated_recipients(file, name))
    return BulkDownload(file, found) if found else None


def _has_repeated_recipients(file: SourceFile, member: str | None) -> bool:
    with open_table(file, member) as opened:
        if isinstance(opened, SamExtract):
            return True
        headers = {plain_header(header) for header in opened.header}
    return _RECIPIENT in headers and not headers.isdisjoint(_AWARD_KEYS)


class BulkDownload(FileSource):
    """CSV files of awards. ``members``: the names in a zip, or None for the file itself."""

    def __init__(self, file: SourceFile, members: tuple[str | None, ...]) -> None:
        super().__init__(file)
        self._members = members
        self._recipients: int | None = None

    def check(self, options: ReadOptions) -> None:
        """See ``Source.check``."""
        has_rows = False
        for member in self._members:
            with open_table(self.file, member, options.column_map) as opened:
                _resolve(self.file, member, opened.header, options)
                has_rows = has_rows or next(opened.blocks(), None) is not None or bool(opened.bad_records)
        if not has_rows:
            raise self._no_rows()

    def digest(self, options: ReadOptions) -> str:
        """Return the digest of the file's bytes and the members to read."""
        return text_digest("bulk download", super().digest(options), *(member or "" for member in self._members))

    def stream(self, options: ReadOptions) -> Generator[RawBatch, None, None]:
        """See ``Source.stream``. All awards are read before the first batch of ``batch_rows`` recipients."""
        awards = _AwardReader(self.file, self._members, options)
        with ExitStack() as stack:
            connection = stack.enter_context(connect(scratch=options.scratch))
            execute_on_batches(connection, _VARIANTS, _STAGED, awards.batches())
            connection.execute(_RECIPIENTS)
            connection.execute("drop table variants")
            [(count,)] = connection.execute("select count(*) from recipients").fetchall()
            if not count and not awards.bad_records:
                raise self._no_rows()
            self._recipients = int(count) + len(awards.bad_records)
            return _recipients(connection, awards, options.batch_rows, stack.pop_all())

    def headers(self) -> list[str]:
        """Return the different column names of all files."""
        found: dict[str, None] = {}
        for member in self._members:
            with open_table(self.file, member) as opened:
                found.update(dict.fromkeys(opened.header))
        return list(found)

    def row_count(self) -> tuple[int, bool]:
        """Return the recipients once all awards were read, before that an estimate of the awards."""
        if self._recipients is not None:
            return self._recipients, True
        return count_rows(self.file, self._members[0])[0], False

    def _no_rows(self) -> SourceError:
        return SourceError("contains no row.", path=self.where, remedy=DOWNLOAD_AGAIN)


def _resolve(file: SourceFile, member: str | None, header: Sequence[str], options: ReadOptions) -> dict[str, int]:
    path = f"{file}, {member}" if member else file
    return resolve_columns(header, options.column_map, options.layout, path)


class _AwardReader:
    """Reads the awards of all files once, with consecutive row numbers, and collects the bad records."""

    def __init__(self, file: SourceFile, members: Sequence[str | None], options: ReadOptions) -> None:
        self._file = file
        self._members = members
        self._options = options
        self.row_ranges: list[RowRange] = []
        self.bad_records: list[BadRecord] = []

    def batches(self) -> Iterator[pa.RecordBatch]:
        rows_before = 0
        for member in self._members:
            own_name = f"/{PurePosixPath(member).name}" if member and len(self._members) > 1 else ""
            self.row_ranges.append(RowRange(rows_before + 1, f"{self._file.name}{own_name}", 1))
            last = rows_before
            with open_table(self._file, member, self._options.column_map) as opened:
                positions = _resolve(self._file, member, opened.header, self._options)
                for block in opened.blocks():
                    last = rows_before + int(block.source_rows[-1])
                    yield self._staged(block, positions, rows_before)
                found = [replace(bad, source_row=bad.source_row + rows_before) for bad in opened.bad_records]
                self.bad_records += found
                rows_before = max([last, rows_before + opened.header_row, *(item.source_row for item in found)])

    def _staged(self, block: Block, positions: dict[str, int], rows_before: int) -> pa.RecordBatch:
        rows = pa.array(block.source_rows + rows_before)
        absent = pa.nulls(len(rows), pa.string())
        cells = [block.cells[positions[name]] if name in positions else absent for name in _COLUMNS]
        batch = pa.record_batch([rows, *cells], schema=_STAGED)
        if block.unusable.null_count == len(rows):
            return batch
        rejected = batch.filter(pc.is_valid(block.unusable))
        reasons = block.unusable.drop_null().to_pylist()
        found = zip(rejected["source_row"].to_pylist(), reasons, rejected["name"].to_pylist(), strict=True)
        self.bad_records += [BadRecord(row, reason, text or "") for row, reason, text in found]
        return batch.filter(pc.is_null(block.unusable))


def _recipients(
    connection: duckdb.DuckDBPyConnection, awards: _AwardReader, batch_rows: int, opened: ExitStack
) -> Generator[RawBatch, None, None]:
    bad_records = sorted(awards.bad_records, key=lambda record: record.source_row)
    with opened, closing(connection.sql(_ROWS).to_arrow_reader(batch_rows)) as reader:
        batches = rebatch(iter(reader), batch_rows)
        batch = next(batches, None)
        while batch is not None or bad_records:
            following = next(batches, None)
            if batch is None:
                batch = pa.RecordBatch.from_pylist([], schema=reader.schema)
            rows = batch["source_row"]
            end = following["source_row"][0].as_py() if following is not None else np.inf
            bad_count = sum(1 for record in bad_records if record.source_row < end)
            yield RawBatch(
                cells={name: batch[name] for name in batch.schema.names[2:]},
                source_rows=rows,
                unusable=pa.nulls(len(rows), pa.string()),
                bad_records=bad_records[:bad_count],
                row_ranges=tuple(awards.row_ranges),
                rows_merged=int(pc.sum(batch["awards"]).as_py() or 0) - len(rows),
            )
            batch, bad_records = following, bad_records[bad_count:]
