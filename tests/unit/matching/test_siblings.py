"""Names of siblings, which are never accepted, and names of one organisation in two scripts or notations, which are.

One link of all pairs, each in a town and street of its own, shows the decision; the outcomes of single pairs come from
their comparison vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.matching.decisions import SAME_PLACE
from enrich_dist.matching.normalise import normalise_cities, split_names
from enrich_dist.pipeline.linking import link
from enrich_dist.schema import NameLevel, SiblingLevel
from tests.unit.matching.test_matcher import BOSTON, company, located, match

SIBLINGS = [
    ("Tract 101 Dynamics LLC", "TRACT 102 DYNAMICS LLC", SiblingLevel.NUMBERS_DIFFER),
    ("Brindle Fund II LLC", "BRINDLE FUND III LLC", SiblingLevel.NUMBERS_DIFFER),
    ("Tarrow Fund XVI", "TARROW FUND XV", SiblingLevel.NUMBERS_DIFFER),
    ("First Corvale Church", "SECOND CORVALE CHURCH", SiblingLevel.NUMBERS_DIFFER),
    ("Sixth Elmdale Church", "SIXTY ELMDALE CHURCH", SiblingLevel.NUMBERS_DIFFER),
    ("Phase I Vexling LLC", "PHASE II VEXLING LLC", SiblingLevel.NUMBERS_DIFFER),
    ("Morrow Capital X LP", "MORROW CAPITAL IX LP", SiblingLevel.NUMBERS_DIFFER),
    ("Vessel 2020 Fund", "VESSEL 2021 FUND", SiblingLevel.NUMBERS_DIFFER),
    ("Pentar Twenty First Fund", "PENTAR 22ND FUND", SiblingLevel.NUMBERS_DIFFER),
    ("Quorlab X4 Labs", "QUORLAB X5 LABS", SiblingLevel.NUMBERS_DIFFER),
    ("Ardent B2 Optics", "ARDENT C2 OPTICS", SiblingLevel.NUMBERS_DIFFER),
    ("Harwell Opportunity Partners Tract 10", "HARWELL OPPORTUNITY PARTNERS TRACT 101", SiblingLevel.NUMBERS_DIFFER),
    ("Alvern Unit 1", "ALVERN UNIT 1A", SiblingLevel.NUMBERS_DIFFER),
    ("Завод 12 Ромашка", "ЗАВОД 13 РОМАШКА", SiblingLevel.NUMBERS_DIFFER),
    ("Ostrava Growth Fund", "OSTRAVA GROWTH FUND II", SiblingLevel.NUMBER_MISSING),
    ("Kelvane Partners", "KELVANE PARTNERS V", SiblingLevel.NUMBER_MISSING),
    ("North Harbor Signals Inc", "SOUTH HARBOR SIGNALS INC", SiblingLevel.OPPOSITES),
    ("Northeast Calvar Inc", "NORTHWEST CALVAR INC", SiblingLevel.OPPOSITES),
    ("Bank of the Weststone", "BANK OF THE EASTSTONE", SiblingLevel.OPPOSITES),
    ("Northside Pellworks", "SOUTHSIDE PELLWORKS", SiblingLevel.OPPOSITES),
    ("Minera Norte Quill", "MINERA SUR QUILL", SiblingLevel.OPPOSITES),
    ("North Gallant Pumps", "GALLANT PUMPS", SiblingLevel.OPPOSITES),
    ("Северная Линия", "ЮЖНАЯ ЛИНИЯ", SiblingLevel.OPPOSITES),
    ("Upper Tamsin Works", "LOWER TAMSIN WORKS", SiblingLevel.OPPOSITES),
    ("Old Tarrow Mill", "NEW TARROW MILL", SiblingLevel.OPPOSITES),
    ("Norvane Labs A", "NORVANE LABS B", SiblingLevel.OPPOSITES),
    ("Unit A Dorrick LLC", "UNIT B DORRICK LLC", SiblingLevel.OPPOSITES),
    ("Fund Alpha Tressel", "FUND BETA TRESSEL", SiblingLevel.OPPOSITES),
    ("Rendal Pine Jr", "RENDAL PINE SR", SiblingLevel.OPPOSITES),
    ("Calder Systems LLC", "CALDER SYSTEMS / OSTROM WORKS JOINT VENTURE LLC", SiblingLevel.VENTURES),
    ("Brenwick Labs", "JOINT VENTURE BETWEEN BRENWICK LABS AND OSTROM", SiblingLevel.VENTURES),
    ("Pellar Works", "PELLAR WORKS & DORAN JV", SiblingLevel.VENTURES),
    ("Drummel Alder-Birch JV LLC", "DRUMMEL ALDER-CEDAR JV LLC", SiblingLevel.VENTURES),
    ("Zentra Optics", "ZENTRA OPTICS HOLDINGS LLC", SiblingLevel.HOLDINGS),
    ("Quillon Group", "QUILLON GROUP OF OHIO", SiblingLevel.CHAPTERS),
    ("United Path of Erie", "UNITED PATH OF OHIO", SiblingLevel.CHAPTERS),
]

SAME = [
    ("Marrow Fund II", "MARROW FUND 2"),
    ("Tessla Fund Two", "TESSLA FUND 2"),
    ("Garrow 2nd Street Labs", "GARROW SECOND STREET LABS"),
    ("Dorvan Fund 1", "DORVAN FUND I"),
    ("Kestrel Tract 01", "KESTREL TRACT 1"),
    ("Askel Fund Twenty One", "ASKEL FUND 21"),
    ("Delta 9 Corp", "DELTA NINE CORP"),
    ("Amberly JV LLC", "AMBERLY JOINT VENTURE"),
    ("Kolvan Hldgs Inc", "KOLVAN HOLDINGS"),
    ("North Pell Inc", "N PELL INC"),
    ("A-B-Q Company", "ABQ COMPANY"),
    ("3M2 Technologies", "3M 2 TECHNOLOGIES"),
    ("Rowe, Adelheid", "ADELHEID ROWE"),
    ("Lumen Nord A/S", "LUMEN NORD AS"),
    ("SAS Thalizor", "THALIZOR"),
    ("Universität Quelldorf", "UNIVERSITAET QUELLDORF"),
    ("Müller Feinwerk", "MUELLER FEINWERK"),
    ("Новая Оптика", "НОВАЯ ОПТИКА"),
    ("Новая Механика", "NOVAYA MEKHANIKA"),
    ("ООО «Ромашка»", "Ромашка"),
    ("Ελληνική Οπτική", "ΕΛΛΗΝΙΚΗ ΟΠΤΙΚΗ"),
    ("株式会社ミナト", "ミナト"),
    ("ﾐﾅﾄ光学", "ミナト光学"),
    ("北京量子科技", "BEIJING LIANGZI KEJI"),
    ("한빛광학", "한빛광학"),
    ("شركة البصريات", "شركة البصريات"),
    ("חברת אופטיקה", "חברת אופטיקה"),
]

STRANGERS = [
    ("A-B-K Company", "COMPANY"),
    ("Старая Фирма LLC", "Молодая Сосна LLC"),
    ("Завод 17", "Школа 17"),
    ("東京第一工場", "東京第二工場"),
    ("北京東方科技", "北京西方科技"),
    ("Fathom5 Sonics", "OTHER THINGS 5"),
]

PAIRS = [*((left, right) for left, right, _ in SIBLINGS), *SAME, *STRANGERS]


@pytest.fixture(scope="module", params=["street", "town"])
def links(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The link of each left name, with an equal street of each pair or none."""
    folder = tmp_path_factory.mktemp("siblings")
    # Others, so that the places and common words are known.
    others = [f"VENDOR {word} WARES" for word in ("APEX", "BOREAL", "CINDER", "DELPHI", "EMBER", "GROVE", "HELIX")]
    for side, names in (("left", [left for left, _ in PAIRS]), ("right", [right for _, right in PAIRS] + others)):
        rows = [
            {
                "id": f"{side}{number}", "name": name, "city": ("Lexford", "Marlow", "Pinehaven")[number % 3],
                "state": "MA", "zip": f"0213{number % 3}",
                "address": f"{100 + number} Alder St" if request.param == "street" else None,
            }
            for number, name in enumerate(names)
        ]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{side}.parquet")
    link(
        folder / "left.parquet", folder / "right.parquet", folder / "links.parquet", left_columns={}, right_columns={},
        candidates=CandidateConfig(), decision=DecisionConfig(), with_review=True,
    )  # fmt: skip
    rows = pq.read_table(folder / "links.parquet").to_pylist()
    found = {row["left_id"]: row for row in rows}
    return {
        left: found.get(f"left{number}", {"right_id": None, "status": "unmatched"}) | {"expected": f"right{number}"}
        for number, (left, _) in enumerate(PAIRS)
    }


