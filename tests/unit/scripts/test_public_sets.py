"""Development sets from public records: edits, halves, truth."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.peers.edits import TYPO, Edits, is_address_spelling, is_name_spelling, learn
from scripts.peers.public_sets import SETS, WHOLE, read_set
from scripts.peers.records import Record, as_table, in_half, known_of, letters, place_key

TOWNS = ("BOSTON", "DAYTON", "MACON", "TROY")
FIRMS = ("ORMUX SYSTEMS INC", "VELTARA OPTICS LLC", "ZIBEN MARINE CORP", "KOLDRA ENGINEERING INC", "PIXTOR GMBH")


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five firms in four towns each, with and without a UEI."""
    sites = [(firm, town, number) for number, firm in enumerate(FIRMS) for town in TOWNS]
    ids = [f"h{row}" for row in range(len(sites))]
    groups = ["QUORVEX HOLDINGS LLC", "QUORVEX UK LTD", "QUORVEX ENERGY INC", "TRELLIN GROUP INC", "TRELLIN FOODS INC"]
    names = [firm for firm, _, _ in sites] + groups
    place = [f"{number + 1} MAIN STREET" for _, _, number in sites] + [None] * len(groups)
    columns = {
        "recipient_hash": ids + [f"g{row}" for row in range(len(groups))],
        "legal_business_name": names,
        "uei": [f"UEI{row}" for row in range(len(sites))] + [None] * len(groups),
        "address_line_1": place,
        "address_line_2": [None] * len(names),
        "city": [town for _, town, _ in sites] + [None] * len(groups),
        "state": ["OH"] * len(sites) + [None] * len(groups),
        "zip5": ["45431"] * len(sites) + [None] * len(groups),
        "country_code": ["DEU" if "GMBH" in name else "USA" for name in names[: len(sites)]] + [None] * len(groups),
        "alternate_names": [[] for _ in names],
    }
    pq.write_table(pa.table(columns), tmp_path / "recipients.parquet")
    variant = {"source": "recipient_uei", "city_1": "TROY", "state_1": "OH", "zip_1": "-"}
    variant |= {"city_2": "TROY", "state_2": "OH", "zip_2": "45373"}
    pairs = [
        ("Acme Labs, Inc.", "ACME LABS INC", "1 Elm Street", "1 ELM ST"),
        ("Bo Oy", "BO OY", "2 Oak Rd", "2 OAK ROAD"),
    ]
    write_rows(
        tmp_path / "name_variants.csv",
        [
            {**variant, "entity": f"E{row}", "name_1": a, "address_1": c, "name_2": b, "address_2": d}
            for row, (a, b, c, d) in enumerate(pairs * 8)
        ],
    )
    label = {"address": "", "address2": "", "city": "TROY", "state": "OH", "zip": "", "recipient_uei": ""}
    write_rows(
        tmp_path / "labels_dev.csv",
        [
            {**label, "left_id": left, "sbir_company": name, "recipient_hash": right, "tier": tier, "kind": kind}
            for left, name, right, tier, kind in (
                ("a", FIRMS[0], "h3", "A_manual", "exact"),
                ("b", groups[0], "", "A_nomatch", "none"),
            )
        ],
    )
    other = tmp_path / "other_tables"
    other.mkdir()
    write_rows(other / "applicants_left.csv", [{"id": "L0", "name": "Shell Intl. B.V."}, {"id": "L1", "name": "X"}])
    write_rows(other / "applicants_right.csv", [{"id": "R0", "name": "SHELL INTERNATIONAL B.V."}])
    write_rows(other / "applicants_truth.csv", [{"left_id": "L0", "right_id": "R0"}, {"left_id": "L1", "right_id": ""}])
    return tmp_path


@pytest.mark.parametrize("name", SETS)
def test_every_set_is_read_the_same_way_twice(name: str, data: Path) -> None:
    case = read_set(name, data)
    again = read_set(name, data)

    assert case.left.equals(again.left)
    assert case.right.equals(again.right)
    assert case.known == again.known
    assert set(case.left["id"].to_pylist()) == set(case.known)
    assert set().union(*(known.acceptable for known in case.known.values())) <= set(case.right["id"].to_pylist())


