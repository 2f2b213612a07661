"""Find awards, companies and recipients of a result by id, number, key or name.

A request without a unique answer is refused with what to do next. Does not search for similar names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from enrich_dist.core.database import parquet_sql
from enrich_dist.errors import SettingsError
from enrich_dist.matching.normalise import normalise_names
from enrich_dist.results.reopen import ReopenedResult
from enrich_dist.results.tables import fetch_rows

_LISTED = 10


@dataclass(frozen=True)
class Award:
    """An award of the result."""

    award_id: str
    title: str | None
    agency: str | None
    phase: str | None
    year: int | None
    company_key: str


def find_awards(result: ReopenedResult, asked: str) -> list[Award]:
    """Return the awards with this award_id, agency tracking number or contract number: all of one company.

    Raises ``SettingsError`` when there is none, or when they belong to several companies.
    """
    rows = fetch_rows(
        result.connection,
        """
        select award_id, award_title as title, agency, phase, award_year as year, company_key from enriched_awards
        where lower(trim($asked)) in (award_id, lower(agency_tracking_number), lower(contract))
        order by award_year, source_row
        """,
        {"asked": asked},
    )
    awards = [Award(**row) for row in rows]
    if not awards:
        raise SettingsError(
            f"No valid award has the award_id, tracking number or contract number '{asked}'.",
            remedy="Use the award_id of enriched_awards.parquet; rejected rows are in rejects.csv.",
        )
    if len({award.company_key for award in awards}) > 1:
        listed = [f"{a.award_id}  {a.year or ''} {a.company_key}  {a.title or ''}"[:120].rstrip() for a in awards]
        raise SettingsError(
            f"'{asked}' names {len(awards)} awards of several companies. Choose one by its award_id, --award AWARD_ID:",
            details=_first(listed),
        )
    return awards


def find_company(result: ReopenedResult, asked: str) -> int:
    """Return the id of the company with this key or name. Raises ``SettingsError`` unless there is exactly one."""

    def select(condition: str) -> list[int]:
        query = f"select company_id from companies where {condition} order by award_count desc, company_id"
        return [number for (number,) in result.connection.execute(query, {"asked": asked.strip()}).fetchall()]

    if with_key := select("lower(company_key) = lower($asked)"):
        return with_key[0]
    names = result.index.names
    code = names.look_up(normalise_names(pa.array([asked], pa.string())))
    found: list[int] = names.companies.expand(code)[1].tolist() if code[0] >= 0 else []
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} companies have the name '{asked}'."
    if not found:
        found = select(
            "$asked <> '' and list_bool_or(list_transform(names, lambda name: contains(lower(name), lower($asked))))"
        )
        problem = f"No company has the key or name '{asked}'; {len(found)} have names that contain it."
    if found:
        raise SettingsError(
            f"{problem} Choose one by its key, --company KEY:", details=_first(_described(result, found))
        )
    raise SettingsError(
        f"No company has the key or name '{asked}'.",
        remedy="Keys and names are in the table companies of enrich_dist.duckdb.",
    )


def _described(result: ReopenedResult, company_ids: Sequence[int]) -> list[str]:
    query = """
        select company_key, name, locations[1].city, locations[1].state, award_count from companies
        where company_id in (select unnest($ids)) order by award_count desc, company_id
    """
    rows = result.connection.execute(query, {"ids": company_ids}).fetchall()
    return [f"{key}  {name}, {format_place(city, state)}, awards: {awards}" for key, name, city, state, awards in rows]


def _first(texts: Sequence[str]) -> list[str]:
    return [*texts[:_LISTED], *([f"and {len(texts) - _LISTED} more"] if len(texts) > _LISTED else [])]


def companies_with_candidate(result: ReopenedResult, asked: str) -> list[int]:
    """Return the companies with the recipient of this id, or one with this UEI, among their candidates.

    Raises ``SettingsError`` when there is none.
    """
    is_asked = "recipient_id = $asked or uei = upper($asked)"
    query = f"select distinct company_id from {result.tables.candidates} where {is_asked} order by company_id"
    if rows := result.connection.execute(query, {"asked": asked}).fetchall():
        return [number for (number,) in rows]
    files = sorted(result.plan.glob("[0-9]*.parquet"))
    query = f"select name, city, state from {parquet_sql(*files)} where {is_asked} limit 1"
    known = result.connection.execute(query, {"asked": asked}).fetchall() if files else []
    if not known:
        raise SettingsError(
            f"The run has no recipient with the id or UEI '{asked}'.",
            remedy="Use an id of the recipients file; rejected rows are in rejects.csv.",
        )
    name, city, state = known[0]
    raise SettingsError(
        f"The recipient '{asked}' ({name or 'no name'}, {format_place(city, state)}) is a candidate of no company.",
        remedy="No company shares an identifier or enough of its name. Explain a company instead: --company NAME.",
    )


def format_place(city: str | None, state: str | None, zip5: str | None = None) -> str:
    """Format a place in one line."""
    return " ".join(part for part in (city, state, zip5) if part) or "place unknown"
