"""Human review decisions on pairs (``schema.OVERRIDE``): merge them, add confirmed pairs, and report their effect.

Does not cover the review sheet (``review``, ``review_sheet``) nor the weight of a decision (``scoring``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.database import parquet_sql, scratch_of
from enrich_dist.core.files import file_digest
from enrich_dist.errors import CorruptionError
from enrich_dist.matching.keys import recipient_keys
from enrich_dist.results.candidate_tables import MAX_OPEN_FILES, CandidateTables
from enrich_dist.results.scoring import decisions
from enrich_dist.results.tables import Table, create_table, create_view, fetch_rows, store_table
from enrich_dist.sources import chunks
from enrich_dist.store.artifacts import open_unverified

_MAX_LISTED = 20
_REMEDY = "Run `enrich-dist run`: it creates the chunks again."


@dataclass(frozen=True)
class MergedDecisions:
    """All decisions, and how many are new, ``unchanged`` (stored already), and stored but ``replaced`` by new ones."""

    table: pa.Table
    confirmed: int
    rejected: int
    unchanged: int
    replaced: int


def read_decisions(path: Path) -> pa.Table:
    """Return the stored decisions (``schema.OVERRIDE``), ordered; none if there is no file.

    Raises ``CorruptionError`` when the file cannot be read.
    """
    if not path.exists():
        return schema.OVERRIDE.empty_table()
    try:
        return pq.read_table(path, schema=schema.OVERRIDE)
    except (OSError, pa.ArrowException) as error:
        raise CorruptionError(
            f"{path} cannot be read: {error}.", remedy="Import the decisions again, or delete the file."
        ) from error


def merge_decisions(connection: duckdb.DuckDBPyConnection, stored: pa.Table, new: pa.Table) -> MergedDecisions:
    """Merge new decisions into the stored ones; order all by company and recipient.

    A new decision replaces a stored one on the same pair. A new confirmation also replaces the stored confirmation of
    its company, because a company has one partner.
    """
    old_rows, new_rows = store_table(connection, "stored", stored), store_table(connection, "new", new)
    merged = create_table(
        connection,
        "merged",
        f"""
        select company_key, recipient_id, old.decision as old, new.decision as new,
               coalesce(new.decision, case when old.decision <> 'confirm' or company_key not in (
                   select company_key from {new_rows} where decision = 'confirm') then old.decision end) as decision
        from {old_rows} old full join {new_rows} new using (company_key, recipient_id)
        """,
    )
    [counts] = connection.execute(f"""
        select count(*) filter (new = 'confirm' and old is distinct from 'confirm'),
               count(*) filter (new = 'reject' and old is distinct from 'reject'),
               count(*) filter (new = old), count(*) filter (old is not null and decision is distinct from old)
        from {merged}
    """).fetchall()
    table = connection.sql(f"""
        select company_key, recipient_id, decision from {merged} where decision is not null
        order by company_key, recipient_id
    """).to_arrow_table()
    return MergedDecisions(table.cast(schema.OVERRIDE), *counts)


def add_confirmed(tables: CandidateTables, plan: Path) -> CandidateTables:
    """Return the tables with the confirmed pairs that blocking did not find among the candidates.

    Their comparisons are unknown; each has the recipient's first row in the source. ``plan``: directory of the chunk
    files. A pair whose company or recipient does not exist is left out.
    """
    connection = tables.connection
    missing = connection.sql(f"""
        select company_id, recipient_id from {_decisions(tables)} where decision = 'confirm' and not is_candidate
        order by company_id, recipient_id
    """).to_arrow_table()
    if not len(missing):
        return tables
    pairs = store_table(connection, "missing", missing)
    found = find_recipients(connection, plan, missing["recipient_id"])
    for name, keys in zip(schema.RECIPIENT_KEY.names, recipient_keys(found).columns, strict=True):
        found = found.append_column(name, keys)
    recipients = store_table(connection, "recipients", found)
    unknown = ", ".join(f"{-1 if name == 'name_code' else 0} as {name}" for name in schema.COMPARISON.names)
    added = connection.sql(f"""
        select company_id, {unknown}, r.* from {pairs} join {recipients} r using (recipient_id)
        order by company_id, recipient_id
    """).to_arrow_table()
    added = added.select(schema.CANDIDATE.names).cast(schema.CANDIDATE)
    rows = store_table(connection, "confirmed", added)
    parts = tables.parts and tables.parts.with_rows(added, scratch_of(connection) / f"{rows}.parquet")
    query = f"from {tables.candidates} union all from {rows}"
    return replace(tables, candidates=create_view(connection, "candidates", query), parts=parts)


def find_recipients(
    connection: duckdb.DuckDBPyConnection, plan: Path, recipient_ids: pa.Array | pa.ChunkedArray
) -> pa.Table:
    """Return the first row (``schema.RECIPIENT``) of each of these recipients in the chunk files of a plan.

    Raises ``CorruptionError`` when a chunk file is missing or differs from the plan.
    """
    planned = {str(chunk.path.absolute()): chunk for chunk in chunks.chunks_of(open_unverified(plan))}
    missing = [chunk.path for chunk in planned.values() if not chunk.path.exists()]
    if missing:
        raise CorruptionError(f"{missing[0]} is missing.", remedy=_REMEDY)
    wanted = store_table(connection, "wanted", pa.table({"recipient_id": recipient_ids}))
    # Read the ids of all files first, and whole rows only of the few files that have one.
    names = [Path(name) for name in planned]
    first_rows = [
        connection.sql(f"""
            select recipient_id, filename, min(source_row) as source_row
            from {parquet_sql(*names[start : start + MAX_OPEN_FILES])} semi join {wanted} using (recipient_id)
            group by all
        """).to_arrow_table()
        for start in range(0, len(names), MAX_OPEN_FILES)
    ]
    places = connection.sql(f"""
        select filename, source_row from {store_table(connection, "places", pa.concat_tables(first_rows))}
        qualify row_number() over (partition by recipient_id order by source_row) = 1 order by source_row
    """).to_arrow_table()
    files = sorted(set(places["filename"].to_pylist()))
    for name in files:
        if file_digest(Path(name)) != planned[name].blake3:
            raise CorruptionError(f"{name} is not the file that was planned.", remedy=_REMEDY)
    tables = [
        pq.read_table(name, filters=[("source_row", "in", places["source_row"].to_pylist())], partitioning=None)
        for name in files
    ]
    return pa.concat_tables([schema.RECIPIENT.empty_table(), *(table.cast(schema.RECIPIENT) for table in tables)])


def count_effects(tables: CandidateTables) -> dict[str, Any]:
    """Count the decisions that apply in this run (metrics "overrides").

    ``without_effect`` lists the first decisions whose company or recipient is not in this run, or whose rejected pair
    is not a candidate; ``without_effect_count`` counts all of them.
    """
    [counts] = fetch_rows(
        tables.connection,
        f"""
        with checked as (
            select o.*, coalesce(is_candidate, false) as applies
            from {tables.overrides} o left join {_decisions(tables)} using (company_key, recipient_id)
        )
        select count(*) filter (applies and decision = 'confirm') as confirmed,
               count(*) filter (applies and decision = 'reject') as rejected,
               coalesce(list(company_key || ' -> ' || recipient_id order by company_key, recipient_id)
                        filter (not applies), [])[:{_MAX_LISTED}] as without_effect,
               count(*) filter (not applies) as without_effect_count
        from checked
        """,
    )
    return counts


def _decisions(tables: CandidateTables) -> Table:
    """Return the decisions on companies of this run, and whether each pair ``is_candidate``."""
    found = decisions(tables)
    tables.connection.execute(f"alter table {found} add column is_candidate boolean default false")
    [(count,)] = tables.connection.execute(f"select count(*) from {found}").fetchall()
    for part in tables.by_range() if count else ():
        tables.connection.execute(f"""
            update {found} set is_candidate = true
            where (company_id, id_key) in (select company_id, id_key from {part.candidates})
        """)
    return found
