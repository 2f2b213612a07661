"""Measure the quality of a result, reconcile its rows, and judge it.

All quality figures of a run come from the metrics document made here. The verdict is a document with its numbers and
reasons. Neither contains a time or a host name, so equal results have equal documents. Does not cover time and memory
(``store.run_directory.StepReport``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

import duckdb

from enrich_dist.matching.decisions import IDENTIFIED_METHODS, METHODS, SAME_PLACE
from enrich_dist.results.reduce import STATUSES
from enrich_dist.results.reliability import describe
from enrich_dist.results.tables import fetch_rows

if TYPE_CHECKING:
    from enrich_dist.settings import Settings

# Identifiers on the award itself, not those that its company has from other awards.
_IDENTIFIER_TYPE = """
case when uei is not null and duns is not null then 'UEI and DUNS' when uei is not null then 'UEI only'
     when duns is not null then 'DUNS only' else 'none' end
"""
_GROUPS = {
    "agency": "coalesce(agency, '(none)')",
    "award_year": "coalesce(award_year::varchar, '(none)')",
    "state": "coalesce(state, '(none)')",
    "phase": "coalesce(phase, '(none)')",
    "program": "coalesce(program, '(none)')",
    "identifier_type": _IDENTIFIER_TYPE,
}
_PROBABILITY_BINS = 20
_MAX_SHARED, _MAX_HOLDERS = 20, 5


def measure(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return the quality metrics of the tables of a result.

    Rates are shares in [0, 1]; ``match_rate`` is awards with an accepted match over valid awards.
    """
    awards = count_by_status(connection, "enriched_awards")
    companies = count_by_status(connection, "company_matches")
    return {
        "match_rate": _rate(awards["matched"], awards["valid"]),
        "awards": awards,
        "companies": {**companies, "match_rate": _rate(companies["matched"], companies["valid"])},
        "by_method": _by_method(connection),
        "review_by_address": connection.execute(
            f"select count(*) from company_matches where match_status = 'review' and match_method = '{SAME_PLACE}'"
        ).fetchall()[0][0],
        "by": {name: _by_group(connection, expression) for name, expression in _GROUPS.items()},
        "probability_distribution": _probability_distribution(connection),
        "shared_identifiers": {
            "count": connection.execute("select count(*) from shared_identifiers").fetchall()[0][0],
            "listed": fetch_rows(
                connection,
                f"""select kind, identifier, side, names[:{_MAX_HOLDERS}] as names, len(names) as name_count, rows
                    from shared_identifiers order by rows desc, side, kind, identifier limit {_MAX_SHARED}""",
            ),
        },
        "rejects": fetch_rows(
            connection,
            """select source_file, outcome, "column", regexp_replace(reason, '[0-9]+', 'N', 'g') as reason,
                      count(*) as count
               from rejects group by all order by source_file, outcome, count desc, "column", reason""",
        ),
    }


def estimate_accuracy(connection: duckdb.DuckDBPyConnection, *, unreachable_share: float) -> dict[str, Any]:
    """Estimate precision and recall of the accepted matches, by company, with 95% intervals.

    Precision: expected correct matches (the sum of the match probabilities) over matches. Recall: expected correct
    matches over companies expected to have a partner, including the ``unreachable_share`` whose names have nothing in
    common with their partner's. Intervals: of a Beta posterior with Jeffreys' prior, with expected counts for counts
    (Brown, Cai and DasGupta 2001). They cover chance, not errors of the model. A share of nothing is null.
    """

    def expected(number: str, condition: str) -> str:
        return f"coalesce(sum(({number})::decimal(18, 6)) filter ({condition}), 0)::double"

    matched = "match_status = 'matched'"
    [(matches, correct, awards, correct_awards, identified, others)] = connection.execute(f"""
        select count(*) filter ({matched}), {expected("match_probability", matched)},
               coalesce(sum(award_count) filter ({matched}), 0),
               {expected("match_probability * award_count", matched)},
               {expected("partner_probability", f"match_method in {IDENTIFIED_METHODS}")},
               {expected("partner_probability", f"match_method not in {(*IDENTIFIED_METHODS, SAME_PLACE)}")}
        from company_matches
    """).fetchall()
    expected_partners = max(correct, identified + others / (1 - unreachable_share))
    return {
        "precision": _share_with_interval(correct, matches),
        "precision_by_award": round(correct_awards / awards, 6) if awards else None,
        "recall": _share_with_interval(correct, expected_partners),
        "expected_partners": round(expected_partners, 1),
        "unreachable_share": round(unreachable_share, 4),
    }


