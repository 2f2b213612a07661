"""The SBIR.gov awards file as a table of ``schema.AWARD`` and a table of rejects.

Covers both header generations of the bulk download, and CSV files with a column map. The table is in memory, as its
size is bounded (about 220,000 rows). Does not join awards to companies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.core.database import evaluate
from enrich_dist.core.ordered_map import ordered_map
from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN
from enrich_dist.sources import clean_fields
from enrich_dist.sources.clean_text import clean_long_text, clean_text
from enrich_dist.sources.columns import AWARD_LAYOUT, extra_names, resolve_columns
from enrich_dist.sources.delimited import Block, open_delimited
from enrich_dist.sources.rejects import REJECTED, REPAIRED, RejectLog, single_range
from enrich_dist.sources.source_file import SourceFile, as_file
from enrich_dist.sources.string_bytes import TEXT_NULL

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
}


@dataclass(frozen=True)
class AwardTable:
    """The content of an awards file; ``rows_read == len(awards) + rows_rejected``.

    ``awards``: ``schema.AWARD``, then the file's other columns (string). ``rejects``: ``schema.REJECT``, sorted by
    source_row and column. ``cells_repaired``: its repaired rows. ``bytes_repaired``: bytes that were not UTF-8.
    """

    awards: pa.Table
    rejects: pa.Table
    rows_read: int
    rows_rejected: int
    cells_repaired: int
    bytes_repaired: int


def check_awards(location: str | Path | SourceFile, column_map: Mapping[str, str | None]) -> None:
    """Read header and first block. Raises ``SourceError`` if that fails, or without a required column or a row."""
    path = as_file(location)
    with open_delimited(path) as file:
        resolve_columns(file.header, column_map, AWARD_LAYOUT, path)
        if next(file.blocks(), None) is None and not file.bad_records:
            raise _no_rows(path)


def read_awards(location: str | Path | SourceFile, column_map: Mapping[str, str | None]) -> AwardTable:
    """Read, clean and number all awards of a CSV file (plain, gzip or zip).

    ``column_map`` maps columns of ``schema.AWARD`` to headers of the file, or to None for an absent column; other
    headers are recognised by their usual names. Raises ``SourceError`` as ``check_awards`` does, and at damaged data.
    """
    path = as_file(location)
    log = RejectLog(single_range(path.name))
    tables: list[pa.Table] = []
    rows_read = 0
    with open_delimited(path) as file:
        positions = resolve_columns(file.header, column_map, AWARD_LAYOUT, path)
        extras = extra_names(file.header, set(positions.values()), schema.AWARD.names)
        awards_schema = pa.schema([*schema.AWARD, *(pa.field(name, pa.string()) for name in extras.values())])

        def clean(_: int, block: Block) -> tuple[pa.Table, int]:
            return _clean_block(block, positions, extras, awards_schema, log), len(block.source_rows)

        for table, count in ordered_map(clean, file.blocks(), threads=_THREADS, max_pending=_MAX_PENDING):
            tables.append(table)
            rows_read += count
        bytes_repaired = file.stream.bytes_repaired
        bad_records = file.bad_records
    rows_read += len(bad_records)
    if not rows_read:
        raise _no_rows(path)
    log.add_bad_records(bad_records)
    awards = _without_duplicates(pa.concat_tables([awards_schema.empty_table(), *tables]), log)
    rejects = log.table()
    # The repairs of duplicates are dropped with them.
    kept = pc.is_in(rejects.column("source_row"), value_set=awards.column("source_row").combine_chunks())
    rejects = rejects.filter(pc.or_(pc.equal(rejects.column("outcome"), REJECTED), kept))
    cells_repaired = pc.sum(pc.equal(rejects.column("outcome"), REPAIRED)).as_py() or 0
    return AwardTable(awards, rejects, rows_read, rows_read - len(awards), cells_repaired, bytes_repaired)


def _clean_block(
    block: Block, positions: Mapping[str, int], extras: Mapping[int, str], awards_schema: pa.Schema, log: RejectLog
) -> pa.Table:
    source_rows = pa.array(block.source_rows)
    raw_rows = pc.binary_join_element_wise(*block.cells, _CELL_SEPARATOR)
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
        elif field.name == "state":
            columns["state"] = clean_fields.clean_state(raw)
        else:
            columns[field.name] = clean_text(raw)
    (columns["zip5"], reasons), _ = clean_fields.clean_zip(columns["zip"])
    repairs["zip"] = (reasons, columns["zip"])
    for position, name in extras.items():
        columns[name] = clean_long_text(block.cells[position])

    rejected = _rejection_reasons(raw_rows, block.unusable, columns)
    raw_text = pc.replace_substring(raw_rows, _CELL_SEPARATOR, ",")
    log.add(REJECTED, source_rows, rejected, column=None, values=raw_text)
    kept = pc.is_null(rejected)
    for name, (reasons, raw) in repairs.items():
        log.add(REPAIRED, source_rows, pc.if_else(kept, reasons, TEXT_NULL), column=name, values=raw)
    arrays = [columns[name] for name in awards_schema.names]
    return pa.table(arrays, schema=awards_schema).filter(kept)


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


def _without_duplicates(awards: pa.Table, log: RejectLog) -> pa.Table:
    """Return the first of each group of rows with equal cells; log the others with the row of the first."""
    ids = awards.column("award_id").combine_chunks()
    source_rows = awards.column("source_row").combine_chunks().to_numpy()
    codes = pc.dictionary_encode(ids).indices.to_numpy()  # in the order of first appearance
    first = np.unique(codes, return_index=True)[1][codes]
    repeated = pa.array(first != np.arange(len(codes)))
    originals = pc.cast(pa.array(source_rows[first]), pa.string())
    reasons = pc.if_else(repeated, pc.binary_join_element_wise("duplicate of row", originals, " "), TEXT_NULL)
    log.add(REJECTED, pa.array(source_rows), reasons, column=None, values=ids)
    return awards.filter(pc.invert(repeated))


def _no_rows(path: SourceFile) -> SourceError:
    return SourceError("the file has a header but no rows.", path=path, remedy=DOWNLOAD_AGAIN)
