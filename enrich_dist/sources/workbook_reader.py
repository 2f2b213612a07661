"""The process that reads a workbook: ``python -m enrich_dist.sources.workbook_reader MAX_CELLS [SHEET]``.

It reads the file from its standard input and writes the cells of each sheet with cells to its standard output as Arrow
streams, the name of the sheet in the schema's metadata. calamine allocates all cells between the first and the last
one and aborts the process without memory, so a small file can end it: hence a process with limits.
"""

from __future__ import annotations

import datetime
import io
import resource
import sys
from collections.abc import Sequence
from typing import Any, Final

import pyarrow as pa

MEMORY_BYTES: Final = 4 << 30
CPU_SECONDS: Final = 300


def main(max_cells: int, member: str | None) -> None:
    """Write the sheets, or the one named ``member``. Raises calamine's errors; ``ValueError`` beyond ``max_cells``."""
    from python_calamine import load_workbook

    with load_workbook(io.BytesIO(sys.stdin.buffer.read())) as workbook:
        for name in workbook.sheet_names:
            if member not in (None, name):
                continue
            sheet = workbook.get_sheet_by_name(name)
            if sheet.end is None:
                continue
            if (sheet.end[0] + 1) * (sheet.end[1] + 1) > max_cells:
                raise ValueError(f"the sheet {name} has more than {max_cells:,} cells")
            write(name, sheet.to_python(skip_empty_area=False))


def write(name: str, rows: Sequence[Sequence[Any]]) -> None:
    """Write a sheet as columns of text."""
    columns = [pa.array(list(map(text, cells)), pa.string()) for cells in zip(*rows, strict=True)]
    table = pa.table(columns, names=[f"c{place}" for place in range(len(columns))])
    table = table.replace_schema_metadata({"sheet": name})
    with pa.ipc.new_stream(sys.stdout.buffer, table.schema) as stream:
        stream.write_table(table)


def text(value: Any) -> str:
    """Return the text of a cell: whole numbers without a decimal point, dates in ISO format."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        return value.date().isoformat()
    return value.isoformat() if isinstance(value, datetime.date | datetime.time) else str(value)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    try:
        main(int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
    except Exception as error:  # noqa: BLE001  # the parent reports it
        sys.exit(f"{error}")
