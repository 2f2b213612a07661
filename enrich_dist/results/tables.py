"""Temporary tables and views of a scoring connection, each under a name that no other one has."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any, NewType

import duckdb
import pyarrow as pa

Table = NewType("Table", str)
"""Name of a table or view on a connection, as the stage that created it returned it."""

_table_numbers = count()


def create_table(
    connection: duckdb.DuckDBPyConnection, stage: str, query: str, parameters: Mapping[str, object] | None = None
) -> Table:
    """Store the result of a query as a temporary table."""
    table = new_name(stage)
    connection.execute(f"create temp table {table} as {query}", dict(parameters or {}))
    return table


def create_view(connection: duckdb.DuckDBPyConnection, stage: str, query: str) -> Table:
    """Name a query; it runs each time the view is read."""
    view = new_name(stage)
    connection.execute(f"create temp view {view} as {query}")
    return view


def store_table(connection: duckdb.DuckDBPyConnection, stage: str, rows: pa.Table) -> Table:
    """Store an Arrow table as a temporary table."""
    connection.register("given_rows", rows)
    table = create_table(connection, stage, "from given_rows")
    connection.unregister("given_rows")
    return table


def fetch_rows(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, object] | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a small result as dictionaries."""
    rows: list[dict[str, Any]] = connection.sql(query, params=dict(parameters or {})).to_arrow_table().to_pylist()
    return rows


def new_name(stage: str) -> Table:
    """Return a name that no other table has, so that a stage reads only what it is given."""
    return Table(f"{stage}_{next(_table_numbers)}")
