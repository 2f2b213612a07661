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

from enrich_dist import schema
from enrich_dist.errors import SettingsError
from enrich_dist.matching import CandidateConfig, OrganisationMatcher, compare, method_sql, score_sql
from enrich_dist.matching.index import build_index

UEI_1, UEI_2 = "ABCDEFGHJKL1", "ABCDEFGHJKL2"
BOSTON = {"address": "10 Main Street, Suite 4", "city": "Boston", "state": "MA", "zip5": "02110"}
DAYTON = {"address": "5 Oak Avenue", "city": "Dayton", "state": "OH", "zip5": "45402"}

# Words that make the idf of a small index resemble that of a large one: TECHNOLOGIES and SYSTEMS say nothing.
BACKGROUND = [
    f"{word} {kind}"
    for word in ("APEX", "BOREAL", "CINDER", "DELPHI", "EMBER", "FATHOM", "GROVE", "HELIX", "IGNIS", "JUNO", "KESTREL")
    for kind in ("TECHNOLOGIES", "SYSTEMS", "ENGINEERING", "MEDICAL SYSTEMS", "MEASUREMENT SYSTEMS", "SCIENCES")
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
    """Candidates of the given companies (not of the background) with their method and score."""
    table = company_table(companies + [company(name) for name in BACKGROUND])
    build_index(table, directory)
    matcher = OrganisationMatcher(CandidateConfig(**config))
    found = matcher.match(matcher.open_index(directory), recipient_table(*recipients))
    assert found.schema.equals(schema.CANDIDATE)
    with duckdb.connect() as connection:
        connection.register("found", found)
        condition = f"company_id < {len(companies)}"
        query = f"SELECT *, {method_sql()} AS method, {score_sql()} AS score FROM found WHERE {condition}"
        return connection.sql(query).to_arrow_table().to_pylist()


def only(found: list[dict[str, Any]]) -> dict[str, Any]:
    assert len(found) == 1
    return found[0]


# --- one tier each ---------------------------------------------------------------------------------------------


def test_equal_uei_under_another_name_and_place(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Old Name", BOSTON, ueis=[UEI_2, UEI_1])], located("Zyx", DAYTON, uei=UEI_1)))
    assert (pair["method"], pair["score"], pair["uei_agreement"]) == ("uei", 0.99, 1)
    assert (pair["state_agreement"], pair["name_exact"]) == (-1, False)


def test_equal_duns(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Acme", duns=["001234567"])], {"name": "Acmes Inc", "duns": "001234567"}))
    assert (pair["method"], pair["score"], pair["uei_agreement"], pair["duns_agreement"]) == ("duns", 0.98, 0, 1)
    assert 0.5 < pair["name_similarity"] < 1, "found by identifier only, and compared all the same"


def test_equal_name_and_place(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("K T Widgets, Inc.", BOSTON)], located("KT WIDGETS LLC", BOSTON)))
    assert (pair["method"], pair["score"]) == ("exact_name_place", 0.975)
    assert (pair["name_similarity"], pair["street_similarity"], pair["alternate_name"]) == (1, 1, False)
    assert (pair["state_agreement"], pair["city_agreement"], pair["zip_agreement"]) == (1, 1, 1)


def test_equal_alternate_name(tmp_path: Path) -> None:
    recipient = located("Sold To Somebody", BOSTON, alternate_names=["Other", "Acme Widgets LLC"])
    pair = only(match(tmp_path, [company("Acme Widgets", BOSTON)], recipient))
    assert (pair["method"], pair["alternate_name"], pair["name_exact"]) == ("exact_name_place", True, True)


def test_legal_name_is_preferred_to_an_equal_alternate(tmp_path: Path) -> None:
    recipient = located("Acme Widgets", BOSTON, alternate_names=["Acme Widgets LLC", None])
    assert not only(match(tmp_path, [company("Acme Widgets", BOSTON)], recipient))["alternate_name"]


def test_any_name_of_the_company(tmp_path: Path) -> None:
    firm = company("New Brand", BOSTON, names=["Acme Widgets", "New Brand"])
    assert only(match(tmp_path, [firm], located("ACME WIDGETS", BOSTON)))["name_exact"]


def test_similar_name_at_the_same_street(tmp_path: Path) -> None:
    recipient = located("Harmonia Holding Grp", {**BOSTON, "address": "10 MAIN ST STE 900"})
    pair = only(match(tmp_path, [company("Harmonia Holdings Group", BOSTON)], recipient))
    assert pair["method"] == "fuzzy_name_place"
    assert pair["street_similarity"] == 1
    assert pair["score"] > 0.7


def test_a_typing_error_in_a_long_name_at_the_same_place(tmp_path: Path) -> None:
    recipient = located("Luminescent Photonics Laboratory", BOSTON)
    pair = only(match(tmp_path, [company("Luminescent Photonics Laboratories", BOSTON)], recipient))
    assert (pair["method"], pair["score"] >= 0.9) == ("fuzzy_name_place", True)


def test_joined_words(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Physical Sciences Inc.", BOSTON)], located("PHYSICALSCIENCES", BOSTON)))
    assert (pair["method"], pair["name_exact"], pair["name_similarity"]) == ("fuzzy_name_place", False, 1)
    assert pair["score"] >= 0.9


# --- negatives -------------------------------------------------------------------------------------------------


def test_equal_name_elsewhere_is_review_at_most(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Acme Widgets", BOSTON)], located("ACME WIDGETS", DAYTON)))
    assert (pair["method"], pair["score"]) == ("exact_name", 0.75)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Omni Measurement Systems", "OMNI MEDICAL SYSTEMS"),
        ("MS Technologies", "EMS TECHNOLOGIES"),
        ("Aqwest", "QWEST"),
        ("Beck Engineering", "RAISBECK ENGINEERING"),
        ("Science and Technology Applications", "SCIENCE & APPLIED TECHNOLOGY"),
    ],
)
def test_other_firms_of_similar_name_in_the_same_town(tmp_path: Path, left: str, right: str) -> None:
    elsewhere_in_town = {**BOSTON, "address": "77 Elm Road"}
    for pair in match(tmp_path, [company(left, BOSTON)], located(right, elsewhere_in_town), min_name_cosine=0.2):
        assert pair["score"] < 0.9
        assert pair["name_similarity"] < 0.93


def test_other_firms_at_the_same_address_are_no_candidates(tmp_path: Path) -> None:
    assert match(tmp_path, [company("Acme Widgets", BOSTON)], located("Zephyr Biomedical", BOSTON)) == []


def test_conflicting_uei_keeps_an_equal_name_below_accept(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Acme", BOSTON, ueis=[UEI_1])], located("ACME", BOSTON, uei=UEI_2)))
    assert (pair["uei_agreement"], pair["method"], pair["score"]) == (-1, "exact_name_place", 0.85)


def test_a_malformed_identifier_is_missing_and_no_conflict(tmp_path: Path) -> None:
    firm = company("Acme", BOSTON, ueis=["NONE"], duns=["123456789"])
    pair = only(match(tmp_path, [firm], located("ACME", BOSTON, uei="NONE", duns="12")))
    assert (pair["uei_agreement"], pair["duns_agreement"]) == (0, 0)


@pytest.mark.parametrize(
    ("state", "kept"), [("MA", True), (None, False), ("OH", False)], ids=["agrees", "unknown", "conflicts"]
)
def test_a_fuzzy_pair_of_low_cosine_needs_its_state(tmp_path: Path, state: str | None, kept: bool) -> None:
    firm = company("Harmonia Holdings Group", BOSTON)
    assert bool(match(tmp_path, [firm], {"name": "HARMONIA HOLD", "state": state})) is kept


# --- places ----------------------------------------------------------------------------------------------------


def test_any_location_of_the_company_may_agree(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company("Acme", BOSTON, DAYTON)], located("ACME", DAYTON)))
    assert (pair["state_agreement"], pair["city_agreement"], pair["zip_agreement"]) == (1, 1, 1)
    assert pair["street_similarity"] == 1


