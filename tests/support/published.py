"""Reads what a run published, for comparison."""

from __future__ import annotations

from pathlib import Path

import duckdb

from enrich_dist.core.files import file_digest
from enrich_dist.results.publish import CURRENT

DATABASE = "enrich_dist.duckdb"


def published_bytes(work_dir: Path) -> dict[str, str]:
    """Digest by file name: of the bytes, for the database of its tables' rows. The manifest names the files' own
    digests, the database's among them, and is left out."""
    current = work_dir / "published" / CURRENT
    digests = {
        path.name: file_digest(path)
        for path in sorted(current.iterdir())
        if path.name not in {DATABASE, "manifest.json"}
    }
    with duckdb.connect(str(current / DATABASE), read_only=True) as connection:
        names = [name for (name,) in connection.execute("select table_name from duckdb_tables() order by 1").fetchall()]
        for name in names:
            rows = connection.execute(f"select t::varchar from {name} t order by 1").fetchall()
            digests[f"{DATABASE}:{name}"] = str(hash(tuple(rows)))
    return digests
