"""Score candidate pairs: from the checkpoints of the chunks to the probability of every candidate organisation.

Each stage takes its input tables as arguments and returns the table that it creates:

- ``read_candidates``: comparison vectors of all chunks (``schema.CANDIDATE``);
- ``read_counts``: what all chunks counted, by kind and key (``schema.COUNT``);
- ``estimation.estimate_weights``: the match weights of this run;
- ``weigh_candidates``: candidates with the weight of each comparison, their sum and the method;
- ``organisations.group_organisations``: the organisation of each candidate, without the rejected ones;
- ``rank_organisations``: the best row of each organisation with its place and odds;
- ``judge_organisations``: the probability of each organisation (``matching.decisions``).

``score`` runs the last four. Ties are broken by weight, method, recipient and row, so the order of the candidates
does not matter. Large tables stay on disk: DuckDB reads candidates from Parquet in every stage that needs them.
Does not cover which organisation is accepted (``reduce``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.database import parquet_sql, read_parquet, scratch_of
from enrich_dist.matching.decisions import (
    CONFIRMED_BITS,
    MAX_PARTNER_SHARE,
    METHODS,
    SAME_PLACE,
    address_share_sql,
    method_sql,
    partner_share,
    prior_odds,
    unseen_share_sql,
)
from enrich_dist.matching.weight_sql import equal_name_in_town_sql, limit_sql, weight_row, weight_sql
from enrich_dist.matching.weights import MAX_NAMESAKES, Weights
from enrich_dist.results.organisations import group_organisations
from enrich_dist.results.shared_identifiers import candidates_sql
from enrich_dist.results.tables import Table, create_table, create_view, new_name, store_table
from enrich_dist.schema import AddressLevel

Counts = Mapping[str, Mapping[int, int]]
"""Counts of all chunks by kind and key (``schema.COUNT``)."""

# DuckDB keeps the files of a view open: each takes a descriptor and the memory of its metadata.
MAX_OPEN_FILES = 128
_ROW_GROUP_ROWS = 100_000
_ORDER = "match_weight desc, method_rank, recipient_id, source_row"


@dataclass(frozen=True)
class CandidateTables:
    """Tables of one connection: ``schema.CANDIDATE``, companies (``company_id``, ``company_key``), and ``OVERRIDE``."""

    connection: duckdb.DuckDBPyConnection
    candidates: Table
    companies: Table
    overrides: Table


@dataclass(frozen=True)
class Scores:
    """What the stages of ``score`` created, on the connection of ``tables``.

    ``weighed``: every candidate with ``NAME_weight`` of each comparison, ``match_weight``, ``match_method``,
    ``confirmed`` and ``rejected``. ``rivals``: ``company_id``, ``source_row`` and ``organisation`` of each candidate
    that is not rejected. ``judged``: the best row of each organisation with its ``place`` (1 is the best of its
    company), its ``probability``, and the ``odds`` of all organisations of its company.
    """

    tables: CandidateTables
    weights: Weights
    partner_share: float
    weighed: Table
    rivals: Table
    judged: Table

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection that the tables are on."""
        return self.tables.connection

    @property
    def prior_odds(self) -> float:
        """Odds that one recipient is a company's partner, before anything is compared."""
        return prior_odds(self.partner_share, self.weights.recipients)


def score(
    tables: CandidateTables, weights: Weights, *, partner_share: float | None = None, seen_share: float = 1.0
) -> Scores:
    """Weigh, group, rank and judge the candidates.

    ``partner_share``: share of companies with a partner; estimated from the candidates by default. ``seen_share``:
    share of the recipients that the candidates come from; the estimate is scaled up by it.
    """
    weighed, rivals = weigh_and_group(tables, weights)
    organisations = rank_organisations(tables.connection, rivals, weights.recipients)
    if partner_share is None:
        estimated = estimate_partner_share(tables, organisations)
        partner_share = min(estimated / seen_share, MAX_PARTNER_SHARE)
    judged = judge_organisations(tables.connection, organisations, weights.recipients, partner_share)
    return Scores(tables, weights, partner_share, weighed, rivals, judged)