def test_a_town_of_the_same_name_in_another_state_conflicts(tmp_path: Path) -> None:
    recipient = {"name": "ACME", "city": "Boston", "state": "VA"}
    pair = only(match(tmp_path, [company("Acme", BOSTON)], recipient))
    assert (pair["state_agreement"], pair["city_agreement"], pair["zip_agreement"]) == (-1, -1, 0)


def test_a_town_without_its_state_is_not_comparable(tmp_path: Path) -> None:
    assert only(match(tmp_path, [company("Acme", BOSTON)], {"name": "ACME", "city": "Boston"}))["city_agreement"] == 0


def test_texts_no_company_bears_conflict(tmp_path: Path) -> None:
    recipient = {"name": "ACME", "city": "Nowhere", "state": "AK", "zip5": "99999", "uei": UEI_2, "duns": "999999998"}
    pair = only(match(tmp_path, [company("Acme", BOSTON, ueis=[UEI_1], duns=["001234567"])], recipient))
    agreements = [pair[f"{what}_agreement"] for what in ("uei", "duns", "state", "city", "zip")]
    assert agreements == [-1, -1, -1, -1, -1]


def test_a_text_no_company_bears_is_not_that_of_the_company_before(tmp_path: Path) -> None:
    found = match(tmp_path, [company("Acme", DAYTON), company("Acme", BOSTON)], {"name": "ACME", "zip5": "11111"})
    assert [row["zip_agreement"] for row in found] == [-1, -1]