def _share_with_interval(part: float, whole: float) -> dict[str, float | None]:
    from scipy.special import betaincinv  # the quantile of scipy.stats.beta, which takes seconds to import

    if not whole:
        return {"estimate": None, "low": None, "high": None}
    low, high = (float(betaincinv(part + 0.5, whole - part + 0.5, level)) for level in (0.025, 0.975))
    return {"estimate": round(part / whole, 6), "low": round(low, 6), "high": round(high, 6)}


def reconcile(
    awards: Mapping[str, int],
    award_facts: Mapping[str, Any],
    plan_facts: Mapping[str, Any],
    *,
    chunks: list[tuple[int, int, int, int]],
    candidates_written: int,
    candidates_read: int,
) -> dict[str, Any]:
    """Compare rows read with rows accounted for.

    ``awards``: valid awards by status; ``award_facts``, ``plan_facts``: of the artifacts of awards and chunks;
    ``chunks``: per chunk the rows planned, rows with candidates, without, and quarantined; ``candidates_written``: by
    the records of the checkpoints; ``candidates_read``: by the reduce. Returns the sums, and ``differences``: one
    sentence per sum that does not balance.
    """
    statuses = {status: awards[status] for status in STATUSES}
    with_candidates, without, quarantined = (sum(chunk[part] for chunk in chunks) for part in (1, 2, 3))
    award_rows = {**statuses, "invalid": award_facts["rows_rejected"], "quarantined": 0}
    recipient_rows = {
        "with_candidates": with_candidates,
        "without_candidates": without,
        "invalid": plan_facts["rejected_rows"],
        "quarantined": quarantined,
    }
    if merged := plan_facts.get("merged_rows"):  # only sources with several rows per recipient
        recipient_rows["merged"] = merged
    awards_read, recipients_read = award_facts["rows_read"], plan_facts["source_rows"]
    differences = []
    for kind, read, rows in (("award", awards_read, award_rows), ("recipient", recipients_read, recipient_rows)):
        if read != (accounted := sum(rows.values())):
            differences.append(f"{read} {kind} rows were read, {accounted} are accounted for")
    for number, (planned, *parts) in enumerate(chunks):
        if planned != sum(parts):
            differences.append(f"chunk {number} was planned with {planned} rows, {sum(parts)} are accounted for")
    if candidates_read != candidates_written:
        differences.append(f"workers wrote {candidates_written} candidates, the reduce read {candidates_read}")
    return {
        "balanced": not differences,
        "differences": differences,
        "awards": {"read": awards_read, **award_rows},
        "recipients": {"read": recipients_read, **recipient_rows},
    }


@dataclass(frozen=True)
class Gate:
    """Limits of a result that may be published: shares in [0, 1]."""

    match_rate_threshold: float
    min_estimated_precision: float
    max_quarantined_share: float

    @classmethod
    def of(cls, settings: Settings) -> Gate:
        """Return the limits in the settings."""
        return cls(**{field.name: getattr(settings, field.name) for field in fields(cls)})