def read_candidates(connection: duckdb.DuckDBPyConnection, checkpoints: Sequence[Path]) -> Table:
    """Return a view of the candidates in these files, in which shared identifiers are unknown.

    More than ``MAX_OPEN_FILES`` are copied into one file first.
    """
    if not checkpoints:
        empty = store_table(connection, "candidates", schema.CANDIDATE.empty_table())
        return create_view(connection, "candidates", candidates_sql(connection, empty))
    files = checkpoints if len(checkpoints) <= MAX_OPEN_FILES else [_copy_to_one(connection, checkpoints)]
    return create_view(connection, "candidates", candidates_sql(connection, parquet_sql(*files)))


def _copy_to_one(connection: duckdb.DuckDBPyConnection, checkpoints: Sequence[Path]) -> Path:
    """Copy the candidates into one file, with one checkpoint and one row group in memory at a time."""
    path = scratch_of(connection) / f"{new_name('candidates')}.parquet"
    with pq.ParquetWriter(path, schema.CANDIDATE, compression="lz4") as writer:
        pending, rows = [], 0
        for checkpoint in checkpoints:
            with pq.ParquetFile(checkpoint) as file:
                pending.append(file.read(use_threads=False))
            rows += len(pending[-1])
            if rows >= _ROW_GROUP_ROWS:
                writer.write_table(pa.concat_tables(pending))
                pending, rows = [], 0
        if pending:
            writer.write_table(pa.concat_tables(pending))
    return path


