"""The SBIR.gov awards file as a table of ``schema.AWARD`` and a table of rejects.

Covers both header generations of the bulk download, and other files with a column map. The table is in memory, as its
size is bounded (about 220,000 rows). Does not join awards to companies.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.core.database import evaluate
from enrich_dist.core.ordered_map import ordered_map
from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN
from enrich_dist.sources import clean_fields
from enrich_dist.sources.clean_places import clean_state
from enrich_dist.sources.clean_text import clean_long_text, clean_text, tidy_text
from enrich_dist.sources.column_statistics import ColumnTally, Measured, SourceColumns
from enrich_dist.sources.columns import (
    AWARD_LAYOUT,
    NAMELESS,
    ColumnHeaders,
    extra_names,
    merge_headers,
    name_headers,
    resolve_columns,
)
from enrich_dist.sources.delimited import Block, Records
from enrich_dist.sources.header import REPEATED, names_columns
from enrich_dist.sources.parquet import open_award_table, open_parquet
from enrich_dist.sources.part_files import PartFiles
from enrich_dist.sources.rejects import REJECTED, REPAIRED, RejectLog, RowRange, all_rejected, file_rows
from enrich_dist.sources.source_file import SourceFile
from enrich_dist.sources.string_bytes import TEXT_NULL
from enrich_dist.sources.table_file import open_table

_CELL_SEPARATOR: Final = "\x1f"
_NO_TEXT: Final = r"^[\s\pZ\x00-\x1f\x7f]*$"
# Two threads use two cores in addition to the reader.
_THREADS: Final = 2
_MAX_PENDING: Final = 3

_CLEANERS: Final[Mapping[str, Callable[[pa.Array], clean_fields.Cleaned]]] = {
    **dict.fromkeys((field.name for field in schema.AWARD if pa.types.is_date32(field.type)), clean_fields.clean_date),
    "solicitation_year": clean_fields.clean_year,
    "award_year": clean_fields.clean_year,
    "award_amount": clean_fields.clean_amount,
    "number_employees": clean_fields.clean_integer,
    "uei": clean_fields.clean_uei,
    "duns": clean_fields.clean_duns,
    "state": clean_state,
}


@dataclass(frozen=True)
class AwardTable:
    """The content of an awards file; ``rows_read == len(awards) + rows_rejected``.

    ``awards``: ``schema.AWARD``, then the file's other columns (string). ``rejects``: ``schema.REJECT``, sorted by
    source_row and column. ``cells_repaired``: its repaired rows. ``bytes_repaired``: bytes that were not UTF-8.
    ``columns``: statistics of the file's columns.
    """

    awards: pa.Table
    rejects: pa.Table
    rows_read: int
    rows_rejected: int
    cells_repaired: int
    bytes_repaired: int
    columns: SourceColumns


def check_awards(location: str | Path | PartFiles, column_map: Mapping[str, str | None]) -> None:
    """Read header and first block of each file. Raises ``SourceError`` if that fails, or without a required column or a
    row."""
    for file in _as_parts(location).files:
        with _open_awards(file, column_map) as opened:
            resolve_columns(opened.header, column_map, AWARD_LAYOUT, file)
            if next(opened.blocks(), None) is None and not opened.bad_records:
                raise _no_rows(file)


def read_awards(location: str | Path | PartFiles, column_map: Mapping[str, str | None]) -> AwardTable:
    """Read, clean and number all awards of a file, a folder or a pattern; rows of further files are numbered on.

    ``column_map`` maps columns of ``schema.AWARD`` to headers of the file, or to None for an absent column; other
    headers are recognised by their usual names. Raises ``SourceError`` as ``check_awards`` does, at damaged data, and
    where no row is an award.
    """
    ranges: list[RowRange] = []
    headers: list[ColumnHeaders] = []
    tally = ColumnTally()
    log = RejectLog(ranges)
    tables: list[pa.Table] = [schema.AWARD.empty_table()]
    rows_read = bytes_repaired = last_row = 0
    parts = _as_parts(location)
    for file in parts.files:
        ranges.append(RowRange(last_row + 1, file.name, 1))
        read = _read_file(file, column_map, log, tally, last_row)
        headers.append(read.headers)
        tables += read.tables
        rows_read, bytes_repaired, last_row = rows_read + read.rows, bytes_repaired + read.bytes_repaired, read.last_row
    awards = _without_empty_columns(pa.concat_tables(tables, promote_options="default"))
    awards = _without_duplicates(awards, log, ranges)
    rejects = log.table()
    if not len(awards):
        raise all_rejected(rejects, parts)
    # The repairs of duplicates are dropped with them.
    kept = pc.is_in(rejects.column("source_row"), value_set=awards.column("source_row").combine_chunks())
    rejects = rejects.filter(pc.or_(pc.equal(rejects.column("outcome"), REJECTED), kept))
    cells_repaired = pc.sum(pc.equal(rejects.column("outcome"), REPAIRED)).as_py() or 0
    columns = tally.result(*merge_headers(headers, AWARD_LAYOUT))
    return AwardTable(awards, rejects, rows_read, rows_read - len(awards), cells_repaired, bytes_repaired, columns)


class _ReadFile(NamedTuple):
    tables: list[pa.Table]
    rows: int
    last_row: int
    bytes_repaired: int
    headers: ColumnHeaders


def _read_file(
    file: SourceFile, column_map: Mapping[str, str | None], log: RejectLog, tally: ColumnTally, rows_before: int
) -> _ReadFile:
    """Clean the awards of one file; its row 1 has the number ``rows_before + 1``."""
    tables: list[pa.Table] = []
    rows, last_row = 0, rows_before
    with _open_awards(file, column_map) as opened:
        positions = resolve_columns(opened.header, column_map, AWARD_LAYOUT, file)
        extras = extra_names(opened.header, set(positions.values()), schema.AWARD.names)
        columns = _Columns(positions, extras, sum(1 for _ in takewhile(operator.not_, reversed(opened.header))))

        def clean(_: int, block: Block) -> tuple[pa.Table, Measured, Block]:
            numbered = replace(block, source_rows=block.source_rows + rows_before)
            return *_clean_block(numbered, columns, log, tally), numbered

        for table, measured, block in ordered_map(clean, opened.blocks(), threads=_THREADS, max_pending=_MAX_PENDING):
            tables.append(table)
            tally.add(measured)
            rows += len(block.source_rows)
            last_row = int(block.source_rows[-1])
        bad_records = [replace(bad, source_row=bad.source_row + rows_before) for bad in opened.bad_records]
        bytes_repaired = opened.bytes_repaired
    rows += len(bad_records)
    if not rows:
        raise _no_rows(file)
    log.add_bad_records(bad_records)
    last_row = max([last_row, *(bad.source_row for bad in bad_records)])
    return _ReadFile(tables, rows, last_row, bytes_repaired, name_headers(opened.header, positions, AWARD_LAYOUT))


class _Columns(NamedTuple):
    """Where the columns are in a block: canonical ones, others by position, and the last ones without a name."""

    positions: Mapping[str, int]
    extras: Mapping[int, str]
    nameless: int


def _clean_block(block: Block, found: _Columns, log: RejectLog, tally: ColumnTally) -> tuple[pa.Table, Measured]:
    positions = found.positions
    source_rows = pa.array(block.source_rows)
    raw_rows = pc.binary_join_element_wise(*block.cells, _CELL_SEPARATOR)
    if found.nameless:  # delimiters at the ends of lines are no cells
        end = f"{_CELL_SEPARATOR}{{{found.nameless}}}$"
        raw_rows = pc.replace_substring_regex(raw_rows, end, "")
    columns: dict[str, pa.Array] = {"award_id": evaluate("md5(x)", raw_rows), "source_row": source_rows}
    repairs: dict[str, tuple[pa.Array, pa.Array]] = {}  # column: reasons, original values
    for field in schema.AWARD:
        if field.name in columns or field.name == "zip5":
            continue
        if field.name not in positions:
            columns[field.name] = pa.nulls(len(source_rows), field.type)
            continue
        raw = block.cells[positions[field.name]]
        if field.name in _CLEANERS:
            columns[field.name], reasons = _CLEANERS[field.name](raw)
            repairs[field.name] = (reasons, raw)
        else:
            columns[field.name] = tidy_text(raw) if field.name == "company" else clean_text(raw)
    (columns["zip5"], reasons), _ = clean_fields.clean_zip(columns["zip"])
    repairs["zip"] = (reasons, columns["zip"])
    for position, name in found.extras.items():
        columns[name] = clean_long_text(block.cells[position])

    texts = {name: block.cells[position] for name, position in positions.items()}
    reasons_of = {name: reasons for name, (reasons, _) in repairs.items()}
    measured = tally.measure(source_rows, texts, columns | {"zip": columns["zip5"]}, reasons_of)
    headers = pa.array(names_columns(texts, AWARD_LAYOUT))
    unusable = pc.if_else(headers, REPEATED, block.unusable)
    rejected = _rejection_reasons(raw_rows, unusable, columns)
    raw_text = pc.replace_substring(raw_rows, _CELL_SEPARATOR, ",")
    log.add(REJECTED, source_rows, rejected, column=None, values=raw_text)
    kept = pc.is_null(rejected)
    for name, (reasons, raw) in repairs.items():
        log.add(REPAIRED, source_rows, pc.if_else(kept, reasons, TEXT_NULL), column=name, values=raw)
    fields = [*schema.AWARD, *(pa.field(name, pa.string()) for name in found.extras.values())]
    return pa.table([columns[field.name] for field in fields], schema=pa.schema(fields)).filter(kept), measured


def _rejection_reasons(raw_rows: pa.Array, unusable: pa.Array, columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return the first reason that a row is not an award (string), or null."""
    nameless = pc.and_(pc.is_null(columns["company"]), pc.and_(pc.is_null(columns["uei"]), pc.is_null(columns["duns"])))
    return pc.case_when(
        pc.make_struct(pc.match_substring_regex(raw_rows, _NO_TEXT), pc.is_valid(unusable), nameless),
        "blank row",
        unusable,
        "no company name and no valid identifier",
        TEXT_NULL,
    )


