"""The sheet that persons fill in, read again: decisions row by row, validated as a whole.

Covers a CSV file as spreadsheets save it again: byte order mark, Windows-1252, semicolons or tabs, other order of the
columns, rows without their last empty cells, further columns. Nothing is taken from a sheet with an error in it. Does
not cover workbooks (.xlsx) nor how the sheet is written (``review``).
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

FILLED_IN = ("decision", "other_recipient_id", "company_key", "recipient_id")
"""The columns that are read; ``other_recipient_id`` may be missing."""

_DELIMITERS: Final = (",", ";", "\t")
_WORKBOOKS: Final = (".xlsx", ".xlsm", ".xls", ".ods")
_LARGEST_BYTES: Final = 1 << 30
_HEADER_CHARACTERS: Final = 1 << 16
_SHOWN: Final = 10

_EXPORT_ANEW: Final = "Leave the column as it was exported, or export a new sheet: it is of the latest result."
# (column, value, problem, remedy) of what is wrong with the rows of ``pairs``, ``filled`` and ``known``.
_CHECKS: Final = f"""
select row, 'decision' as "column", decision as value, 'is none of confirm, reject or empty' as problem,
       'Write one of these words, or leave the cell empty.' as remedy
from filled where decision is not null and decision not in ('confirm', 'reject')
union all
select row, 'company_key', company_key, 'is no company of the latest result', '{_EXPORT_ANEW}'
from filled where not known_company
union all
select row, "column", recipient_id, 'is no candidate of ' || company_key,
       'To name another recipient, write its id into other_recipient_id.'
from pairs anti join candidate_pairs using (company_key, recipient_id)
where "column" = 'recipient_id' and known_company
union all
select row, "column", recipient_id, 'is no recipient of this run',
       'Write the recipient_id of a row of the recipients; keep the column as text in a spreadsheet.'
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
    """Columns ``row`` (as a spreadsheet counts), and ``FILLED_IN`` as trimmed text, null where empty; ``decision`` in
    lower case.

    Raises ``SourceError`` when the file cannot be read as such a sheet.
    """
    if path.suffix.lower() in _WORKBOOKS:
        raise SourceError("is a workbook.", path=path, remedy="Save it as CSV UTF-8 and import that file.")
    if not path.is_file():
        raise SourceError("the file does not exist.", path=path, remedy="Name the sheet that was filled in.")
    with open_utf8(path) as stream:
        data = stream.read(_LARGEST_BYTES)
    header, header_row, delimiter = _header(data, path)
    for name in FILLED_IN:
        if header.count(name) != 1 and (name != "other_recipient_id" or name in header):
            problem = "there is no such column." if name not in header else "there are two columns of this name."
            raise SourceError(problem, path=path, column=name, remedy="Keep the header as it was exported.")
    cells, rows = _records(data, delimiter, len(header), path)
    cells, rows = cells.slice(header_row), rows[header_row:]
    _refuse_swallowed_rows(cells, rows, delimiter, path)
    columns: dict[str, Any] = {"row": pa.array(rows)}
    for name in FILLED_IN:
        column = cells[header.index(name)] if name in header else pa.array([None] * len(rows), pa.string())
        trimmed = pc.utf8_trim_whitespace(column)
        columns[name] = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    columns["decision"] = pc.utf8_lower(columns["decision"])
    return pa.table(columns)


def create_pairs(connection: duckdb.DuckDBPyConnection, sheet: pa.Table) -> None:
    """Tables ``filled``: rows of a sheet (``read_sheet``) in which something is decided, and ``pairs``: each decision
    with the pair it is on and the column that names the recipient."""
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


