"""Find the canonical columns in a source's headers: by the column map first, then by known headers.

Ignores case, spacing and punctuation; detects ambiguity; accepts columns that the user declares absent. Does not cover
types.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Final

from enrich_dist.errors import SourceError
from enrich_dist.sources.source_file import shown_names

_MAX_SHOWN_CHARACTERS: Final = 40
NAMELESS: Final = "column_"  # before the position of a column without header


@dataclass(frozen=True)
class Layout:
    """The columns of a reader.

    ``aliases``: every canonical column with its other known headers. ``required``: groups of columns, of which one must
    be found, or all be declared absent. ``indispensable``: columns that cannot be declared absent. ``setting`` and
    ``separator``: the prefix of a column's setting in messages. ``called``: names of columns in messages.
    ``exact_ids``: keep recipient_id byte for byte, also where it is a null word; else it is cleaned as other text.
    """

    setting: str
    aliases: Mapping[str, tuple[str, ...]]
    required: Sequence[tuple[str, ...]]
    indispensable: Collection[str]
    separator: str = "."
    called: Mapping[str, str] = field(default_factory=dict)
    exact_ids: bool = False

    def name(self, canonical: str) -> str:
        """Return the column's name in messages."""
        return self.called.get(canonical, canonical)

    def setting_of(self, canonical: str) -> str:
        """Return the setting that maps the column."""
        return f"{self.setting}{self.separator}{self.name(canonical)}"


AWARD_LAYOUT: Final = Layout(
    setting="inputs.award_columns",
    aliases={
        "company": ("company name", "firm", "firm name", "small business name"),
        "award_title": ("title", "proposal title"),
        "agency": ("agency name",),
        "branch": ("component",),
        "phase": ("award phase",),
        "program": ("award program",),
        "agency_tracking_number": ("agency tracking #", "agency tracking no"),
        "contract": ("contract number", "contract #"),
        "proposal_award_date": ("award start date", "award date"),
        "contract_end_date": ("award close date", "award end date"),
        "solicitation_number": ("solicitation #", "solicitation no"),
        "solicitation_year": (),
        "solicitation_close_date": (),
        "proposal_receipt_date": (),
        "date_of_notification": ("notification date",),
        "topic_code": ("topic",),
        "award_year": ("year", "fiscal year"),
        "award_amount": ("amount", "award amount ($)"),
        "uei": ("unique entity identifier", "unique entity id", "unique entity identifier (uei)", "sam uei"),
        "duns": ("duns number", "duns #", "duns no"),
        "hubzone_owned": ("hub zone owned",),
        "socially_and_economically_disadvantaged": ("socially and economically disadvantaged owned",),
        "woman_owned": ("women owned",),
        "number_employees": ("# employees", "number of employees", "employees"),
        "company_website": ("company url", "website"),
        "address1": ("address", "address line 1", "street"),
        "address2": ("address line 2",),
        "city": (),
        "state": ("state code",),
        "zip": ("zip code", "zip5", "postal code"),
    },
    required=(("company",), ("agency",), ("phase",), ("award_year",), ("uei", "duns"), ("city",), ("state",), ("zip",)),
    indispensable=("company",),
)

