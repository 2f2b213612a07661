"""Reduce scored candidates to the best recipient of each company, and give it to the company's awards.

Thresholds act here, on stored comparison vectors, so changing them computes no chunk again. The bytes of the output
depend on the rows alone. Does not cover weights and probabilities (``scoring``) nor the verdict (``quality``).
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.database import parquet_sql
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import SAME_PLACE
from enrich_dist.matching.weight_sql import weight_sql
from enrich_dist.results.former_names import former_names_sql
from enrich_dist.results.organisations import chosen_sql, members_sql
from enrich_dist.results.scoring import Scores

# Raised whenever the same candidates would give another result directory. 5: text of report.md and rejects.csv
# is escaped for Markdown and spreadsheets. 6: columns of the inputs. 7: identifiers that unlike
# organisations share. 8: former names; rows of one organisation in one town, the best documented one published;
# candidates by address. 9: candidates of equal weight are ordered by the first 16 bytes of their id, then by its hash.
ENGINE_VERSION = "9"
STATUSES = ("matched", "review", "unmatched")
_ROW_GROUP_ROWS = 50_000
# Columns of a recipient and their published names, each with one prefix.
_RECIPIENT_COLUMNS = {
    name: f"recipient_{name.removeprefix('recipient_')}"
    for name in schema.RECIPIENT.names
    if name not in ("source_row", "alternate_names", "name_history")
}


def create_matches(scores: Scores, decision: DecisionConfig) -> None:
    """Create table ``company_matches`` (``schema.COMPANY_MATCH``): every company with its best candidate.

    The evidence is that of the row most like the company, the recipient the best documented row of its organisation.
    ``runner_up_probability`` is that of the best candidate of another organisation.
    """
    evidence = ", ".join([*schema.COMPARISON.names, *(f"{name}_weight" for name in weight_sql())])
    recipient = ", ".join(f"{name} as {column}" for name, column in _RECIPIENT_COLUMNS.items())
    chosen = chosen_sql(scores.rivals, scores.judged, places=1)
    pairs = scores.weigh_rows(chosen)
    scores.connection.execute(
        f"""
        create or replace table company_matches as
        with winners as (
            select company_id, max(source_row) filter (place = 1) as source_row,
                   max(match_method) filter (place = 1) as match_method,
                   max(match_weight) filter (place = 1) as match_weight,
                   max(probability) filter (place = 1) as match_probability,
                   coalesce(max(probability) filter (place = 2), 0.0) as runner_up_probability,
                   max(partner_probability) as partner_probability
            from {scores.judged} group by company_id
        ), members as (
            {members_sql(chosen, pairs)}
        ), published as (
            select company_id, source_row as recipient_source_row, {recipient},
                   cluster_id as recipient_cluster_id, members as recipient_cluster_members
            from {pairs} join members using (company_id) where source_row = published_row
        ), best as (
            select company_id, winners.match_method, match_probability, winners.match_weight, runner_up_probability,
                   partner_probability, {evidence}, published.* exclude (company_id),
                   {former_names_sql()} as recipient_former_names
            from winners join {pairs} using (company_id, source_row) join published using (company_id)
        )
        select company_id, company_key, name as company_name, award_count,
               case when match_probability >= $accept and match_method <> '{SAME_PLACE}' then 'matched'
                    when match_probability >= $review then 'review'
                    else 'unmatched' end as match_status,
               best.* exclude (company_id)
        from {scores.tables.companies} left join best using (company_id)
        order by company_id
        """,
        {"accept": decision.accept_probability, "review": decision.review_probability},
    )


def store_enriched_awards(
    connection: duckdb.DuckDBPyConnection, awards: Path, award_companies: Path, out: Path
) -> None:
    """Store all valid awards with their match as table ``enriched_awards`` and as the Parquet file ``out``.

    ``awards``, ``award_companies``: Parquet files; the matches are those of table ``company_matches``. Rows keep the
    order of their source. Recipient columns are filled for accepted matches only, so that a candidate in review cannot
    be mistaken for a match.
    """
    connection.execute(f"create table enriched_awards as {_enriched_awards_sql(awards, award_companies)}")
    # DuckDB preserves the order of the insertion.
    _write_row_groups(connection.sql("from enriched_awards").to_arrow_reader(_ROW_GROUP_ROWS), out)


def _enriched_awards_sql(awards: Path, award_companies: Path) -> str:
    own = {*schema.AWARD_MATCH.names}
    columns = ", ".join(
        f"a.{_quote(name)}" + (f" as {_quote('award_' + name)}" if name in own else "")
        for name in pq.read_schema(awards).names
    )
    if_not_unmatched = ", ".join(
        f"case when m.match_status <> 'unmatched' then m.{name} end as {name}"
        for name in ("match_method", "match_probability", "match_weight")
    )
    if_matched = ", ".join(
        f"case when m.match_status = 'matched' then m.{name} end as {name}" for name in schema.MATCHED_RECIPIENT.names
    )
    return f"""
        select {columns}, m.company_key, m.match_status, {if_not_unmatched}, {if_matched}
        from {parquet_sql(awards)} a join {parquet_sql(award_companies)} c using (award_id)
        join company_matches m using (company_id)
        order by a.source_row
    """


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _write_row_groups(reader: pa.RecordBatchReader, path: Path) -> None:
    """Write batches of any size as row groups of one size, so that the bytes depend on the rows alone."""
    table = reader.schema.empty_table()
    with pq.ParquetWriter(path, reader.schema, compression="zstd") as writer:
        first = True
        for batch in reader:
            table = pa.concat_tables([table, pa.Table.from_batches([batch])])
            while len(table) >= _ROW_GROUP_ROWS:
                writer.write_table(table.slice(0, _ROW_GROUP_ROWS).combine_chunks(), row_group_size=_ROW_GROUP_ROWS)
                table, first = table.slice(_ROW_GROUP_ROWS), False
        if len(table) or first:
            writer.write_table(table.combine_chunks(), row_group_size=_ROW_GROUP_ROWS)
