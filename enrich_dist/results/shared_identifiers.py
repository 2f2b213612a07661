"""Identifiers that unlike recipients share: they are no evidence of any pair.

A pair of one chunk cannot know the recipients of another one, so this acts on the candidates of all chunks. Every
recipient with an identifier of a company is its candidate, so the candidates have all holders. Does not cover what
unlike organisations are (``sources.shared_identifiers``).
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from enrich_dist.schema import Agreement
from enrich_dist.sources.shared_identifiers import KINDS, find_shared

TABLE = "shared_by_recipients"
"""Table of a connection with what ``candidates_sql`` found (``schema.SHARED_IDENTIFIER``)."""


def candidates_sql(connection: duckdb.DuckDBPyConnection, source: str) -> str:
    """Return the query of the candidates of ``source`` (SQL), in which shared identifiers agree with none."""
    connection.register("found_shared", _find(connection, source))
    connection.execute(f"create or replace temp table {TABLE} as from found_shared")
    connection.unregister("found_shared")
    agreements = ", ".join(
        f"case when {kind} in (select identifier from {TABLE} where kind = '{kind}') "
        f"then {Agreement.UNKNOWN} else {kind}_agreement end::tinyint as {kind}_agreement"
        for kind in KINDS
    )
    [(count,)] = connection.execute(f"select count(*) from {TABLE}").fetchall()
    return f"select * replace ({agreements}) from {source}" if count else f"from {source}"


def _find(connection: duckdb.DuckDBPyConnection, source: str) -> pa.Table:
    several = " or ".join(
        f"{kind} in (select {kind} from holders group by {kind} having count(distinct name) > 1)" for kind in KINDS
    )
    agree = " or ".join(f"{kind}_agreement = {Agreement.AGREE}" for kind in KINDS)
    holders = connection.sql(f"""
        with holders as (
            select distinct source_row, name, uei, duns, address_line_1 as street, city from {source} where {agree}
        )
        from holders where {several} order by source_row
    """)
    return find_shared(holders.to_arrow_table(), "recipients")
