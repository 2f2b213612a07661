"""DuckDB as this project uses it: connections that are bounded, private, and silent on the network; texts that are safe
in a spreadsheet."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from enrich_dist.errors import EnvironmentFailureError
from enrich_dist.remedies import FREE_SPACE

# Nothing is fetched at run time: an extension that is not built in is an error.
OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
}

# DuckDB tells the system's own reason, in errors of many classes.
_NO_PLACE = [os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)]

DRIVER_MEMORY_MB = 1_000
"""What the driver's own queries may hold in memory before they spill."""


@contextmanager
def connect(
    database: Path | None = None, *, memory_mb: int, scratch: Path, threads: int = 2
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a DuckDB database (in memory without ``database``) that spills to ``scratch`` above ``memory_mb``.

    Raises ``EnvironmentFailureError`` when the body could not write for want of space or of the right to.
    """
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
    connection.execute("set enable_progress_bar = false")  # it would be drawn into whatever the terminal shows
    try:
        yield connection
    except duckdb.Error as error:
        if any(reason in str(error) for reason in _NO_PLACE):
            raise EnvironmentFailureError(
                str(error).splitlines()[0],
                remedy=FREE_SPACE,
            ) from error
        raise
    finally:
        connection.close()


def spreadsheet_text(text: str) -> str:
    """SQL expression of a text for a file that people open in a spreadsheet: what that would take for a formula gets an
    apostrophe."""
    return f"case when regexp_matches({text}, '^[=+@\\t\\r-]') then '''' || {text} else {text} end"
