"""Write a table to a file that people open and programs read, in the format that its ending names.

Parquet and JSON lines have all values as they are, and so does XLSX: its cells are text, never formulas. A CSV file
does not say what a cell is, so text gets an apostrophe where a spreadsheet would begin a formula, and escapes for
control characters. Columns that other programs join by (``keys``) are never changed: keys that a spreadsheet would
evaluate are refused in CSV. Equal tables have equal bytes in every format.
"""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from enrich_dist.core.database import evaluate_table
from enrich_dist.core.files import atomic_path
from enrich_dist.core.owned_files import open_new
from enrich_dist.errors import SettingsError
from enrich_dist.plain_text import RISKY_IN_SPREADSHEET, is_formula, spreadsheet_text

FORMATS: Final = (".csv", ".jsonl", ".ndjson", ".parquet", ".pq", ".xlsx")
_NO_FORMULAS: Final = "Choose .xlsx, .parquet or .jsonl: they have every text as it is."
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"  # by which Excel knows UTF-8
_XLSX_ROWS, _XLSX_CHARACTERS = 1_048_575, 32_767  # below the header; of a cell
_XLSX_MAKER: Final = "enrich_dist"


def require_format(path: Path, option: str) -> None:
    """Raise ``SettingsError``, which names ``option``, unless the ending of ``path`` names a format."""
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(
            f"{option}: {path} has none of the endings {', '.join(FORMATS)}.", remedy="Choose one: it is the format."
        )


def write_table(table: pa.Table, out: Path, *, keys: Collection[str] = (), byte_order_mark: bool = False) -> None:
    """Write the table atomically. Raises ``SettingsError`` for what the format cannot hold.

    ``byte_order_mark``: begin a CSV file with it, for a person who opens it in Excel.
    """
    suffix = out.suffix.lower()
    if suffix == ".csv":
        table = spreadsheet_safe(table, out, keys)
    with atomic_path(out.absolute()) as temporary:
        if suffix in (".parquet", ".pq"):
            pq.write_table(table, temporary, compression="zstd")
        elif suffix == ".xlsx":
            _write_xlsx(table, temporary, out)
        else:
            with open_new(temporary) as handle:
                if suffix == ".csv":
                    handle.write(_BYTE_ORDER_MARK if byte_order_mark else b"")
                    pa.csv.write_csv(table, handle)
                else:
                    lines = evaluate_table("to_json(source)::varchar", table).to_pylist()
                    handle.write("".join(f"{line}\n" for line in lines).encode("utf-8"))


def spreadsheet_safe(table: pa.Table, out: Path, keys: Collection[str] = ()) -> pa.Table:
    """Return the table with text that no spreadsheet evaluates; ``keys`` as they are.

    Raises ``SettingsError``, which names ``out``, for keys that a spreadsheet would evaluate.
    """
    for position, name in enumerate(table.column_names):
        values = table.column(position)
        if not pa.types.is_string(values.type):
            continue
        values = values.combine_chunks()
        is_risky = pc.fill_null(pc.match_substring_regex(values, RISKY_IN_SPREADSHEET), False)
        risky = values.filter(is_risky).to_pylist()
        if name in keys:
            if formulas := [text for text in risky if is_formula(text)]:
                raise SettingsError(
                    f"{out}: a spreadsheet would evaluate '{formulas[0]}' in column {name} as a formula, and a CSV "
                    "file cannot prevent it.",
                    remedy=_NO_FORMULAS,
                )
        elif risky:
            safe = pc.replace_with_mask(values, is_risky, pa.array(map(spreadsheet_text, risky), pa.string()))
            table = table.set_column(position, name, safe)
    return table


def is_our_workbook(path: Path) -> bool:
    """Return whether ``write_table`` wrote the XLSX file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return f">{_XLSX_MAKER}<".encode() in archive.read("docProps/core.xml")
    except (OSError, KeyError, zipfile.BadZipFile):
        return False


def _write_xlsx(table: pa.Table, temporary: Path, out: Path) -> None:
    from xlsxwriter import Workbook

    longest = max(
        (pc.max(pc.utf8_length(column)).as_py() or 0 for column in table.columns if pa.types.is_string(column.type)),
        default=0,
    )
    if len(table) > _XLSX_ROWS or longest > _XLSX_CHARACTERS:
        problem = f"{len(table):,} rows" if len(table) > _XLSX_ROWS else f"a text of {longest:,} characters"
        raise SettingsError(f"{out}: a worksheet cannot hold {problem}.", remedy="Choose .parquet, .csv or .jsonl.")
    options = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with open_new(temporary) as handle, Workbook(handle, {**options, "in_memory": True}) as workbook:
        # A fixed date: equal tables have equal bytes.
        workbook.set_properties({"author": _XLSX_MAKER, "created": datetime(2000, 1, 1)})
        sheet = workbook.add_worksheet()
        for position, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
            write: Any = sheet.write_string if pa.types.is_string(column.type) else sheet.write_number
            sheet.write_string(0, position, name)
            for row, value in enumerate(column.to_pylist(), start=1):
                if value is not None:
                    write(row, position, value)
