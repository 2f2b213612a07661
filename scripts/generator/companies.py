"""Companies for generated recipients: 70% are a recipient with the errors of real records, 30% have no partner.

The name of a partner is the recipient's own except for style, or changed by one of ``NAME_ERRORS``, or another name.
Its place is the recipient's, or differs from it as often as in real records; if the recipient has no place, the company
has one, as every real award has. Identifiers are independent of all that. Companies without a partner have new names;
some resemble a recipient. The columns ``kind`` and ``decoy`` describe each company.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scripts.generator import shares
from scripts.generator.draws import (
    DIGITS,
    Flags,
    Ints,
    Keys,
    chance,
    codes,
    column,
    duns,
    flags,
    keys_of,
    mix,
    ueis,
    where,
)
from scripts.generator.errors import NAME_ERRORS, assign, respell_legal, respell_marks, space_initials
from scripts.generator.names import NameModel, split_legal
from scripts.generator.places import Places
from scripts.generator.recipients import Models

Place = dict[str, pa.Array]
PLACE: Final = ("address", "city", "state", "zip5", "zip4")
SAME, NONE, ALTERNATE = "same", "none", "alternate"


def make_companies(taken: pa.Table, partners: int, seed: int, models: Models, *, recipients: int) -> pa.Table:
    """Return a company per recipient of ``taken``: the first ``partners`` are copies, the others have no partner.

    ``recipients``: number of all recipients.

    Columns: ``company`` (its id), ``partner_*`` (null without a partner), ``kind``, ``decoy``, ``evidence`` (the name
    identifies the partner), ``name``, ``PLACE``, ``uei``, ``duns``, and ``second_*``, the name and place of some of its
    awards (equal to the first where they do not differ).
    """
    keys = keys_of(np.arange(len(taken)), seed, "company")
    is_partner = np.arange(len(taken)) < partners
    home = _homes(keys, taken, models.places)
    copies = _partners(keys[:partners], taken.slice(0, partners), _slice(home, 0, partners), models)
    others = _without_partner(
        keys[partners:],
        taken.slice(partners),
        _slice(home, partners, len(taken) - partners),
        models,
        shares.decoys(recipients),
    )
    company = pa.concat_tables([copies, others])
    company = company.append_column("company", codes_of_companies(len(taken)))
    for name in ("recipient_hash", "uei", "parent_uei", "legal_business_name"):
        company = company.append_column(f"partner_{name}", where(is_partner, column(taken, name)))
    company = _with_identifiers(keys, company, taken, is_partner)
    return _with_second_version(keys, company, models)


def codes_of_companies(count: int) -> pa.Array:
    """Return the ids of companies: C000001 and so on."""
    numbers = pc.utf8_lpad(pa.array(np.arange(1, count + 1)).cast(pa.string()), width=6, padding="0")
    return pc.binary_join_element_wise("C", numbers, "")


def _homes(keys: Keys, taken: pa.Table, places: Places) -> Place:
    """The recipients' places without gaps: with a ZIP code and a street, or anywhere if the recipient has no place."""
    city, state, zip5 = (column(taken, name) for name in ("city", "state", "zip5"))
    known = flags(pc.is_valid(city)) & flags(pc.is_valid(state))
    anywhere = places.draw_domestic(mix(keys, "home"))
    city, state = where(known, city, anywhere["city"]), where(known, state, anywhere["state"])
    zip5 = pc.coalesce(where(known, zip5), places.zip_in(keys, city, state), anywhere["zip5"])
    zip5 = where(known, zip5, anywhere["zip5"])
    address = pc.coalesce(where(known, column(taken, "address_line_1")), places.street(mix(keys, "home street")))
    zip4 = pc.coalesce(where(known, column(taken, "zip4")), codes(keys, "home zip4", *[DIGITS] * 4))
    return {"address": address, "city": city, "state": state, "zip5": zip5, "zip4": zip4}