def test_other_house_numbers_are_other_streets(tmp_path: Path) -> None:
    there = {**BOSTON, "address": "10525 Vista Sorrento Parkway"}
    recipient = located("ACME", {**BOSTON, "address": "10520 Vista Sorrento Pkwy"})
    assert only(match(tmp_path, [company("Acme", there)], recipient))["street_similarity"] == 0.75


@pytest.mark.parametrize("missing", ["company", "recipient", "both"])
def test_missing_on_a_side_is_not_comparable(tmp_path: Path, missing: str) -> None:
    firm = company("Acme") if missing != "recipient" else company("Acme", BOSTON, ueis=[UEI_1], duns=["001234567"])
    full = located("ACME", BOSTON, uei=UEI_1, duns="001234567")
    pair = only(match(tmp_path, [firm], full if missing == "company" else {"name": "ACME"}))
    assert [pair[f"{what}_agreement"] for what in ("uei", "duns", "state", "city", "zip")] == [0] * 5
    assert pair["street_similarity"] is None
    assert (pair["method"], pair["score"]) == ("exact_name", 0.85)


# --- shape -----------------------------------------------------------------------------------------------------


def test_no_recipients(tmp_path: Path) -> None:
    assert match(tmp_path, [company("Acme")]) == []


def test_no_companies(tmp_path: Path) -> None:
    build_index(company_table([]), tmp_path)
    matcher = OrganisationMatcher()
    index = matcher.open_index(tmp_path)
    found = matcher.match(index, recipient_table(located("Acme", BOSTON, uei=UEI_1)))
    assert found.num_rows == 0
    assert found.schema.equals(schema.CANDIDATE)


def test_nulls_everywhere(tmp_path: Path) -> None:
    nothing = {"address": None, "city": None, "state": None, "zip5": None}
    companies = [company(None), company(None, nothing, names=[None], ueis=[None], duns=[None])]
    empty = [{}, {"alternate_names": []}, {"alternate_names": [None, ""]}, {"name": "***"}]
    assert match(tmp_path, companies, *empty) == []
    lists = {"names": None, "ueis": None, "duns": None, "locations": None}
    assert match(tmp_path, [{**company(None), **lists}], *empty) == []


def test_a_company_without_a_name_is_found_by_identifier(tmp_path: Path) -> None:
    pair = only(match(tmp_path, [company(None, ueis=[UEI_1])], {"uei": UEI_1.lower()}))
    assert (pair["method"], pair["name_similarity"], pair["name_exact"]) == ("uei", 0, False)


def test_short_names(tmp_path: Path) -> None:
    assert only(match(tmp_path, [company("X"), company("3M")], {"name": "3 M"}))["company_id"] == 1


def test_rows_are_sorted_unique_and_carry_the_recipient(tmp_path: Path) -> None:
    firms = [company("Acme", BOSTON, ueis=[UEI_1]), company("Acme", DAYTON), company("Zeta")]
    recipients = [{"name": "Zeta"}, located("ACME", BOSTON, uei=UEI_1, source_row=9, alternate_names=["Acme Inc"])]
    found = match(tmp_path, firms, *recipients, batch_rows=1)
    assert [(row["company_id"], row["source_row"]) for row in found] == [(0, 9), (1, 9), (2, 1)]
    assert (found[0]["name"], found[0]["city"], found[0]["recipient_id"]) == ("ACME", "Boston", "r2")


