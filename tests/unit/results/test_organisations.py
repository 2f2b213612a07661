"""Which candidates of a company are one organisation, which of them is published, and the id of the organisation."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from enrich_dist.results.organisations import chosen_sql, group_organisations, members_sql
from enrich_dist.results.tables import store_table
from enrich_dist.schema import NameLevel, SiblingLevel
from tests.support.candidates import BOSTON, EXACT_NAME, SALEM, candidate, candidate_table, drop_tables

UEI_1, UEI_2 = {"uei": "AK7AM2AP9AW1"}, {"uei": "AK7AM2AP9AW2"}
DUNS_1, DUNS_2 = {"duns": "001234567"}, {"duns": "007654321"}
MILL_12, MILL_18 = {"address_line_1": "12 MILL ST"}, {"address_line_1": "18 MILL ST"}
ACME = {**EXACT_NAME, "name": "ACME INC"}

TYPO = {"name_level": NameLevel.TYPO}

Row = dict[str, Any]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def organisations(connection: duckdb.DuckDBPyConnection, *rows: Row) -> list[Row]:
    """The organisations of rows, by company and published recipient: its id, its members, the row that is published."""
    table = candidate_table([{"source_row": n, **row} for n, row in enumerate(rows)])
    decided = {name: [bool(row.get(name)) for row in rows] for name in ("confirmed", "rejected")}
    added = {
        "match_method": ["exact_name"] * len(rows),
        "method_rank": [5] * len(rows),
        "match_weight": [float(row.get("weight", 20.0)) for row in rows],
        "unseen_share": [0.0] * len(rows),
        **decided,
    }
    for name, values in added.items():
        table = table.append_column(name, pa.array(values))
    weighed = store_table(connection, "weighed", table)
    rivals = group_organisations(connection, weighed)
    best = connection.sql(f"select company_id, source_row from {rivals}").to_arrow_table()
    places = store_table(connection, "judged", best)
    query = f"""
        select m.company_id, recipient_id as published, cluster_id, members
        from ({members_sql(chosen_sql(rivals, places), weighed)}) m join {weighed} r
        on r.company_id = m.company_id and r.source_row = published_row order by all
    """
    return connection.sql(query).to_arrow_table().to_pylist()


def row(recipient_id: str, **values: Any) -> Row:
    made = {**candidate(0, recipient_id, **{**ACME, **values})}
    return {name: value for name, value in made.items() if name != "source_row"} | values


def members(connection: duckdb.DuckDBPyConnection, *rows: Row) -> list[list[str]]:
    return [found["members"] for found in organisations(connection, *rows)]


@pytest.mark.parametrize(
    ("one", "other", "joined"),
    [
        ({**BOSTON, **MILL_12}, {**BOSTON, **MILL_18}, True),
        ({**BOSTON, **MILL_12}, {**BOSTON, "address_line_1": "12 MILL ST STE 4"}, True),
        ({**BOSTON, **MILL_12}, {**BOSTON, "address_line_1": "12 ELM RD"}, False),
        ({**BOSTON, **MILL_12}, {**BOSTON, "address_line_1": "PO BOX 12"}, True),
        ({**BOSTON, **MILL_12}, {"city": "Boston", "state": "MA"}, True),
        ({**BOSTON, **MILL_12}, {"zip5": "02110"}, True),
        ({**BOSTON, **MILL_12}, {"state": "MA"}, True),
        ({**BOSTON, **MILL_12}, {"state": "NH"}, False),
        ({"city": "ST LOUIS", "state": "MO"}, {"city": "Saint Louis", "state": "MO"}, True),
        ({**UEI_1, **BOSTON}, {**UEI_2, **BOSTON}, False),
        ({**DUNS_1, **BOSTON}, {**DUNS_1, **SALEM}, True),
        ({**DUNS_1, **BOSTON}, {**DUNS_2, **SALEM}, False),
        ({**DUNS_1, **BOSTON, **MILL_12}, {**DUNS_2, **BOSTON, **MILL_18}, True),
        ({**DUNS_1, **UEI_1}, {**DUNS_1, **UEI_2}, False),
        ({**BOSTON, "sibling_level": SiblingLevel.NUMBERS_DIFFER, "name": "ACME FUND II"},
         {**BOSTON, "sibling_level": SiblingLevel.NUMBERS_DIFFER, "name": "ACME FUND III"}, False),
        ({**BOSTON, **TYPO, "name": "ACNE"}, {**BOSTON, **TYPO, "name": "AXME"}, False),
        ({"name_level": NameLevel.ADDITIONAL_WORDS, "name": "ACME OPTICS LLC", **BOSTON},
         {"name_level": NameLevel.ADDITIONAL_WORDS, "name": "Acme Optics, Inc.", **BOSTON}, True),
        ({"name_level": NameLevel.ADDITIONAL_WORDS, "name": "ACME OPTICS", **BOSTON},
         {"name_level": NameLevel.ADDITIONAL_WORDS, "name": "ACME LASERS", **BOSTON}, False),
        ({**TYPO, "name": "ACNE INC"}, {**TYPO, "name": "ACNE, INC."}, True),
    ],
    ids=[
        "neighbouring-streets", "suite", "other-street", "po-box",
        "no-zip", "zip-only", "state-only", "other-state", "spelling-of-a-city",
        "two-ueis", "one-duns-in-two-towns", "two-duns-in-two-towns", "two-duns-in-one-town", "one-duns-two-ueis",
        "siblings", "two-typos", "other-legal-form", "other-names", "names-without-place",
    ],
)  # fmt: skip
def test_two_rows(connection: duckdb.DuckDBPyConnection, one: Row, other: Row, joined: bool) -> None:
    expected = [["a", "b"]] if joined else [["a"], ["b"]]
    assert members(connection, row("a", **one), row("b", **other)) == expected


def test_no_chain_passes_different_identifiers(connection: duckdb.DuckDBPyConnection) -> None:
    link = row("link", **BOSTON, weight=5)
    rows = [row("a", **UEI_1, **BOSTON, **MILL_12), row("b", **UEI_2, **BOSTON, **MILL_18, weight=30), link]
    assert members(connection, *rows) == [["a"], ["b", "link"]], "the row that is more like the company"
    rows = [
        row("a", **DUNS_1, **BOSTON),
        row("b", **DUNS_2, **SALEM),
        row("link", zip5="02110", city="SALEM", state="MA"),
    ]
    assert sorted(map(len, members(connection, *rows))) == [1, 2]


def test_row_without_place_never_brings_another_place(connection: duckdb.DuckDBPyConnection) -> None:
    """A row without place is more like a company in Ohio than one in Boston: its weight would count for Boston."""
    name_only = row("name-only", weight=22)
    assert members(connection, row("boston", **BOSTON, weight=18), name_only) == [["boston"], ["name-only"]]
    assert members(connection, row("boston", **BOSTON, weight=30), name_only) == [["boston", "name-only"]]


def test_best_documented_row_is_published(connection: duckdb.DuckDBPyConnection) -> None:
    ranked = [
        row("d-uei", **UEI_1, city="BOSTON", state="MA", weight=1),
        row("c-duns", **DUNS_1, city="BOSTON", state="MA", weight=2),
        row("b-street", **BOSTON, **MILL_12, weight=3),
        row("a-town", **BOSTON, weight=4),
    ]
    ids = ["uei:AK7AM2AP9AW1", "duns:001234567", "recipient:a-town", "recipient:a-town"]
    for position, best in enumerate(ranked):
        [found] = organisations(connection, *ranked[position:][::-1])
        assert (found["published"], found["cluster_id"]) == (best["recipient_id"], ids[position])
    confirmed = {**ranked[3], "confirmed": True}
    assert organisations(connection, *ranked[:3], confirmed)[0]["published"] == "a-town"


def test_rows_of_one_street_join_first(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [
        row("a", **UEI_1, **BOSTON, **MILL_12, weight=40),
        row("b", **UEI_2, **BOSTON, **MILL_18, weight=20),
        row("c", **BOSTON, **MILL_18, weight=10),
    ]
    assert members(connection, *rows) == [["a"], ["b", "c"]]


@pytest.mark.long
def test_one_name_in_many_towns(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(f"r{n:04}", city=f"TOWN {n:04}", state="OH") for n in range(1_000)]
    assert len(members(connection, *rows)) == 1_000
    one_town = [row(f"r{n:04}", **BOSTON, address_line_1=f"{n} MILL ST") for n in range(1_000)]
    assert len(members(connection, *one_town)) == 1


CHOICES = st.fixed_dictionaries(
    {
        "company_id": st.integers(0, 1),
        "uei": st.sampled_from([None, None, "AK7AM2AP9AW1", "AK7AM2AP9AW2"]),
        "duns": st.sampled_from([None, None, "001234567", "007654321"]),
        "city": st.sampled_from([None, "BOSTON", "SALEM"]),
        "state": st.sampled_from([None, "MA"]),
        "zip5": st.sampled_from([None, "02110", "01970"]),
        "address_line_1": st.sampled_from([None, "12 MILL ST", "18 MILL ST"]),
        "name_level": st.sampled_from([NameLevel.EQUAL, NameLevel.TYPO, NameLevel.ADDITIONAL_WORDS]),
        "name": st.sampled_from(["ACME INC", "ACME OPTICS", "ACME LASERS"]),
        "weight": st.integers(0, 3),
        "confirmed": st.sampled_from([False, False, False, True]),
    }
)


@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=st.lists(CHOICES, min_size=1, max_size=12), order=st.randoms(use_true_random=False))
def test_organisations_of_any_rows(
    connection: duckdb.DuckDBPyConnection, drawn: list[Row], order: random.Random
) -> None:
    drop_tables(connection)
    rows = [{**row(f"r{number:02}"), **values, "source_row": number} for number, values in enumerate(drawn)]
    found = organisations(connection, *rows)

    shuffled = rows[:]
    order.shuffle(shuffled)
    assert organisations(connection, *shuffled) == found, "independent of the order"
    first = [each for each in rows if each["company_id"] == 0]
    if first:
        assert organisations(connection, *first) == [each for each in found if each["company_id"] == 0]
    assert sorted(member for each in found for member in each["members"]) == [each["recipient_id"] for each in rows]
    by_id = {each["recipient_id"]: each for each in rows}
    holders = defaultdict(set)
    for each in found:
        own = [by_id[member] for member in each["members"]]
        ueis = {member["uei"] for member in own} - {None}
        assert len(ueis) <= 1
        with_duns = [member for member in own if member["duns"]]
        if not ueis and len({member["duns"] for member in with_duns}) > 1:
            [(city, _)] = {(member["city"], member["state"]) for member in with_duns}
            assert city, "different DUNS in one known town only"
        for uei in ueis:
            holders[each["company_id"], uei].add(each["published"])
    assert all(len(published) == 1 for published in holders.values()), "one UEI, one organisation"