def test_halves_share_no_site(data: Path) -> None:
    halves = [read_set("sites", data, half) for half in ("dev", "kept")]
    numbers = [{address and address.split()[0] for address in half.left["address"].to_pylist()} for half in halves]

    assert sum(len(half.left) for half in halves) == len(FIRMS) * len(TOWNS)
    assert all(len(half.left) for half in halves)
    assert numbers[0] | numbers[1] >= {"1", "2"}
    assert in_half("entity", "dev") != in_half("entity", "kept")


def test_unknown_set_or_half_is_refused(data: Path) -> None:
    with pytest.raises(ValueError, match="unknown set"):
        read_set("nothing", data)
    with pytest.raises(ValueError, match="no half"):
        read_set(WHOLE[0], data, "kept")


def test_recipients_with_labelled_names_are_left_out(data: Path) -> None:
    everything = read_set("labels_all", data)

    assert "QUORVEX HOLDINGS LLC" not in everything.right["name"].to_pylist()
    assert "QUORVEX UK LTD" in everything.right["name"].to_pylist()


def test_edits_are_learned_in_both_directions() -> None:
    edits = learn([("1 ELM STREET", "1 ELM ST"), ("OPTRONIX LABS INC", "OPTRONICS LABS INC"), ("A B", "C D")])

    assert (("STREET",), ("ST",), True) in edits.edits
    assert (("ST",), ("STREET",), True) in edits.edits
    assert TYPO in edits.edits
    assert edits.counts == (1, 1, 1, 1)


def test_edits_apply_only_where_they_fit() -> None:
    edits = Edits(((("STREET",), ("ST",), True),), (1,))
    rng = np.random.default_rng(0)

    assert edits.apply("5 Oak Street", rng) == "5 OAK ST"
    assert edits.apply("5 Street Road", rng) == "5 STREET ROAD"


@pytest.mark.parametrize(
    ("before", "after", "name", "address"),
    [
        (("STREET",), ("ST",), True, True),
        ((), ("STE", "300"), False, True),
        (("5621",), ("5679",), False, False),
        (("E",), ("F",), False, False),
        (("ENERGY",), (), False, False),
        (("INC",), (), True, False),
        (("LLC",), ("INC",), True, True),
    ],
)
def test_edits_that_change_the_entity_are_left_out(
    before: tuple[str, ...], after: tuple[str, ...], name: bool, address: bool
) -> None:
    assert is_name_spelling((before, after, True)) is name
    assert is_address_spelling((before, after, True)) is address


def test_kinds_of_truth() -> None:
    right = as_table(
        [
            Record("r0", "Acme Labs Inc", "1 Elm St", "Troy", "OH"),
            Record("r1", "ACME LABS LLC", "9 Oak Rd", "Troy", "OH"),
            Record("r2", "Zenith Corp", None, "Macon", "GA"),
        ]
    )
    left = as_table(
        [
            Record("exact", "ACME LABS", "1 Elm Street", "TROY", "OH"),
            Record("ambiguous", "ACME LABS", None, "TROY", "OH"),
            Record("variant", "ACME LABZ", None, "TROY", "OH"),
            Record("unrelated", "NOVA", None, "MACON", "GA"),
            Record("namesake", "ZENITH", None, "TROY", "OH"),
            Record("none", "OTHER", None, "TROY", "OH"),
        ]
    )
    truth = {"exact": {"r0"}, "ambiguous": {"r0"}, "variant": {"r0"}, "unrelated": {"r2"}, "namesake": (), "none": ()}

    known = known_of({identity: frozenset(some) for identity, some in truth.items()}, left, right)

    assert {identity: facts.kind for identity, facts in known.items()} == {identity: identity for identity in truth}
    assert [identity for identity, facts in known.items() if facts.findable] == ["exact", "variant"]


def test_keys_ignore_notation() -> None:
    assert letters("A & B Labs, Inc.") == letters("A AND B LABS")
    assert place_key(Record("", "", "5 Oak Street, Ste 3", "St. Paul", "MN")) == place_key(
        Record("", "", "5 OAK ST", "ST PAUL", "MN")
    )
