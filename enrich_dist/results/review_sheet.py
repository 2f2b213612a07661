"""Read and validate a filled review sheet.

Covers CSV files as spreadsheets save them: byte order mark, Windows-1252, semicolons or tabs, reordered and additional
columns, rows without their last empty cells. A sheet with an error is refused as a whole. Does not cover workbooks
(.xlsx) nor how the sheet is written (``review``).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from enrich_dist import schema
from enrich_dist.errors import SourceError
from enrich_dist.sources.text_file import open_utf8

REVIEW_COLUMNS = ("decision", "other_recipient_id", "company_key", "recipient_id")
"""Columns that are read; ``other_recipient_id`` is optional."""

_DELIMITERS: Final = (",", ";", "\t")
_WORKBOOKS: Final = (".xlsx", ".xlsm", ".xls", ".ods")
_LARGEST_BYTES: Final = 1 << 30
_HEADER_CHARACTERS: Final = 1 << 16
_SHOWN: Final = 10

_EXPORT_AGAIN: Final = "Do not edit this column, or export a new sheet from the latest result."
# Errors in ``filled`` and ``pairs``: (row, column, value, problem, remedy).
_CHECKS: Final = f"""
select row, 'decision' as "column", decision as value, 'is not confirm, reject or empty' as problem,
       'Write one of these words, or leave the cell empty.' as remedy
from filled where decision is not null and decision not in ('confirm', 'reject')
union all
select row, 'company_key', company_key, 'is not a company of the latest result', '{_EXPORT_AGAIN}'
from filled where not known_company
union all
select row, "column", recipient_id, 'is not a candidate of ' || company_key,
       'Write the id of another recipient into other_recipient_id.'
from pairs anti join candidate_pairs using (company_key, recipient_id)
where "column" = 'recipient_id' and known_company
union all
select row, "column", recipient_id, 'is not a recipient of this run',
       'Write the recipient_id of a recipient; format the column as text in a spreadsheet.'
from pairs anti join recipients using (recipient_id)
where "column" = 'other_recipient_id' and known_company
union all
select row, "column", recipient_id,
       company_key || ' is confirmed as ' || first.recipient_id || ' in row ' || first.row || ' already',
       'Keep one confirmation per company.'
from (select *, first_value({{'row': row, 'recipient_id': recipient_id}}) over
             (partition by company_key order by row, "column" desc) as first
      from pairs where decision = 'confirm')
where recipient_id is distinct from first.recipient_id
union all
select row, "column", recipient_id, 'is both confirmed and rejected for ' || company_key || ', first in row ' || first,
       'Keep one of both.'
from (select *, count(distinct decision) over pair as decisions, first_value(row) over (pair order by row) as first,
             row_number() over (pair order by row, "column" desc) as number
      from pairs where recipient_id is not null and decision in ('confirm', 'reject')
      window pair as (partition by company_key, recipient_id))
