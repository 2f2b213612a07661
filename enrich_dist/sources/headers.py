"""The column names of a Parquet or CSV file, for commands that choose columns before they read."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from enrich_dist.sources.bytes import require_file
from enrich_dist.sources.delimited import open_delimited
from enrich_dist.sources.recipient_files import reading


def headers_of(path: Path) -> list[str]:
    """Column names in the order of the file.

    Raises ``SourceError`` when it cannot be opened or is neither Parquet nor CSV.
    """
    require_file(path)
    with reading(path), path.open("rb") as handle:
        is_parquet = handle.read(4) == b"PAR1"
    if is_parquet:
        with reading(path):
            return list(pq.read_schema(path).names)
    with open_delimited(path) as file:
        return list(file.header)
