"""How many rows a recipient file has, without reading it: told by Parquet, estimated for CSV."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from enrich_dist.sources.recipient_files import reading

_PARQUET_MAGIC: Final = b"PAR1"
_GZIP_MAGIC: Final = b"\x1f\x8b"
_SAMPLE_BYTES: Final = 16 << 20


def row_count(path: Path) -> tuple[int, bool]:
    """(rows, whether that is exact). An estimate takes every line for a row.

    Raises ``SourceError`` when the file is damaged.
    """
    with reading(path):
        with path.open("rb") as handle:
            magic = handle.read(4)
        if magic == _PARQUET_MAGIC:
            return int(pq.read_metadata(path).num_rows), True
        lines, share = _sample(path, magic)
        return round(lines / share), False


def _sample(path: Path, magic: bytes) -> tuple[int, float]:
    """(lines at the beginning, the share of the file that these are)."""
    size = path.stat().st_size
    if magic.startswith(b"PK"):
        with zipfile.ZipFile(path) as archive:
            member = max(archive.infolist(), key=lambda info: info.file_size)
            with archive.open(member) as text:
                data = text.read(_SAMPLE_BYTES)
            return _lines(data), len(data) / max(1, member.file_size)
    with path.open("rb") as handle:
        if magic.startswith(_GZIP_MAGIC):
            with gzip.GzipFile(fileobj=handle) as text:
                data = text.read(_SAMPLE_BYTES)
                ended = not text.read(1)
            return _lines(data), 1.0 if ended else handle.tell() / size
        data = handle.read(_SAMPLE_BYTES)
        return _lines(data), len(data) / max(1, size)


def _lines(data: bytes) -> int:
    return data.count(b"\n") + (not data.endswith(b"\n"))
