"""Score candidate pairs: from the candidates of all chunks to the probability of every candidate organisation.

Each stage takes its input tables as arguments and returns the table that it creates:

- ``candidate_tables``: comparison vectors of all chunks (``schema.CANDIDATE``), and what they counted;
- ``estimation.estimate_weights``: the match weights of this run;
- ``weigh_candidates``: candidates with the weight of each comparison, their sum and the method;
- ``organisations.group_organisations``: the organisation of each candidate, without the rejected ones;
- ``rank_organisations``: the best row of each organisation with its place and odds;
- ``judge_organisations``: the probability of each organisation (``matching.decisions``).

``score`` runs the last four. Ties are broken by weight, method, recipient and row, so the order of the candidates
does not matter. Does not cover which organisation is accepted (``reduce``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import duckdb
import numpy as np
import pyarrow as pa

from enrich_dist.matching.arrays import as_array
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
from enrich_dist.matching.keys import text_keys
from enrich_dist.matching.weight_sql import EQUAL_NAME_IN_TOWN_SQL, limit_sql, weight_row, weight_sql
from enrich_dist.matching.weights import MAX_NAMESAKES, Weights
from enrich_dist.results.candidate_tables import CandidateTables
from enrich_dist.results.organisations import group_organisations
from enrich_dist.results.tables import Table, create_table, create_view, store_table
from enrich_dist.schema import AddressLevel

_ORDER = "match_weight desc, method_rank, id_start, id_middle, id_key, source_row"
_SAME_PLACE_RANK = METHODS.index(SAME_PLACE)


@dataclass(frozen=True)
class Scores:
    """What the stages of ``score`` created, on the connection of ``tables``.

    ``companies``: what all candidates of a company show (``weigh_and_group``). ``rivals``: ``company_id``,
    ``source_row`` and ``organisation`` of each candidate that is not rejected. ``judged``: the best row of each
    organisation with its ``place`` (1 is the best of its company), its ``probability``, and the ``odds`` and
    ``partner_probability`` of all organisations of its company.
    """

    tables: CandidateTables
    weights: Weights
    partner_share: float
    companies: Table
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

    @cached_property
    def weighed(self) -> Table:
        """View of every candidate with ``NAME_weight`` of each comparison, ``match_weight``, ``match_method``,
        ``confirmed`` and ``rejected``."""
        return weigh_candidates(self.tables, self.weights, self.companies)

    def weigh_rows(self, pairs: str) -> Table:
        """Return the rows of ``weighed`` with these pairs of ``company_id`` and ``source_row`` (SQL)."""
        return weigh_candidates(replace(self.tables, candidates=self.tables.rows(pairs)), self.weights, self.companies)


def score(
    tables: CandidateTables,
    weights: Weights,
    *,
    partner_share: float | None = None,
    seen_share: float = 1.0,
    places: int | None = None,
) -> Scores:
    """Weigh, group, rank and judge the candidates.

    ``partner_share``: share of companies with a partner; estimated from the candidates by default. ``seen_share``:
    share of the recipients that the candidates come from; the estimate is scaled up by it. ``places``: see
    ``rank_organisations``.
    """
    connection = tables.connection
    found: list[tuple[Table, ...]] = []
    for part in tables.by_range():
        companies, rivals = weigh_and_group(part, weights)
        organisations, behind = rank_organisations(connection, rivals, weights.recipients, places=places)
        if places is not None:
            all_rivals, query = rivals, f"from {rivals} semi join {organisations} using (company_id, organisation)"
            rivals = create_table(connection, "rivals", query)
            connection.execute(f"drop table {all_rivals}")
        found.append((companies, rivals, organisations, behind))
    companies, rivals, organisations, behind = (_join(connection, tables) for tables in zip(*found, strict=True))
    if partner_share is None:
        estimated = estimate_partner_share(tables, organisations)
        partner_share = min(estimated / seen_share, MAX_PARTNER_SHARE)
    judged = judge_organisations(connection, organisations, behind, weights.recipients, partner_share)
    connection.execute(f"drop table {organisations}")
    return Scores(tables, weights, partner_share, companies, rivals, judged)


def _join(connection: duckdb.DuckDBPyConnection, tables: Sequence[Table]) -> Table:
    """Return the first table, with the rows of the others, which are dropped."""
    for table in tables[1:]:
        connection.execute(f"insert into {tables[0]} from {table}")
        connection.execute(f"drop table {table}")
    return tables[0]


def weigh_and_group(tables: CandidateTables, weights: Weights) -> tuple[Table, Table]:
    """Return what all candidates of a company show, by ``company_id``, and the table of ``group_organisations``.

    ``equal_name_in_town``: one has the company's name in its town; ``address_names``: names at its address;
    ``namesakes``: organisations of its name. What a name says depends on the latter, which are known when the
    candidates are grouped.
    """
    connection = tables.connection
    companies = _company_table(tables)
    grouped = group_organisations(connection, weigh_candidates(tables, weights, companies))
    connection.execute(f"""
        update {companies} set namesakes = found from (
            select company_id, least(count(distinct organisation), {MAX_NAMESAKES})::integer as found
            from {grouped} where is_namesake group by company_id having found > 1
        ) n where {companies}.company_id = n.company_id
    """)
    several = create_view(
        connection,
        "several",
        f"""from {tables.candidates} where company_id in (select company_id from {companies} where namesakes > 1)""",
    )
    reweighed = weigh_candidates(replace(tables, candidates=several), weights, companies)
    rivals = create_table(
        connection,
        "rivals",
        f"""select g.* replace (coalesce(w.match_weight, g.match_weight) as match_weight)
            from {grouped} g left join (select company_id, source_row, match_weight from {reweighed}) w
            using (company_id, source_row)""",
    )
    connection.execute(f"drop table {grouped}")
    return companies, rivals


def _company_table(tables: CandidateTables) -> Table:
    """Return ``equal_name_in_town``, ``address_names`` and ``namesakes`` (1) by ``company_id``."""
    at_address = f"filter (where address_level > {AddressLevel.DIFFERENT} and raw_name_key <> 0)"
    return create_table(
        tables.connection,
        "companies",
        f"""select company_id, bool_or({EQUAL_NAME_IN_TOWN_SQL}) as equal_name_in_town,
                   greatest(count(distinct raw_name_key) {at_address}, 1) as address_names, 1 as namesakes
            from {tables.candidates} group by company_id""",
    )


def weigh_candidates(tables: CandidateTables, weights: Weights, companies: Table | None = None) -> Table:
    """Return a view of the candidates with their weights (bits), methods and human decisions.

    A confirmed pair weighs more than any other; a rejected one keeps its weight and is marked. ``companies``: what all
    candidates of a company show (``weigh_and_group``); by default, no company has a namesake.
    """
    connection = tables.connection
    row = store_table(connection, "weights", pa.Table.from_pylist([weight_row(weights)]))
    codes = np.arange(len(weights.name_bits), dtype=np.int32)
    name_bits = store_table(connection, "name_bits", pa.table({"name_code": codes, "name_bits": weights.name_bits}))
    companies = companies or _company_table(tables)
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
                   namesakes, equal_name_in_town, address_names
            from {tables.candidates} c join {companies} using (company_id)
            left join {decisions(tables)} using (company_id, id_key)
            left join {name_bits} using (name_code)
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


def decisions(tables: CandidateTables) -> Table:
    """Return the human decisions by ``company_id`` and ``id_key`` of the recipient, as ``schema.RECIPIENT_KEY``."""
    found = tables.connection.sql(f"""
        select company_id, company_key, recipient_id, decision
        from {tables.overrides} join {tables.companies} using (company_key)
    """).to_arrow_table()
    keys = text_keys(as_array(found["recipient_id"]))
    return store_table(tables.connection, "decisions", found.append_column("id_key", pa.array(keys)))


def rank_organisations(
    connection: duckdb.DuckDBPyConnection, rivals: Table, recipients: int, *, places: int | None = None
) -> tuple[Table, Table]:
    """Return the best row of each organisation, by its weight, and those behind ``places`` (none by default).

    ``odds``: of all organisations of the company together; ``unseen``: of a partner that is none of them. Both without
    those of method ``same_place``, whose weights are no odds and which have no fixed place. The second table only has
    the ``number`` of organisations by company and weight: they are compared alike, so the weights of a company are few,
    however many candidates it has.
    """
    is_odds = f"method_rank <> {_SAME_PLACE_RANK}"
    ranked = create_table(
        connection,
        "ranked",
        f"""
        with best as (
            from {rivals} where is_alone
            union all
            from {rivals} where not is_alone
            qualify row_number() over (partition by company_id, organisation order by {is_odds} desc, {_ORDER}) = 1
        ), totals as (
            select company_id, coalesce(sum(pow(2, match_weight)) filter ({is_odds}), 0) / {recipients} as odds,
                   coalesce(sum(pow(2, match_weight) * unseen_share) filter ({is_odds}), 0) / {recipients} as unseen,
                   (max(match_weight, {places or 1}) filter ({is_odds}))[-1] as place_weight
            from best group by company_id
        )
        select best.*, odds, unseen, not {is_odds} or match_weight >= place_weight as is_before
        from best join totals using (company_id)
        """,
    )
    kept = (
        f"where is_before qualify not {is_odds}"
        f" or row_number() over (partition by company_id, {is_odds} order by {_ORDER}) <= {places}"
    )
    organisations = create_table(
        connection, "organisations", f"select * exclude (is_before) from {ranked} {kept if places else ''}"
    )
    behind = create_table(
        connection,
        "behind",
        f"""select company_id, match_weight, odds, unseen, count(*) as number
            from {ranked} anti join {organisations} using (company_id, source_row) group by all""",
    )
    connection.execute(f"drop table {ranked}")
    return organisations, behind


def estimate_partner_share(tables: CandidateTables, organisations: Table) -> float:
    """Estimate the share of companies that have a partner, from the odds of their organisations."""
    odds = tables.connection.execute(f"""
        select coalesce(any_value(odds), 0.0) as odds
        from {tables.companies} left join {organisations} using (company_id) group by company_id order by company_id
    """).fetchnumpy()["odds"]
    return partner_share(np.asarray(odds, dtype=np.float64))


def judge_organisations(
    connection: duckdb.DuckDBPyConnection, organisations: Table, behind: Table, recipients: int, partner_share: float
) -> Table:
    """Return the organisations with the ``probability`` of each, rounded to six decimals.

    ``place``: 1 is the most probable of its company; ``partner_probability``: of all organisations of the company.
    """
    methods = "[" + ", ".join(f"'{method}'" for method in METHODS) + "]"
    total = f"(1 + $prior * {recipients} * (odds + unseen))"
    by_weight = f"$prior * pow(2, match_weight) / {total}"
    return create_table(
        connection,
        "judged",
        f"""
        with single as (
            select *, round(case when method_rank = {_SAME_PLACE_RANK}
                            then (1 - $prior * {recipients} * odds / {total}) / (1 + unseen_share)
                            else {by_weight} end, 6) as probability
            from {organisations}
        ), partners as (
            select company_id, round(least(1.0, sum(probability)), 6) as partner_probability from (
                select company_id, probability from single
                union all
                select company_id, number * round({by_weight}, 6) from {behind}
            ) group by company_id
        )
        select company_id, source_row, {methods}[method_rank + 1] as match_method, match_weight, odds, probability,
               row_number() over (partition by company_id order by probability desc, {_ORDER}) as place,
               partner_probability
        from single join partners using (company_id)
        """,
        {"prior": prior_odds(partner_share, recipients)},
    )
