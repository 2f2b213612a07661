"""A table of a dump as a source of recipients, read in place.

``member`` is the table (with or without its schema) or its file; the default is ``recipient_lookup``. Memory does not
depend on the size of the dump. Does not cover dumps with INSERT statements, or text that is not UTF-8.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

from enrich_dist.core.files import stream_digest, text_digest
from enrich_dist.errors import SourceError
from enrich_dist.remedies import NAME_MEMBER
from enrich_dist.sources.columns import resolve_columns
from enrich_dist.sources.pg_dump.archive import SUFFIXES, DumpArchive, find_archive
from enrich_dist.sources.pg_dump.copy_text import CopyText
from enrich_dist.sources.pg_dump.toc import Contents, TableData, TocError, parse_toc
from enrich_dist.sources.protocol import DEFAULT_TABLE, RawBatch, ReadOptions, Source
from enrich_dist.sources.recipient_files import batch_records
from enrich_dist.sources.rejects import single_range
from enrich_dist.sources.source_file import shown_names
from enrich_dist.sources.text_file import estimate_lines

# SQL_ASCII means "unknown" in PostgreSQL: bytes that are not UTF-8 are read as Windows-1252, as in any text file.
_READABLE_ENCODINGS: Final = ("", "UTF8", "SQL_ASCII")


def open_source(location: str | Path, member: str | None) -> DumpSource | None:
    """Return the dump of a location; None for another format."""
    archive = find_archive(location)
    return None if archive is None else DumpSource(archive, member)


class DumpSource(Source):
    """A table of a dump."""

    def __init__(self, archive: DumpArchive, member: str | None) -> None:
        self._archive = archive
        self._member = member
        self.name = PurePosixPath(archive.location).name
        self.where = archive.location

    @cached_property
    def _table(self) -> tuple[TableData, str]:
        """The table, and the name of the file with its rows. Raises ``SourceError``."""
        try:
            contents = parse_toc(self._archive.read_toc())
        except TocError as error:
            remedy = "Dump the database with pg_dump --format=directory, or download the dump again."
            raise self._error(f"its toc.dat cannot be read: {error}.", remedy) from error
        if contents.encoding not in _READABLE_ENCODINGS:
            raise self._error(f"its text is in {contents.encoding}.", "Dump the database with pg_dump --encoding=UTF8.")
        names = set(self._archive.names())
        table = self._choose_table(contents)
        # The table of contents has the name without the suffix of compression.
        file = next((table.file + suffix for suffix in SUFFIXES if table.file + suffix in names), None)
        if file is None:
            remedy = "The dump is incomplete or has no data: download or dump it again."
            raise self._error(f"the file {table.file} with the rows of {table.name} is missing.", remedy)
        return table, file

    def _choose_table(self, contents: Contents) -> TableData:
        wanted = PurePosixPath(self._member or DEFAULT_TABLE).name
        found = [table for table in contents.tables if wanted in _names_of(table)]
        if len(found) == 1:
            return found[0]
        if found:
            shown = shown_names([table.name for table in found])
            raise self._error(f"contains several tables {wanted}: {shown}.", NAME_MEMBER)
        if any(wanted in (name, name.rpartition(".")[2]) for name in contents.without_copy):
            remedy = "Dump it again without --inserts, --column-inserts and --rows-per-insert."
            raise self._error(f"the rows of {wanted} are not COPY text.", remedy)
        shown = shown_names([table.name for table in contents.tables])
        raise self._error(f"contains no table or file {wanted}; it contains {shown}.", NAME_MEMBER)

    def _error(self, problem: str, remedy: str) -> SourceError:
        return SourceError(problem, path=self.where, remedy=remedy)

    def digest(self, options: ReadOptions) -> str:  # noqa: ARG002
        """Return the digest of the table's columns and the bytes of its file, without reading the rest of the dump."""
        table, file = self._table
        with self._archive.open(file) as (handle, _):
            return text_digest("pg_dump", *table.columns, stream_digest(handle))

    def stream(self, options: ReadOptions) -> Generator[RawBatch, None, None]:
        """See ``Source.stream``."""
        table, file = self._table
        path = f"{self.where}, {file}"
        positions = resolve_columns(table.columns, options.column_map, options.layout, path)
        with ExitStack() as opening:
            unpacked, _, _ = opening.enter_context(self._archive.unpacked(file))
            copy = CopyText(unpacked, len(table.columns), positions, path)
            wanted = {canonical: number for number, canonical in enumerate(positions)}
            ranges = single_range(self.name)
            return batch_records(copy, wanted, options.batch_rows, path, ranges, opening.pop_all())

    def headers(self) -> list[str]:
        """Return the columns of the table."""
        return list(self._table[0].columns)

    def row_count(self) -> tuple[int, bool]:
        """Return an estimate from the beginning of the rows."""
        with self._archive.unpacked(self._table[1]) as (text, packed_position, size_bytes):
            return estimate_lines(text, packed_position, size_bytes), False


def _names_of(table: TableData) -> set[str]:
    return {table.table, table.name, *(table.file + suffix for suffix in SUFFIXES)}