def _partners(keys: Keys, taken: pa.Table, home: Place, models: Models) -> pa.Table:
    name, name_kind, evidence = _names(keys, taken, models.names)
    # A cut name has lost its legal form, and an alternate name is used as it is.
    styled = evidence & ~flags(pc.is_in(name_kind, value_set=pa.array(["cut", ALTERNATE])))
    name, style_kind = _styled(keys, name, styled)
    place, place_kind = _moved(keys, home, models.places)
    no_zip = flags(pc.is_null(taken["zip5"]))
    place_kind = where(no_zip & flags(pc.equal(place_kind, "zip")), pa.repeat("street", len(keys)), place_kind)
    unknown = flags(pc.is_null(taken["city"])) | flags(pc.is_null(taken["state"]))
    # If the recipient has no place, the company cannot differ from it.
    place_kind = where(unknown, pa.repeat("no_place", len(keys)), place_kind)
    kind = pc.binary_join_element_wise(name_kind, style_kind, place_kind, "+")
    kind = pc.utf8_trim(pc.replace_substring_regex(kind, r"\++", "+"), "+")
    kind = where(flags(pc.equal(kind, "")), pa.repeat(SAME, len(keys)), kind)
    return pa.table({"kind": kind, "decoy": _nulls(keys), "evidence": evidence, "name": name, **place})


def _names(keys: Keys, taken: pa.Table, model: NameModel) -> tuple[pa.Array, pa.Array, Flags]:
    """The partners' names, the kinds of error in them, and whether they still identify the partner."""
    names = column(taken, "legal_business_name")
    alternate = _first_alternate(taken)
    has_alternate = flags(pc.is_valid(alternate)) & chance(keys, "bears alternate", shares.ALTERNATE_USED_SHARE)
    changed = {kind: error.change(mix(keys, kind), names, model) for kind, error in NAME_ERRORS.items()}
    eligible = {kind: flags(pc.not_equal(other, names)) & ~has_alternate for kind, other in changed.items()}
    weights = {kind: shares.VARIANT_SHARE * weight for kind, weight in shares.VARIANT_KINDS.items()}
    total = sum(shares.VARIANT_KINDS.values())
    counts = {kind: round(len(names) * weight / total) for kind, weight in weights.items()}
    counts["renamed"] = round(len(names) * shares.RENAMED_SHARE)
    which = assign(mix(keys, "name error"), eligible, counts)
    evidence = np.ones(len(names), dtype=bool)
    name, kind = where(has_alternate, alternate, names), _empty(keys)
    kind = where(has_alternate, pa.repeat(ALTERNATE, len(keys)), kind)
    for number, label in enumerate(counts):
        name = where(which == number, changed[label], name)
        kind = where(which == number, pa.repeat(label, len(names)), kind)
        evidence[which == number] = NAME_ERRORS[label].keeps_evidence
    return name, kind, evidence


def _first_alternate(taken: pa.Table) -> pa.Array:
    """The first alternate name of each recipient, or null."""
    lists = taken["alternate_names"].combine_chunks()
    has = flags(pc.greater(pc.list_value_length(lists), 0))
    return pc.replace_with_mask(
        pa.nulls(len(lists), pa.string()), pa.array(has), pc.list_element(lists.filter(pa.array(has)), 0)
    )


def _styled(keys: Keys, names: pa.Array, mask: Flags) -> tuple[pa.Array, pa.Array]:
    """Names in another style where the mask is true: legal form, punctuation or spaced initials."""
    kind = _empty(keys)
    marks_end = shares.LEGAL_SHARE + shares.MARKS_SHARE
    legal = chance(keys, "style", shares.LEGAL_SHARE)
    marks = chance(keys, "style", marks_end) & ~legal
    spaced = space_initials(names)
    # Few names have initials to space; the share is of all names.
    possible = flags(pc.not_equal(spaced, names)) & ~legal & ~marks & mask
    some = shares.SPACED_SHARE * len(keys) / max(int(possible.sum()), 1)
    for label, other, chosen in (
        ("legal_form", respell_legal(keys, names), legal),
        ("punctuation", respell_marks(keys, names), marks),
        ("spacing", spaced, possible & chance(keys, "spaced", some)),
    ):
        applied = chosen & mask & flags(pc.not_equal(other, names))
        names = where(applied, other, names)
        kind = where(applied, pa.repeat(label, len(keys)), kind)
    return names, kind


