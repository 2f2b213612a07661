"""The kinds of source, told apart by what they are and not by name: each is a module and a row in ``KINDS``.

Covers the choice of the reader for a location. Does not read a row.
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
class Kind:
    """A kind of source.

    ``open``: the source of a location and a member, or None where the location is of another kind. Raises
    ``SourceError`` where it is of this kind and cannot be used. ``takes_member``: whether it holds several tables, of
    which one can be named.
    """

    name: str
    open: Callable[[str | Path, str | None], Source | None]
    takes_member: bool = False


# In this order: a kind that takes what is left comes last.
KINDS: Final = (
    Kind("PostgreSQL table", postgres.open_source, takes_member=True),
    Kind("pg_dump directory", pg_dump.open_source, takes_member=True),
    Kind("Parquet file", recipient_files.open_parquet),
    Kind("bulk download of prime awards", bulk_download.open_source, takes_member=True),
    Kind("CSV file", recipient_files.open_csv, takes_member=True),
)


def open_source(location: str | Path, member: str | None = None) -> Source:
    """The source of a location. ``member``: which table, where it holds several.

    Raises ``SourceError`` where nothing can be read there.
    """
    for kind in KINDS:
        source = kind.open(location, member)
        if source is None:
            continue
        if member is not None and not kind.takes_member:
            raise SourceError(
                f"is a {kind.name}, which has no member '{member}'.",
                path=source.where,
                remedy="Leave inputs.recipients_member out.",
            )
        return source
    raise AssertionError("the last kind takes what is left")
