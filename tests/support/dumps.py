"""Synthetic PostgreSQL dumps for tests: tables of contents of any archive version, and zips.

``postgres_server`` makes real dumps; these are for other versions and for damage.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

VERSIONS = ((1, 12), (1, 13), (1, 14), (1, 15), (1, 16))


def integer(value: int, size: int = 4) -> bytes:
    """Encode as pg_dump's WriteInt."""
    return bytes([value < 0]) + abs(value).to_bytes(size, "little")


def text(value: str | None, size: int = 4) -> bytes:
    """Encode as pg_dump's WriteStr."""
    if value is None:
        return integer(-1, size)
    data = value.encode()
    return integer(len(data), size) + data


@dataclass(frozen=True)
class Entry:
    """An entry of the table of contents."""

    kind: str
    tag: str
    file: str | None = None
    schema: str | None = "rpt"
    definition: str = ""
    copy: str | None = None


def rows_of(table: str, columns: Sequence[str], file: str, schema: str = "rpt") -> Entry:
    """Return the entry of a table's rows."""
    return Entry("TABLE DATA", table, file, schema, copy=f"COPY {schema}.{table} ({', '.join(columns)}) FROM stdin;\n")


def toc(entries: Sequence[Entry], version: tuple[int, int] = (1, 14), *, size: int = 4, form: int = 3) -> bytes:
    """Return a ``toc.dat`` as written by WriteHead and WriteToc of pg_backup_archiver.c. ``size``: bytes of an int."""
    parts = [b"PGDMP", bytes([*version, 0, size, 8, form])]
    parts.append(bytes([1]) if version >= (1, 15) else integer(-1, size))
    parts += [integer(value, size) for value in (10, 20, 12, 1, 6, 125, 0)]
    parts += [text(value, size) for value in ("data_store_api", "15.1", "15.1")]
    parts.append(integer(len(entries), size))
    for number, entry in enumerate(entries, 1):
        parts += [integer(number, size), integer(1, size), text("1259", size), text(str(1000 + number), size)]
        parts += [text(entry.tag, size), text(entry.kind, size), integer(3, size)]
        parts += [text(entry.definition, size), text("", size), text(entry.copy, size)]
        parts += [text(entry.schema, size), text(None, size)]
        if version >= (1, 14):
            parts.append(text("heap", size))
        if version >= (1, 16):
            parts.append(integer(ord("r"), size))
        parts += [text("owner", size), text("false", size), text("17", size), text(None, size)]
        parts.append(text(entry.file or "", size))
    return b"".join(parts)


def zipped(folder: Path, path: Path, under: str = "pruned_data_store_api_dump/") -> Path:
    """Zip a dump's directory, as USAspending does."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, f"{under}{file.name}")
    return path
