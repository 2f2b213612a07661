"""The column names of a Parquet or CSV file, for commands that choose columns before they read."""

from __future__ import annotations

from pathlib import Path

from enrich_dist.sources.recipient_files import open_csv, open_parquet


def headers_of(path: Path) -> list[str]:
    """Column names in the order of the file.

    Raises ``SourceError`` when it cannot be opened or is neither Parquet nor CSV.
    """
    return (open_parquet(path) or open_csv(path)).headers()
