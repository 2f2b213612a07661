"""USAspending's bulk downloads of prime awards as a source of recipients: CSV files of awards, or a zip of several.

Every award tells its recipient again. Awards of one recipient, which are those of one UEI, else of one DUNS, else of
one name and place, become one row: the name and address that most of its awards bear (of equally many those that come
first), and all other names, also those it does business under, as alternate names. A recipient's row is that of its
first award. DuckDB does it, within bounded memory, and spills to the scratch directory. Told by the columns: a
recipient's name beside the key of an award; other CSV files of a zip (subawards) are left out. Does not read amounts,
dates or agencies.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path, PurePosixPath
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.core.database import DRIVER_MEMORY_MB, connect
from enrich_dist.core.files import text_digest
from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN
from enrich_dist.sources.columns import RECIPIENT_LAYOUT, plain_header, resolve_columns
from enrich_dist.sources.delimited import BadRecord, Block, open_delimited
from enrich_dist.sources.protocol import RawBatch, ReadOptions, RowRange, Source
from enrich_dist.sources.recipient_files import exact_batches
from enrich_dist.sources.source_file import SourceFile, as_file
from enrich_dist.sources.text_file import count_lines, csv_members

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
# What awards tell of a recipient, each once; then a recipient from all that is told of it.
_VARIANTS: Final = f"""
    create temp table variants as
    select {_KEY} as key, {", ".join(_COLUMNS)}, count(*) as awards, min(source_row) as source_row
    from (select source_row, {_BLANK_AS_NULL} from staged) group by all
"""
_TOLD: Final = tuple(name for name in _COLUMNS if name not in ("alternate_names", "name"))
_RECIPIENTS: Final = f"""
    create temp table recipients as
    select min(source_row) as source_row, sum(awards)::bigint as awards,
           arg_max(struct_pack({", ".join(f"{name} := {name}" for name in ("name", *_TOLD))}),
                   (awards, -source_row)) as best,
           list_sort(list_distinct(list(name) || list(alternate_names))) as names
    from variants group by key
"""
_ROWS: Final = f"""
    select source_row, awards, best.name as name, list_filter(names, lambda n: n is distinct from best.name)
           as alternate_names, {", ".join(f"best.{name} as {name}" for name in _TOLD)}
    from recipients order by source_row
"""


def open_source(location: str | Path, member: str | None) -> BulkDownload | None:
    """The bulk download of a location; None where its columns are others.

    Raises ``SourceError`` where it is damaged.
    """
    file = as_file(location)
    file.require()
    members: Sequence[str | None] = csv_members(file) or [None]
    if member is not None:
        members = [name for name in members if name and member in (name, PurePosixPath(name).name)]
    found = tuple(name for name in members if _tells_awards(file, name))
    return BulkDownload(file, found) if found else None


def _tells_awards(file: SourceFile, member: str | None) -> bool:
    with open_delimited(file, member) as opened:
        headers = {plain_header(header) for header in opened.header}
    return _RECIPIENT in headers and not headers.isdisjoint(_AWARD_KEYS)


class BulkDownload(Source):
    """CSV files of awards. ``members``: those of a zip, or None for the file itself."""

    def __init__(self, file: SourceFile, members: tuple[str | None, ...]) -> None:
        self._file = file
        self._members = members
        self._recipients: int | None = None
        self.name = file.name
        self.where = file.location

    def check(self, reading: ReadOptions) -> None:
        """As ``Source.check``."""
        rows = False
        for member in self._members:
            with open_delimited(self._file, member) as opened:
                resolve_columns(opened.header, reading.column_map, reading.layout, self._called(member))
                rows = rows or next(opened.blocks(), None) is not None or bool(opened.bad_records)
        if not rows:
            raise self._no_rows()

    def digest(self, reading: ReadOptions) -> str:  # noqa: ARG002
        """Of the file's bytes, and which of its members are read."""
        return text_digest("bulk download", self._file.digest(), *(member or "" for member in self._members))

    def stream(self, reading: ReadOptions) -> Generator[RawBatch, None, None]:
        """As ``Source.stream``: batches of ``batch_rows`` recipients. All awards are read before the first."""
        awards = _Awards(self, reading)
        with ExitStack() as stack:
            connection = stack.enter_context(connect(memory_mb=DRIVER_MEMORY_MB, scratch=reading.scratch))
            connection.register("staged", pa.RecordBatchReader.from_batches(_STAGED, awards.batches()))
            _execute(connection, awards, _VARIANTS)
            connection.unregister("staged")
            connection.execute(_RECIPIENTS)
            connection.execute("drop table variants")
            [(count,)] = connection.execute("select count(*) from recipients").fetchall()
            if not count and not awards.bad_records:
                raise self._no_rows()
            self._recipients = int(count) + len(awards.bad_records)
            return _recipients(connection, awards, reading.batch_rows, stack.pop_all())

    def row_count(self) -> tuple[int, bool]:
        """Recipients where all awards were read already, else an estimate of the awards."""
        if self._recipients is not None:
            return self._recipients, True
        return count_lines(self._file), False

    def _called(self, member: str | None) -> str:
        return f"{self.where}, {member}" if member else self.where

    def part_name(self, member: str | None) -> str:
        """What the rejects call one of the files."""
        return f"{self.name}/{PurePosixPath(member).name}" if member and len(self._members) > 1 else self.name

    def _no_rows(self) -> SourceError:
        return SourceError("holds no award.", path=self.where, remedy=DOWNLOAD_AGAIN)