where decisions > 1 and number = decisions
"""


def read_sheet(path: Path) -> pa.Table:
    """Return columns ``row`` (as a spreadsheet counts) and ``REVIEW_COLUMNS``, trimmed, null where empty.

    ``decision`` is in lower case. Raises ``SourceError`` when the file cannot be read as a sheet.
    """
    if path.suffix.lower() in _WORKBOOKS:
        raise SourceError("is a workbook.", path=path, remedy="Save it as CSV UTF-8 and import that file.")
    if not path.is_file():
        raise SourceError("the file does not exist.", path=path, remedy="Give the path of the filled sheet.")
    with open_utf8(path) as stream:
        data = stream.read(_LARGEST_BYTES)
    header, header_row, delimiter = _header(data, path)
    for name in REVIEW_COLUMNS:
        if header.count(name) != 1 and (name != "other_recipient_id" or name in header):
            problem = "there is no such column." if name not in header else "there are two columns of this name."
            raise SourceError(problem, path=path, column=name, remedy="Restore the exported header.")
    cells, rows = _records(data, delimiter, len(header), path)
    cells, rows = cells.slice(header_row), rows[header_row:]
    _refuse_swallowed_rows(cells, rows, delimiter, path)
    columns: dict[str, Any] = {"row": pa.array(rows)}
    for name in REVIEW_COLUMNS:
        column = cells[header.index(name)] if name in header else pa.array([None] * len(rows), pa.string())
        trimmed = pc.utf8_trim_whitespace(column)
        columns[name] = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    columns["decision"] = pc.utf8_lower(columns["decision"])
    return pa.table(columns)


def create_pairs(connection: duckdb.DuckDBPyConnection, sheet: pa.Table) -> None:
    """Create tables ``filled`` (rows of the sheet with a decision) and ``pairs`` (each decision with its pair).

    ``sheet``: as ``read_sheet`` returns it; ``pairs`` also has the column that names the recipient.
    """
    connection.register("sheet", sheet)
    connection.execute("""
        create or replace temp table filled as
        select * from sheet where decision is not null or other_recipient_id is not null
    """)
    connection.unregister("sheet")
    connection.execute("""
        create or replace temp table pairs as
        select row, 'recipient_id' as "column", company_key, recipient_id, decision from filled
        where decision is not null
        union all
        select row, 'other_recipient_id', company_key, other_recipient_id, 'confirm' from filled
        where other_recipient_id is not null
    """)


def validate_decisions(connection: duckdb.DuckDBPyConnection, path: Path) -> pa.Table:
    """Return the decisions of ``pairs`` (``schema.OVERRIDE``).

    Needs the tables of ``create_pairs``, ``known_companies`` (``company_key``), ``candidate_pairs`` (``company_key``,
    ``recipient_id``) and ``recipients`` (``recipient_id`` of the existing recipients in column other_recipient_id).
    Raises ``SourceError`` with the first errors.
    """
    for table in ("filled", "pairs"):
        connection.execute(f"""
            create or replace temp table {table} as
            select *, coalesce(company_key in (select company_key from known_companies), false) as known_company
            from {table}
        """)
    errors = connection.execute(f'select * from ({_CHECKS}) order by row, "column", problem').fetchall()
    if errors:
        raise _error(errors, path)
    return (
        connection.sql("""
            select distinct company_key, recipient_id, decision from pairs order by company_key, recipient_id
        """)
        .to_arrow_table()
        .cast(schema.OVERRIDE)
    )


def _error(errors: list[tuple[Any, ...]], path: Path) -> SourceError:
    def describe(value: str | None, problem: str) -> str:
        return f"'{value}' {problem}." if value is not None else f"the cell is empty, which {problem}."

    if len(errors) == 1:
        [(row, column, value, problem, remedy)] = errors
        return SourceError(describe(value, problem), path=path, column=column, row=row, remedy=remedy)
    lines = [
        f"\n  row {row}, column '{column}': {describe(value, problem)} {remedy}"
        for row, column, value, problem, remedy in errors[:_SHOWN]
    ]
    more = f", the first {_SHOWN} of them" if len(errors) > _SHOWN else ""
    return SourceError(
        f"{len(errors):,} errors, nothing is stored{more}:{''.join(lines)}\n",
        path=path,
        remedy="Correct them and import the sheet again.",
    )


def _header(data: bytes, path: Path) -> tuple[list[str], int, str]:
    """Return names in lower case, row and delimiter of the first row with text."""
    text = data[:_HEADER_CHARACTERS].decode("utf-8", errors="ignore")
    found = {delimiter: _first_record(text, delimiter) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda item: sum(name in found[item][0] for name in REVIEW_COLUMNS))
    names, row = found[delimiter]
    if not names:
        raise SourceError("the file is empty.", path=path, remedy="Give the path of the filled sheet.")
    return names, row, delimiter


def _first_record(text: str, delimiter: str) -> tuple[list[str], int]:
    try:
        for row, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=1):
            if any(cell.strip() for cell in cells):
                return [cell.strip().lower() for cell in cells], row
    except csv.Error:  # not this delimiter
        pass
    return [], 0


def _records(data: bytes, delimiter: str, width: int, path: Path) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Return the cells of all records, including the header, and their row numbers.

    Records of another width are repaired where that is safe: spreadsheets omit or add empty cells at the end of a row.
    """
    repairable: list[Any] = []

    def skip(record: Any) -> str:
        repairable.append(record)
        return "skip"

    cells = _parse(data, delimiter, width, skip, path)
    repaired_rows = np.array([record.number for record in repairable], dtype=np.int64)
    rows = np.setdiff1d(np.arange(1, len(cells) + len(repairable) + 1), repaired_rows)
    if not repairable:
        return cells, rows
    repaired = "\n".join(_repaired(record, delimiter, path) for record in repairable)
    cells = pa.concat_tables([cells, _parse(repaired.encode(), delimiter, width, None, path)])
    rows = np.concatenate([rows, repaired_rows])
    order = np.argsort(rows)
    return cells.take(pa.array(order)), rows[order]


def _parse(data: bytes, delimiter: str, width: int, skip: Callable[[Any], str] | None, path: Path) -> pa.Table:
    names = [f"c{position}" for position in range(width)]
    try:
        return pa.csv.read_csv(
            io.BytesIO(data),
            # Without threads pyarrow numbers the records that it hands to the handler.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=skip
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[], strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise SourceError(f"cannot be read as CSV ({error}).", path=path, remedy="Save it as CSV UTF-8.") from error


def _repaired(record: Any, delimiter: str, path: Path) -> str:
    """Return the text of a record with as many cells as the header."""
    text = str(record.text)
    missing = record.expected_columns - record.actual_columns
    if text.count('"') % 2 or "\n" in text or "\r" in text:
        raise _open_quote(record.number, path)
    if missing > 0:
        return f"{text}{delimiter * missing}"
    if not text.endswith(delimiter * -missing):
        raise SourceError(
            f"{record.actual_columns} cells instead of {record.expected_columns}.",
            path=path,
            row=record.number,
            remedy=f"Put text that contains '{delimiter}' into quotes.",
        )
    return str(text[:missing])


def _refuse_swallowed_rows(cells: pa.Table, rows: npt.NDArray[np.int64], delimiter: str, path: Path) -> None:
    """Refuse a sheet with an unclosed quote: it would hide the rows after it in one cell."""
    for column in cells.columns:
        broken = pc.match_substring_regex(column, r"[\r\n]")
        bare = pc.subtract(pc.count_substring(column, delimiter), pc.count_substring(column, f"{delimiter} "))
        hiding = pc.and_(broken, pc.greater_equal(bare, cells.num_columns - 1))
        if pc.any(hiding).as_py():
            raise _open_quote(int(rows[pc.index(hiding, True).as_py()]), path)


def _open_quote(row: int, path: Path) -> SourceError:
    return SourceError(
        "a quote in this row is not closed and hides the rows after it.",
        path=path,
        row=row,
        remedy="Close or remove the stray quote character.",
    )