def _without_empty_columns(awards: pa.Table) -> pa.Table:
    """Drop the columns without header and values, which delimiters at the ends of lines make."""
    nameless = [name for name in awards.column_names if name.startswith(NAMELESS)]
    return awards.drop_columns([name for name in nameless if awards[name].null_count == len(awards)])


def _without_duplicates(awards: pa.Table, log: RejectLog, ranges: Sequence[RowRange]) -> pa.Table:
    """Return the first of each group of rows with equal cells; log the others with the row of the first."""
    ids = awards.column("award_id").combine_chunks()
    source_rows = awards.column("source_row").combine_chunks().to_numpy()
    codes = pc.dictionary_encode(ids).indices.to_numpy()  # in the order of first appearance
    first = np.unique(codes, return_index=True)[1][codes]
    repeated = pa.array(first != np.arange(len(codes)))
    files, rows = file_rows(source_rows[first], ranges)
    of_file = pc.binary_join_element_wise(" of ", files, "") if len(ranges) > 1 else ""
    texts = pc.binary_join_element_wise("duplicate of row ", pc.cast(rows, pa.string()), of_file, "")
    reasons = pc.if_else(repeated, texts, TEXT_NULL)
    log.add(REJECTED, pa.array(source_rows), reasons, column=None, values=ids)
    return awards.filter(pc.invert(repeated))


def _open_awards(file: SourceFile, column_map: Mapping[str, str | None]) -> AbstractContextManager[Records]:
    return open_table(file, None, column_map) if open_parquet(file) is None else open_award_table(file, column_map)


def _as_parts(location: str | Path | PartFiles) -> PartFiles:
    return location if isinstance(location, PartFiles) else PartFiles(location)


def _no_rows(path: SourceFile) -> SourceError:
    return SourceError("the file has a header but no rows.", path=path, remedy=DOWNLOAD_AGAIN)
