"""The formats of recipient sources. The format of a location is detected by its content, not by its name.

Covers the choice of the reader. A further format is a module with a subclass of ``Source`` and an entry in ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enrich_dist.errors import SourceError
from enrich_dist.sources import bulk_download, pg_dump, postgres, recipient_files
from enrich_dist.sources.protocol import Source


@dataclass(frozen=True)
class Format:
    """A format of a source.

    ``open``: returns the source of a location and a member, or None for another format; raises ``SourceError`` for a
    damaged source of this format. ``has_members``: whether a source has several tables, of which one can be named.
    """

    name: str
    open: Callable[[str | Path, str | None], Source | None]
    has_members: bool = False


# The first that recognises the location is used; CSV accepts all.
FORMATS: Final = (
    Format("PostgreSQL table", postgres.open_source, has_members=True),
    Format("pg_dump directory", pg_dump.open_source, has_members=True),
    Format("Parquet file", recipient_files.open_parquet),
    Format("bulk download of prime awards", bulk_download.open_source, has_members=True),
    Format("CSV file", recipient_files.open_csv, has_members=True),
)


def open_source(location: str | Path, member: str | None = None) -> Source:
    """Return the source of a location. ``member`` names the table of a source with several.

    Raises ``SourceError`` when the location cannot be read.
    """
    for candidate in FORMATS:
        source = candidate.open(location, member)
        if source is None:
            continue
        if member is not None and not candidate.has_members:
            raise SourceError(
                f"is a {candidate.name}, which has no member '{member}'.",
                path=source.where,
                remedy="Remove inputs.recipients_member.",
            )
        return source
    raise AssertionError("CSV accepts every location")


def read_headers(path: Path) -> list[str]:
    """Return the column names of a Parquet or CSV file in their order. Raises ``SourceError``."""
    return (recipient_files.open_parquet(path) or recipient_files.open_csv(path)).headers()
