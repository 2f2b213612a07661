"""DuckDB connections with bounded memory and no network access; text that is safe in spreadsheets."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from enrich_dist.errors import EnvironmentFailureError
from enrich_dist.remedies import FREE_SPACE

# Nothing is downloaded at run time: a missing extension is an error.
OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}

# DuckDB's errors of many classes contain the operating system's message.
_NO_PLACE = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)]
_DRIVER_MEMORY_MB = 1_000  # of the driver's own queries before they spill


@contextmanager
def connect(
    database: Path | None = None, *, scratch: Path, memory_mb: int = _DRIVER_MEMORY_MB, threads: int = 2
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB database (in memory without ``database``) that spills to ``scratch`` above ``memory_mb``. Raises
    ``EnvironmentFailureError`` when the body fails because a disk is full or read-only."""
    scratch.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        ":memory:" if database is None else str(database),
        config=OFFLINE | {"memory_limit": f"{memory_mb}MB", "threads": threads, "temp_directory": str(scratch)},
    )
    connection.execute("set enable_progress_bar = false")  # it would be drawn into the terminal
    try:
        yield connection
    except duckdb.Error as error:
        if any(reason in str(error) for reason in _NO_PLACE):
            raise EnvironmentFailureError(str(error).splitlines()[0], remedy=FREE_SPACE) from error
        raise
    finally:
        connection.close()


def evaluate(expression: str, values: pa.Array) -> pa.Array:
    """Evaluate the SQL ``expression`` over the column ``x`` (string): an array of the same length and order."""
    # One thread keeps the order. A connection per call costs milliseconds; a global one is reported as leaked at exit.
    with duckdb.connect(":memory:", config=OFFLINE | {"threads": 1}) as connection:
        connection.register("source", pa.table({"x": values}))
        column = connection.sql(f"SELECT {expression} AS y FROM source").to_arrow_table().column("y").combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column


def spreadsheet_text(text: str) -> str:
    """Return a SQL expression that puts an apostrophe before text that a spreadsheet would take for a formula."""
    return f"case when regexp_matches({text}, '^[=+@\\t\\r-]') then '''' || {text} else {text} end"