def validated(connection: duckdb.DuckDBPyConnection, path: Path) -> pa.Table:
    """The decisions of ``pairs`` (``schema.OVERRIDE``).

    Needs what ``create_pairs`` makes, ``known_companies`` (``company_key``), ``candidate_pairs`` (``company_key``,
    ``recipient_id``) and ``recipients`` (``recipient_id`` of those that the column other_recipient_id names and that
    exist). Raises ``SourceError`` that tells the first errors.
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
    def told(value: str | None, problem: str) -> str:
        return f"'{value}' {problem}." if value is not None else f"the cell is empty, which {problem}."

    if len(errors) == 1:
        [(row, column, value, problem, remedy)] = errors
        return SourceError(told(value, problem), path=path, column=column, row=row, remedy=remedy)
    lines = [
        f"\n  row {row}, column '{column}': {told(value, problem)} {remedy}"
        for row, column, value, problem, remedy in errors[:_SHOWN]
    ]
    more = f", the first {_SHOWN} of them" if len(errors) > _SHOWN else ""
    return SourceError(
        f"{len(errors):,} errors, so nothing is stored{more}:{''.join(lines)}\n",
        path=path,
        remedy="Correct them and import the sheet again.",
    )


def _header(data: bytes, path: Path) -> tuple[list[str], int, str]:
    """(names in lower case, row, delimiter): the first row with text, split by the delimiter that makes most of it."""
    text = data[:_HEADER_CHARACTERS].decode("utf-8", errors="ignore")
    found = {delimiter: _first_record(text, delimiter) for delimiter in _DELIMITERS}
    delimiter = max(_DELIMITERS, key=lambda item: sum(name in found[item][0] for name in FILLED_IN))
    names, row = found[delimiter]
    if not names:
        raise SourceError("the file is empty.", path=path, remedy="Name the sheet that was filled in.")
    return names, row, delimiter


def _first_record(text: str, delimiter: str) -> tuple[list[str], int]:
    try:
        for row, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), start=1):
            if any(cell.strip() for cell in cells):
                return [cell.strip().lower() for cell in cells], row
    except csv.Error:  # of the wrong delimiter; the right one is told from the names
        pass
    return [], 0


def _records(data: bytes, delimiter: str, width: int, path: Path) -> tuple[pa.Table, npt.NDArray[np.int64]]:
    """Cells of all records, the header's too, and their row numbers.

    Records of another width are mended where that is safe: spreadsheets leave out the empty cells at the end of a row,
    or add some.
    """
    odd: list[Any] = []

    def skip(record: Any) -> str:
        odd.append(record)
        return "skip"

    cells = _parse(data, delimiter, width, skip, path)
    odd_rows = np.array([record.number for record in odd], dtype=np.int64)
    rows = np.setdiff1d(np.arange(1, len(cells) + len(odd) + 1), odd_rows)
    if not odd:
        return cells, rows
    mended = "\n".join(_mended(record, delimiter, path) for record in odd)
    cells = pa.concat_tables([cells, _parse(mended.encode(), delimiter, width, None, path)])
    rows = np.concatenate([rows, odd_rows])
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


def _mended(record: Any, delimiter: str, path: Path) -> str:
    """The text of a record with as many cells as the header has."""
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
            remedy=f"Put a text that holds '{delimiter}' into quotes.",
        )
    return str(text[:missing])


def _refuse_swallowed_rows(cells: pa.Table, rows: npt.NDArray[np.int64], delimiter: str, path: Path) -> None:
    """A quote left open hides the rows after it in one cell, so that decisions would be lost unseen."""
    for column in cells.columns:
        broken = pc.match_substring_regex(column, r"[\r\n]")
        bare = pc.subtract(pc.count_substring(column, delimiter), pc.count_substring(column, f"{delimiter} "))
        hiding = pc.and_(broken, pc.greater_equal(bare, cells.num_columns - 1))
        if pc.any(hiding).as_py():
            raise _open_quote(int(rows[pc.index(hiding, True).as_py()]), path)


def _open_quote(row: int, path: Path) -> SourceError:
    return SourceError(
        "a quote opened in this row is not closed, and hides the rows after it.",
        path=path,
        row=row,
        remedy="Close or remove the stray quote character.",
    )
