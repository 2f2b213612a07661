"""Companies of a result without an accepted match, and the distribution of the match weights.

Both are read from ``company_matches.parquet``. Does not cover further candidates of a company (``explain``) nor the
review sheet (``review``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from enrich_dist.core.database import connect, read_parquet
from enrich_dist.matching.decisions import CONFIRMED_BITS
from enrich_dist.results.review import evidence_sql

BIN_BITS = 2


@dataclass(frozen=True)
class UnresolvedCompany:
    """A company without an accepted match; the candidate's fields are None where it has no candidate."""

    company_key: str
    company: str
    awards: int
    status: str
    candidate: str | None
    candidate_place: str | None
    probability: float | None
    evidence: str | None


@dataclass(frozen=True)
class WeightBin:
    """Companies by the weight of their best candidate, in bits."""

    from_bits: int
    to_bits: int
    matched: int
    review: int
    unmatched: int


@dataclass(frozen=True)
class UnresolvedCompanies:
    """Companies without an accepted match, at most ``limit`` of each kind; ``*_total`` counts all.

    ``with_candidate``: by expected gain (awards times probability); ``without_candidate``: by number of awards.
    """

    with_candidate: tuple[UnresolvedCompany, ...]
    with_candidate_total: int
    without_candidate: tuple[UnresolvedCompany, ...]
    without_candidate_total: int
    weights: tuple[WeightBin, ...]


def read_unresolved(result: Path, scratch: Path, *, limit: int) -> UnresolvedCompanies:
    """Read a result directory; at most ``limit`` companies of either kind."""
    with connect(scratch=scratch) as connection:
        read_parquet(connection, [result / "company_matches.parquet"]).create_view("m")
        undecided, with_candidate_total = _companies(
            connection, "recipient_id is not null", "award_count * match_probability desc", limit
        )
        nothing, nothing_total = _companies(connection, "recipient_id is null", "award_count desc", limit)
        weights = connection.execute(
            f"""
            select (floor(match_weight / {BIN_BITS}) * {BIN_BITS})::integer as from_bits, from_bits + {BIN_BITS},
                   count(*) filter (match_status = 'matched'), count(*) filter (match_status = 'review'),
                   count(*) filter (match_status = 'unmatched')
            from m where match_weight < {CONFIRMED_BITS} group by 1 order by 1
            """
        ).fetchall()
    return UnresolvedCompanies(
        undecided,
        with_candidate_total,
        nothing,
        nothing_total,
        tuple(WeightBin(*row) for row in weights),
    )


def _companies(
    connection: duckdb.DuckDBPyConnection, condition: str, order: str, limit: int
) -> tuple[tuple[UnresolvedCompany, ...], int]:
    rows: list[tuple[Any, ...]] = connection.execute(
        f"""
        select company_key, coalesce(company_name, ''), award_count, match_status, recipient_name,
               nullif(concat_ws(', ', recipient_city, recipient_state), ''), match_probability,
               case when recipient_id is not null then {evidence_sql("recipient_former_names")} end, count(*) over ()
        from m where match_status <> 'matched' and {condition}
        order by {order}, company_key limit {limit}
        """
    ).fetchall()
    return tuple(UnresolvedCompany(*row) for *row, _ in rows), rows[0][-1] if rows else 0