def judge(metrics: dict[str, Any], gate: Gate) -> dict[str, Any]:
    """Return the verdict: ``status`` "passed" or "blocked", ``reasons``, and all ``checks``.

    ``metrics``: the documents of ``measure``, ``estimate_accuracy`` with ``reliability.assess``
    ("accuracy"), ``reconcile`` ("reconciliation"), and
    "completeness".
    """
    rate, awards = metrics["match_rate"], metrics["awards"]
    precision = metrics["accuracy"]["precision"]["estimate"]
    differences = metrics["reconciliation"]["differences"]
    recipients = metrics["reconciliation"]["recipients"]
    quarantined_share = _rate(recipients["quarantined"], recipients["read"])
    missing = metrics["completeness"]["chunks_missing"]
    min_rate, min_precision, max_quarantined = astuple(gate)
    reasons = {
        "match_rate": f"{awards['matched']:,} of {awards['valid']:,} valid awards have an accepted match: match rate "
        + _compared(rate, "minimum", min_rate),
        "estimated_precision": "no match is accepted, so none is wrong"
        if precision is None
        else f"estimated precision {_compared(precision, 'minimum', min_precision)}"
        + (f", {doubt}" if (doubt := describe(metrics["accuracy"])) else ""),
        "reconciliation": "; ".join(differences) or "every row read is accounted for",
        "quarantined_share": f"{recipients['quarantined']:,} of {recipients['read']:,} recipients are quarantined: "
        + _compared(quarantined_share, "maximum", max_quarantined),
        "completeness": f"planned chunks missing from the result: {missing:,}"
        if missing
        else "every planned chunk is in the result",
    }
    precision = 1.0 if precision is None else precision
    outcomes = {  # whether it passed, value, threshold
        "match_rate": (rate >= min_rate, rate, min_rate),
        "estimated_precision": (precision >= min_precision, precision, min_precision),
        "reconciliation": (not differences, len(differences), 0),
        "quarantined_share": (quarantined_share <= max_quarantined, quarantined_share, max_quarantined),
        "completeness": (missing == 0, missing, 0),
    }
    checks = [
        {"name": name, "passed": passed, "value": value, "threshold": threshold, "reason": reasons[name]}
        for name, (passed, value, threshold) in outcomes.items()
    ]
    failed = [check for check in checks if not check["passed"]]
    return {
        "status": "blocked" if failed else "passed",
        "reasons": [check["reason"] for check in failed],
        "checks": checks,
    }


def get_check(verdict: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the check of this name."""
    return next(dict(check) for check in verdict["checks"] if check["name"] == name)


def _compared(value: float, limit_name: str, limit: float) -> str:
    """Format a share with its limit, with more decimals where one would hide the difference."""
    decimals = 1
    while decimals < 4 and round(value * 100, decimals) == round(limit * 100, decimals) and value != limit:
        decimals += 1
    return f"{value:.{decimals}%} ({limit_name} {limit:.{decimals}%})"


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


def count_by_status(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, int]:
    """Return the valid rows of a table, and those of each ``match_status``."""
    found = dict(connection.execute(f"select match_status, count(*) from {table} group by all").fetchall())
    counts = {status: int(found.get(status, 0)) for status in STATUSES}
    return {"valid": sum(int(count) for count in found.values()), **counts}


def _by_method(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    query = """select match_method as method, count(*) as companies, sum(award_count)::bigint as awards
               from company_matches where match_status = 'matched' group by all"""
    return sorted(fetch_rows(connection, query), key=lambda row: METHODS.index(row["method"]))


def _by_group(connection: duckdb.DuckDBPyConnection, expression: str) -> list[dict[str, Any]]:
    query = f"""select {expression} as value, count(*) as awards, count(*) filter (match_status = 'matched') as matched
                from enriched_awards group by all order by awards desc, value"""
    rows = fetch_rows(connection, query)
    return [{**row, "match_rate": _rate(row["matched"], row["awards"])} for row in rows]


def _probability_distribution(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Count companies with a candidate by match probability, in bins of 0.05."""
    bins = _PROBABILITY_BINS
    counts = ", ".join(f"count(*) filter (match_status = '{status}') as {status}" for status in STATUSES)
    return fetch_rows(
        connection,
        f"""select round(bin / {bins}, 2) as from_probability, round((bin + 1) / {bins}, 2) as to_probability, {counts}
            from range({bins}) bins(bin) left join company_matches
            on match_probability is not null and bin = least(floor(match_probability * {bins} + 1e-9), {bins - 1})
            group by bin order by bin""",
    )
