"""Checkpoints to one best recipient per company, and awards that inherit it.

Reads nothing of the farm but checkpoints. Weights, thresholds and overrides act here, on stored comparison vectors, so
changing them touches no chunk. Ties are broken by weight, place in the cascade, recipient and row: the same
candidates give the same result in whatever order they come. DuckDB does the work out of core. Does not judge the
result (``quality``).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import (
    CONFIRMED_BITS,
    IDENTIFIED_METHODS,
    METHODS,
    UNSEEN_PARTNER_SHARE,
    method_sql,
    partner_share,
    prior_odds,
)
from enrich_dist.matching.weights import MCounts, Weights, equal_name_in_town_sql, weight_row, weight_sql
from enrich_dist.schema import MIN_SAME_STATE, MIN_SAME_TOWN, Agreement, NameLevel, PlaceLevel, StreetLevel

ENGINE_VERSION = "3"
STATUSES = ("matched", "review", "unmatched")
_ROW_GROUP_ROWS = 50_000
_RECIPIENT_COLUMNS = [
    field.name for field in schema.CANDIDATE if field.name in schema.RECIPIENT.names and field.name != "source_row"
]
_COMPARISON_COLUMNS = list(schema.COMPARISON.names)


def quoted(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def create_candidates(
    connection: duckdb.DuckDBPyConnection, checkpoints: Sequence[Path], further: pa.Table | None = None
) -> None:
    """View ``candidates``: those of all checkpoints, and ``further`` ones (``schema.CANDIDATE``)."""
    stored = connection.read_parquet([str(path) for path in checkpoints]) if checkpoints else None
    if stored is None or further is not None:
        # A table, as a view in a database file must not lead to an object of this process.
        connection.register("given", schema.CANDIDATE.empty_table() if further is None else further)
        connection.execute("create or replace temp table further_candidates as from given")
        connection.unregister("given")
        added = connection.table("further_candidates")
        stored = added if stored is None else stored.union(added)
    stored.create_view("candidates", replace=True)


def create_scored(connection: duckdb.DuckDBPyConnection, weights: Weights) -> None:
    """View ``scored``: the candidates with the weight of every comparison, their sum and the method.

    Needs ``candidates``, ``companies`` and ``overrides`` (``schema.OVERRIDE``): rejected pairs are left out, confirmed
    ones outweigh all others. View ``weighed`` is the same with the rejected pairs.
    """
    _register(connection, "w", pa.Table.from_pylist([weight_row(weights)]))
    bits = pa.table({"name_code": np.arange(len(weights.name_bits), dtype=np.int32), "name_bits": weights.name_bits})
    _register(connection, "name_information", bits)
    ranks = " ".join(f"when '{method}' then {rank}" for rank, method in enumerate(METHODS))
    comparisons = weight_sql()
    parts = ", ".join(f"round({expression}, 4) as {name}_weight" for name, expression in comparisons.items())
    total = " + ".join(f"{name}_weight" for name in comparisons)
    connection.execute(f"""
        create or replace temp view weighed as
        with decided as (
            select c.*, coalesce(decision = 'confirm', false) as confirmed,
                   coalesce(decision = 'reject', false) as rejected, coalesce(name_bits, 0.0) as name_bits,
                   {equal_name_in_town_sql()} as equal_name_in_town
            from candidates c
            left join (select company_id, recipient_id, decision from overrides join companies using (company_key)) o
                using (company_id, recipient_id)
            left join name_information using (name_code)
        ), compared as (
            select decided.*, {parts}, {method_sql()} as match_method from decided cross join w
        )
        select *, case when confirmed then {CONFIRMED_BITS} else round({total}, 4) end as match_weight,
               case match_method {ranks} else {len(METHODS)} end as method_rank
        from compared
    """)
    connection.execute(
        "create or replace temp view scored as select * exclude (rejected) from weighed where not rejected"
    )


def count_identified_pairs(connection: duckdb.DuckDBPyConnection) -> MCounts:
    """Outcomes of the comparisons among pairs of view ``candidates`` that agree on an identifier."""

    def counted(column: str, lowest: int, size: int, where: str) -> list[int]:
        rows = connection.execute(f"select {column}, count(*) from candidates where {where} group by all").fetchall()
        counts = [0] * size
        for value, count in rows:
            counts[value - lowest] = int(count)
        return counts

    agree, unknown = Agreement.AGREE, Agreement.UNKNOWN
    identified = f"(uei_agreement = {agree} or duns_agreement = {agree})"
    conflict_or_agree = {
        name: counted(
            f"({name}_agreement = {agree})::integer",
            0,
            2,
            f"{other}_agreement = {agree} and {name}_agreement <> {unknown}",
        )
        for name, other in (("uei", "duns"), ("duns", "uei"))
    }
    return MCounts(
        name=counted("name_level", 0, len(NameLevel), identified),
        place=counted("place_level", 0, len(PlaceLevel), identified),
        street=counted("street_level", 0, len(StreetLevel), f"{identified} and place_level >= {MIN_SAME_TOWN}"),
        **conflict_or_agree,
    )


def read_counts(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> dict[str, dict[int, int]]:
    """The counts (``schema.COUNT``) of all chunks added up, by kind and key."""
    counts: dict[str, dict[int, int]] = {kind: {} for kind in schema.COUNT_KINDS}
    if paths:
        source = connection.read_parquet([str(path) for path in paths])
        for kind, key, count in source.aggregate("kind, key, sum(count)::bigint", "kind, key").fetchall():
            counts[kind][int(key)] = int(count)
    return counts


# Sources list one firm several times. Candidates of a company that bear one name and could be the same firm count as
# one organisation: a row without UEI joins the one of its name with a UEI at its street, one without a street joins the
# best of its name in its town, one without any place or identifier the best of its name. Rows of other UEIs, towns or
# streets stay rivals. Rejected pairs take part: who rejects one row of an organisation means all of them.
_ORGANISATIONS = f"""
with told as (
    select company_id, source_row, recipient_id, uei, match_method, method_rank, match_weight, confirmed, rejected,
           case when name_level >= {NameLevel.SPELLING_VARIANT} then name_code end as same_name,
           coalesce(state, '') || '|' || coalesce(city, '') as town, upper(address_line_1) as street,
           uei is null and duns is null and state is null and city is null and zip5 is null as nowhere
    from weighed
), alone as (
    select *, case when uei is not null then uei
                   when same_name is null or nowhere then recipient_id
                   when street is not null then 'street ' || same_name || town || '|' || street
                   else 'town ' || same_name || town end as own
    from told
), by_street as (
    select company_id, same_name, town, street, arg_max(own, (match_weight, own)) as organisation
    from alone where same_name is not null and street is not null and uei is not null group by all
), by_town as (
    select company_id, same_name, town,
           arg_max(coalesce(b.organisation, own), (match_weight, own)) as organisation
    from alone left join by_street b using (company_id, same_name, town, street)
    where same_name is not null and not nowhere and (street is not null or uei is not null) group by all
), by_name as (
    select company_id, same_name,
           arg_max(coalesce(s.organisation, t.organisation, own), (match_weight, own)) as organisation
    from alone left join by_street s using (company_id, same_name, town, street)
    left join by_town t using (company_id, same_name, town)
    where same_name is not null and not nowhere group by all
)
select company_id, source_row, recipient_id, match_method, method_rank, match_weight, confirmed, rejected,
       case when uei is not null or same_name is null then own
            when nowhere then coalesce(n.organisation, 'name ' || same_name)
            when street is not null then coalesce(s.organisation, own)
            else coalesce(t.organisation, own) end as organisation
