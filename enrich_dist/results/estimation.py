"""Estimate the match weights of a run from its candidates: identified pairs, then expectation maximisation.

The estimation reads a sample of companies, the same for any order of candidates. Does not cover the method
(``matching.estimation``) nor scoring with the weights (``scoring``).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from enrich_dist.matching.arrays import as_array
from enrich_dist.matching.decisions import IDENTIFIED_METHODS, SAME_PLACE
from enrich_dist.matching.estimation import Observed, fit
from enrich_dist.matching.normalise import normalise_names
from enrich_dist.matching.vocabulary import Vocabulary
from enrich_dist.matching.weights import MCounts, Weights, estimate
from enrich_dist.results.candidate_tables import CandidateTables, Counts
from enrich_dist.results.scoring import rank_organisations, weigh_and_group, weigh_candidates
from enrich_dist.results.tables import Table, create_table, store_table
from enrich_dist.schema import MIN_SAME_TOWN, Agreement, NameKind, NameLevel, PlaceLevel, SiblingLevel, StreetLevel

# Enough for shares with a standard error of half a percentage point.
MAX_COMPANIES = 10_000

Ints = npt.NDArray[np.int64]


def estimate_weights(
    tables: CandidateTables, counts: Counts, vocabulary: Vocabulary, *, seen_share: float = 1.0
) -> Weights:
    """Estimate the match weights of a run from its counts and its candidates.

    ``seen_share``: share of the recipients that the counts come from; they are scaled up to all recipients.
    """
    scaled = {kind: {key: round(n / seen_share) for key, n in keys.items()} for kind, keys in counts.items()}
    start = estimate(scaled, count_identified_pairs(tables), vocabulary)
    observed, scale = observe(tables, start)
    if not len(observed.company):
        return start
    return fit(start, observed, scale=scale).weights


def observe(tables: CandidateTables, weights: Weights) -> tuple[Observed, float]:
    """Return the candidate organisations of a sample of the companies, and how many each of these stands for.

    Names of siblings and parents are left out: more likely they are of two organisations, however well the rest agrees.
    Equal candidates of a company are one entry: nine in ten of 3.3 million recipients.
    """
    connection = tables.connection
    sample, scale = _sample(tables)
    found = [_observe_range(replace(part, companies=sample), weights) for part in tables.by_range()]
    rows = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    [(sampled,)] = connection.execute(f"select count(*) from {sample}").fetchall()
    return Observed(companies=sampled, **rows), scale


def _observe_range(tables: CandidateTables, weights: Weights) -> dict[str, npt.NDArray[Any]]:
    """Return the candidate organisations of the sample (``tables.companies``), by the fields of ``Observed``."""
    connection, sample = tables.connection, tables.companies
    candidates = create_table(
        connection,
        "sample_candidates",
        f"""from {tables.candidates} semi join {sample} using (company_id)
            where sibling_level = {SiblingLevel.NONE} and name_kind <> {NameKind.PARENT}""",
    )
    tables = replace(tables, candidates=candidates)
    companies, rivals = weigh_and_group(tables, weights)
    organisations, _ = rank_organisations(connection, rivals, weights.recipients)
    weighed = weigh_candidates(tables, weights, companies)
    rows = connection.execute(f"""
        select position as company, o.match_weight as weight, name_level::bigint as name, place_level::bigint as place,
               street_level::bigint as street, is_placeless::bigint as placeless, namesakes::bigint as namesakes,
               name_information as information, match_method in {IDENTIFIED_METHODS} as is_known,
               count(*)::double as number
        from {organisations} o join (
            select company_id, source_row, name_level, place_level, street_level, is_placeless, namesakes,
                   name_information, match_method from {weighed}
        ) using (company_id, source_row) join {sample} using (company_id)
        where match_method <> '{SAME_PLACE}' group by all order by all
    """).fetchnumpy()
    for table in (candidates, rivals, organisations):
        connection.execute(f"drop table {table}")
    return {name: np.asarray(values) for name, values in rows.items()}


def _sample(tables: CandidateTables) -> tuple[Table, float]:
    """Draw at most ``MAX_COMPANIES`` companies, and of these one of each name: companies of one name have the same
    candidates, so they are one observation of how many organisations have it.

    Returns a table of them with their ``position``, and the companies of the run per company drawn.
    """
    connection = tables.connection
    order = "hash(company_key), company_key"
    drawn = connection.sql(
        f"select company_id, name from {tables.companies} order by {order} limit {MAX_COMPANIES}"
    ).to_arrow_table()
    names = store_table(connection, "names", drawn.set_column(1, "name", normalise_names(as_array(drawn["name"]))))
    sample = create_table(
        connection,
        "sample",
        f"""select *, (row_number() over (order by company_key) - 1)::bigint as position from {tables.companies}
            semi join (select company_id from {names} join {tables.companies} c using (company_id)
                       qualify row_number() over (partition by {names}.name order by {order}) = 1)
            using (company_id)""",
    )
    [(companies,)] = connection.execute(f"select count(*) from {tables.companies}").fetchall()
    return sample, companies / max(len(drawn), 1)


def count_identified_pairs(tables: CandidateTables) -> MCounts:
    """Count the outcomes of the comparisons among the candidates that agree on an identifier."""
    agree, unknown = Agreement.AGREE, Agreement.UNKNOWN
    rows: list[tuple[int, ...]] = []
    for part in tables.by_range():
        rows += part.connection.execute(f"""
            select name_level, place_level, street_level, is_placeless::int, uei_agreement, duns_agreement, count(*)
            from {part.candidates} where uei_agreement = {agree} or duns_agreement = {agree} group by all
        """).fetchall()
    name, place, street, placeless, uei, duns, pairs = np.array(rows, dtype=np.int64).reshape(-1, 7).T

    def add_up(outcomes: Ints, size: int, chosen: npt.NDArray[np.bool_] | slice = slice(None)) -> list[int]:
        totals = np.bincount(outcomes[chosen], weights=pairs[chosen], minlength=size)
        return [int(total) for total in totals]

    return MCounts(
        name=add_up(name, len(NameLevel)),
        place=add_up(place, len(PlaceLevel)),
        street=add_up(street, len(StreetLevel), place >= MIN_SAME_TOWN),
        placeless=add_up(placeless, 2),
        # An identifier counts where the other one agrees: (conflict, agree).
        uei=add_up((uei == agree).astype(np.int64), 2, (duns == agree) & (uei != unknown)),
        duns=add_up((duns == agree).astype(np.int64), 2, (uei == agree) & (duns != unknown)),
    )
