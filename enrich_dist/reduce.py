"""Checkpoints to one best recipient per company, and awards that inherit it.

Reads nothing of the farm but checkpoints. Thresholds act here, on stored comparison vectors, so changing them touches
no chunk. Ties are broken by score, place in the cascade, recipient and row: the same candidates give the same
result in whatever order they come. DuckDB does the work out of core. Does not judge the result (``quality``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.matching.scoring import METHODS, DecisionConfig, method_sql, score_sql

ENGINE_VERSION = "1"
STATUSES = ("matched", "review", "unmatched")
_ROW_GROUP_ROWS = 50_000
_RECIPIENT_COLUMNS = [
    field.name for field in schema.CANDIDATE if field.name in schema.RECIPIENT.names and field.name != "source_row"
]
_COMPARISON_COLUMNS = list(schema.COMPARISON.names)


def quoted(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def create_scored(connection: duckdb.DuckDBPyConnection, checkpoints: Sequence[Path]) -> None:
    """View ``scored``: the candidates of all checkpoints with ``match_method``, ``method_rank``, ``match_score``."""
    if checkpoints:
        connection.read_parquet([str(path) for path in checkpoints]).create_view("candidates", replace=True)
    else:
        connection.from_arrow(schema.CANDIDATE.empty_table()).create_view("candidates", replace=True)
    ranks = " ".join(f"when '{method}' then {rank}" for rank, method in enumerate(METHODS))
    connection.execute(f"""
        create or replace temp view scored as
        select *, case match_method {ranks} else {len(METHODS)} end as method_rank
        from (select *, {method_sql()} as match_method, {score_sql()} as match_score from candidates)
    """)


def create_matches(connection: duckdb.DuckDBPyConnection, decision: DecisionConfig) -> None:
    """Table ``company_matches``: every company of table ``companies`` with its best candidate and its status.

    ``match_margin`` is the distance to the best candidate of another organisation (its score where there is none);
    rows of the same UEI, or of the same recipient, are one organisation.
    """
    recipient = ", ".join(f"{quoted(name)} as {quoted('recipient_' + _bare(name))}" for name in _RECIPIENT_COLUMNS)
    evidence = ", ".join(_COMPARISON_COLUMNS)
    order = "match_score desc, method_rank, recipient_id, source_row"
    connection.execute(
        f"""
        create or replace table company_matches as
        -- Ranked by narrow rows; what else is known of a winner is fetched afterwards.
        with rivals as (
            select company_id, source_row, recipient_id, coalesce(uei, recipient_id) as organisation, match_method,
                   method_rank, match_score
            from scored
        ), one_per_organisation as (
            select * from rivals
            qualify row_number() over (partition by company_id, organisation order by {order}) = 1
        ), ranked as (
            select *, row_number() over best as place, lead(match_score, 1, 0) over best as runner_up_score
            from one_per_organisation window best as (partition by company_id order by {order})
        ), winners as (
            select company_id, source_row, match_method, match_score,
                   round(match_score - runner_up_score, 4) as match_margin
            from ranked where place = 1
        ), best as (
            select company_id, match_method, match_score, match_margin, {evidence},
                   source_row as recipient_source_row, {recipient}
            from winners join candidates using (company_id, source_row)
        )
        select company_id, company_key, name as company_name, award_count,
               case when match_score >= $accept and (match_method = 'uei' or match_margin >= $margin) then 'matched'
                    when match_score >= $review then 'review'
                    else 'unmatched' end as match_status,
               best.* exclude (company_id)
        from companies left join best using (company_id)
        order by company_id
        """,
        {"accept": decision.accept_score, "review": decision.review_score, "margin": decision.min_margin},
    )


def write_enriched_awards(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Write all valid awards with their match to Parquet, in the order of their source; return the rows.

    Needs tables ``awards``, ``award_companies``, ``company_matches``. Recipient columns are filled for accepted
    matches only: a candidate that waits for review must not be taken for one.
    """
    award_columns = [name for name, *_ in connection.execute("describe awards").fetchall()]
    own = {"company_key", "match_status", "match_method", "match_score", "match_margin"}
    own |= {f"recipient_{_bare(name)}" for name in _RECIPIENT_COLUMNS}
    awards = ", ".join(
        f"a.{quoted(name)}" + (f" as {quoted('award_' + name)}" if name in own else "") for name in award_columns
    )
    recipient = ", ".join(
        f"case when m.match_status = 'matched' then m.{column} end as {column}"
        for column in (quoted(f"recipient_{_bare(name)}") for name in _RECIPIENT_COLUMNS)
    )
    rows = connection.sql(f"""
        select {awards}, m.company_key, m.match_status,
               case when m.match_status <> 'unmatched' then m.match_method end as match_method,
               case when m.match_status <> 'unmatched' then m.match_score end as match_score,
               case when m.match_status <> 'unmatched' then m.match_margin end as match_margin,
               {recipient}
        from awards a join award_companies c using (award_id) join company_matches m using (company_id)
        order by a.source_row
    """).to_arrow_reader(_ROW_GROUP_ROWS)
    return _write_regular(rows, path)


def _bare(name: str) -> str:
    """recipient_id and the like keep one prefix when they get it."""
    return name.removeprefix("recipient_")


def _write_regular(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write batches of any size as row groups of one size, so that the bytes depend on the rows alone."""
    written = 0
    waiting: list[pa.RecordBatch] = []
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        for batch in reader:
            waiting.append(batch)
            table = pa.Table.from_batches(waiting, reader.schema)
            while len(table) >= _ROW_GROUP_ROWS:
                writer.write_table(table.slice(0, _ROW_GROUP_ROWS).combine_chunks(), row_group_size=_ROW_GROUP_ROWS)
                written += _ROW_GROUP_ROWS
                table = table.slice(_ROW_GROUP_ROWS)
            waiting = table.to_batches()
        rest = pa.Table.from_batches(waiting, reader.schema)
        if len(rest) or not written:
            writer.write_table(rest.combine_chunks(), row_group_size=_ROW_GROUP_ROWS)
    return written + len(rest)


class MatchedSoFar:
    """Counts awards whose company has an acceptable candidate in the checkpoints seen so far.

    An estimate for progress: the final count can be lower where a rival turns up in a later chunk.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, decision: DecisionConfig) -> None:
        self._connection = connection
        self._accept = decision.accept_score
        connection.execute("create or replace temp table seen (company_id integer primary key)")

    def add(self, checkpoints: Sequence[Path]) -> None:
        """Take the candidates of finished chunks into account."""
        if not checkpoints:
            return
        create_scored(self._connection, checkpoints)
        self._connection.execute(
            "insert or ignore into seen select distinct company_id from scored where match_score >= $accept",
            {"accept": self._accept},
        )

    def awards(self) -> int:
        """Awards of the companies seen."""
        [(count,)] = self._connection.execute(
            "select coalesce(sum(award_count), 0) from companies join seen using (company_id)"
        ).fetchall()
        return int(count)
