"""The table of contents of a dump (``toc.dat``): which table's rows are in which file.

Covers archive versions 1.12 to 1.16 of PostgreSQL 9.0 to 18, as read by ``ReadHead`` and ``ReadToc`` of PostgreSQL's
pg_backup_archiver.c. Every length is compared with the remaining bytes. Does not cover the custom format.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_MAGIC: Final = b"PGDMP"
_FIRST_VERSION: Final = (1, 12)
_LAST_VERSION: Final = (1, 16)
_TABLE_ACCESS_METHOD: Final = (1, 14)
_COMPRESSION_ALGORITHM: Final = (1, 15)
_RELATION_KIND: Final = (1, 16)
# A directory's table of contents says "tar" (3): both formats have the same.
_FORMATS: Final = {1: "custom", 3: "directory", 4: "plain", 5: "directory"}
_MAX_INT_BYTES: Final = 8
_TIME_FIELDS: Final = 7  # seconds to daylight saving
_ENCODING: Final = re.compile(r"SET client_encoding = '([^']*)'")
_TABLE: Final = r'(?:"(?:[^"]|"")*"|[^\s".(]+)'
_COPY: Final = re.compile(
    rf"COPY\s+(?:{_TABLE}\.)?{_TABLE}\s+\((?P<columns>.*)\)\s+FROM\s+stdin", re.DOTALL | re.IGNORECASE
)
_NAME: Final = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",\s]+))\s*(,|$)')


class TocError(Exception):
    """The bytes are not a supported table of contents."""


@dataclass(frozen=True)
class TableData:
    """The rows of a table: ``columns`` in the order of the file; ``file`` without the suffix of compression."""

    schema: str
    table: str
    columns: tuple[str, ...]
    file: str

    @property
    def name(self) -> str:
        """The table with its schema."""
        return f"{self.schema}.{self.table}" if self.schema else self.table


@dataclass(frozen=True)
class Contents:
    """The tables of a dump; ``without_copy``: those whose rows are not COPY text. ``encoding``: PostgreSQL's name of
    the text encoding; empty if it is unknown."""

    tables: tuple[TableData, ...]
    without_copy: tuple[str, ...]
    encoding: str


def parse_toc(data: bytes) -> Contents:
    """Return the tables of a dump. Raises ``TocError`` for damaged, hostile or unsupported bytes."""
    reader = _Reader(data)
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise TocError("it was not written by pg_dump")
    version = (reader.byte(), reader.byte())
    reader.byte()  # revision
    if not _FIRST_VERSION <= version <= _LAST_VERSION:
        raise TocError(f"its version is {version[0]}.{version[1]}; supported are 1.12 to 1.16")
    reader.int_bytes = reader.byte()
    if not 1 <= reader.int_bytes <= _MAX_INT_BYTES:
        raise TocError(f"its integers have {reader.int_bytes} bytes")
    reader.byte()  # bytes of an offset
    format_number = reader.byte()
    if _FORMATS.get(format_number) != "directory":
        raise TocError(f"its format is '{_FORMATS.get(format_number, format_number)}', not directory")
    if version >= _COMPRESSION_ALGORITHM:
        reader.byte()
    else:
        reader.integer()  # level of compression
    for _ in range(_TIME_FIELDS):
        reader.integer()
    for _ in ("database", "version of the server", "version of pg_dump"):
        reader.text()
    return _entries(reader, version)


def _entries(reader: _Reader, version: tuple[int, int]) -> Contents:
    tables, without_copy, encoding = [], [], ""
    count = reader.integer()
    if count < 0:
        raise TocError(f"it has {count} entries")
    for _ in range(count):
        if reader.integer() <= 0:
            raise TocError("an entry has no number")
        reader.integer()  # whether it has rows
        reader.text()  # object identifiers of catalogue and object
        reader.text()
        tag, kind = reader.text() or "", reader.text() or ""
        reader.integer()  # section
        definition = reader.text() or ""
        reader.text()  # statement to drop it
        copy = reader.text()
        schema = reader.text() or ""
        reader.text()  # tablespace
        if version >= _TABLE_ACCESS_METHOD:
            reader.text()
        if version >= _RELATION_KIND:
            reader.integer()
        reader.text()  # owner
        reader.text()  # whether rows have object identifiers
        while reader.text() is not None:
            pass  # what it depends on
        file = reader.text()
        if kind == "ENCODING" and (found := _ENCODING.search(definition)):
            encoding = found[1]
        if kind == "TABLE DATA" and file:
            columns = copied_columns(copy or "")
            if columns is None:
                without_copy.append(f"{schema}.{tag}" if schema else tag)
            else:
                tables.append(TableData(schema, tag, columns, file))
    return Contents(tuple(tables), tuple(without_copy), encoding)


def copied_columns(statement: str) -> tuple[str, ...] | None:
    """Return the columns of a ``COPY … FROM stdin`` statement; None for another statement."""
    found = _COPY.match(statement.strip())
    if found is None:
        return None
    text, columns, position = found["columns"], [], 0
    while position < len(text):
        name = _NAME.match(text, position)
        if name is None:
            return None
        columns.append(name[1].replace('""', '"') if name[1] is not None else name[2])
        position = name.end()
    return tuple(columns) or None


class _Reader:
    """Reads the fields of the table of contents in order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self.int_bytes = 4

    def take(self, count: int) -> bytes:
        taken = self._data[self._position : self._position + count]
        if len(taken) < count:
            raise TocError("it is truncated")
        self._position += count
        return taken

    def byte(self) -> int:
        return self.take(1)[0]

    def integer(self) -> int:
        """A sign byte, then the number in little-endian order."""
        sign = self.byte()
        if sign > 1:
            raise TocError("a number has no sign")
        value = int.from_bytes(self.take(self.int_bytes), "little")
        return -value if sign else value

    def text(self) -> str | None:
        """A length, then the bytes; None for a negative length."""
        length = self.integer()
        return None if length < 0 else self.take(length).decode("utf-8", errors="replace")
