"""Candidates and comparison vectors of hand-made companies and recipients with a known answer."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from enrich_dist import schema
from enrich_dist.matching import compare
from enrich_dist.matching.blocking import candidate_pairs, prepare
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.decisions import method_sql
from enrich_dist.matching.index import build_index
from enrich_dist.matching.matcher import OrganisationMatcher, add_counts
from enrich_dist.schema import NameKind, NameLevel, PlaceLevel, StreetLevel

UEI_1, UEI_2 = "ABCDEFGHJKL1", "ABCDEFGHJKL2"
BOSTON = {"address": "10 Main Street, Suite 4", "city": "Boston", "state": "MA", "zip5": "02110"}
DAYTON = {"address": "5 Oak Avenue", "city": "Dayton", "state": "OH", "zip5": "45402"}

IN_BOSTON = {**BOSTON, "address": "99 Elm Street"}

# Companies beside those of a test, so that common words are known to the index.
BACKGROUND = [
    f"{word} {kind}"
    for word in ("APEX", "BOREAL", "CINDER", "DELPHI", "EMBER", "FATHOM", "GROVE", "HELIX", "IGNIS", "JUNO", "KESTREL")
    for kind in ("TECHNOLOGIES", "SYSTEMS GROUP", "ENGINEERING", "MEDICAL SYSTEMS", "MEASUREMENT SYSTEMS", "SCIENCES")
]


def company(name: str | None, *locations: dict[str, str], **columns: Any) -> dict[str, Any]:
    lists = {"names": [name] if name else [], "ueis": [], "duns": [], "locations": list(locations)}
    return {"name": name, "award_count": 1, **lists, **columns}


def company_table(companies: list[dict[str, Any]]) -> pa.Table:
    rows = [{**row, "company_id": number, "company_key": f"key:{number}"} for number, row in enumerate(companies)]
    return pa.Table.from_pylist(rows, schema=schema.COMPANY)


def recipient_table(*recipients: dict[str, Any]) -> pa.Table:
    rows = [{"source_row": n, "recipient_id": f"r{n}", **row} for n, row in enumerate(recipients, start=1)]
    return pa.Table.from_pylist(rows, schema=schema.RECIPIENT)


def located(name: str, place: dict[str, str], **columns: Any) -> dict[str, Any]:
    where = {"address_line_1": place["address"], **{key: place[key] for key in ("city", "state", "zip5")}}
    return {"name": name, **where, **columns}


def match(
    directory: Path, companies: list[dict[str, Any]], *recipients: dict[str, Any], **config: Any
) -> list[dict[str, Any]]:
    """Candidates of the given companies (not of the background) with their method."""
    table = company_table(companies + [company(name) for name in BACKGROUND])
    build_index(table, directory)
    matcher = OrganisationMatcher(CandidateConfig(**config))
    found, _ = matcher.match(matcher.open_index(directory), recipient_table(*recipients))
    assert found.schema.equals(schema.CANDIDATE)
    with duckdb.connect() as connection:
        connection.register("found", found)
        condition = f"company_id < {len(companies)}"
        query = f"SELECT *, {method_sql()} AS method FROM (SELECT *, false AS confirmed FROM found) WHERE {condition}"
        return connection.sql(query).to_arrow_table().to_pylist()


def only(found: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(found) == 1
    return found[0]


# --- identifiers -----------------------------------------------------------------------------------------------


def test_equal_uei_with_different_name(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Old Name", BOSTON, ueis=[UEI_2, UEI_1])], located("Zyx", DAYTON, uei=UEI_1)))
    assert (pair["method"], pair["uei_agreement"], pair["state_agreement"]) == ("uei", 1, -1)
    assert (pair["name_level"], pair["name_agreement"], pair["name_similarity"]) == (NameLevel.NOTHING_IN_COMMON, 0, 0)


def test_equal_duns(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Acme", duns=["001234567"])], {"name": "Acme Foo", "duns": "001234567"}))
    assert (pair["method"], pair["uei_agreement"], pair["duns_agreement"]) == ("duns", 0, 1)
    assert pair["name_level"] == NameLevel.ADDITIONAL_WORDS, "found by identifier only, and compared all the same"
    assert (pair["name_agreement"], 0.5 < pair["name_similarity"] < 1) == (1, True)


def test_identifier_conflict_keeps_candidate(tmp_path: Path) -> None:
    firm = company("Acme", BOSTON, ueis=[UEI_1], duns=["001234567"])
    pair = only(match(tmp_path, [firm], located("ACME", BOSTON, uei=UEI_2, duns="999999998")))
    assert (pair["uei_agreement"], pair["duns_agreement"], pair["method"]) == (-1, -1, "exact_name_place")


def test_any_identifier_of_company_agrees(tmp_path: Path) -> None:
    firm = company("Acme", ueis=[UEI_1, UEI_2], duns=["001234567", "001234568"])
    pair = only(match(tmp_path, [firm], {"name": "Zyx", "uei": UEI_2, "duns": "001234569"}))
    assert (pair["uei_agreement"], pair["duns_agreement"], pair["method"]) == (1, -1, "uei")


def test_malformed_identifier_is_missing(tmp_path: Path) -> None:
    firm = company("Acme", BOSTON, ueis=["NONE"], duns=["12"])
    pair = only(match(tmp_path, [firm], located("ACME", BOSTON, uei=UEI_1, duns="001234567")))
    assert (pair["uei_agreement"], pair["duns_agreement"]) == (0, 0)


# --- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "level"),
    [
        ("K T Widgets, Inc.", "KT WIDGETS LLC", NameLevel.EQUAL),
        ("Kitware & Sons", "The Kitware and Sons Corporation", NameLevel.EQUAL),
        ("Kitware Mfg", "KITWARE MANUFACTURING", NameLevel.EQUAL),
        ("Quark Acquisition II", "QUARK ACQUISITION 2, INC.", NameLevel.EQUAL),
        ("Physical Sciences Inc.", "PHYSICALSCIENCES", NameLevel.SPELLING_VARIANT),
        ("Waveguide Labs", "WAVE GUIDE LABS", NameLevel.SPELLING_VARIANT),
        ("Kitware Robotics", "ROBOTICS, KITWARE", NameLevel.SPELLING_VARIANT),
        ("Harmonia Holdings Group", "HARMONIA HOLDING GROUP", NameLevel.SPELLING_VARIANT),
        ("Harmonia Technologies", "HARMONIA TECH", NameLevel.SPELLING_VARIANT),
        ("Hypersonic Cryogenic Instrumentation Inc", "HYPERSONIC CRYOGENIC INSTRUMEN", NameLevel.SPELLING_VARIANT),
        ("HYPERSONIC CRYOGENIC INSTRUMEN", "Hypersonic Cryogenic Instrumentation Inc", NameLevel.SPELLING_VARIANT),
        ("St. Brindle Hosp", "SAINT BRINDLE HOSPITAL", NameLevel.SPELLING_VARIANT),
        ("Ft Brindle Coop", "FORT BRINDLE COOPERATIVE", NameLevel.SPELLING_VARIANT),
        ("Spectral Dynamics Researh LLC", "SPECTRAL DYNAMICS RESEARCH LLC", NameLevel.TYPO),
        ("Kitware Systems", "KITWAER SYSTEMS", NameLevel.TYPO),
        ("Kitware Systems", "KITWARE", NameLevel.ADDITIONAL_COMMON_WORDS),
        ("Kitware", "KITWARE SYSTEMS", NameLevel.ADDITIONAL_COMMON_WORDS),
        ("Kitware Systems", "KITWARE GROUP", NameLevel.DIFFERENT_COMMON_WORDS),
        ("Kitware", "KITWARE QUUXLY", NameLevel.ADDITIONAL_WORDS),
        ("Kitware Quuxly", "KITWARE", NameLevel.ADDITIONAL_WORDS),
        ("Brindle Quuxly Instruments", "TARROW BRINDLE QUUXLY INSTRUMENTS", NameLevel.CONTAINED),
        ("Tarrow Brindle Quuxly Instruments", "BRINDLE QUUXLY INSTRUMENTS LLC", NameLevel.CONTAINED),
        ("Brindle Quuxly", "BRINDLE QUUXLY ROTTERDAM", NameLevel.CONTAINED),
        ("Brindle Quuxly", "TARROW BRINDLE QUUXLY ZYMERGEN", NameLevel.CONTAINED),
        ("Brindle Quuxly", "BRINDLE ZYMERGEN QUUXLY", NameLevel.ADDITIONAL_WORDS),  # not one after another
        ("Advanced Systems", "ZYMERGEN ADVANCED SYSTEMS", NameLevel.ADDITIONAL_WORDS),  # the shorter says too little
        ("Kitware Quuxly", "KITWARE ZYMERGEN", NameLevel.DIFFERENT_WORDS),
        ("Quark Acquisition II", "QUARK ACQUISITION III", NameLevel.DIFFERENT_WORDS),
        ("Zymergen Quark Number 12", "ZYMERGEN QUARK NUMBER 13", NameLevel.DIFFERENT_WORDS),
        ("Omni Measurement Systems", "OMNI MEDICAL SYSTEMS", NameLevel.DIFFERENT_WORDS),
        ("Science and Technology Applications", "SCIENCE & APPLIED TECHNOLOGY", NameLevel.DIFFERENT_WORDS),
    ],
)
def test_name_level(tmp_path: Path, left: str, right: str, level: int) -> None:
    pair = only(match(tmp_path, [company(left, BOSTON)], located(right, BOSTON), min_name_overlap=0.2))
    assert NameLevel(pair["name_level"]) == level
    assert pair["method"] == ("exact_name_place" if level == NameLevel.EQUAL else "fuzzy_name_place")
    variants = {NameLevel.EQUAL, NameLevel.SPELLING_VARIANT}
    additional = {NameLevel.ADDITIONAL_WORDS, NameLevel.CONTAINED, NameLevel.ADDITIONAL_COMMON_WORDS}
    is_shorter = len(left) < len(right)
    assert (pair["name_agreement"] == 1) == (level in variants or (is_shorter and level in additional))
    assert (pair["name_similarity"] == 1) <= (level in variants)


@pytest.mark.parametrize(
    ("own", "other", "level"),
    [("International", "Internationale", NameLevel.TYPO), ("Marine", "Marina", NameLevel.DIFFERENT_WORDS)],
)
def test_typo_in_a_word_of_many_names(tmp_path: Path, own: str, other: str, level: NameLevel) -> None:
    """Of two words that many names have, only long ones are a typing error of each other."""
    firms = [company(f"Firm{letter} {word}", BOSTON) for letter in "ABCDEF" for word in (own, other)]
    found = match(tmp_path, [*firms, company(f"Quark {own}", BOSTON)], located(f"QUARK {other.upper()}", BOSTON))
    assert [pair["name_level"] for pair in found if pair["company_id"] == len(firms)] == [level]


def test_additional_number_is_no_typo(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Quark Acquisition 2", BOSTON)], located("QUARK ACQUISITION", BOSTON)))
    assert pair["name_level"] == NameLevel.ADDITIONAL_WORDS


def test_common_word_of_background(tmp_path: Path) -> None:
    build_index(company_table([company("Kitware", BOSTON)]), tmp_path)
    matcher = OrganisationMatcher()
    found, _ = matcher.match(matcher.open_index(tmp_path), recipient_table(located("KITWARE SYSTEMS", BOSTON)))
    assert found["name_level"].to_pylist() == [NameLevel.ADDITIONAL_COMMON_WORDS]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("MS Technologies", "EMS TECHNOLOGIES"),
        ("Aqwest", "QWEST"),
        ("Beck Engineering", "RAISBECK ENGINEERING"),
        ("Acme Widgets", "ZEPHYR BIOMEDICAL"),
        ("Apex", "ALEX"),
    ],
)
def test_same_town_alone_is_no_candidate(tmp_path: Path, left: str, right: str) -> None:
    assert match(tmp_path / "town", [company(left, BOSTON)], located(right, IN_BOSTON)) == []
    assert only(match(tmp_path / "street", [company(left, BOSTON)], located(right, BOSTON)))["method"] == "same_place"


def test_different_words_need_same_town(tmp_path: Path) -> None:
    firms = [company("Omni Measurement Systems", BOSTON)]
    in_state = {"name": "OMNI MEDICAL SYSTEMS", "city": "Salem", "state": "MA", "zip5": "01970"}
    assert match(tmp_path / "state", firms, in_state, min_name_overlap=0.2) == []
    assert len(match(tmp_path / "town", firms, located("OMNI MEDICAL SYSTEMS", BOSTON), min_name_overlap=0.2)) == 1


def test_rare_word_has_larger_share(tmp_path: Path) -> None:
    firms = [company("Kitware Systems", BOSTON)]
    rare = only(match(tmp_path / "rare", firms, located("KITWARE", BOSTON)))
    build_index(company_table(firms), tmp_path / "common")
    assert rare["name_agreement"] > 0.6, "KITWARE tells more than SYSTEMS"
    assert match(tmp_path / "common", firms, located("SYSTEMS", IN_BOSTON)) == []


def test_equal_alternate_name(tmp_path: Path) -> None:
    recipient = located("Sold To Somebody", BOSTON, alternate_names=["Other", "Acme Widgets LLC"])
    pair = only(match(tmp_path, [company("Acme Widgets", BOSTON)], recipient))
    assert (pair["method"], pair["name_kind"], pair["name_level"]) == (
        "exact_name_place",
        NameKind.ALTERNATE,
        NameLevel.EQUAL,
    )


def test_legal_name_precedes_equal_alternate(tmp_path: Path) -> None:
    recipient = located("Acme Widgets", BOSTON, alternate_names=["Acme Widgets LLC", None])
    assert only(match(tmp_path, [company("Acme Widgets", BOSTON)], recipient))["name_kind"] == NameKind.LEGAL


def test_better_alternate_precedes_legal_name(tmp_path: Path) -> None:
    recipient = located("Acme Widget Works", BOSTON, alternate_names=["Acme Widgets LLC"])
    pair = only(match(tmp_path, [company("Acme Widgets", BOSTON)], recipient))
    assert (pair["name_kind"], pair["name_level"]) == (NameKind.ALTERNATE, NameLevel.EQUAL)


def test_equal_name_of_the_parent(tmp_path: Path) -> None:
    recipient = located("Quuxly Works", BOSTON, parent_name="ACME WIDGETS, INC.")
    pair = only(match(tmp_path, [company("Acme Widgets", BOSTON)], recipient))
    assert (pair["name_kind"], pair["name_level"]) == (NameKind.PARENT, NameLevel.EQUAL)


@pytest.mark.parametrize("of_company", [True, False], ids=["company", "recipient"])
@pytest.mark.parametrize("marker", ["dba", "d/b/a", "formerly", "AKA"])
def test_both_names_of_a_text(tmp_path: Path, marker: str, of_company: bool) -> None:
    both = f"Zelkova Holdings LLC {marker} Tamarack Imaging Inc"
    for one, kind in (
        ("ZELKOVA HOLDINGS", NameKind.LEGAL),
        ("TAMARACK IMAGING", NameKind.LEGAL if of_company else NameKind.ALTERNATE),
    ):
        left, right = (both, one) if of_company else (one, both)
        pair = only(match(tmp_path / one[:3], [company(left, BOSTON)], located(right, BOSTON)))
        assert (pair["name_level"], pair["name_kind"]) == (NameLevel.EQUAL, kind)


def test_any_name_of_the_company(tmp_path: Path) -> None:
    firm = company("New Brand", BOSTON, names=["Acme Widgets", "New Brand"])
    assert only(match(tmp_path, [firm], located("ACME WIDGETS", BOSTON)))["name_level"] == NameLevel.EQUAL


def test_name_code_of_agreeing_name(tmp_path: Path) -> None:
    firm = company("New Brand", BOSTON, names=["Acme Widgets", "New Brand"], ueis=[UEI_1])
    found = match(tmp_path, [firm], located("ACME WIDGETS", BOSTON), {"uei": UEI_1})
    names = OrganisationMatcher().open_index(tmp_path).names.texts
    assert [None if row["name_code"] < 0 else names[row["name_code"]].as_py() for row in found] == [
        "ACME WIDGETS", None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ({"state": "MA", "city": "Boston"}, [1, 2]),
        ({"state": "MA", "city": "Allston", "zip5": "02110"}, [1, 2]),
        ({"state": "MA", "city": "Salem"}, [1]),
        ({"state": "OH", "city": "Dayton"}, []),
        ({}, []),
    ],
    ids=["town", "zip", "state", "other-state", "unknown"],
)
def test_lower_overlap_needs_closer_place(tmp_path: Path, place: dict[str, str], found: list[int]) -> None:
    """Two thirds of the weight are shared, and a half."""
    firms = [company(name, BOSTON) for name in ("Unlike", "Harmonia Kitware Quuxly", "Tamarack Zelkova")]
    build_index(company_table([*firms, *map(company, BACKGROUND)]), tmp_path)
    index = OrganisationMatcher().open_index(tmp_path)
    recipients = [{"name": name, **place} for name in ("HARMONIA KITWARE ZYMERGEN", "TAMARACK ZYMERGEN")]
    pairs = candidate_pairs(index, prepare(index, recipient_table(*recipients)), CandidateConfig())
    assert (pairs.rows + 1).tolist() == pairs.companies.tolist() == found


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Harmonia Kitware", "HARMONIA QUUXLY KITWARE ZYMERGEN ROBOTICS"),
        ("Quuxly Harmonia Zymergen Kitware Robotics", "KITWARE HARMONIA"),
        ("Harmonja Kitware", "QUUXLY ZYMERGEN HARMONIA ROBOTICS KITWARE"),
    ],
)
@pytest.mark.parametrize("place", [{"state": "MA", "city": "Salem"}, {}], ids=["state", "unknown"])
def test_name_within_a_longer_one(tmp_path: Path, left: str, right: str, place: dict[str, str]) -> None:
    """Whatever the overlap is, unless the places conflict."""
    firms = [company(left, BOSTON)]
    assert len(match(tmp_path / "near", firms, {"name": right, **place})) == 1
    assert match(tmp_path / "conflict", firms, located(right, DAYTON)) == []


def test_zip_code_without_state(tmp_path: Path) -> None:
    assert match(tmp_path, [company("Harmonia", BOSTON)], {"name": "HARMONIA QUUXLY", "zip5": "02110"})


# --- places ----------------------------------------------------------------------------------------------------


def test_any_location_of_company_agrees(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Acme", BOSTON, DAYTON)], located("ACME", DAYTON)))
    assert (pair["state_agreement"], pair["city_agreement"], pair["zip_agreement"]) == (1, 1, 1)
    assert (pair["place_level"], pair["street_level"]) == (PlaceLevel.SAME_CITY_AND_ZIP, StreetLevel.SAME)


def test_same_town_name_in_different_state(tmp_path: Path) -> None:
    recipient = {"name": "ACME", "city": "Boston", "state": "VA"}
    pair = only(match(tmp_path, [company("Acme", BOSTON)], recipient))
    assert (pair["state_agreement"], pair["city_agreement"], pair["zip_agreement"]) == (-1, -1, 0)


def test_town_without_state_is_unknown(tmp_path: Path) -> None:
    assert only(match(tmp_path, [company("Acme", BOSTON)], {"name": "ACME", "city": "Boston"}))["city_agreement"] == 0


def test_texts_no_company_bears_conflict(tmp_path: Path) -> None:
    recipient = {"name": "ACME", "city": "Nowhere", "state": "AK", "zip5": "99999", "uei": UEI_2, "duns": "999999998"}
    pair = only(match(tmp_path, [company("Acme", BOSTON, ueis=[UEI_1], duns=["001234567"])], recipient))
    agreements = [pair[f"{what}_agreement"] for what in ("uei", "duns", "state", "city", "zip")]
    assert agreements == [-1, -1, -1, -1, -1]


def test_unknown_text_does_not_agree(tmp_path: Path) -> None:
    found = match(tmp_path, [company("Acme", DAYTON), company("Acme", BOSTON)], {"name": "ACME", "zip5": "11111"})
    assert [row["zip_agreement"] for row in found] == [-1, -1]


@pytest.mark.parametrize(
    ("place", "level"),
    [
        ({}, PlaceLevel.UNKNOWN),
        ({"state": "OH"}, PlaceLevel.DIFFERENT_STATE),
        ({"zip5": "45402"}, PlaceLevel.DIFFERENT_STATE),
        ({"state": "MA", "city": "Salem"}, PlaceLevel.DIFFERENT_CITY),
        ({"state": "MA", "city": "Salem", "zip5": "01970"}, PlaceLevel.DIFFERENT_CITY),
        ({"state": "MA"}, PlaceLevel.SAME_STATE),
        ({"state": "MA", "zip5": "01970"}, PlaceLevel.SAME_STATE),
        ({"state": "MA", "city": "Boston", "zip5": "02111"}, PlaceLevel.SAME_CITY_DIFFERENT_ZIP),
        ({"state": "MA", "city": "Boston"}, PlaceLevel.SAME_CITY),
        ({"zip5": "02110"}, PlaceLevel.SAME_ZIP),
        ({"state": "MA", "city": "Allston", "zip5": "02110"}, PlaceLevel.SAME_ZIP),
        ({"state": "MA", "city": "Boston", "zip5": "02110"}, PlaceLevel.SAME_CITY_AND_ZIP),
        ({"state": "ma", "city": "BOSTON", "zip5": "02110"}, PlaceLevel.SAME_CITY_AND_ZIP),
    ],
)
def test_place_level(tmp_path: Path, place: dict[str, str], level: PlaceLevel) -> None:
    pair = only(match(tmp_path, [company("Acme", BOSTON)], {"name": "ACME", **place}))
    assert PlaceLevel(pair["place_level"]) == level
    assert pair["method"] == ("exact_name_place" if level >= PlaceLevel.DIFFERENT_CITY else "exact_name")


@pytest.mark.parametrize(
    ("ours", "theirs", "level"),
    [
        ("10 Main Street, Suite 4", "10 MAIN ST STE 900", StreetLevel.SAME),
        ("10525 Vista Sorrento Parkway", "10520 Vista Sorrento Pkwy", StreetLevel.DIFFERENT),
        ("10 Main Street", "12 Main Street", StreetLevel.DIFFERENT),
        ("10 Main Street", "10 Elm Road", StreetLevel.DIFFERENT),
        ("10525 Vista Sorrento Parkway", "10525 Vista Sorento Pky", StreetLevel.SAME),
        ("10525 Vista Sorrento Parkway", "10525 Vista Sorrento", StreetLevel.SIMILAR),
        ("PO Box 12", "P.O. Box 12", StreetLevel.SAME),
        ("PO Box 12", "PO Box 13", StreetLevel.DIFFERENT),
        ("10 Main Street", "PO Box 10", StreetLevel.UNKNOWN),
        ("Suite 4", "10 Main Street", StreetLevel.UNKNOWN),
    ],
)
def test_street_level(tmp_path: Path, ours: str, theirs: str, level: StreetLevel) -> None:
    firm, recipient = ({**BOSTON, "address": address} for address in (ours, theirs))
    pair = only(match(tmp_path, [company("Acme", firm)], located("ACME", recipient)))
    assert StreetLevel(pair["street_level"]) == level


def test_address_lines_are_joined(tmp_path: Path) -> None:
    recipient = {"name": "ACME", "address_line_1": "Suite 900", "address_line_2": "10 Main St"}
    assert only(match(tmp_path, [company("Acme", BOSTON)], recipient))["street_level"] == StreetLevel.SAME


@pytest.mark.parametrize("missing", ["company", "recipient", "both"])
def test_missing_value_is_unknown(tmp_path: Path, missing: str) -> None:
    firm = company("Acme") if missing != "recipient" else company("Acme", BOSTON, ueis=[UEI_1], duns=["001234567"])
    full = located("ACME", BOSTON, uei=UEI_1, duns="001234567")
    pair = only(match(tmp_path, [firm], full if missing == "company" else {"name": "ACME"}))
    assert [pair[f"{what}_agreement"] for what in ("uei", "duns", "state", "city", "zip")] == [0] * 5
    assert (pair["place_level"], pair["street_level"]) == (PlaceLevel.UNKNOWN, StreetLevel.UNKNOWN)
    assert pair["method"] == "exact_name"


# --- counts ----------------------------------------------------------------------------------------------------


def counted(directory: Path, companies: list[dict[str, Any]], *recipients: dict[str, Any], **config: Any) -> Any:
    """Counts by kind and key, of an index of these companies alone."""
    build_index(company_table(companies), directory)
    matcher = OrganisationMatcher(CandidateConfig(**config))
    _, counts = matcher.match(matcher.open_index(directory), recipient_table(*recipients))
    assert counts.schema.equals(schema.COUNT)
    assert set(counts["kind"].to_pylist()) <= set(schema.COUNT_KINDS)
    found: dict[str, dict[int, int]] = {}
    for row in counts.to_pylist():
        found.setdefault(row["kind"], {})[row["key"]] = row["count"]
    return found


def test_word_counts_exclude_company_names(tmp_path: Path) -> None:
    firms = [company("Kitware Systems"), company("Zymergen")]
    names = ["KITWARE QUUXLY", "KITWARE ZYMERGEN", "KITWARE SYSTEMS INC", "NOBODY", None]

    found = counted(tmp_path, firms, *({"name": name} for name in names))

    index = OrganisationMatcher().open_index(tmp_path)
    data, starts, concepts = index.vocabulary.take("word_data", "word_starts", "word_concepts")
    words = {bytes(data[starts[n] : starts[n + 1]]).decode(): int(concepts[n]) for n in range(len(concepts))}
    assert found["recipients"] == {0: 5}
    assert found["concept"] == {words["KITWARE"]: 2, words["ZYMERGEN"]: 1}


def test_word_counts_use_legal_names(tmp_path: Path) -> None:
    recipient = {"name": "NOBODY DBA KITWARE QUUXLY", "alternate_names": ["KITWARE TOO"]}
    assert "concept" not in counted(tmp_path, [company("Kitware Systems")], recipient)


def test_random_places_sample_recipients(tmp_path: Path) -> None:
    firms = [company("Acme", BOSTON), company("Zeta", DAYTON)]
    recipients = [located(f"R{number}", BOSTON) for number in range(4000)]

    levels = counted(tmp_path, firms, *recipients)["random_place"]

    assert set(levels) == {PlaceLevel.DIFFERENT_STATE, PlaceLevel.SAME_CITY_AND_ZIP}
    assert sum(levels.values()) == pytest.approx(1000, rel=0.1)
    assert levels[PlaceLevel.DIFFERENT_STATE] == pytest.approx(500, rel=0.15), "both companies are drawn alike"


def test_frequent_name_is_skipped_and_counted(tmp_path: Path) -> None:
    firms = [company("Acme Quuxly") for _ in range(5)]
    recipients = [{"name": "ACME QUUXLY", "uei": UEI_1}, {"name": "QUUXLY ACME"}]
    small = counted(tmp_path / "small", firms, *recipients, max_block_size=4)
    large = counted(tmp_path / "large", firms, *recipients, max_block_size=5)
    assert (small["blocks_left_out"], small["pairs_left_out"]) == ({0: 2}, {0: 10}), (
        "the equal name and the similar one"
    )
    assert not {"blocks_left_out", "pairs_left_out"} & set(large)


def test_identifier_finds_skipped_pair(tmp_path: Path) -> None:
    firms = [company("Acme Quuxly", ueis=[UEI_1] if not number else []) for number in range(5)]
    found = match(tmp_path, firms, {"name": "ACME QUUXLY", "uei": UEI_1}, max_block_size=2, max_candidates_per_name=1)
    assert 0 in [row["company_id"] for row in found]


def test_counts_add_up() -> None:
    first = pa.table([["b", "a", "a"], pa.array([0, 2, 1], pa.int32()), [1, 2, 3]], schema=schema.COUNT)
    second = pa.table([["a", "b"], pa.array([1, 1], pa.int32()), [4, 5]], schema=schema.COUNT)
    assert add_counts(pa.concat_tables([first, second])).to_pylist() == [
        {"kind": "a", "key": 1, "count": 7},
        {"kind": "a", "key": 2, "count": 2},
        {"kind": "b", "key": 0, "count": 1},
        {"kind": "b", "key": 1, "count": 5},
    ]


# --- shape -----------------------------------------------------------------------------------------------------


def test_no_recipients(tmp_path: Path) -> None:
    assert match(tmp_path, [company("Acme")]) == []
    assert counted(tmp_path / "counts", [company("Acme")]) == {}


def test_no_companies(tmp_path: Path) -> None:
    build_index(company_table([]), tmp_path)
    matcher = OrganisationMatcher()
    index = matcher.open_index(tmp_path)
    found, counts = matcher.match(index, recipient_table(located("Acme", BOSTON, uei=UEI_1)))
    assert found.num_rows == 0
    assert found.schema.equals(schema.CANDIDATE)
    assert counts.to_pylist() == [{"kind": "recipients", "key": 0, "count": 1}]


def test_nulls_everywhere(tmp_path: Path) -> None:
    nothing = {"address": None, "city": None, "state": None, "zip5": None}
    companies = [company(None), company(None, nothing, names=[None], ueis=[None], duns=[None])]
    empty = [{}, {"alternate_names": []}, {"alternate_names": [None, ""]}, {"name": "***"}]
    assert match(tmp_path, companies, *empty) == []
    lists = {"names": None, "ueis": None, "duns": None, "locations": None}
    assert match(tmp_path, [{**company(None), **lists}], *empty) == []


def test_company_without_name(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company(None, ueis=[UEI_1])], {"uei": UEI_1}))
    assert (pair["method"], pair["name_similarity"], pair["name_level"], pair["name_code"]) == (
        "uei",
        0,
        NameLevel.NOTHING_IN_COMMON,
        -1,
    )


def test_short_names(tmp_path: Path) -> None:
    assert only(match(tmp_path, [company("X"), company("3M")], {"name": "3 M"}))["company_id"] == 1


def test_candidates_are_sorted_and_unique(tmp_path: Path) -> None:
    firms = [company("Acme", BOSTON, ueis=[UEI_1]), company("Acme", DAYTON), company("Zeta")]
    recipients = [{"name": "Zeta"}, located("ACME", BOSTON, uei=UEI_1, source_row=9, alternate_names=["Acme Inc"])]
    found = match(tmp_path, firms, *recipients, batch_rows=1)
    assert [(row["company_id"], row["source_row"]) for row in found] == [(0, 9), (1, 9), (2, 1)]
    assert (found[0]["name"], found[0]["city"], found[0]["recipient_id"]) == ("ACME", "Boston", "r2")


OTHERS = [f"{first}{second}QX" for first in ("ABLE", "BOLD", "CALM", "DEFT") for second in ("OR", "ER")]


def test_limit_applies_to_weak_pairs(tmp_path: Path) -> None:
    """A name within another one and much overlap are strong."""
    firms = [company(name, BOSTON) for name in ["Quantum Widgets"] * 4 + ["Quantum Widgets Harmonia"] * 4]
    firms += [company(f"Quantum Widgets Harmonia {word}", BOSTON) for word in OTHERS]
    firms += [company(f"Quantum Widgets {word} {word}ING", BOSTON) for word in OTHERS]
    recipient = located("QUANTUM WIDGETS HARMONIA ZYMERGEN", IN_BOSTON)
    found = match(tmp_path, firms, recipient, max_candidates_per_name=2, min_name_overlap=0.3)
    assert [row["company_id"] for row in found] == list(range(18)), "and the first two of the others"


def test_weak_ties_break_by_company_id(tmp_path: Path) -> None:
    firms = [company("Quantum Widgets Harmonia Group", BOSTON) for _ in range(3)]
    recipient = located("QUANTUM WIDGETS ZYMERGEN TAMARACK", IN_BOSTON)
    found = match(tmp_path, firms, recipient, max_candidates_per_name=2)
    assert [row["company_id"] for row in found] == [0, 1]


def test_the_most_similar_weak_companies_are_taken(tmp_path: Path) -> None:
    names = ["Quantum Widgets Zelkova Harmonia", "Quantum Widgets Harmonia", "Quantum Widgets Harmonia Group"]
    recipient = located("QUANTUM WIDGETZ TAMARACK ZYMERGEN", IN_BOSTON)
    found = match(
        tmp_path, [company(name, BOSTON) for name in names], recipient, max_candidates_per_name=2, min_name_overlap=0.3
    )
    assert [names[row["company_id"]] for row in found] == names[1:]


@pytest.mark.parametrize("place", [BOSTON, None], ids=["same-town", "no-place"])
def test_all_spellings_of_one_company_are_found(tmp_path: Path, place: dict[str, str] | None) -> None:
    """A recipient has any number of strong candidates, and frequent words among few organisations are no obstacle."""
    letters = "ABCDEFGHIJ"
    names = [f"KONINKLIJKE PHILIPS {a}{b}XQ {c}OHOLDINGS" for a in letters for b in letters for c in letters]
    firms = [company(name, *([place] if place else [])) for name in names]
    recipient = located("KONINKLIJKE PHILIPS", place) if place else {"name": "KONINKLIJKE PHILIPS"}
    assert [row["company_id"] for row in match(tmp_path, firms, recipient)] == list(range(1000))


def test_name_of_too_many_companies_is_left_out_as_a_similar_one(tmp_path: Path) -> None:
    firms = [company("Quantum Widgets", BOSTON) for _ in range(5)]
    recipients = [located("QUANTUM WIDGETZ", IN_BOSTON)] * 3
    assert len(match(tmp_path, firms, *recipients, max_block_size=5)) == 15
    found = counted(tmp_path / "counts", firms, *recipients, max_block_size=4)
    assert (found["blocks_left_out"], found["pairs_left_out"]) == ({0: 3}, {0: 15})


def test_slices_of_pairs_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    firms = [company("Acme", BOSTON, DAYTON, names=["Acme", "Acme Widgets"]), company("Acme Widget", DAYTON)]
    recipients = [located("ACME", BOSTON, alternate_names=["Acme Widgets"]), located("ACME WIDGET", DAYTON)]
    whole = match(tmp_path / "whole", firms, *recipients)
    monkeypatch.setattr(compare, "SLICE_PAIRS", 1)
    assert match(tmp_path / "sliced", firms, *recipients) == whole
    assert len(whole) > 2


def test_limit_keeps_name_of_state(tmp_path: Path) -> None:
    abroad = [company(f"Quantum Widgets {word} Quuxly", DAYTON) for word in ("Able", "Bold", "Calm", "Deft")]
    firms = [*abroad, company("Quantum Fund", BOSTON)]
    found = match(tmp_path, firms, located("QUANTUM WIDGETS", BOSTON), max_candidates_per_name=1)
    assert [row["company_id"] for row in found] == [4], "those abroad overlap more, but not enough"


def test_ties_are_independent_of_batch(tmp_path: Path) -> None:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    firms = [company(f"Quantum Widgets {first}{second}", BOSTON) for first in letters for second in letters[:5]]
    build_index(company_table(firms), tmp_path)
    recipients = recipient_table(
        *(located(name, BOSTON) for name in ["QUANTUM WIDGETS", "WIDGETS QUANTUM", *BACKGROUND, "QUANTUM WIDGET AA"])
    )
    results = []
    for batch_rows in (1, 2, 3, 1000):
        matcher = OrganisationMatcher(CandidateConfig(max_candidates_per_name=1, batch_rows=batch_rows))
        results.append(matcher.match(matcher.open_index(tmp_path), recipients)[0].combine_chunks())
    assert all(result.equals(results[0]) for result in results)
    assert {1, 2, len(recipients)} <= set(results[0]["source_row"].to_pylist())


def test_name_of_many_words(tmp_path: Path) -> None:
    long = " ".join(f"WORD{first}{second}" for first in "ABCDEFGHIJKLMNOPQRST" for second in "ABCDEFGHIJKLMNOPQRST")
    found = match(tmp_path, [company(long, BOSTON)], located(long, BOSTON), located(f"{long} MORE", BOSTON))
    assert next(row["name_level"] for row in found) == NameLevel.EQUAL


# --- index, key, pickle ----------------------------------------------------------------------------------------


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_index_bytes_depend_on_companies(tmp_path: Path) -> None:
    table = company_table([company(name, BOSTON, ueis=[UEI_1]) for name in BACKGROUND])
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))
    build_index(table, tmp_path / "a")
    build_index(pa.concat_tables([shuffled.slice(0, 5), shuffled.slice(5)]), tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_matching_leaves_the_index_alone(tmp_path: Path) -> None:
    match(tmp_path, [company("Acme", BOSTON)], located("ACME", BOSTON))
    before = digests(tmp_path)
    matcher = OrganisationMatcher()
    matcher.match(matcher.open_index(tmp_path), recipient_table(located("ACME SYSTEMS", BOSTON)))
    assert digests(tmp_path) == before


def test_gaps_in_company_ids_are_refused(tmp_path: Path) -> None:
    table = company_table([company("A"), company("B"), company("C")])
    with pytest.raises(ValueError, match="without gaps"):
        build_index(pa.concat_tables([table.slice(0, 1), table.slice(2)]), tmp_path)


def test_key_names_what_affects_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    key = OrganisationMatcher().key()
    assert OrganisationMatcher(CandidateConfig(batch_rows=7)).key() == key
    assert OrganisationMatcher(CandidateConfig(min_name_overlap=0.7)).key() != key
    assert OrganisationMatcher(CandidateConfig(max_candidates_per_name=6)).key() != key
    assert OrganisationMatcher(CandidateConfig(max_block_size=7)).key() != key
    monkeypatch.setattr("enrich_dist.matching.matcher.ENGINE_VERSION", "other")
    assert OrganisationMatcher().key() != key


def test_matcher_survives_pickling() -> None:
    matcher = OrganisationMatcher(CandidateConfig(min_name_overlap=0.7))
    assert pickle.loads(pickle.dumps(matcher)) == matcher


def test_unpickling_imports_nothing_heavy() -> None:
    program = (
        "import sys, enrich_dist.matching.matcher;"
        "heavy = {'numba', 'scipy', 'rapidfuzz', 'duckdb', 'dask'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    "settings",
    [
        {"min_name_overlap": 0.0},
        {"min_name_overlap": 1.5},
        {"max_candidates_per_name": 0},
        {"max_block_size": 0},
        {"batch_rows": 0},
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CandidateConfig(**settings)