class _Awards:
    """The awards of all files, once, with rows numbered through; and what could not be read of them."""

    def __init__(self, source: BulkDownload, reading: ReadOptions) -> None:
        self._source = source
        self._reading = reading
        self.parts: list[RowRange] = []
        self.bad_records: list[BadRecord] = []
        self.failure: SourceError | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        before = 0
        try:
            for member in self._source._members:
                self.parts.append(RowRange(before + 1, self._source.part_name(member), 1))
                last = 0
                with open_delimited(self._source._file, member) as opened:
                    positions = resolve_columns(
                        opened.header, self._reading.column_map, self._reading.layout, self._source._called(member)
                    )
                    for block in opened.blocks():
                        last = int(block.source_rows[-1])
                        yield self._staged(block, positions, before)
                    found = [_moved(record, before) for record in opened.bad_records]
                    self.bad_records += found
                    before = max([before + last, before + opened.header_row, *(record.source_row for record in found)])
        except SourceError as error:
            self.failure = error  # DuckDB would tell it as an error of its own
            raise

    def _staged(self, block: Block, positions: dict[str, int], before: int) -> pa.RecordBatch:
        rows = pa.array(block.source_rows + before)
        cells = [
            block.cells[positions[name]] if name in positions else pa.nulls(len(rows), pa.string()) for name in _COLUMNS
        ]
        batch = pa.record_batch([rows, *cells], schema=_STAGED)
        if block.unusable.null_count == len(rows):
            return batch
        lost = batch.filter(pc.is_valid(block.unusable))
        reasons = block.unusable.drop_null().to_pylist()
        found = zip(lost["source_row"].to_pylist(), reasons, lost["name"].to_pylist(), strict=True)
        self.bad_records += [BadRecord(row, reason, text or "") for row, reason, text in found]
        return batch.filter(pc.is_null(block.unusable))


def _moved(record: BadRecord, rows: int) -> BadRecord:
    return BadRecord(record.source_row + rows, record.reason, record.text)


def _execute(connection: duckdb.DuckDBPyConnection, awards: _Awards, query: str) -> None:
    try:
        connection.execute(query)
    except duckdb.Error:
        if awards.failure is not None:
            raise awards.failure from None
        raise


def _reader(connection: duckdb.DuckDBPyConnection, batch_rows: int) -> pa.RecordBatchReader:
    return connection.sql(_ROWS).to_arrow_reader(batch_rows)


def _recipients(
    connection: duckdb.DuckDBPyConnection, awards: _Awards, batch_rows: int, opened: ExitStack
) -> Generator[RawBatch, None, None]:
    bad_records = sorted(awards.bad_records, key=lambda record: record.source_row)
    parts = tuple(awards.parts)
    with opened, closing(_reader(connection, batch_rows)) as reader:
        batches = exact_batches(iter(reader), batch_rows)
        batch = next(batches, None)
        while batch is not None or bad_records:
            following = next(batches, None)
            if batch is None:
                batch = pa.RecordBatch.from_pylist([], schema=reader.schema)
            rows = batch["source_row"]
            end = following["source_row"][0].as_py() if following is not None else np.inf
            taken = sum(1 for record in bad_records if record.source_row < end)
            names = batch.schema.names[2:]
            yield RawBatch(
                cells={name: batch[name] for name in names},
                source_rows=rows,
                unusable=pa.nulls(len(rows), pa.string()),
                bad_records=bad_records[:taken],
                parts=parts,
                rows_merged=int(pc.sum(batch["awards"]).as_py() or 0) - len(rows),
            )
            batch, bad_records = following, bad_records[taken:]
