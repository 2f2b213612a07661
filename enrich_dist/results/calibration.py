"""How honest the match probabilities of a run are, where the run itself knows the answer.

A company that shares a UEI or DUNS with a recipient has a known partner. The identifiers are hidden, what is left is
judged as always, and the best candidate by name and place is held against the known partner. All such companies have a
partner, which not all companies have: low probabilities come out a little too low. Covers the latest result, from the
checkpoints of its run. Does not cover planted truth and labels (``scripts/measure_accuracy.py``).
"""

from __future__ import annotations

from dataclasses import dataclass

from enrich_dist.core.database import DRIVER_MEMORY_MB, connect
from enrich_dist.results import reduce
from enrich_dist.results.reopen import ReopenedResult, reopen_result
from enrich_dist.schema import Agreement, NameLevel
from enrich_dist.store.run_directory import RunDirectory

BINS = 10
# Enough for intervals of two per cent; a run of any size then takes a second for it.
MAX_COMPANIES = 5_000


@dataclass(frozen=True)
class CalibrationBin:
    """Companies whose best candidate has a probability within a tenth: the mean of these, and how many were correct."""

    from_probability: float
    to_probability: float
    companies: int
    mean_probability: float
    correct: int


@dataclass(frozen=True)
class Calibration:
    """``identified``: companies that share an identifier with a recipient; ``companies``: those of them that were
    judged (all, or a fixed sample); ``without_candidate``: with nothing left once the identifiers are hidden."""

    identified: int
    companies: int
    without_candidate: int
    bins: tuple[CalibrationBin, ...]


def measure_calibration(directory: RunDirectory) -> Calibration:
    """Judge the latest result's companies of known partner with their identifiers hidden.

    Raises ``StateError`` when the result's checkpoints are not there any more.
    """
    with reopen_result(directory) as result:
        return _measure(result)


def _measure(result: ReopenedResult) -> Calibration:
    known = f"""
        select company_id, source_row from candidates
        where uei_agreement = {Agreement.AGREE} or duns_agreement = {Agreement.AGREE}
    """
    # By the hash of their key: the same companies in every run, whatever their order.
    companies = result.connection.sql(
        f"""
        select company_id, count(*) over () as identified
        from companies where company_id in (select company_id from ({known}))
        order by hash(company_key), company_key limit {MAX_COMPANIES}
        """
    ).to_arrow_table()
    if not len(companies):
        return Calibration(0, 0, 0, ())
    identified = int(companies["identified"][0].as_py())
    result.connection.register("chosen", companies)
    unknown = f"{Agreement.UNKNOWN}::tinyint"
    tables = {
        "known": f"from ({known}) semi join chosen using (company_id)",
        "candidates": f"select * replace ({unknown} as uei_agreement, {unknown} as duns_agreement) "
        # Without its identifier, a pair whose names have nothing in common would not have been found.
        f"from candidates semi join chosen using (company_id) where name_level <> {NameLevel.NOTHING_IN_COMMON}",
        "companies": "from companies semi join chosen using (company_id)",
        "overrides": "from overrides limit 0",
    }
    with connect(memory_mb=DRIVER_MEMORY_MB, scratch=result.scratch) as connection:
        for name, query in tables.items():
            connection.from_arrow(result.connection.sql(query).to_arrow_table()).create(name)
        result.connection.unregister("chosen")
        reduce.create_scored(connection, result.weights)
        reduce.judge_organisations(connection, result.weights.recipients)
        rows = connection.execute(
            f"""
            with best as (
                select company_id, source_row,
                       $prior * pow(2, match_weight) / (1 + $prior * $recipients * odds) as probability
                from organisations where place = 1
            ), known_organisations as (
                select distinct company_id, organisation from rivals semi join known using (company_id, source_row)
            ), answered as (
                select probability, k.organisation is not null as is_correct
                from best join rivals using (company_id, source_row)
                left join known_organisations k using (company_id, organisation)
            )
            select least(floor(probability * {BINS} + 1e-9), {BINS - 1})::integer as bin, count(*), avg(probability),
                   count(*) filter (is_correct)
            from answered group by all order by bin
            """,
            {"prior": result.prior_odds, "recipients": result.weights.recipients},
        ).fetchall()
    bins = tuple(
        CalibrationBin(number / BINS, (number + 1) / BINS, int(count), round(float(mean), 4), int(right))
        for number, count, mean, right in rows
    )
    judged = sum(item.companies for item in bins)
    return Calibration(identified, len(companies), len(companies) - judged, bins)
