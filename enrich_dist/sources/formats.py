"""The formats of recipient sources. The format of a location is detected by its content, not by its name.

A further format is a module with a subclass of ``Source`` and an entry in ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from enrich_dist.core.owned_files import begins_with
from enrich_dist.core.table_files import is_our_workbook
from enrich_dist.errors import SourceError
from enrich_dist.sources import bulk_download, parquet, postgres, recipient_files
from enrich_dist.sources.concatenated import ConcatenatedSources, MappedSource
from enrich_dist.sources.part_files import PartFiles
from enrich_dist.sources.pg_dump import source as pg_dump
from enrich_dist.sources.protocol import Source
from enrich_dist.sources.source_file import SourceFile

# Each returns the source of a location and a member, or None for another format. It raises ``SourceError`` for a
# damaged source of its format. The first that recognises the location is used; CSV accepts all.
DATABASES: Final = (postgres.open_source, pg_dump.open_source)
FORMATS: Final = (
    parquet.open_parquet,
    bulk_download.open_source,
    recipient_files.open_csv,
)


def open_source(location: str | Path, member: str | None = None) -> Source:
    """Return the source of a location; ``member``: its table, if it has several. A folder or a pattern is the
    concatenation of its files. Raises ``SourceError``."""
    for open_format in DATABASES:
        if (source := open_format(location, member)) is not None:
            return source
    files = PartFiles(location).files
    sources = [_open_file(file, member) for file in files]
    return sources[0] if len(sources) == 1 else ConcatenatedSources([MappedSource(source, {}) for source in sources])


def _open_file(file: SourceFile, member: str | None) -> Source:
    return next(source for open_format in FORMATS if (source := open_format(file, member)) is not None)


def read_headers(path: Path, mapped: Iterable[str | None] = ()) -> list[str]:
    """Return the column names of a file, or of the first of a folder or pattern; ``mapped``: some of them. Raises
    ``SourceError``."""
    file = PartFiles(path).files[0]
    stored = parquet.open_parquet(file)
    return recipient_files.open_csv(file).headers(mapped) if stored is None else stored.headers()


def has_columns(*names: str) -> Callable[[Path], bool]:
    """Return a test whether a file is a table with these columns, as only one of our outputs has."""

    def test(path: Path) -> bool:
        if is_our_workbook(path) or begins_with(f'{{"{names[0]}":')(path):  # JSON lines
            return True
        try:
            return {*names} <= {*read_headers(path)}
        except SourceError:
            return False

    return test
