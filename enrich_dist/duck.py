"""DuckDB connections as this project opens them: bounded, private, and silent on the network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

# Nothing is fetched at run time: an extension that is not built in is an error.
OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}

DRIVER_MEMORY_MB = 1_000
"""What the driver's own queries may hold in memory before they spill."""


@contextmanager
def connect(
    database: Path | None = None, *, memory_mb: int, scratch: Path, threads: int = 2
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB database (in memory without ``database``) that spills to ``scratch`` above ``memory_mb``."""
    scratch.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        ":memory:" if database is None else str(database),
        config={
            **OFFLINE,
            "memory_limit": f"{memory_mb}MB",
            "threads": threads,
            "temp_directory": str(scratch),
        },
    )
    try:
        yield connection
    finally:
        connection.close()
