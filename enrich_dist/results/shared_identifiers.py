"""Identifiers that unlike recipients share: they are no evidence of any pair.

A pair of one chunk cannot know the recipients of another one, so this acts on the candidates of all chunks. Every
recipient with an identifier of a company is its candidate, so the candidates have all holders. Does not cover what
unlike organisations are (``sources.shared_identifiers``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.matching.arrays import as_array
from enrich_dist.matching.keys import text_keys
from enrich_dist.schema import Agreement
from enrich_dist.sources.shared_identifiers import KINDS, find_shared

Ints = npt.NDArray[np.int64]

TABLE = "shared_by_recipients"
"""Table of a connection with the shared identifiers (``schema.SHARED_IDENTIFIER``)."""
IDENTIFIED_COLUMNS = ("company_id", "source_row", "name_key", "uei_key", "duns_key")
_HOLDER_COLUMNS = ("source_row", "name", "uei", "duns", "address_line_1", "city")
IDENTIFIED_SQL = " or ".join(f"{kind}_agreement = {Agreement.AGREE}" for kind in KINDS)
"""SQL expression (BOOLEAN): whether a candidate agrees on an identifier."""


def candidates_sql(connection: duckdb.DuckDBPyConnection, source: str) -> str:
    """Return the query of the candidates of ``source`` (SQL), in which shared identifiers agree with none."""

    def read_rows(company_id: Ints, source_row: Ints, columns: Sequence[str]) -> pa.Table:
        connection.register("suspects", pa.table({"company_id": company_id, "source_row": source_row}))
        query = f"select {', '.join(columns)} from {source} semi join suspects using (company_id, source_row)"
        return connection.sql(query).to_arrow_table()

    columns = ", ".join(IDENTIFIED_COLUMNS)
    identified = connection.sql(f"select {columns} from {source} where {IDENTIFIED_SQL}").to_arrow_table()
    find_shared_keys(connection, identified, read_rows)
    return without_shared_sql(connection, source)


def without_shared_sql(connection: duckdb.DuckDBPyConnection, source: str) -> str:
    """Return the query of the candidates of ``source`` (SQL), in which the identifiers of ``TABLE`` agree with none."""
    agreements = ", ".join(
        f"case when {kind} in (select identifier from {TABLE} where kind = '{kind}') "
        f"then {Agreement.UNKNOWN} else {kind}_agreement end::tinyint as {kind}_agreement"
        for kind in KINDS
    )
    [(count,)] = connection.execute(f"select count(*) from {TABLE}").fetchall()
    return f"select * replace ({agreements}) from {source}" if count else f"from {source}"


def find_shared_keys(
    connection: duckdb.DuckDBPyConnection,
    identified: pa.Table,
    read_rows: Callable[..., pa.Table],
) -> dict[str, Ints]:
    """Create ``TABLE``; return the keys (``schema.RECIPIENT_KEY``) of the shared identifiers by kind.

    ``identified``: ``IDENTIFIED_COLUMNS`` of all candidates of ``IDENTIFIED_SQL``; ``read_rows``: returns columns of
    candidates by company and source row.
    """
    # By the keys first: few identifiers have several names.
    several = " or ".join(
        f"{kind}_key in (select {kind}_key from identified where {kind}_key <> 0 group by all "
        "having count(distinct name_key) filter (name_key <> 0) > 1)"
        for kind in KINDS
    )
    connection.register("identified", identified)
    rows = connection.sql(f"""
        select min(company_id) as company_id, source_row from identified where {several} group by source_row
    """).fetchnumpy()
    connection.unregister("identified")
    shared = schema.SHARED_IDENTIFIER.empty_table()
    if len(rows["source_row"]):
        found = read_rows(np.asarray(rows["company_id"]), np.asarray(rows["source_row"]), _HOLDER_COLUMNS)
        found = found.sort_by("source_row").rename_columns({"address_line_1": "street"})
        shared = find_shared(found, "recipients")
    connection.register("found_shared", shared)
    connection.execute(f"create or replace temp table {TABLE} as from found_shared")
    connection.unregister("found_shared")
    return {kind: text_keys(as_array(shared.filter(pc.equal(shared["kind"], kind))["identifier"])) for kind in KINDS}
