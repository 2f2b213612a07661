"""Read and validate a filled review sheet.

Covers CSV files as spreadsheets save them: byte order mark, Windows-1252, semicolons or tabs, reordered and additional
columns, rows without their last empty cells. A sheet with an error is refused as a whole. Does not cover workbooks
(.xlsx) nor how the sheet is written (``review``).
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.errors import SourceError
from enrich_dist.plain_text import from_spreadsheet
from enrich_dist.sources.text_file import open_utf8

REVIEW_COLUMNS = ("decision", "other_recipient_id", "company_key", "recipient_id")
"""Columns that are read; ``other_recipient_id`` is optional."""

_DELIMITERS: Final = (",", ";", "\t")
_WORKBOOKS: Final = (".xlsx", ".xlsm", ".xls", ".ods")
_MAX_BYTES: Final = 100_000_000
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
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        problem = f"the file is larger than {_MAX_BYTES // 1_000_000:,} MB."
        raise SourceError(problem, path=path, remedy="Split it, and import the parts one after another.")
    text = data.decode("utf-8")
    header, header_row, delimiter = _header(text, path)
    for name in REVIEW_COLUMNS:
        if header.count(name) != 1 and (name != "other_recipient_id" or name in header):
            problem = "there is no such column." if name not in header else "there are two columns of this name."
            raise SourceError(problem, path=path, column=name, remedy="Restore the exported header.")
    records = _records(text, delimiter, len(header), path)[header_row:]
    columns = {"row": pa.array(range(header_row + 1, header_row + len(records) + 1), pa.int64())}
    for name in REVIEW_COLUMNS:
        position = header.index(name) if name in header else None
        cells = [None if position is None else from_spreadsheet(record[position].strip()) or None for record in records]
        columns[name] = pa.array(cells, pa.string())
    columns["decision"] = pc.utf8_lower(columns["decision"])
    return pa.table(columns)


def create_pairs(connection: duckdb.DuckDBPyConnection, sheet: pa.Table) -> None:
    """Create tables ``filled`` (rows of the sheet with a decision) and ``pairs`` (each decision with its pair).

    ``sheet``: as ``read_sheet`` returns it; ``pairs`` also has the column that names the recipient.
    """
    has_decision = "decision is not null or other_recipient_id is not null"
    connection.from_arrow(sheet).filter(has_decision).create("filled")
    connection.execute("""
        create table pairs as
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
            create or replace table {table} as
            select *, coalesce(company_key in (select company_key from known_companies), false) as known_company
            from {table}
        """)
    errors = connection.execute(f'select * from ({_CHECKS}) order by row, "column", problem').fetchall()
    if errors:
        raise _error(errors, path)
    query = "select distinct company_key, recipient_id, decision from pairs order by company_key, recipient_id"
    return connection.sql(query).to_arrow_table().cast(schema.OVERRIDE)


def _error(errors: list[tuple[Any, ...]], path: Path) -> SourceError:
    described = [
        (row, column, f"'{value}' {problem}." if value is not None else f"the cell is empty, which {problem}.", remedy)
        for row, column, value, problem, remedy in errors[:_SHOWN]
    ]
    if len(errors) == 1:
        [(row, column, text, remedy)] = described
        return SourceError(text, path=path, column=column, row=row, remedy=remedy)
    lines = [f"row {row}, column '{column}': {text} {remedy}" for row, column, text, remedy in described]
    more = f", the first {_SHOWN} of them" if len(errors) > _SHOWN else ""
    return SourceError(
        f"{len(errors):,} errors, nothing is stored{more}:",
        path=path,
        details=lines,
        remedy="Correct them and import the sheet again.",
    )


def _header(text: str, path: Path) -> tuple[list[str], int, str]:
    """Return names in lower case, row and delimiter of the first row with text."""
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


def _records(text: str, delimiter: str, width: int, path: Path) -> list[list[str]]:
    """Return the cells of all rows, including the header.

    Spreadsheets omit or add empty cells at the end of a row; any other row of another width is refused.
    """
    records: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row, cells in enumerate(reader, start=1):
            if any(_hides_rows(cell, delimiter, width) for cell in cells) or (
                len(cells) != width and any("\n" in cell or "\r" in cell for cell in cells)
            ):
                raise _open_quote(row, path)
            if any(cells[width:]):
                raise SourceError(
                    f"{len(cells)} cells instead of {width}.",
                    path=path,
                    row=row,
                    remedy=f"Put text that contains '{delimiter}' into quotes.",
                )
            records.append([*cells[:width], *[""] * (width - len(cells))])
    except csv.Error as error:
        raise _open_quote(len(records) + 1, path) from error
    return records


def _hides_rows(cell: str, delimiter: str, width: int) -> bool:
    """Return whether a cell contains whole rows, because a quote before them is not closed."""
    if "\n" not in cell and "\r" not in cell:
        return False
    return cell.count(delimiter) - cell.count(f"{delimiter} ") >= width - 1


def _open_quote(row: int, path: Path) -> SourceError:
    return SourceError(
        "a quote in this row is not closed and hides the rows after it.",
        path=path,
        row=row,
        remedy="Close or remove the stray quote character.",
    )
