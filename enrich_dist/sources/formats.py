"""The formats of recipient sources. The format of a location is detected by its content, not by its name.

A further format is a module with a subclass of ``Source`` and an entry in ``FORMATS``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from enrich_dist.sources import bulk_download, postgres, recipient_files
from enrich_dist.sources.pg_dump import source as pg_dump
from enrich_dist.sources.protocol import Source

# Each returns the source of a location and a member, or None for another format. It raises ``SourceError`` for a
# damaged source of its format. The first that recognises the location is used; CSV accepts all.
FORMATS: Final = (
    postgres.open_source,
    pg_dump.open_source,
    recipient_files.open_parquet,
    bulk_download.open_source,
    recipient_files.open_csv,
)


def open_source(location: str | Path, member: str | None = None) -> Source:
    """Return the source of a location; ``member``: its table, if it has several. Raises ``SourceError``."""
    return next(source for open_format in FORMATS if (source := open_format(location, member)) is not None)


def read_headers(path: Path) -> list[str]:
    """Return the column names of a Parquet or CSV file in their order. Raises ``SourceError``."""
    return (recipient_files.open_parquet(path) or recipient_files.open_csv(path)).headers()