from alone
left join by_street s using (company_id, same_name, town, street)
left join by_town t using (company_id, same_name, town)
left join by_name n using (company_id, same_name)
"""


def rank_organisations(connection: duckdb.DuckDBPyConnection, recipients: int) -> None:
    """Temporary tables ``rivals``, the organisation of each candidate, and ``organisations``: of each company the
    candidate organisations by their best row, with their ``place``, the best first, and the ``odds`` of all of them and
    of a partner that is none of them (``unseen``).

    Needs view ``weighed``.
    """
    order = "match_weight desc, method_rank, recipient_id, source_row"
    # Narrow rows: what else is known of a winner is fetched afterwards.
    connection.execute(f"create or replace temp table rivals as {_ORGANISATIONS}")
    connection.execute("""
        delete from rivals using (select distinct company_id, organisation from rivals where rejected) r
        where rivals.company_id = r.company_id and rivals.organisation = r.organisation and not rivals.confirmed
    """)
    connection.execute(f"""
        create or replace temp table organisations as
        select company_id, source_row, match_method, match_weight, row_number() over best as place,
               sum(pow(2, match_weight)) over (partition by company_id) / {recipients} as odds,
               coalesce(sum(pow(2, match_weight)) filter (match_method not in {IDENTIFIED_METHODS})
                        over (partition by company_id), 0) * {UNSEEN_PARTNER_SHARE} / {recipients} as unseen
        from (select * from rivals
              qualify row_number() over (partition by company_id, organisation order by {order}) = 1)
        window best as (partition by company_id order by {order})
    """)


def judge_organisations(connection: duckdb.DuckDBPyConnection, recipients: int, share: float | None = None) -> float:
    """Temporary tables ``rivals``, the organisation of each candidate, and ``judged``: of each company the candidate
    organisations by their best row, with their ``probability`` (``matching.decisions``) and their ``place``, the best
    first.

    Needs view ``weighed``. ``share``: of companies that have a partner; estimated from these where it is not given.
    Returns the share.
    """
    rank_organisations(connection, recipients)
    if share is None:
        share = estimated_share(connection)
    judge_ranked(connection, recipients, share)
    return share


def judge_ranked(connection: duckdb.DuckDBPyConnection, recipients: int, share: float) -> None:
    """Temporary table ``judged``, as ``judge_organisations`` makes it; needs ``organisations``."""
    connection.execute(
        f"""
        create or replace temp table judged as
        select company_id, source_row, match_method, match_weight, place,
               round($prior * pow(2, match_weight) / (1 + $prior * {recipients} * (odds + unseen)), 6) as probability
        from organisations
        """,
        {"prior": prior_odds(share, recipients)},
    )


def estimated_share(connection: duckdb.DuckDBPyConnection) -> float:
    """The share of companies with a partner, from the odds of all of them (``rank_organisations``)."""
    odds = connection.execute("""
        select coalesce(odds, 0.0) as odds
        from companies left join organisations on organisations.company_id = companies.company_id and place = 1
        order by companies.company_id
    """).fetchnumpy()["odds"]
    return partner_share(np.asarray(odds, dtype=np.float64))


def create_matches(connection: duckdb.DuckDBPyConnection, decision: DecisionConfig, recipients: int) -> float:
    """Table ``company_matches``: every company of table ``companies`` with its best candidate and its status.

    Needs views ``weighed`` and ``scored``. ``runner_up_probability`` is that of the best candidate of another
    organisation. Returns the estimated share of companies that have a partner.
    """
    recipient = ", ".join(f"{quoted(name)} as {quoted('recipient_' + _bare(name))}" for name in _RECIPIENT_COLUMNS)
    evidence = ", ".join([*_COMPARISON_COLUMNS, *(f"{name}_weight" for name in weight_sql())])
    share = judge_organisations(connection, recipients)
    connection.execute(
        f"""
        create or replace table company_matches as
        with winners as (
            select company_id, max(source_row) filter (place = 1) as source_row,
                   max(match_method) filter (place = 1) as match_method,
                   max(match_weight) filter (place = 1) as match_weight,
                   max(probability) filter (place = 1) as match_probability,
                   coalesce(max(probability) filter (place = 2), 0.0) as runner_up_probability,
                   round(least(1.0, sum(probability)), 6) as partner_probability
            from judged group by company_id
        ), best as (
            select company_id, winners.match_method, match_probability, winners.match_weight, runner_up_probability,
                   partner_probability, {evidence}, source_row as recipient_source_row, {recipient}
            from winners join scored using (company_id, source_row)
        )
        select company_id, company_key, name as company_name, award_count,
               case when match_probability >= $accept then 'matched'
                    when match_probability >= $review then 'review'
                    else 'unmatched' end as match_status,
               best.* exclude (company_id)
        from companies left join best using (company_id)
        order by company_id
        """,
        {"accept": decision.accept_probability, "review": decision.review_probability},
    )
    return share


def _register(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.execute(f"drop table if exists {name}")
    connection.from_arrow(table).create(name)


def store_enriched_awards(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """All valid awards with their match, in the order of their source, as table ``enriched_awards`` and as Parquet;
    return the rows.

    Needs ``awards``, ``award_companies``, ``company_matches``. Recipient columns are filled for accepted matches only:
    a candidate that waits for review must not be taken for one.
    """
    query = _enriched_awards_sql(connection)
    # Both take as long, and neither keeps all cores busy.
    with connection.cursor() as beside, ThreadPoolExecutor(1) as pool:
        stored = pool.submit(beside.execute, f"create table enriched_awards as {query}")
        rows = _write_regular(connection.sql(query).to_arrow_reader(_ROW_GROUP_ROWS), path)
        stored.result()
    return rows


def _enriched_awards_sql(connection: duckdb.DuckDBPyConnection) -> str:
    award_columns = [name for name, *_ in connection.execute("describe awards").fetchall()]
    own = {"company_key", "match_status", "match_method", "match_probability", "match_weight"}
    own |= {f"recipient_{_bare(name)}" for name in _RECIPIENT_COLUMNS}
    awards = ", ".join(
        f"a.{quoted(name)}" + (f" as {quoted('award_' + name)}" if name in own else "") for name in award_columns
    )
    recipient = ", ".join(
        f"case when m.match_status = 'matched' then m.{column} end as {column}"
        for column in (quoted(f"recipient_{_bare(name)}") for name in _RECIPIENT_COLUMNS)
    )
    return f"""
        select {awards}, m.company_key, m.match_status,
               case when m.match_status <> 'unmatched' then m.match_method end as match_method,
               case when m.match_status <> 'unmatched' then m.match_probability end as match_probability,
               case when m.match_status <> 'unmatched' then m.match_weight end as match_weight,
               {recipient}
        from awards a join award_companies c using (award_id) join company_matches m using (company_id)
        order by a.source_row
    """


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


class MatchedAwardCounter:
    """Counts awards whose company has a likely match in the checkpoints seen so far.

    An estimate for progress, quick enough to be made after every chunk: a shared identifier, or the same name in a
    place that does not conflict. Which candidates are accepted is known when all are there.
    """

    _COLUMNS: Final = ["company_id", "uei_agreement", "duns_agreement", "name_level", "place_level"]

    def __init__(self, award_counts: npt.NDArray[np.int32]) -> None:
        """``award_counts``: awards of every company, by company id."""
        self._award_counts = award_counts
        self._seen = np.zeros(len(award_counts), dtype=bool)

    def add(self, checkpoints: Sequence[Path]) -> None:
        """Take the candidates of finished chunks into account."""
        for path in checkpoints:
            # Not by read_table: what it sets up to read many files takes longer than this one.
            with pq.ParquetFile(path) as file:
                table = file.read(columns=self._COLUMNS, use_threads=False)
            company, uei, duns, name, place = (table[column].to_numpy() for column in self._COLUMNS)
            identified = (uei == Agreement.AGREE) | (duns == Agreement.AGREE)
            near = (name >= NameLevel.SPELLING_VARIANT) & (place >= MIN_SAME_STATE)
            self._seen[company[identified | near]] = True

    def awards(self) -> int:
        """Awards of the companies seen."""
        return int(self._award_counts[self._seen].sum())