def read_counts(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> Counts:
    """Add up the counts (``schema.COUNT``) of all chunks."""
    counts: dict[str, Counter[int]] = {kind: Counter() for kind in schema.COUNT_KINDS}
    for start in range(0, len(paths), MAX_OPEN_FILES):
        source = read_parquet(connection, paths[start : start + MAX_OPEN_FILES])
        for kind, key, number in source.aggregate("kind, key, sum(count)::bigint", "kind, key").fetchall():
            counts[kind][int(key)] += int(number)
    return counts


def weigh_and_group(tables: CandidateTables, weights: Weights) -> tuple[Table, Table]:
    """Return the views and tables of ``weigh_candidates`` and ``group_organisations``.

    What a name says depends on how many organisations have it, which is known when the candidates are grouped.
    """
    connection = tables.connection
    rivals = group_organisations(connection, weigh_candidates(tables, weights))
    namesakes = create_table(
        connection,
        "namesakes",
        f"""select company_id, least(count(distinct organisation), {MAX_NAMESAKES})::integer as namesakes
            from {rivals} where is_namesake group by company_id having namesakes > 1""",
    )
    several = create_table(
        connection, "candidates", f"from {tables.candidates} semi join {namesakes} using (company_id)"
    )
    reweighed = weigh_candidates(replace(tables, candidates=several), weights, namesakes)
    connection.execute(f"""
        update {rivals} set match_weight = w.match_weight from {reweighed} w
        where {rivals}.company_id = w.company_id and {rivals}.source_row = w.source_row
    """)
    return weigh_candidates(tables, weights, namesakes), rivals


def weigh_candidates(tables: CandidateTables, weights: Weights, namesakes: Table | None = None) -> Table:
    """Return a view of the candidates with their weights (bits), methods and human decisions.

    A confirmed pair weighs more than any other; a rejected one keeps its weight and is marked. ``namesakes``: number of
    organisations of a company's name by ``company_id``, one by default.
    """
    connection = tables.connection
    row = store_table(connection, "weights", pa.Table.from_pylist([weight_row(weights)]))
    codes = np.arange(len(weights.name_bits), dtype=np.int32)
    name_bits = store_table(connection, "name_bits", pa.table({"name_code": codes, "name_bits": weights.name_bits}))
    namesakes = namesakes or create_table(connection, "namesakes", "select 0 as company_id, 1 as namesakes limit 0")
    comparisons = weight_sql()
    parts = ", ".join(f"round({expression}, 4) as {name}_weight" for name, expression in comparisons.items())
    limits = ", ".join(f"{expression} as {name}" for name, expression in limit_sql().items())
    total = " + ".join(f"{name}_weight" for name in comparisons)
    ranks = " ".join(f"when '{method}' then {rank}" for rank, method in enumerate(METHODS))
    return create_view(
        connection,
        "weighed",
        f"""
        with decided as (
            select c.*, coalesce(decision = 'confirm', false) as confirmed,
                   coalesce(decision = 'reject', false) as rejected, coalesce(name_bits, 0.0) as name_bits,
                   coalesce(namesakes, 1) as namesakes, {equal_name_in_town_sql()} as equal_name_in_town, address_names
            from {tables.candidates} c
            left join (
                select company_id, recipient_id, decision
                from {tables.overrides} join {tables.companies} using (company_key)
            ) using (company_id, recipient_id)
            left join {name_bits} using (name_code)
            left join {namesakes} using (company_id)
            left join (
                select company_id, greatest(count(distinct name), 1) as address_names from {tables.candidates}
                where address_level > {AddressLevel.DIFFERENT} group by company_id
            ) using (company_id)
        ), limited as (
            select decided.*, {limits} from decided cross join {row} w
        ), compared as (
            select limited.*, {parts}, {method_sql()} as match_method,
                   {address_share_sql()} as address_share from limited cross join {row} w
        )
        select *, {unseen_share_sql()} as unseen_share,
               case when confirmed then {CONFIRMED_BITS} else round({total}, 4) end as match_weight,
               case match_method {ranks} else {len(METHODS)} end as method_rank
        from compared
        """,
    )


def rank_organisations(connection: duckdb.DuckDBPyConnection, rivals: Table, recipients: int) -> Table:
    """Return the best row of each organisation, by its weight.

    ``odds``: of all organisations of the company together; ``unseen``: of a partner that is none of them. Both without
    those of method ``same_place``, whose weights are no odds.
    """
    of_company = f"filter (where match_method <> '{SAME_PLACE}') over (partition by company_id)"
    return create_table(
        connection,
        "organisations",
        f"""
        select *, coalesce(sum(pow(2, match_weight)) {of_company}, 0) / {recipients} as odds,
               coalesce(sum(pow(2, match_weight) * unseen_share) {of_company}, 0) / {recipients} as unseen
        from (select * from {rivals}
              qualify row_number() over (partition by company_id, organisation
                                         order by match_method = '{SAME_PLACE}', {_ORDER}) = 1)
        """,
    )


def estimate_partner_share(tables: CandidateTables, organisations: Table) -> float:
    """Estimate the share of companies that have a partner, from the odds of their organisations."""
    odds = tables.connection.execute(f"""
        select coalesce(any_value(odds), 0.0) as odds
        from {tables.companies} left join {organisations} using (company_id) group by company_id order by company_id
    """).fetchnumpy()["odds"]
    return partner_share(np.asarray(odds, dtype=np.float64))


def judge_organisations(
    connection: duckdb.DuckDBPyConnection, organisations: Table, recipients: int, partner_share: float
) -> Table:
    """Return the organisations with the ``probability`` of each, rounded to six decimals.

    ``place``: 1 is the most probable of its company.
    """
    return create_table(
        connection,
        "judged",
        f"""
        with compared as (
            select *, 1 + $prior * {recipients} * (odds + unseen) as total from {organisations}
        ), single as (
            select company_id, source_row, recipient_id, match_method, method_rank, match_weight, odds,
                   round(case when match_method = '{SAME_PLACE}'
                         then (1 - $prior * {recipients} * odds / total) / (1 + unseen_share)
                         else $prior * pow(2, match_weight) / total end, 6) as probability
            from compared
        )
        select company_id, source_row, match_method, match_weight, odds, probability,
               row_number() over (partition by company_id order by probability desc, {_ORDER}) as place
        from single
        """,
        {"prior": prior_odds(partner_share, recipients)},
    )
