"""A sheet of a workbook (.xlsx, .xlsm, .xlsb, .xls, .ods) as rows of text cells.

The whole workbook is read in memory, by a process with limits (``workbook_reader``). Cells are values, not formulas:
whole numbers have no decimal point, dates are ISO. Does not cover encrypted workbooks.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Collection, Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.errors import SourceError
from enrich_dist.remedies import NAME_MEMBER
from enrich_dist.sources.columns import known_headers, plain_header
from enrich_dist.sources.delimited import Block, Records
from enrich_dist.sources.header import REPEATED, best_header, has_header, repeats_header
from enrich_dist.sources.source_file import SourceFile, reading, shown_names
from enrich_dist.sources.string_bytes import TEXT_NULL
from enrich_dist.sources.text_file import ZIP_MAGICS

_MAX_FILE_BYTES: Final = 50_000_000
_MAX_UNPACKED_BYTES: Final = 500_000_000
_MAX_CELLS: Final = 20_000_000
_BLOCK_ROWS: Final = 20_000
_TOP_ROWS: Final = 100  # with the header
_SECONDS: Final = 600
_OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0"
_PARTS: Final = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")  # of Excel's and OpenDocument's archives
_AS_CSV: Final = "Save the sheet as CSV."


def is_workbook(file: SourceFile) -> bool:
    """Return whether a file is a workbook, by its content. Raises ``SourceError`` for a damaged archive."""
    with reading(file), file.open() as handle:
        magic = handle.read(4)
        if magic not in ZIP_MAGICS:
            return magic == _OLE_MAGIC
        handle.seek(0)
        with zipfile.ZipFile(handle) as archive:
            return not {*_PARTS}.isdisjoint(archive.namelist())


class WorkbookSheet(Records):
    """The sheet ``member``, or the only one with a table. Rows are counted as the spreadsheet program does."""

    is_in_memory = True

    def __init__(self, file: SourceFile, member: str | None, mapped: Collection[str] = ()) -> None:
        super().__init__(file)
        expected = known_headers() | {plain_header(header) for header in mapped}
        self._columns = _only_table(_read_sheets(file, member), expected, file).columns
        found = best_header(_top(self._columns), expected, file)
        self.header, self.header_row = found.names, found.row

    def blocks(self) -> Iterator[Block]:
        """Yield the rows after the header, in order."""
        for start in range(self.header_row, len(self._columns[0]), _BLOCK_ROWS):
            cells = [column.slice(start, _BLOCK_ROWS).combine_chunks() for column in self._columns]
            rows = np.arange(start + 1, start + len(cells[0]) + 1, dtype=np.int64)
            repeated = pa.array(repeats_header(cells, self.header, rows, self._path))
            yield Block(cells, rows, pc.if_else(repeated, REPEATED, TEXT_NULL))


def _read_sheets(file: SourceFile, member: str | None) -> dict[str, pa.Table]:
    """Return the sheets with cells, or the one named ``member``. Raises ``SourceError``."""
    content = _read_small(file)
    command = [sys.executable, "-m", f"{__package__}.workbook_reader", str(_MAX_CELLS), *([member] if member else [])]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise SourceError(f"was not read in {_SECONDS} s.", path=file, remedy=_AS_CSV) from error
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() if done.returncode == 1 else []
        reason = lines[-1] if lines else "the process that reads it ran out of memory or time"
        problem = f"cannot be read as a workbook ({reason}): it is damaged, encrypted, too large or another document."
        raise SourceError(problem, path=file, remedy=_AS_CSV)
    sheets, source = {}, pa.BufferReader(done.stdout)
    while source.tell() < source.size():
        table = pa.ipc.open_stream(source).read_all()
        sheets[table.schema.metadata[b"sheet"].decode()] = table
    if member is not None and not sheets:
        raise SourceError(f"has no sheet '{member}' with cells.", path=file, remedy=NAME_MEMBER)
    return sheets


def _read_small(file: SourceFile) -> bytes:
    if file.size_bytes() > _MAX_FILE_BYTES:
        problem = f"is a workbook of more than {_MAX_FILE_BYTES / 1e6:,.0f} MB."
        raise SourceError(problem, path=file, remedy=_AS_CSV)
    with reading(file), file.open() as handle:
        if handle.read(4) in ZIP_MAGICS:
            with zipfile.ZipFile(handle) as archive:
                if sum(info.file_size for info in archive.infolist()) > _MAX_UNPACKED_BYTES:
                    problem = f"is a workbook that unpacks to more than {_MAX_UNPACKED_BYTES / 1e6:,.0f} MB."
                    raise SourceError(problem, path=file, remedy=_AS_CSV)
        handle.seek(0)
        return handle.read()


def _only_table(sheets: dict[str, pa.Table], expected: Collection[str], file: SourceFile) -> pa.Table:
    """Return the only sheet, or the only one of them with known column names."""
    named = {name: sheet for name, sheet in sheets.items() if has_header(_top(sheet.columns), expected)}
    chosen = named if len(named) == 1 else sheets
    if len(chosen) != 1:
        problem = f"has {len(sheets)} sheets with tables: {shown_names(list(sheets))}." if sheets else "has no cells."
        raise SourceError(problem, path=file, remedy=f"{NAME_MEMBER} Or save the sheet as CSV.")
    return next(iter(chosen.values()))


def _top(columns: list[pa.ChunkedArray]) -> list[tuple[str, ...]]:
    return list(zip(*(column.slice(0, _TOP_ROWS).to_pylist() for column in columns), strict=True))