def _moved(keys: Keys, home: Place, places: Places) -> tuple[Place, pa.Array]:
    """Places that differ from the recipients' as often as real ones, and the kind of difference."""
    far = chance(keys, "moved", shares.OTHER_STATE_SHARE)
    away = chance(keys, "moved", shares.OTHER_STATE_SHARE + shares.OTHER_CITY_SHARE)
    zip_moved = ~away & chance(keys, "zip moved", shares.OTHER_ZIP_SHARE)
    street_moved = ~away & ~zip_moved & chance(keys, "street moved", shares.OTHER_STREET_SHARE)
    place = _move(keys, home, far, away, zip_moved, street_moved, places)
    # The actual move: if the sample has no other town in the state, the move is further.
    far = flags(pc.not_equal(place["state"], home["state"]))
    away = (far | flags(pc.not_equal(place["city"], home["city"]))) & away
    kind = _empty(keys)
    for label, mask in (("city", away), ("state", far), ("zip", zip_moved), ("street", street_moved)):
        kind = where(mask, pa.repeat(label, len(keys)), kind)
    return place, kind


def _move(
    keys: Keys, home: Place, far: Flags, away: Flags, zip_moved: Flags, street_moved: Flags, places: Places
) -> Place:
    near = away & ~far & chance(keys, "near", shares.NEAR_SHARE)
    there = places.elsewhere(mix(keys, "elsewhere"), home["city"], home["state"], home["zip5"], near, far)
    in_town = places.zip_in(mix(keys, "zip in town"), home["city"], home["state"])
    in_town = pc.coalesce(in_town, home["zip5"])
    ending = codes(keys, "zip digits", DIGITS, DIGITS)
    unchanged = flags(pc.equal(in_town, home["zip5"]))
    other_ending = pc.binary_join_element_wise(pc.utf8_slice_codeunits(in_town, 0, 3), ending, "")
    in_town = where(unchanged, other_ending, in_town)
    new_street = away | zip_moved | street_moved
    return {
        "address": where(new_street, places.street(mix(keys, "new street")), home["address"]),
        "city": where(away, there["city"], home["city"]),
        "state": where(away, there["state"], home["state"]),
        "zip5": where(away, there["zip5"], where(zip_moved, in_town, home["zip5"])),
        "zip4": where(new_street, codes(keys, "new zip4", *[DIGITS] * 4), home["zip4"]),
    }


def _without_partner(keys: Keys, taken: pa.Table, home: Place, models: Models, decoys: Mapping[str, float]) -> pa.Table:
    """Companies without a partner; some resemble the recipient in their row of ``taken``."""
    ends = np.cumsum(list(decoys.values()))
    label = np.searchsorted(ends, np.arange(len(keys)) / max(len(keys), 1), side="right")
    near_name, same_street, same_name = (label == number for number in range(len(decoys)))
    theirs = column(taken, "legal_business_name")
    name = where(same_name, theirs, where(near_name, _near_names(keys, theirs, models.names), models.names.coin(keys)))
    anywhere = models.places.draw_domestic(mix(keys, "place"))
    away = models.places.elsewhere(
        mix(keys, "far"), home["city"], home["state"], home["zip5"], np.zeros(len(keys), bool), np.ones(len(keys), bool)
    )
    new_street = models.places.street(mix(keys, "own street"))
    zip4 = codes(keys, "own zip4", *[DIGITS] * 4)
    place: Place = {
        "address": where(same_street, home["address"], new_street),
        "zip4": where(same_street, home["zip4"], zip4),
    }
    stays = near_name | same_street
    for part in ("city", "state", "zip5"):
        place[part] = where(stays, home[part], where(same_name, away[part], anywhere[part]))
    decoy = _nulls(keys)
    for number, kind in enumerate(decoys):
        decoy = where(label == number, pa.repeat(kind, len(keys)), decoy)
    return pa.table(
        {
            "kind": pa.repeat(NONE, len(keys)),
            "decoy": decoy,
            "evidence": np.zeros(len(keys), bool),
            "name": name,
            **{part: place[part] for part in PLACE},
        }
    )