RECIPIENT_LAYOUT: Final = Layout(
    setting="inputs.recipient_columns",
    aliases={
        "recipient_id": ("recipient_hash",),
        "name": ("legal_business_name", "recipient_name", "legal_name", "company_name", "vendor_name"),
        "alternate_names": ("alternate_name", "dba_name", "doing_business_as", "recipient_doing_business_as_name"),
        "uei": ("recipient_uei", "sam_uei", "unique_entity_id", "unique_entity_identifier"),
        "duns": ("recipient_duns", "duns_number", "awardee_or_recipient_uniqu", "recipient_unique_id"),
        "parent_uei": ("recipient_parent_uei", "ultimate_parent_uei"),
        "parent_name": ("parent_legal_business_name", "recipient_parent_name", "parent_recipient_name"),
        "address_line_1": ("address1", "address", "street_address", "recipient_address_line_1"),
        "address_line_2": ("address2", "recipient_address_line_2"),
        "city": ("city_name", "recipient_city_name"),
        "state": ("state_code", "recipient_state_code"),
        "zip5": ("zip", "zip_code", "zip_plus_4", "postal_code", "recipient_zip_code", "recipient_zip_4_code"),
        "zip4": ("zip_last4", "zip_last_4", "recipient_zip_last_4_code"),
        "country_code": ("country", "recipient_country_code"),
        "congressional_district": (
            "recipient_congressional_district",
            "prime_award_transaction_recipient_cd_current",
            "prime_award_summary_recipient_cd_current",
        ),
    },
    required=(("name",), ("uei",), ("city",), ("state",), ("zip5",)),
    indispensable=("name",),
)


def resolve_columns(
    headers: Sequence[str], column_map: Mapping[str, str | None], layout: Layout, path: object
) -> dict[str, int]:
    """Return the position in ``headers`` of every canonical column that the source has.

    Raises ``SourceError`` when the map names unknown columns or headers, when a required column is neither found
    nor declared absent, or when two headers match one column.
    """
    found: dict[str, int] = {}
    for canonical, header in column_map.items():
        if canonical not in layout.aliases:
            names = [layout.name(column) for column in layout.aliases]
            remedy = _did_you_mean(canonical, names) or f"The columns are {', '.join(names)}."
            raise SourceError(f"{layout.setting} has the unknown column '{canonical}'.", path=path, remedy=remedy)
        column, setting = layout.name(canonical), layout.setting_of(canonical)
        if header is None:
            if canonical in layout.indispensable:
                problem, remedy = "must not be null: it is required for matching.", f"Set {setting} to its name."
                raise SourceError(problem, path=path, column=column, remedy=remedy)
            continue
        position = _position_of(header, setting, headers, path)
        other = next((name for name, taken in found.items() if taken == position), None)
        if other is not None:
            problem = f"{layout.setting} maps the header '{header}' to both {layout.name(other)} and {column}."
            remedy = "Map each column to a different header, or to null."
            raise SourceError(problem, path=path, column=header, remedy=remedy)
        found[canonical] = position

    taken_by_map = set(found.values())
    known = {
        plain_header(name): canonical
        for canonical, aliases in layout.aliases.items()
        if canonical not in column_map
        for name in (canonical, *aliases)
    }
    for position, header in enumerate(headers):
        name = known.get(plain_header(header))
        if name is None or position in taken_by_map:
            continue
        if name in found:
            column, setting = layout.name(name), layout.setting_of(name)
            problem = f"the headers '{headers[found[name]]}' and '{header}' both match {column}."
            remedy = f"Set {setting} to the one to use."
            if headers[found[name]] == header:
                problem = f"the columns {found[name] + 1} and {position + 1} have the same header '{header}'."
                remedy = "Rename one of them in the file."
            raise SourceError(problem, path=path, column=column, remedy=remedy)
        found[name] = position
    _require(found, column_map, headers, layout, path)
    return found


@cache
def known_headers() -> frozenset[str]:
    """Return the known headers of all layouts, as ``plain_header`` writes them."""
    layouts = (AWARD_LAYOUT, RECIPIENT_LAYOUT)
    names = {name for layout in layouts for canonical, known in layout.aliases.items() for name in (canonical, *known)}
    return frozenset(map(plain_header, (*names, "id")))


ColumnHeaders = tuple[dict[str, str], list[str]]
"""The header of each canonical column, in the order of the layout, and the headers without meaning."""


def name_headers(headers: Sequence[str], positions: Mapping[str, int], layout: Layout) -> ColumnHeaders:
    """Return what ``resolve_columns`` found, by names."""
    named = {name: headers[positions[name]] for name in layout.aliases if name in positions}
    return named, [header for at, header in enumerate(headers) if header and at not in positions.values()]