def test_fuzzy_candidates_are_limited_and_equal_names_are_not(tmp_path: Path) -> None:
    firms = [company("Quantum Widgets", BOSTON) for _ in range(4)]
    firms += [company(f"Quantum Widgets {letter}{letter}", BOSTON) for letter in "ABCDEFGH"]
    found = match(tmp_path, firms, located("QUANTUM WIDGETS", BOSTON), max_candidates_per_name=2)
    assert [row["company_id"] for row in found if row["name_exact"]] == [0, 1, 2, 3]
    # All eight are alike to the last digit but for the rarity of their letters: the order must still be fixed.
    assert len([row for row in found if not row["name_exact"]]) == 2


def test_equally_similar_companies_are_taken_by_their_number(tmp_path: Path) -> None:
    firms = [company("Quantum Widgets Group", BOSTON) for _ in range(3)]
    found = match(tmp_path, firms, located("QUANTUM WIDGET GROUP", BOSTON), max_candidates_per_name=2)
    assert [row["company_id"] for row in found] == [0, 1]


def test_slices_of_pairs_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    firms = [company("Acme", BOSTON, DAYTON, names=["Acme", "Acme Widgets"]), company("Acme Widget", DAYTON)]
    recipients = [located("ACME", BOSTON, alternate_names=["Acme Widgets"]), located("ACME WIDGET", DAYTON)]
    whole = match(tmp_path / "whole", firms, *recipients)
    monkeypatch.setattr(compare, "SLICE_PAIRS", 1)
    assert match(tmp_path / "sliced", firms, *recipients) == whole
    assert len(whole) > 2


def test_names_of_other_states_do_not_push_out_the_one_at_home(tmp_path: Path) -> None:
    abroad = [company(f"Quantum Widget {word}", DAYTON) for word in ("Able", "Bold", "Calm", "Deft")]
    found = match(tmp_path, [*abroad, company("Quantum Widgeteers Fund", BOSTON)], located("QUANTUM WIDGET", BOSTON))
    assert [row["company_id"] for row in found] == [4], "those abroad have a greater cosine, but not great enough"
    firms = [*abroad, company("Quantum Widgeteers Fund", BOSTON)]
    found = match(tmp_path / "one", firms, located("QUANTUM WIDGET", BOSTON), max_candidates_per_name=1)
    assert [row["company_id"] for row in found] == [4]


def test_ties_at_the_cut_of_the_kernel_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    # Many more equally similar names than the kernel fetches (6 per name at a limit of 1).
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    firms = [company(f"Quantum Widgets {first}{second}", BOSTON) for first in letters for second in letters[:5]]
    build_index(company_table(firms), tmp_path)
    recipients = recipient_table(
        *(located(name, BOSTON) for name in ["QUANTUM WIDGETS", "WIDGETS QUANTUM", *BACKGROUND, "QUANTUM WIDGET AA"])
    )
    results = []
    for batch_rows in (1, 2, 3, 1000):
        matcher = OrganisationMatcher(CandidateConfig(max_candidates_per_name=1, batch_rows=batch_rows))
        results.append(matcher.match(matcher.open_index(tmp_path), recipients).combine_chunks())
    assert all(result.equals(results[0]) for result in results)
    assert {1, 2, len(recipients)} <= set(results[0]["source_row"].to_pylist())


# --- index, key, pickle ----------------------------------------------------------------------------------------


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.iterdir()}


def test_index_bytes_depend_on_the_companies_only(tmp_path: Path) -> None:
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
    assert OrganisationMatcher(CandidateConfig(min_name_cosine=0.7)).key() != key
    assert OrganisationMatcher(CandidateConfig(max_candidates_per_name=6)).key() != key
    monkeypatch.setattr("enrich_dist.matching.matcher.ENGINE_VERSION", "other")
    assert OrganisationMatcher().key() != key


def test_matcher_survives_pickling() -> None:
    matcher = OrganisationMatcher(CandidateConfig(min_name_cosine=0.7))
    assert pickle.loads(pickle.dumps(matcher)) == matcher


def test_unpickling_imports_nothing_heavy() -> None:
    program = (
        "import sys, enrich_dist.matching;"
        "heavy = {'scipy', 'sparse_dot_topn', 'rapidfuzz', 'duckdb', 'dask'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    "settings",
    [{"min_name_cosine": 0.0}, {"min_name_cosine": 1.5}, {"max_candidates_per_name": 0}, {"batch_rows": 0}],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        CandidateConfig(**settings)
