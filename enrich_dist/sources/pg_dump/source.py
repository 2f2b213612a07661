"""A table of a dump as a source of recipients: found by the table of contents, read where it lies.

``member`` names the table (with or without its schema) or its file; without one it is ``recipient_lookup``. Memory is
that of a few blocks of text, whatever the size of the dump. Does not cover dumps whose rows are INSERT statements, nor
text in other encodings than UTF-8.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

from enrich_dist.core.files import stream_digest, text_digest
from enrich_dist.errors import SourceError
from enrich_dist.sources.columns import resolve_columns
from enrich_dist.sources.pg_dump.archive import SUFFIXES, DumpArchive, find_archive
from enrich_dist.sources.pg_dump.copy_text import CopyText
from enrich_dist.sources.pg_dump.toc import Contents, TableData, TocError, parse_toc
from enrich_dist.sources.protocol import RawBatch, ReadOptions, Source, whole
from enrich_dist.sources.recipient_files import cut_records
from enrich_dist.sources.source_file import READ_ERRORS, read_error
from enrich_dist.sources.text_file import Utf8Stream, count_packed_lines

DEFAULT_TABLE: Final = "recipient_lookup"
# SQL_ASCII is PostgreSQL's word for "not known": read as any text is, with what is not UTF-8 as Windows-1252.
_READABLE_ENCODINGS: Final = ("", "UTF8", "SQL_ASCII")
_SHOWN_TABLES: Final = 10


def open_source(location: str | Path, member: str | None) -> DumpSource | None:
    """The dump of a location; None where there is none."""
    archive = find_archive(location)
    return None if archive is None else DumpSource(archive, member)


@dataclass(frozen=True)
class _Rows:
    table: TableData
    file: str


class DumpSource(Source):
    """A table of a dump."""

    def __init__(self, archive: DumpArchive, member: str | None) -> None:
        self._archive = archive
        self._member = member
        self.name = archive.name
        self.where = archive.location

    @cached_property
    def _rows(self) -> _Rows:
        """The table, and the file that its rows are in. Raises ``SourceError``."""
        try:
            contents = parse_toc(self._archive.read_toc())
        except TocError as error:
            raise SourceError(
                f"its toc.dat cannot be read: {error}.",
                path=self.where,
                remedy="Dump the database with pg_dump --format=directory, or download the dump again.",
            ) from error
        if contents.encoding not in _READABLE_ENCODINGS:
            raise SourceError(
                f"its text is in {contents.encoding}.",
                path=self.where,
                remedy="Dump the database with pg_dump --encoding=UTF8.",
            )
        names = set(self._archive.names())
        table = self._chosen(contents)
        # The contents name the file without what packing adds to it.
        file = next((table.file + suffix for suffix in SUFFIXES if table.file + suffix in names), None)
        if file is None:
            raise SourceError(
                f"it has no file {table.file} with the rows of {table.name}.",
                path=self.where,
                remedy="The dump is incomplete, or without data: download or make it again.",
            )
        return _Rows(table, file)

    def _chosen(self, contents: Contents) -> TableData:
        wanted = PurePosixPath(self._member or DEFAULT_TABLE).name
        found = [table for table in contents.tables if wanted in _called(table)]
        if len(found) == 1:
            return found[0]
        if found:
            raise SourceError(
                f"it holds several tables {wanted}: {_listed([table.name for table in found])}.",
                path=self.where,
                remedy="Name one with its schema: inputs.recipients_member, or --member.",
            )
        if any(wanted in (name, name.rpartition(".")[2]) for name in contents.without_copy):
            raise SourceError(
                f"the rows of {wanted} are not COPY text.",
                path=self.where,
                remedy="Dump it again without --inserts, --column-inserts and --rows-per-insert.",
            )
        raise SourceError(
            f"it holds no rows of a table or file {wanted}; it holds those of "
            f"{_listed([table.name for table in contents.tables])}.",
            path=self.where,
            remedy="Name the table with its schema, or its file: inputs.recipients_member, or --member.",
        )

    def check(self, reading: ReadOptions) -> None:
        """As ``Source.check``."""
        with closing(self.stream(replace(reading, batch_rows=1))) as batches:
            next(batches)

    def digest(self, reading: ReadOptions) -> str:  # noqa: ARG002
        """Of the table's columns and the bytes of its file, as they lie there: nothing else of the dump is read."""
        rows = self._rows
        try:
            with self._archive.raw(rows.file) as handle:
                return text_digest("pg_dump", *rows.table.columns, stream_digest(handle))
        except READ_ERRORS as error:
            raise read_error(self._called, error) from error

    def stream(self, reading: ReadOptions) -> Generator[RawBatch, None, None]:
        """As ``Source.stream``."""
        rows = self._rows
        positions = resolve_columns(rows.table.columns, reading.column_map, reading.layout, self._called)
        with ExitStack() as opening:
            try:
                unpacked, _, _ = opening.enter_context(self._archive.unpacked(rows.file))
                text = Utf8Stream(unpacked, self._called)
            except READ_ERRORS as error:
                raise read_error(self._called, error) from error
            copy = CopyText(text, len(rows.table.columns), positions, self._called)
            wanted = {canonical: number for number, canonical in enumerate(positions)}
            return cut_records(copy, wanted, reading.batch_rows, self._called, whole(self.name), opening.pop_all())

    def row_count(self) -> tuple[int, bool]:
        """An estimate from the beginning of the rows."""
        with self._archive.unpacked(self._rows.file) as (text, packed_read, size_bytes):
            try:
                return count_packed_lines(text, packed_read, size_bytes), False
            except READ_ERRORS as error:
                raise read_error(self._called, error) from error

    @property
    def _called(self) -> str:
        return f"{self.where}, {self._rows.file}"


def _called(table: TableData) -> set[str]:
    """By what a table may be named."""
    return {table.table, table.name, *(table.file + suffix for suffix in SUFFIXES)}


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN_TABLES]) or "no table"
    return f"{shown} and {len(names) - _SHOWN_TABLES} more" if len(names) > _SHOWN_TABLES else shown
