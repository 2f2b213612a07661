"""Score candidate pairs: from the checkpoints of the chunks to the probability of every candidate organisation.

Each stage takes its input tables as arguments and returns the table that it creates:

- ``read_candidates``: comparison vectors of all chunks (``schema.CANDIDATE``);
- ``read_counts``: what all chunks counted, by kind and key (``schema.COUNT``);
- ``estimate_weights``: the match weights of this run (``matching.weights``);
- ``weigh_candidates``: candidates with the weight of each comparison, their sum and the method;
- ``group_organisations``: the organisation of each candidate, without the rejected ones;
- ``rank_organisations``: the best row of each organisation with its place and odds;
- ``judge_organisations``: the probability of each organisation (``matching.decisions``).

``score`` runs the last four. Ties are broken by weight, method, recipient and row, so the order of the candidates
does not matter. Large tables stay on disk: DuckDB reads candidates from Parquet in every stage that needs them.
Does not cover which organisation is accepted (``reduce``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, NewType

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from enrich_dist import schema
from enrich_dist.matching.decisions import (
    CONFIRMED_BITS,
    IDENTIFIED_METHODS,
    MAX_PARTNER_SHARE,
    METHODS,
    UNSEEN_PARTNER_SHARE,
    method_sql,
    partner_share,
    prior_odds,
)
from enrich_dist.matching.vocabulary import Vocabulary
from enrich_dist.matching.weights import MCounts, Weights, equal_name_in_town_sql, estimate, weight_row, weight_sql
from enrich_dist.schema import MIN_SAME_TOWN, Agreement, NameLevel, PlaceLevel, StreetLevel

Table = NewType("Table", str)
"""Name of a table or view on a connection, as the stage that created it returned it."""

Counts = Mapping[str, Mapping[int, int]]
"""Counts of all chunks by kind and key (``schema.COUNT``)."""

Ints = npt.NDArray[np.int64]

_table_numbers = count()


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
    weighed = weigh_candidates(tables, weights)
    rivals = group_organisations(tables.connection, weighed)
    organisations = rank_organisations(tables.connection, rivals, weights.recipients)
    if partner_share is None:
        estimated = estimate_partner_share(tables, organisations)
        partner_share = min(estimated / seen_share, MAX_PARTNER_SHARE)
    judged = judge_organisations(tables.connection, organisations, weights.recipients, partner_share)
    return Scores(tables, weights, partner_share, weighed, rivals, judged)


def read_candidates(connection: duckdb.DuckDBPyConnection, checkpoints: Sequence[Path]) -> Table:
    """Return a view of the candidates in these files."""
    if not checkpoints:
        return store_table(connection, "candidates", schema.CANDIDATE.empty_table())
    return create_view(connection, "candidates", f"from {parquet_sql(*checkpoints)}")


def read_counts(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> Counts:
    """Add up the counts (``schema.COUNT``) of all chunks."""
    counts: dict[str, dict[int, int]] = {kind: {} for kind in schema.COUNT_KINDS}
    if paths:
        source = connection.read_parquet([str(path) for path in paths])
        for kind, key, number in source.aggregate("kind, key, sum(count)::bigint", "kind, key").fetchall():
            counts[kind][int(key)] = int(number)
    return counts


def estimate_weights(
    tables: CandidateTables, counts: Counts, vocabulary: Vocabulary, *, seen_share: float = 1.0
) -> Weights:
    """Estimate the match weights of a run from its counts and its pairs that agree on an identifier.

    ``seen_share``: share of the recipients that the counts come from; they are scaled up to all recipients.
    """
    scaled = {kind: {key: round(n / seen_share) for key, n in keys.items()} for kind, keys in counts.items()}
    return estimate(scaled, count_identified_pairs(tables.connection, tables.candidates), vocabulary)


def count_identified_pairs(connection: duckdb.DuckDBPyConnection, candidates: Table) -> MCounts:
    """Count the outcomes of the comparisons among the candidates that agree on an identifier."""
    agree, unknown = Agreement.AGREE, Agreement.UNKNOWN
    rows = connection.execute(f"""
        select name_level, place_level, street_level, uei_agreement, duns_agreement, count(*)
        from {candidates} where uei_agreement = {agree} or duns_agreement = {agree} group by all
    """).fetchall()
    name, place, street, uei, duns, pairs = np.array(rows, dtype=np.int64).reshape(-1, 6).T

    def add_up(outcomes: Ints, size: int, chosen: npt.NDArray[np.bool_] | slice = slice(None)) -> list[int]:
        totals = np.bincount(outcomes[chosen], weights=pairs[chosen], minlength=size)
        return [int(total) for total in totals]

    return MCounts(
        name=add_up(name, len(NameLevel)),
        place=add_up(place, len(PlaceLevel)),
        street=add_up(street, len(StreetLevel), place >= MIN_SAME_TOWN),
        # An identifier counts where the other one agrees: (conflict, agree).
        uei=add_up((uei == agree).astype(np.int64), 2, (duns == agree) & (uei != unknown)),
        duns=add_up((duns == agree).astype(np.int64), 2, (uei == agree) & (duns != unknown)),
    )


def weigh_candidates(tables: CandidateTables, weights: Weights) -> Table:
    """Return a view of the candidates with their weights (bits), methods and human decisions.

    A confirmed pair weighs more than any other; a rejected one keeps its weight and is marked.
    """
    connection = tables.connection
    row = store_table(connection, "weights", pa.Table.from_pylist([weight_row(weights)]))
    codes = np.arange(len(weights.name_bits), dtype=np.int32)
    name_bits = store_table(connection, "name_bits", pa.table({"name_code": codes, "name_bits": weights.name_bits}))
    comparisons = weight_sql()
    parts = ", ".join(f"round({expression}, 4) as {name}_weight" for name, expression in comparisons.items())
    total = " + ".join(f"{name}_weight" for name in comparisons)
    ranks = " ".join(f"when '{method}' then {rank}" for rank, method in enumerate(METHODS))
    return create_view(
        connection,
        "weighed",
        f"""
        with decided as (
            select c.*, coalesce(decision = 'confirm', false) as confirmed,
                   coalesce(decision = 'reject', false) as rejected, coalesce(name_bits, 0.0) as name_bits,
                   {equal_name_in_town_sql()} as equal_name_in_town
            from {tables.candidates} c
            left join (
                select company_id, recipient_id, decision
                from {tables.overrides} join {tables.companies} using (company_key)
            ) using (company_id, recipient_id)
            left join {name_bits} using (name_code)
        ), compared as (
            select decided.*, {parts}, {method_sql()} as match_method from decided cross join {row} w
        )
        select *, case when confirmed then {CONFIRMED_BITS} else round({total}, 4) end as match_weight,
               case match_method {ranks} else {len(METHODS)} end as method_rank
        from compared
        """,
    )


def group_organisations(connection: duckdb.DuckDBPyConnection, weighed: Table) -> Table:
    """Assign every candidate to an organisation; leave out the organisations of rejected pairs.

    Sources list one firm several times. Candidates of a company that have one name and could be the same firm are one
    organisation: a row without UEI joins the row of its name with a UEI at its street, a row without a street the best
    of its name in its town, a row without place and identifier the best of its name. Rows with another UEI, town or
    street are rivals. A rejected pair rejects all rows of its organisation that are not confirmed.
    """
    # Only narrow columns: callers fetch the other columns of the winners afterwards.
    grouped = create_table(
        connection,
        "grouped",
        f"""
        with narrow as (
            select company_id, source_row, recipient_id, uei, match_method, method_rank, match_weight, confirmed,
                   rejected, case when name_level >= {NameLevel.SPELLING_VARIANT} then name_code end as same_name,
                   coalesce(state, '') || '|' || coalesce(city, '') as town, upper(address_line_1) as street,
                   uei is null and duns is null and state is null and city is null and zip5 is null as nowhere
            from {weighed}
        ), single as (
            select *, case when uei is not null then uei
                           when same_name is null or nowhere then recipient_id
                           when street is not null then 'street ' || same_name || town || '|' || street
                           else 'town ' || same_name || town end as own
            from narrow
        ), by_street as (
            select company_id, same_name, town, street, arg_max(own, (match_weight, own)) as organisation
            from single where same_name is not null and street is not null and uei is not null group by all
        ), by_town as (
            select company_id, same_name, town,
                   arg_max(coalesce(b.organisation, own), (match_weight, own)) as organisation
            from single left join by_street b using (company_id, same_name, town, street)
            where same_name is not null and not nowhere and (street is not null or uei is not null) group by all
        ), by_name as (
            select company_id, same_name,
                   arg_max(coalesce(s.organisation, t.organisation, own), (match_weight, own)) as organisation
            from single left join by_street s using (company_id, same_name, town, street)
            left join by_town t using (company_id, same_name, town)
            where same_name is not null and not nowhere group by all
        )
        select company_id, source_row, recipient_id, match_method, method_rank, match_weight, confirmed, rejected,
               case when uei is not null or same_name is null then own
                    when nowhere then coalesce(n.organisation, 'name ' || same_name)
                    when street is not null then coalesce(s.organisation, own)
                    else coalesce(t.organisation, own) end as organisation
        from single
        left join by_street s using (company_id, same_name, town, street)
        left join by_town t using (company_id, same_name, town)
        left join by_name n using (company_id, same_name)
        """,
    )
    connection.execute(f"""
        delete from {grouped} using (select distinct company_id, organisation from {grouped} where rejected) r
        where {grouped}.company_id = r.company_id and {grouped}.organisation = r.organisation and not confirmed
    """)
    return grouped


def rank_organisations(connection: duckdb.DuckDBPyConnection, rivals: Table, recipients: int) -> Table:
    """Return the best row of each organisation and its ``place`` among those of its company.

    ``odds``: of all organisations of the company together; ``unseen``: of a partner that is none of them.
    """
    order = "match_weight desc, method_rank, recipient_id, source_row"
    return create_table(
        connection,
        "organisations",
        f"""
        select company_id, source_row, match_method, match_weight, row_number() over best as place,
               sum(pow(2, match_weight)) over (partition by company_id) / {recipients} as odds,
               coalesce(sum(pow(2, match_weight)) filter (match_method not in {IDENTIFIED_METHODS})
                        over (partition by company_id), 0) * {UNSEEN_PARTNER_SHARE} / {recipients} as unseen
        from (select * from {rivals}
              qualify row_number() over (partition by company_id, organisation order by {order}) = 1)
        window best as (partition by company_id order by {order})
        """,
    )


def estimate_partner_share(tables: CandidateTables, organisations: Table) -> float:
    """Estimate the share of companies that have a partner, from the odds of their organisations."""
    odds = tables.connection.execute(f"""
        select coalesce(odds, 0.0) as odds
        from {tables.companies} c left join {organisations} o on o.company_id = c.company_id and place = 1
        order by c.company_id
    """).fetchnumpy()["odds"]
    return partner_share(np.asarray(odds, dtype=np.float64))


def judge_organisations(
    connection: duckdb.DuckDBPyConnection, organisations: Table, recipients: int, partner_share: float
) -> Table:
    """Return the organisations with the ``probability`` of each, rounded to six decimals."""
    return create_table(
        connection,
        "judged",
        f"""
        select company_id, source_row, match_method, match_weight, place, odds,
               round($prior * pow(2, match_weight) / (1 + $prior * {recipients} * (odds + unseen)), 6) as probability
        from {organisations}
        """,
        {"prior": prior_odds(partner_share, recipients)},
    )


def create_table(
    connection: duckdb.DuckDBPyConnection, stage: str, query: str, parameters: Mapping[str, object] | None = None
) -> Table:
    """Store the result of a query as a temporary table."""
    table = _new_name(stage)
    connection.execute(f"create temp table {table} as {query}", dict(parameters or {}))
    return table


def create_view(connection: duckdb.DuckDBPyConnection, stage: str, query: str) -> Table:
    """Name a query; it runs each time the view is read."""
    view = _new_name(stage)
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


def parquet_sql(*paths: Path) -> str:
    """Return the SQL expression that reads these Parquet files."""
    quoted = ", ".join("'" + str(path).replace("'", "''") + "'" for path in paths)
    return f"read_parquet([{quoted}])"


def _new_name(stage: str) -> Table:
    """Return a name that no other table has, so that a stage reads only what it is given."""
    return Table(f"{stage}_{next(_table_numbers)}")
