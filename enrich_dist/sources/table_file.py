"""A file with rows of text cells, opened by its content: delimited text, JSON, a workbook, a SAM extract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from enrich_dist.sources.delimited import DelimitedFile, Records
from enrich_dist.sources.json_rows import JsonRows, is_json
from enrich_dist.sources.sam_extract import SamExtract, is_sam_extract
from enrich_dist.sources.source_file import SourceFile, as_file
from enrich_dist.sources.text_file import count_lines, open_utf8
from enrich_dist.sources.workbook import WorkbookSheet, is_workbook


@contextmanager
def open_table(
    path: Path | SourceFile, member: str | None = None, column_map: Mapping[str, str | None] | None = None
) -> Iterator[Records]:
    """Open a file and read its header. ``member``: its name in a zip, or a sheet of a workbook. ``column_map``
    names headers of the file. Raises ``SourceError`` when it has no rows of cells."""
    file = as_file(path)
    file.require()
    mapped = {header for header in (column_map or {}).values() if header is not None}
    if is_workbook(file):
        yield WorkbookSheet(file, member, mapped)
        return
    with open_utf8(file, member) as stream:
        if is_sam_extract(stream):
            yield SamExtract(stream, file)
        elif is_json(stream):
            yield JsonRows(stream, file)
        else:
            yield DelimitedFile(stream, file, mapped)


def count_rows(file: SourceFile, member: str | None) -> tuple[int, bool]:
    """Return the number of rows, and whether it is exact; else it is that of the lines. Raises ``SourceError``."""
    with open_table(file, member) as table:
        if table.is_in_memory:
            return sum(len(block.source_rows) for block in table.blocks()), True
    return count_lines(file), False
