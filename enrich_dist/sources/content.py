"""What a file is that holds no delimited text, by its first bytes: a web page, another format, a pointer to a file.

Covers formats that are met in place of a table. Does not read any of them.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

import numpy as np

from enrich_dist.errors import SourceError

HEAD_BYTES: Final = 4096  # that ``refuse_unreadable`` needs
_SHOWN: Final = 80  # characters of a title
_MAX_BINARY: Final = 0.3  # share of control characters in text
_MAX_BINARY_WITH_ZERO: Final = 0.05

_UNPACK: Final = "Unpack it and name the file in it."
_EXPORT: Final = "Export the table as CSV or Parquet."
# First bytes: what the file is, and what helps.
_MAGICS: Final = {
    b"PAR1": ("a Parquet file where CSV is expected", "Name the CSV file instead."),
    b"%PDF-": ("a PDF document", "Get the table itself as CSV: a PDF has no cells."),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", _UNPACK),
    b"Rar!\x1a\x07": ("a RAR archive", _UNPACK),
    b"\x1f\x9d": ("a file of compress (.Z)", _UNPACK),
    b"LZIP": ("an lzip file", _UNPACK),
    b"\xff\x06\x00\x00sNaPpY": ("a Snappy stream", _UNPACK),
    b"PK\x03\x04": ("a ZIP archive within an archive", _UNPACK),
    b"\x1f\x8b": ("compressed twice", _UNPACK),
    b"BZh": ("compressed twice", _UNPACK),
    b"\xfd7zXZ\x00": ("compressed twice", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed twice", _UNPACK),
    b"\xd0\xcf\x11\xe0": ("an Office document (OLE)", "Save the table as CSV."),
    b"SQLite format 3\x00": ("a SQLite database", _EXPORT),
    b"PGDMP": ("a PostgreSQL dump in the custom format", "Dump it with pg_dump --format=directory."),
    b"ARROW1": ("an Arrow file", _EXPORT),
    b"FEA1": ("a Feather file", _EXPORT),
    b"ORC": ("an ORC file", _EXPORT),
    b"Obj\x01": ("an Avro file", _EXPORT),
    b"\x89HDF": ("an HDF5 file", _EXPORT),
    b"{\\rtf": ("an RTF document", _EXPORT),
    b"\x89PNG": ("an image", "Get the table itself as CSV."),
    b"\xff\xd8\xff": ("an image", "Get the table itself as CSV."),
    b"-----BEGIN PGP": ("encrypted", "Decrypt it first."),
}
_ALSO_TEXT: Final = (b"LZIP", b"BZh", b"PGDMP", b"ARROW1", b"FEA1", b"ORC")  # may begin a header: ORCID
_TAR: Final = b"ustar"
_LFS: Final = b"version https://git-lfs.github.com/spec/"
_ANNEX: Final = re.compile(rb"(\.\./)*\.git/annex/objects/|/annex/objects/")
_HTML: Final = re.compile(rb"(<!--.*?-->\s*|<\?xml.*?\?>\s*)*<(!doctype\s+html|html|head|body)\b", re.I | re.S)
_TITLE: Final = re.compile(rb"<title[^>]*>(.*?)(</title|\Z)", re.I | re.S)
_XML: Final = re.compile(rb"<\?xml\b|<[A-Za-z_][\w:.-]*\s+xmlns\b")
_ROOT: Final = re.compile(rb"<([A-Za-z_][\w:.-]*)")
_SQL: Final = re.compile(
    rb"(--[^\n]*\n\s*|/\*.*?\*/;?\s*)*"
    rb"(-- (PostgreSQL|MySQL|MariaDB)|create\s+(or|temp|temporary|unlogged|table|database|schema)\b|insert\s+into\b"
    rb"|drop\s+(table|database|schema)\b|copy\s+[^\n]+\bfrom\s+stdin|(begin|begin\s+transaction|start\s+transaction)\s*;\s*\n"
    rb"|pragma\s+\w+|set\s+[\w.@]+\s*(=|to)|select\s+pg_catalog)",
    re.I | re.S,
)


def refuse_unreadable(head: bytes, path: object) -> None:
    """Raise ``SourceError`` where a file that begins with ``head`` is no text with rows: what it is, and what helps."""
    found = _identify(head)
    if found is not None:
        raise SourceError(f"is {found[0]}.", path=path, remedy=found[1])


def _identify(head: bytes) -> tuple[str, str] | None:
    for magic, found in _MAGICS.items():
        if head.startswith(magic) and (0 in head or magic not in _ALSO_TEXT):
            return found
    if head[257:262] == _TAR and 0 in head:
        return "a tar archive", "Unpack it (tar -xf) and name the file in it."
    if head[8:12] == b"DUCK" and 0 in head:
        return "a DuckDB database", _EXPORT
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith(_LFS):
        oid = next((line for line in text.splitlines() if line.startswith(b"oid ")), b"")
        return f"a Git LFS pointer ({shown(oid)}), not the file itself", "Fetch the file: git lfs pull."
    if _ANNEX.match(text):
        return "a git-annex pointer, not the file itself", "Fetch the file: git annex get."
    if _HTML.match(text):
        title = _TITLE.search(text)
        named = f" with the title '{shown(title[1])}'" if title else ""
        return f"a web page{named}", "Download the file again: a page was sent in its place."
    if _XML.match(text):
        root = _ROOT.search(text)
        return f"an XML document{f' of {shown(root[1])}' if root else ''}", _EXPORT
    if _SQL.match(text):
        remedy = "Load it into a database and export the table as CSV or Parquet, or use pg_dump --format=directory."
        return "SQL text", remedy
    return _binary(head)


def _binary(head: bytes) -> tuple[str, str] | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        return None
    data = np.frombuffer(head, np.uint8)
    # Characters of ASCII have a zero byte in one half of UTF-16.
    if max(np.count_nonzero(data[half::2] == 0) for half in (0, 1)) > _MAX_BINARY * len(data) / 2:
        return "text in UTF-16 without a byte order mark, or binary", "Save it as CSV in UTF-8."
    controls = (data < 9) | ((data > 13) & (data < 32)) | (data == 127)
    share = np.count_nonzero(controls) / max(1, len(data))
    is_binary = share > (_MAX_BINARY_WITH_ZERO if 0 in data else _MAX_BINARY)
    return ("binary data, not text", _EXPORT) if is_binary else None


def shown(text: bytes) -> str:
    """Return bytes of a file for a message: one line of printable characters, truncated."""
    line = " ".join(text.decode("utf-8", "replace").split())[:_SHOWN]
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in line)
