"""Calibration of the match probabilities of a run, measured on companies whose partner is known.

A company that shares a UEI or DUNS with a recipient has a known partner. The identifiers are hidden, the remaining
comparisons are scored as usual, and the best candidate is compared with the known partner. All of these companies have
a partner, which not every company has, so low probabilities come out slightly too low. Covers the latest result, from
the checkpoints of its run. Does not cover planted truth and labels (``scripts/measure_accuracy.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from enrich_dist.matching.decisions import SAME_PLACE
from enrich_dist.results.candidate_tables import CandidateTables
from enrich_dist.results.reopen import reopen_result
from enrich_dist.results.scoring import score
from enrich_dist.results.tables import create_table, store_table
from enrich_dist.schema import OVERRIDE, Agreement, NameLevel
from enrich_dist.store.run_directory import RunDirectory

BINS = 10
# Enough for intervals of two percentage points, and scored in about a second.
MAX_COMPANIES = 5_000


@dataclass(frozen=True)
class CalibrationBin:
    """Companies whose best candidate has a probability in the bin: their mean probability, and how many are correct."""

    from_probability: float
    to_probability: float
    companies: int
    mean_probability: float
    correct: int


@dataclass(frozen=True)
class Calibration:
    """Calibration of a result.

    ``identified``: companies that share an identifier with a recipient; ``companies``: those that were scored (all, or
    a fixed sample); ``without_candidate``: those without a candidate once the identifiers are hidden.
    """

    identified: int
    companies: int
    without_candidate: int
    bins: tuple[CalibrationBin, ...]


def measure_calibration(directory: RunDirectory) -> Calibration:
    """Score the companies of the latest result whose partner is known, with their identifiers hidden.

    Raises ``StateError`` when the result's checkpoints no longer exist.
    """
    with reopen_result(directory) as result:
        connection, tables = result.connection, result.tables
        known = create_table(
            connection,
            "known",
            f"""
            select company_id, source_row from {tables.candidates}
            where uei_agreement = {Agreement.AGREE} or duns_agreement = {Agreement.AGREE}
            """,
        )
        # Ordered by a hash of the key, so that every run samples the same companies.
        sample = create_table(
            connection,
            "sample",
            f"""
            select *, count(*) over () as identified
            from {tables.companies} where company_id in (select company_id from {known})
            order by hash(company_key), company_key limit {MAX_COMPANIES}
            """,
        )
        [(sampled, identified)] = connection.execute(f"select count(*), max(identified) from {sample}").fetchall()
        if not sampled:
            return Calibration(0, 0, 0, ())
        scores = score(
            without_identifiers(replace(tables, companies=sample)), result.weights, partner_share=result.partner_share
        )
        rows = connection.execute(
            f"""
            with best as (
                select company_id, source_row,
                       case when match_method = '{SAME_PLACE}' then probability  -- its weight is not in the odds
                            else $prior * pow(2, match_weight) / (1 + $prior * $recipients * odds) end as probability
                from {scores.judged} where place = 1
            ), known_organisations as (
                select distinct company_id, organisation from {scores.rivals} semi join {known}
                    using (company_id, source_row)
            ), answered as (
                select probability, k.organisation is not null as is_correct
                from best join {scores.rivals} using (company_id, source_row)
                left join known_organisations k using (company_id, organisation)
            )
            select least(floor(probability * {BINS} + 1e-9), {BINS - 1})::integer as bin, count(*), avg(probability),
                   count(*) filter (is_correct)
            from answered group by all order by bin
            """,
            {"prior": scores.prior_odds, "recipients": result.weights.recipients},
        ).fetchall()
    bins = tuple(
        CalibrationBin(number / BINS, (number + 1) / BINS, companies, round(mean, 4), correct)
        for number, companies, mean, correct in rows
    )
    judged = sum(item.companies for item in bins)
    return Calibration(identified, sampled, sampled - judged, bins)


def without_identifiers(tables: CandidateTables) -> CandidateTables:
    """Return the candidates of ``tables.companies`` as they would be without identifiers and human review decisions.

    Without its identifier, blocking would not have found a pair whose names have no word in common: it is left out.
    """
    connection, unknown = tables.connection, f"{Agreement.UNKNOWN}::tinyint"
    hidden = create_table(
        connection,
        "hidden",
        f"""
        select * replace ({unknown} as uei_agreement, {unknown} as duns_agreement)
        from {tables.candidates} semi join {tables.companies} using (company_id)
        where name_level <> {NameLevel.NOTHING_IN_COMMON}
        """,
    )
    overrides = store_table(connection, "overrides", OVERRIDE.empty_table())
    return replace(tables, candidates=hidden, overrides=overrides, parts=None)
