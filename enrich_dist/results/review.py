"""Export candidates for clerical review, and import the decisions.

Covers which candidates a sheet has, their order and evidence, and the overrides (``schema.OVERRIDE``) made from a
filled sheet, which every later reduce applies. Does not cover how a sheet is read and checked (``review_sheet``) nor
how decisions are merged and weighed (``overrides``, ``scoring``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.core.database import connect, parquet_sql, read_parquet
from enrich_dist.core.files import atomic_path
from enrich_dist.core.owned_files import require_replaceable
from enrich_dist.core.table_files import write_table
from enrich_dist.errors import SourceError, StateError
from enrich_dist.results import overrides, review_sheet
from enrich_dist.results.build import ResultInputs, open_candidates, score_candidates
from enrich_dist.results.former_names import former_names_sql
from enrich_dist.results.organisations import chosen_sql, members_sql
from enrich_dist.results.tables import store_table
from enrich_dist.schema import AddressLevel, Agreement, Level, NameLevel, PlaceLevel, SiblingLevel, StreetLevel
from enrich_dist.store.run_directory import Output, RunDirectory

ORGANISATIONS = 3
"""Maximum candidates per company, each of another organisation."""
_PLACES = 3
_MEMBERS = 20


@dataclass(frozen=True)
class ExportedSheet:
    """Companies and candidates (rows) in the sheet, and all companies in review."""

    companies: int
    candidates: int
    waiting: int


def export_sheet(
    directory: RunDirectory, inputs: ResultInputs, out: Path, *, limit: int | None = None
) -> ExportedSheet:
    """Write the best candidates of every company in status review, by expected gain.

    The gain of a decision is the number of awards times the probability that they get a match. Companies decided since
    the latest result are left out. Raises ``StateError`` when ``out`` has decisions that are not stored.
    """
    matches = directory.output(Output.RESULT) / "company_matches.parquet"
    with connect(scratch=directory.scratch) as connection:
        _require_decisions_stored(connection, out, inputs.overrides)
        scores, _ = score_candidates(open_candidates(connection, inputs), inputs, places=ORGANISATIONS)
        connection.execute(
            f"""
            create temp table waiting as
            select company_id, round(probability * award_count, 9) as gain
            from {scores.judged} join companies using (company_id)
            where place = 1 and match_method <> 'review'
              and company_key in (
                  select company_key from {parquet_sql(matches)} where match_status = 'review')
            """
        )
        chosen = chosen_sql(scores.rivals, scores.judged, places=ORGANISATIONS)
        weighed = scores.weigh_rows(
            f"select company_id, source_row from ({chosen}) semi join waiting using (company_id)"
        )
        [(waiting,)] = connection.execute("select count(*) from waiting").fetchall()
        limited = "" if limit is None else f"limit {limit}"
        sheet = connection.sql(f"""
            with chosen as (
                select waiting.* from waiting join companies using (company_id)
                order by gain desc, company_key {limited}
            )
            select null::varchar as decision, null::varchar as other_recipient_id, company_key, recipient_id,
                   probability as match_probability, match_weight, award_count,
                   companies.name as company_name,
                   w.name as recipient_name,
                   {_COMPANY_PLACES} as company_places,
                   {_RECIPIENT_PLACE} as recipient_place,
                   evidence || if(evidence_id <> recipient_id, ' of ' || evidence_id, '') as evidence,
                   other_names_at_address,
                   array_to_string(list_filter(members, lambda member: member <> recipient_id)[1:{_MEMBERS}], '; ')
                   as same_organisation, array_to_string(ueis, '; ') as company_ueis, uei as recipient_uei
            from chosen join {scores.judged} using (company_id)
            join (select company_id, source_row, organisation from {scores.rivals}) using (company_id, source_row)
            join ({members_sql(chosen, weighed)}) m using (company_id, organisation)
            join (
                select company_id, source_row as published_row, recipient_id, name, uei, address_line_1, address_line_2,
                       city, state, zip5, country_code from {weighed}
            ) w using (company_id, published_row)
            join (
                select company_id, source_row, recipient_id as evidence_id,
                       {evidence_sql(former_names_sql())} as evidence,
                       case when address_level > {AddressLevel.DIFFERENT}
                            then address_names + address_companies - 1 end as other_names_at_address
                from {weighed}
            ) using (company_id, source_row)
            join companies using (company_id)
            where place <= {ORGANISATIONS}
            order by gain desc, company_key, place
        """).to_arrow_table()
    write_table(sheet, out, byte_order_mark=True)
    return ExportedSheet(min(waiting, limit or waiting), len(sheet), int(waiting))


def import_sheet(directory: RunDirectory, inputs: ResultInputs, path: Path) -> overrides.MergedDecisions:
    """Validate a filled sheet and store its decisions with the earlier ones: all of them, or none.

    Raises ``SourceError`` with the position of the errors in the sheet.
    """
    sheet = review_sheet.read_sheet(path)
    matches = directory.output(Output.RESULT) / "company_matches.parquet"
    with connect(scratch=directory.scratch) as connection:
        review_sheet.create_pairs(connection, sheet)
        candidates = open_candidates(connection, inputs).candidates
        read_parquet(connection, [matches]).project("company_key").create("known_companies")
        # An earlier decision may be changed, even where a later run no longer has the candidate.
        connection.execute(f"""
            create temp table candidate_pairs as
            select distinct company_key, recipient_id from {candidates} join companies using (company_id)
            semi join pairs using (company_key, recipient_id)
            union
            select company_key, recipient_id from overrides
        """)
        others = connection.sql(
            "select distinct recipient_id from pairs where \"column\" = 'other_recipient_id'"
        ).to_arrow_table()
        found = overrides.find_recipients(connection, inputs.plan.path, others["recipient_id"])
        connection.from_arrow(found).project("recipient_id").create("recipients")
        merged = overrides.merge_decisions(
            connection, inputs.overrides, review_sheet.validate_decisions(connection, path)
        )
    with atomic_path(directory.overrides) as temporary:
        pq.write_table(merged.table.replace_schema_metadata(None), temporary, compression="zstd")
    return merged


def evidence_sql(former_names: str) -> str:
    """Return the SQL expression for the evidence of a weighed candidate in words, with its bits.

    ``former_names``: expression of its former names (``former_names_sql``).
    """
    name_kind = "['', 'alternate ', 'former ', 'parent''s '][name_kind + 1]"
    name = (
        f"case when name_level = {NameLevel.EQUAL} then {name_kind} || 'name equal' "
        f"else {name_kind} || 'names with ' || {_words(NameLevel)}[name_level + 1] end"
    )
    parts = [
        f"{name} || {_bits('name')}",
        f"'called ' || {former_names} || ' in award downloads'",
        f"case when sibling_level <> {SiblingLevel.NONE} "
        f"then {_words(SiblingLevel)}[sibling_level + 1] || {_bits('sibling')} end",
        f"case when place_level = {PlaceLevel.UNKNOWN} then 'place unknown' "
        f"else {_words(PlaceLevel)}[place_level + 1] || {_bits('place')} end",
        f"case when street_level <> {StreetLevel.UNKNOWN} and street_weight <> 0 "
        f"then {_words(StreetLevel)}[street_level + 1] || {_bits('street')} end",
        f"case when address_level > {AddressLevel.DIFFERENT} and name_level <= {NameLevel.DIFFERENT_WORDS} "
        f"then {_words(AddressLevel)}[address_level + 1] end",
        *(
            f"case {identifier}_agreement "
            f"when {Agreement.AGREE} then '{identifier.upper()} agrees' || {_bits(identifier)} "
            f"when {Agreement.CONFLICT} then '{identifier.upper()} differs' || {_bits(identifier)} end"
            for identifier in ("uei", "duns")
        ),
    ]
    return f"concat_ws(', ', {', '.join(parts)})"


def _words(levels: type[Level]) -> str:
    return "[" + ", ".join("'" + label.replace("'", "''") + "'" for label in levels.labels()) + "]"


def _bits(comparison: str) -> str:
    return f"printf(' (%+.1f)', {comparison}_weight)"


def _place(street: str, city: str, state: str, zip5: str, *further: str) -> str:
    return f"concat_ws(', ', {street}, {city}, nullif(concat_ws(' ', {state}, {zip5}), ''){''.join(further)})"


_COMPANY_PLACES = (
    f"array_to_string([{_place('l.address', 'l.city', 'l.state', 'l.zip5')} for l in locations[1:{_PLACES}]], '; ')"
)
_RECIPIENT_PLACE = _place(
    "nullif(concat_ws(' ', address_line_1, address_line_2), '')",
    "city",
    "state",
    "w.zip5",
    ", case when country_code not in ('US', 'USA') then country_code end",
)


def _require_decisions_stored(connection: duckdb.DuckDBPyConnection, out: Path, stored: pa.Table) -> None:
    require_replaceable(out, option="--out", is_ours=lambda _: True)  # its content is checked below
    if not out.exists():
        return
    try:
        review_sheet.create_pairs(connection, review_sheet.read_sheet(out))
    except SourceError as error:
        raise StateError(
            f"{out} exists and is not a review sheet ({error.message})", remedy="Name another file with --out."
        ) from error
    kept = store_table(connection, "stored", stored)
    if lost := len(connection.sql(f"from pairs anti join {kept} using (company_key, recipient_id, decision)")):
        raise StateError(
            f"{out} has {lost:,} decisions that are not stored.",
            remedy=f"Store them first with `enrich-dist review import {out}`, or name another file with --out.",
        )
