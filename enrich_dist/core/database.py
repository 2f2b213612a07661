"""DuckDB connections with bounded memory and no network access; paths as DuckDB takes them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
import pyarrow as pa

from enrich_dist.core.owned_files import copy_new
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
    try:
        with _address(database) as address, TemporaryDirectory(prefix="duckdb-", dir=scratch.absolute()) as private:
            own = {"memory_limit": f"{memory_mb}MB", "threads": str(threads), "temp_directory": private}
            with duckdb.connect(address, config={**OFFLINE, **own}) as connection:
                connection.execute("set enable_progress_bar = false")  # it would be drawn into the terminal
                yield connection
    except duckdb.Error as error:
        if any(reason in str(error) for reason in _NO_PLACE):
            raise EnvironmentFailureError(str(error).splitlines()[0], remedy=FREE_SPACE) from error
        raise


def execute_on_batches(
    connection: duckdb.DuckDBPyConnection, sql: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
) -> None:
    """Execute ``sql``, which reads the table ``staged`` of ``batches`` once.

    An exception of the batches is raised as it is, where DuckDB would raise its own.
    """
    failures: list[Exception] = []

    def observed() -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        except Exception as error:
            failures.append(error)
            raise

    connection.register("staged", pa.RecordBatchReader.from_batches(schema, observed()))
    try:
        connection.execute(sql)
    except duckdb.Error:
        if failures:
            raise failures[0] from None
        raise
    connection.unregister("staged")


@contextmanager
def _address(database: Path | None) -> Iterator[str]:
    """Yield the address of a new database, and of an absolute path: ``sqlite:x`` or ``~`` would have a meaning."""
    if database is None:
        yield ":memory:"
    elif "?" not in str(database.absolute()):
        yield str(database.absolute())
    else:  # DuckDB puts the suffix of its log before a question mark, also behind a symbolic link
        with TemporaryDirectory() as folder:
            yield str(Path(folder, database.name))
            copy_new(Path(folder, database.name), database)


def attach_sql(database: Path, name: str) -> str:
    """Return the SQL statement that attaches a database read-only."""
    return f"attach {_literal(str(database.absolute()))} as {name} (read_only)"


def parquet_sql(*paths: Path) -> str:
    """Return the SQL expression that reads these Parquet files: a name is no pattern, a directory no partition."""
    files = ", ".join(_literal(re.sub(r"[*?[]", r"[\g<0>]", str(path.absolute()))) for path in paths)
    return f"read_parquet([{files}], hive_partitioning = false)"


def read_parquet(connection: duckdb.DuckDBPyConnection, paths: Iterable[Path]) -> duckdb.DuckDBPyRelation:
    """Return the rows of these Parquet files, see ``parquet_sql``."""
    return connection.sql(f"from {parquet_sql(*paths)}")


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def scratch_of(connection: duckdb.DuckDBPyConnection) -> Path:
    """Return the connection's own directory of temporary files, which ``connect`` removes with it."""
    row = connection.execute("select current_setting('temp_directory')").fetchall()
    return Path(row[0][0])


def evaluate(expression: str, values: pa.Array) -> pa.Array:
    """Evaluate the SQL ``expression`` over the column ``x`` (string): an array of the same length and order."""
    return evaluate_table(expression, pa.table({"x": values}))


def evaluate_table(expression: str, table: pa.Table) -> pa.Array:
    """Evaluate the SQL ``expression`` over the rows of ``source``, which is the table, as ``evaluate`` does."""
    # One thread keeps the order. A connection per call costs milliseconds; a global one is reported as leaked at exit.
    with duckdb.connect(":memory:", config=OFFLINE | {"threads": 1}) as connection:
        connection.register("source", table)
        column = connection.sql(f"SELECT {expression} AS y FROM source").to_arrow_table().column("y").combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