def _near_names(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Names with another first word, or (one in two) another end after the same first word."""
    first = pc.replace_substring_regex(names, " .*$", "")
    core, _ = split_legal(names)
    rest = pc.replace_substring_regex(names, "^[^ ]+", "")
    other_first = pc.binary_join_element_wise(model.beginnings(keys), rest, "")
    ends = pc.replace_substring_regex(model.coin(mix(keys, "end"), words_after=np.ones(len(keys), bool)), "^[^ ]+", "")
    other_end = pc.binary_join_element_wise(pc.utf8_rtrim(first, ","), ends, "")
    has_rest = flags(pc.match_substring(core, " "))
    return where(has_rest & chance(keys, "near by first", 0.5), other_first, other_end)


def _with_identifiers(keys: Keys, company: pa.Table, taken: pa.Table, is_partner: Flags) -> pa.Table:
    """With the partner's UEI and DUNS, or new ones without a partner, equally sparse and independent of errors."""
    for name, share, held, make in (
        ("uei", shares.COMPANY_UEI_SHARE, shares.UEI_SHARE, ueis),
        ("duns", shares.COMPANY_DUNS_SHARE, shares.DUNS_SHARE, duns),
    ):
        has_identifier = chance(keys, f"bears {name}", np.where(is_partner, share / held, share))
        values = where(is_partner, column(taken, name), make(mix(keys, "own identifier")))
        company = company.append_column(name, where(has_identifier, values))
    return company


def _with_second_version(keys: Keys, company: pa.Table, models: Models) -> pa.Table:
    """With the name and place of other awards of the same company."""
    second = mix(keys, "second version")
    name = column(company, "name")
    fresh = NAME_ERRORS["word_swapped"].change(second, name, models.names)
    fresh = where(flags(pc.equal(fresh, name)), NAME_ERRORS["word_added"].change(second, name, models.names), fresh)
    another = where(chance(second, "renamed", 0.5), models.names.coin(second), fresh)
    style = where(chance(second, "legal", 0.3), respell_legal(second, name), respell_marks(second, name))
    other_name = chance(second, "name", shares.AWARDS_OTHER_NAME_SHARE)
    other_style = chance(second, "restyled", shares.AWARDS_OTHER_STYLE_SHARE)
    name = where(other_name, another, where(other_style, style, name))
    far = chance(second, "moved", shares.AWARDS_OTHER_STATE_SHARE)
    away = chance(second, "moved", shares.AWARDS_OTHER_STATE_SHARE + shares.AWARDS_OTHER_CITY_SHARE)
    street = ~away & chance(second, "street", shares.AWARDS_OTHER_STREET_SHARE)
    home: Place = {part: column(company, part) for part in PLACE}
    place = _move(second, home, far, away, np.zeros(len(keys), bool), street, models.places)
    for part, values in {"name": name, **place}.items():
        company = company.append_column(f"second_{part}", values)
    return company


def partner_rows(foreign: Flags, count: int, seed: int) -> Ints:
    """Return the recipient rows of ``count`` companies: random domestic ones, then others."""
    order = np.argsort(keys_of(np.arange(len(foreign)), seed, "taken"), kind="stable")
    return np.asarray(np.concatenate([order[~foreign[order]], order[foreign[order]]])[:count])


def second_versions(keys: Keys, first: Flags) -> Flags:
    """Return which awards have the second version: half of those that are not the first of their company."""
    return ~first & chance(keys, "version", 0.5)


def _slice(place: Place, start: int, length: int) -> Place:
    return {part: values.slice(start, length) for part, values in place.items()}


def _empty(keys: Keys) -> pa.Array:
    return pa.repeat("", len(keys))


def _nulls(keys: Keys) -> Any:
    return pa.nulls(len(keys), pa.string())
