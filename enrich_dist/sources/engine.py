"""A private DuckDB for the few things Arrow has no function for: digests, JSON and text that holds a list.

Covers one expression over one text column. Never touches the network: extensions are neither installed nor
loaded.
"""

from __future__ import annotations

from typing import Final

import duckdb
import pyarrow as pa

from enrich_dist.core.database import OFFLINE

_CONFIG: Final = OFFLINE | {"threads": 1}  # one thread keeps the order of rows and leaves the machine to the caller


def evaluate(expression: str, values: pa.Array) -> pa.Array:
    """The SQL ``expression`` over the column ``x`` (string): an array as long as ``values``, in its order."""
    # A connection per call, a matter of milliseconds: one kept for ever is reported as leaked when Python ends.
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        connection.register("source", pa.table({"x": values}))
        column = connection.sql(f"SELECT {expression} AS y FROM source").to_arrow_table().column("y").combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
