"""Digests of published files, for comparison."""

from __future__ import annotations

from pathlib import Path

import duckdb

from enrich_dist.core.files import file_digest
from enrich_dist.store.run_directory import CURRENT

DATABASE = "enrich_dist.duckdb"


def published_bytes(work_dir: Path) -> dict[str, str]:
    """Return digests by file name: of the bytes, or of the rows for the database.

    The manifest is excluded, because it contains the digest of the database file.
    """
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