@pytest.mark.parametrize("left", [left for left, _, _ in SIBLINGS])
def test_siblings_are_never_accepted(links: dict[str, dict[str, Any]], left: str) -> None:
    assert links[left]["status"] in {"review", "unmatched"}


@pytest.mark.parametrize("left", [left for left, _ in STRANGERS])
def test_strangers_do_not_meet(links: dict[str, dict[str, Any]], left: str) -> None:
    assert links[left]["status"] == "unmatched" or links[left]["method"] == SAME_PLACE


@pytest.mark.parametrize("left", [left for left, _ in SAME])
def test_one_name_in_two_forms_is_found(links: dict[str, dict[str, Any]], left: str) -> None:
    assert links[left]["right_id"] == links[left]["expected"]
    assert links[left]["status"] in {"matched", "review"}


def test_street_accepts_one_name_in_two_forms(links: dict[str, dict[str, Any]], request: pytest.FixtureRequest) -> None:
    if "street" in request.node.name:
        assert {left for left, _ in SAME if links[left]["status"] != "matched"} == set()


def compared(folder: Path, pairs: list[tuple[str, str]]) -> list[dict[str, Any] | None]:
    """The comparison vector of each pair of names in a town of its own, None for no candidate."""
    places = [BOSTON | {"city": f"Town {number}", "zip5": f"{10000 + number}"} for number in range(len(pairs))]
    companies = [company(left, place) for (left, _), place in zip(pairs, places, strict=True)]
    found = match(folder, companies, *(located(right, at) for (_, right), at in zip(pairs, places, strict=True)))
    by_number = {row["company_id"]: row for row in found if row["company_id"] == row["source_row"] - 1}
    return [by_number.get(number) for number in range(len(pairs))]


