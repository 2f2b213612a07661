"""Which identifiers unlike organisations share."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.sources.shared_identifiers import describe_shared, find_shared, without_shared

COLUMNS = ["name", "uei", "duns", "street", "city"]
UEI, OTHER = "QJ7RMT3K9WB5", "PX4LTW8K2NB7"


def table(*rows: tuple[str | None, ...]) -> pa.Table:
    padded = [row + (None,) * (len(COLUMNS) - len(row)) for row in rows]
    return pa.table([pa.array(column, pa.string()) for column in zip(*padded, strict=True)], COLUMNS)


def shared(*rows: tuple[str | None, ...]) -> list[str]:
    return [str(item["identifier"]) for item in find_shared(table(*rows), "awards").to_pylist()]


@pytest.mark.parametrize(
    "names",
    [
        ("Quorvex Photonics Inc", "QUORVEX PHOTONICS, LLC"),
        ("Quorvex Photonics", "Quorvex Technologies"),
        ("Quorvex Photonics", "Quorvex"),
        ("Quorvex Photonics", "Quorvx Photonics"),
        ("Nano Sonic Corp", "Nanosonic"),
        ("Quorvex Zelmora Brintal", "QZB"),
        ("Quorvex Photonics", "REDACTED DUE TO PII"),
    ],
)
def test_spellings_of_one_name_share_nothing(names: tuple[str, str]) -> None:
    assert shared(*((name, UEI) for name in names)) == []


@pytest.mark.parametrize(
    "names", [("Quorvex Photonics", "Zelmora Sensors"), ("Quorvex Advanced Systems", "Zelmora Advanced Systems")]
)
def test_unlike_names_share_their_identifier(names: tuple[str, str]) -> None:
    assert shared(*((name, UEI) for name in names)) == [UEI]
    assert shared(*((name, None, "413271411") for name in names)) == ["413271411"]


def test_one_street_or_another_identifier_connects_two_names() -> None:
    first = ("Quorvex Photonics", UEI, "413271411", "1 Oak Street, Suite 3", "Lexford")
    assert shared(first, ("Zelmora Sensors", UEI, None, "1 OAK ST", "LEXFORD")) == []
    assert shared(first, ("Zelmora Sensors", UEI, "413271411", None, None)) == []
    assert shared(first, ("Zelmora Sensors", UEI, None, "1 Oak Street", "Marlow")) == [UEI]
    assert shared(first, ("Zelmora Sensors", UEI, "743252063", None, "Lexford")) == [UEI]


def test_four_unlike_names_of_one_street_share_their_identifier() -> None:
    names = ("Quorvex Photonics", "Zelmora Sensors", "Brintal Materials", "Oskarin Robotics")
    rows = [(name, UEI, None, "1 Oak St", "Lexford") for name in names]
    assert shared(*rows[:3]) == []
    assert shared(*rows) == [UEI]


NAMES = ["Quorvex Photonics", "Quorvex", "Zelmora Sensors", "Brintal Materials", "Unknown", None]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from([UEI, OTHER, None]),
        st.sampled_from(["413271411", None]),
        st.sampled_from(["1 Oak St", "2 Elm St", None]),
        st.sampled_from(["Lexford", None]),
    ),
    max_size=8,
)


@given(rows=ROWS, random=st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(rows: list[tuple[str | None, ...]], random: object) -> None:
    shuffled = random.sample(rows, len(rows))  # type: ignore[attr-defined]
    if rows:
        found = find_shared(table(*rows), "awards")
        assert find_shared(table(*shuffled), "awards").equals(found)
        assert without_shared(table(*rows)["uei"], found, "uei").null_count >= table(*rows)["uei"].null_count


def test_holders_are_named() -> None:
    [found] = find_shared(table(("Zelmora Sensors", UEI), ("Quorvex Photonics", UEI)), "awards").to_pylist()
    assert found == {
        "kind": "uei",
        "identifier": UEI,
        "side": "awards",
        "names": ["Quorvex Photonics", "Zelmora Sensors"],
        "rows": 2,
    }
    assert UEI in describe_shared(found)
    assert "Quorvex Photonics; Zelmora Sensors" in describe_shared(found)