def merge_headers(found: Sequence[ColumnHeaders], layout: Layout) -> ColumnHeaders:
    """Return the different headers of several files of one source."""
    named = {
        name: ", ".join(dict.fromkeys(of_file[name] for of_file, _ in found if name in of_file))
        for name in layout.aliases
        if any(name in of_file for of_file, _ in found)
    }
    return named, list(dict.fromkeys(header for _, unmapped in found for header in unmapped))


def extra_names(headers: Sequence[str], taken: Collection[int], reserved: Collection[str]) -> dict[int, str]:
    """Return unique snake-case names for the headers at positions not in ``taken``, and none of ``reserved``."""
    used = set(reserved)
    names: dict[int, str] = {}
    for position, header in enumerate(headers):
        if position in taken:
            continue
        base = re.sub(r"[^0-9a-z]+", "_", header.lower().replace("#", " number ")).strip("_")
        base = base or f"{NAMELESS}{position + 1}"
        name, suffix = base, 2
        while name in used:
            name, suffix = f"{base}_{suffix}", suffix + 1
        used.add(name)
        names[position] = name
    return names


@lru_cache(maxsize=8192)  # a file's first cells are looked up again at each opening and for each delimiter
def plain_header(header: str) -> str:
    """Return the header without case, spaces and punctuation; ``#`` becomes "number"."""
    return re.sub(r"[\W_]+", "", header.casefold().replace("#", "number"))


def _position_of(header: str, setting: str, headers: Sequence[str], path: object) -> int:
    exact = [position for position, found in enumerate(headers) if found == header.strip()]
    similar = [position for position, found in enumerate(headers) if plain_header(found) == plain_header(header)]
    for positions in (exact, similar):
        if len(positions) == 1:
            return positions[0]
        if positions:
            problem = f"{setting} is set to '{header}', which the file has {len(positions)} times."
            raise SourceError(problem, path=path, column=header, remedy="Rename one of them in the file.")
    problem = f"{setting} is set to a column that the file does not have; it has {_shown(headers)}."
    remedy = _did_you_mean(header, headers) or f"Correct {setting}."
    raise SourceError(problem, path=path, column=header, remedy=remedy)


def _require(
    found: Mapping[str, int], column_map: Mapping[str, str | None], headers: Sequence[str], layout: Layout, path: object
) -> None:
    missing = [
        group
        for group in layout.required
        if not any(column in found for column in group) and not all(column in column_map for column in group)
    ]
    if not missing:
        return
    # All in one message, so that the user fixes them at once.
    to_set = [next(column for column in group if column not in column_map) for group in missing]
    wanted = ", for ".join(" or ".join(map(layout.name, group)) for group in missing)
    problem = f"no column for {wanted} among the headers {_shown(headers)}."
    columns, remedy = ", ".join(map(layout.name, to_set)), _how_to_name(to_set, missing[0], layout)
    raise SourceError(problem, path=path, column=columns, remedy=remedy)


def _how_to_name(columns: Sequence[str], group: Sequence[str], layout: Layout) -> str:
    """Return the remedy for missing columns; ``group``: the alternatives of the first one."""
    each = ", each to the name of its column" if len(columns) > 1 else " to the name of the column"
    how = f"Set {', '.join(map(layout.setting_of, columns))}{each}"
    needed = [layout.name(column) for column in columns if column in layout.indispensable]
    if len(needed) == len(columns):
        return f"{how}."
    if len(columns) == 1 and len(group) > 1:
        return f"{how}, or all of {' or '.join(map(layout.name, group))} to null."
    return f"{how}, or to null if the file has none{f' ({needed[0]} is required)' if needed else ''}."


def _did_you_mean(word: str, known: Collection[str]) -> str | None:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean '{close[0]}'?" if close else None


def _shown(headers: Sequence[str]) -> str:
    return shown_names([f"'{header[:_MAX_SHOWN_CHARACTERS]}'" for header in headers])