def test_outcome_of_siblings_is_symmetric(tmp_path: Path) -> None:
    expected = {(left, right): level for left, right, level in SIBLINGS}
    for number, pairs in enumerate([list(expected), [(right, left) for left, right in expected]]):
        found = zip(pairs, compared(tmp_path / str(number), pairs), strict=True)
        outcomes = {pair: SiblingLevel(row["sibling_level"]) for pair, row in found if row}
        assert outcomes == {pair: expected.get(pair, expected.get(pair[::-1])) for pair in pairs}


def test_siblings_are_no_typos(tmp_path: Path) -> None:
    pairs = [(left, right) for left, right, _ in SIBLINGS]
    assert {row["name_level"] for row in compared(tmp_path, pairs) if row} <= {*range(1, NameLevel.TYPO)}


def test_initials_and_typos_are_no_siblings(tmp_path: Path) -> None:
    pairs = [
        ("Global Embedded Technologies Inc", "GLOBAL EMBEDDED TECHNOLOGIES I"),  # truncated
        ("John Smithson", "JOHN S SMITHSON"),
        ("Alvex", "ALVEX SE"),
        ("Institute of Technology Norvell", "INSTITUTE OF TECH NORVELL"),
        ("University of Pittsburgh", "UNIVERSITY OF PITTSBURG"),
        ("Worlot Association of State Alcohol Directors", "WORLOT ASSOCIATION OF STATE AL"),
    ]
    assert [row and row["sibling_level"] for row in compared(tmp_path, pairs)] == [SiblingLevel.NONE] * len(pairs)


WORDS = (
    *("NORTH", "SOUTH", "NORTHWEST", "WESTSTONE", "EASTSTONE", "1", "2", "02", "II", "X4", "X5", "FIRST", "TWENTY"),
    *("ONE", "JV", "JOINT", "VENTURE", "HOLDINGS", "OF", "OHIO", "A", "B", "CALDER", "CALDERS", "AND", "НОВАЯ"),
)
NAMES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join)


@given(st.lists(st.tuples(NAMES, NAMES), min_size=12, max_size=12))
@settings(max_examples=5, deadline=None)
def test_no_siblings_are_bridged(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]) -> None:
    """The outcome is the same in both directions, and equal or mistyped names have no conflict of numbers or words."""
    swapped = [(right, left) for left, right in pairs]
    found, others = (compared(tmp_path_factory.mktemp("pairs"), side) for side in (pairs, swapped))
    for pair, one, two in zip(pairs, found, others, strict=True):
        if one and two:
            assert one["sibling_level"] == two["sibling_level"], pair
        if one and one["name_level"] >= NameLevel.TYPO:
            assert one["sibling_level"] == SiblingLevel.NONE, pair


@pytest.mark.parametrize(
    ("raw", "names"),
    [
        ("Müller GmbH", ["MULLER", "MUELLER"]),
        ("Société Générale", ["SOCIETE GENERALE"]),
        ("ЗАО «Новый Завод 12»", ["НОВЫИ ЗАВОД 12", "NOVYI ZAVOD 12"]),
        ("北京", ["北京", "BEIJING"]),
        ("ACME 株式会社", ["ACME"]),
        ("株式会社", ["株式会社", "ZHUSHIHUISHE"]),
        ("Acme™ – Works®", ["ACME WORKS"]),
        ("Ac\u200bme\u00ad Wor\u202eks", ["ACME WORKS"]),
        ("Ａｃｍｅ　Ｗｏｒｋｓ", ["ACME WORKS"]),
        ("Hawaiʻi Optics", ["HAWAII OPTICS"]),
    ],
)
def test_names_in_other_scripts(raw: str, names: list[str]) -> None:
    assert (
        split_names(pa.array(["Acme", raw])).filter(pa.array([False] + [True] * len(names)))["name"].to_pylist()
        == names
    )


def test_cities_are_transliterated() -> None:
    assert normalise_cities(pa.array(["Москва", "Sankt-Peterburg", "Köln", None])).to_pylist() == [
        "MOSKVA", "SANKT PETERBURG", "KOLN", None,
    ]  # fmt: skip
