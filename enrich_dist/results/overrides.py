"""Decisions of persons on single pairs (``schema.OVERRIDE``): stored, looked up, and accounted for.

Covers how new decisions are merged with those of before, the row of a confirmed recipient that no search had found for
its company, and which decisions have no effect in a run. Does not cover the sheet that persons fill in (``review``,
``review_sheet``) nor what a decision weighs (``reduce``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.files import atomic_path, file_digest
from enrich_dist.errors import CorruptionError
from enrich_dist.remedies import CHUNKS_REBUILT_BY_RUN
from enrich_dist.sources import chunks
from enrich_dist.store.artifacts import Artifact

_SHOWN = 20


@dataclass(frozen=True)
class Merged:
    """``table``: all decisions. The counts are those of the new ones: confirmed and rejected now, the same as before
    (``unchanged``), and earlier ones that they took the place of (``replaced``)."""

    table: pa.Table
    confirmed: int
    rejected: int
    unchanged: int
    replaced: int


def merge(connection: duckdb.DuckDBPyConnection, earlier: pa.Table, new: pa.Table) -> Merged:
    """All decisions, ordered by company and recipient.

    A new one takes the place of an earlier one on the same pair, and a new confirmation that of the company's earlier
    confirmation: a company has one partner.
    """
    connection.register("earlier", earlier)
    connection.register("new", new)
    connection.execute("""
        create or replace temp table kept as
        select earlier.* from earlier left join new using (company_key, recipient_id)
        where new.decision is null and not (
            earlier.decision = 'confirm'
            and earlier.company_key in (select company_key from new where decision = 'confirm'))
    """)
    table = connection.sql("""
        select company_key, recipient_id, decision from (from kept union all by name from new)
        order by company_key, recipient_id
    """).to_arrow_table()
    [(confirmed, rejected, unchanged)] = connection.execute("""
        select count(*) filter (new.decision = 'confirm' and earlier.decision is distinct from 'confirm'),
               count(*) filter (new.decision = 'reject' and earlier.decision is distinct from 'reject'),
               count(*) filter (new.decision = earlier.decision)
        from new left join earlier using (company_key, recipient_id)
    """).fetchall()
    [(kept,)] = connection.execute("select count(*) from kept").fetchall()
    connection.unregister("earlier")
    connection.unregister("new")
    replaced = len(earlier) - kept - unchanged
    return Merged(table.cast(schema.OVERRIDE), int(confirmed), int(rejected), int(unchanged), int(replaced))


def store(table: pa.Table, path: Path) -> None:
    """Write all decisions: the whole file, or nothing."""
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata(None), temporary, compression="zstd")


def confirmed_candidates(connection: duckdb.DuckDBPyConnection, plan: Artifact) -> pa.Table:
    """Confirmed pairs that are not among the candidates, as candidates (``schema.CANDIDATE``) of which nothing was
    compared; one row each, that of the recipient's first row in the source.

    Needs ``candidates``, ``companies`` and ``overrides``. ``plan`` holds the chunk files. A pair whose company or
    recipient does not exist is left out.
    """
    missing = connection.sql("""
        with confirmed as (
            select company_id, recipient_id from overrides join companies using (company_key)
            where decision = 'confirm'
        )
        from confirmed anti join candidates using (company_id, recipient_id)
        order by company_id, recipient_id
    """).to_arrow_table()
    if not len(missing):
        return schema.CANDIDATE.empty_table()
    recipients = find_recipients(connection, plan, missing["recipient_id"])
    connection.register("missing", missing)
    connection.register("found", recipients)
    nothing = ", ".join(f"{-1 if name == 'name_code' else 0} as {name}" for name in schema.COMPARISON.names)
    found = connection.sql(f"""
        select company_id, {nothing}, found.* from missing join found using (recipient_id)
        order by company_id, recipient_id
    """).to_arrow_table()
    connection.unregister("missing")
    connection.unregister("found")
    return found.select(schema.CANDIDATE.names).cast(schema.CANDIDATE)


def find_recipients(connection: duckdb.DuckDBPyConnection, plan: Artifact, recipient_ids: pa.ChunkedArray) -> pa.Table:
    """Rows (``schema.RECIPIENT``) of these recipients in the chunk files: the first one of each that is there.

    Raises ``CorruptionError`` when a chunk file is missing or not the one that was planned.
    """
    planned = {str(chunk.path): chunk for chunk in chunks.chunks_of(plan)}
    absent = [chunk.path for chunk in planned.values() if not chunk.path.exists()]
    if absent:
        raise CorruptionError(f"{absent[0]} is missing.", remedy=CHUNKS_REBUILT_BY_RUN)
    connection.register("wanted", pa.table({"recipient_id": recipient_ids}))
    # Identifiers first, over all files; whole rows only of the few files that hold one.
    places = connection.sql(
        """
        select filename, min(source_row) as source_row
        from read_parquet($files, filename = true) semi join wanted using (recipient_id)
        group by recipient_id, filename
        qualify row_number() over (partition by recipient_id order by min(source_row)) = 1
        order by source_row
        """,
        params={"files": list(planned)},
    ).to_arrow_table()
    connection.unregister("wanted")
    files = sorted(set(places["filename"].to_pylist()))
    for name in files:
        if file_digest(Path(name)) != planned[name].blake3:
            raise CorruptionError(f"{name} is not the file that was planned.", remedy=CHUNKS_REBUILT_BY_RUN)
    tables = [
        pq.read_table(name, filters=[("source_row", "in", places["source_row"].to_pylist())], partitioning=None)
        for name in files
    ]
    return pa.concat_tables([schema.RECIPIENT.empty_table(), *(table.cast(schema.RECIPIENT) for table in tables)])


def effects(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Which decisions act in this run, for the metrics; needs ``candidates``, ``companies`` and ``overrides``.

    ``without_effect`` names the first of those whose company or recipient is not in this run, and of rejected pairs
    that are no candidates (any more); ``without_effect_count`` counts all.
    """
    connection.execute("""
        create or replace temp table told as
        with pairs as (
            select distinct company_key, recipient_id from candidates join companies using (company_id)
            semi join overrides using (company_key, recipient_id)
        )
        select overrides.*, pairs.company_key is not null as acts
        from overrides left join pairs using (company_key, recipient_id)
    """)
    [(confirmed, rejected, idle)] = connection.execute("""
        select count(*) filter (acts and decision = 'confirm'), count(*) filter (acts and decision = 'reject'),
               count(*) filter (not acts)
        from told
    """).fetchall()
    shown = connection.execute(f"""
        select company_key || ' -> ' || recipient_id from told where not acts
        order by company_key, recipient_id limit {_SHOWN}
    """).fetchall()
    connection.execute("drop table told")
    return {
        "confirmed": int(confirmed),
        "rejected": int(rejected),
        "without_effect": [str(text) for (text,) in shown],
        "without_effect_count": int(idle),
    }
