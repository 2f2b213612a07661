"""Candidates by address: forms of addresses, which pairs meet, how many companies share an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from enrich_dist.matching.index import build_index
from enrich_dist.matching.matcher import OrganisationMatcher
from enrich_dist.matching.normalise import normalise_addresses
from enrich_dist.matching.same_place import MAX_COMPANIES
from enrich_dist.schema import AddressLevel
from tests.unit.matching.test_matcher import BOSTON, company, company_table, located, match, recipient_table


@pytest.mark.parametrize(
    ("line_1", "line_2", "expected"),
    [
        ("10 Main Street, Suite 120", None, "10 MAIN ST/120"),
        ("10 MAIN ST #120", None, "10 MAIN ST/120"),
        ("10 MAIN ST", "STE. 120", "10 MAIN ST/120"),
        ("Suite 120, 10 Main St.", None, "10 MAIN ST/120"),
        ("10 Main St Unit B", None, "10 MAIN ST/B"),
        ("10 Main St, Ste A-100", None, "10 MAIN ST/A100"),
        ("10 Main St Suite A100", None, "10 MAIN ST/A100"),
        ("10 Main St, Floor 3", None, "10 MAIN ST/3"),
        ("10 Main St, 3rd Floor", None, "10 MAIN ST/3"),
        ("10 Main St, Third Floor", None, "10 MAIN ST/3"),
        ("Bldg 4, Suite 120, 10 Main St", None, "10 MAIN ST/4 120"),
        ("10 Main St", "Building 4, Suite 120", "10 MAIN ST/4 120"),
        ("10 Main St Suites 4", None, "10 MAIN ST/4"),
        ("10 Sixth Terr", None, "10 6TH TER/"),
        ("10 Route 7", None, "10 RTE 7/"),
        ("10 Rt. 7", None, "10 RTE 7/"),
        ("10 Main Street", None, "10 MAIN ST/"),
        ("10 Main St NW", None, "10 MAIN ST/"),
        ("10 N Main St", None, "10 N MAIN ST/"),
        ("One Kendall Square", "Suite 4", "1 KENDALL SQ/4"),
        ("10A Main St", None, "10A MAIN ST/"),
        ("10 Main St, PO Box 7", None, "10 MAIN ST/"),
        ("P.O. Box 7", None, None),
        ("Main Street Suite 4", None, None),
        ("Suite 4", None, None),
        (None, None, None),
    ],
)
def test_forms_of_addresses(line_1: str | None, line_2: str | None, expected: str | None) -> None:
    lines = (pa.array([line], pa.string()) for line in (line_1, line_2))
    assert normalise_addresses(*lines).to_pylist() == [expected]


def level(directory: Path, ours: str | None, theirs: str | None, **place: Any) -> AddressLevel | None:
    """The level of two unlike names at these addresses, None if they do not meet."""
    recipient = located("ZEPHYR BIOMEDICAL", {**BOSTON, "address": theirs, **place})  # type: ignore[dict-item]
    found = match(directory, [company("Acme Widgets", {**BOSTON, "address": ours})], recipient)  # type: ignore[dict-item]
    return AddressLevel(found[0]["address_level"]) if found else None


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ("10 Main Street, Suite 4", "10 MAIN ST STE 4", AddressLevel.SAME),
        ("10 Main Street", "10 MAIN ST NW", AddressLevel.SAME),
        ("10 Main Street, Suite 4", "10 MAIN ST", AddressLevel.SAME_STREET),
        ("10 Main Street", "STE 4 10 MAIN ST", AddressLevel.SAME_STREET),
        ("One Main Street", "1 MAIN ST", AddressLevel.SAME),
        ("10 Main Street, Suite 4", "10 MAIN ST STE 5", None),
        ("10 Main Street", "12 MAIN ST", None),
        ("10 Main Street", "10 ELM ST", None),
        ("PO Box 10", "PO BOX 10", None),
        ("Main Street", "MAIN ST", None),
    ],
)
def test_unlike_names_meet_at_one_address(
    tmp_path: Path, ours: str, theirs: str, expected: AddressLevel | None
) -> None:
    assert level(tmp_path, ours, theirs) == expected


def test_address_needs_its_zip_code(tmp_path: Path) -> None:
    """A town has several streets of one name, told apart by a direction that many leave out."""
    street = "10 Main Street"
    assert level(tmp_path / "other", street, street, zip5="02111") is None
    assert level(tmp_path / "missing", street, street, zip5=None) == AddressLevel.SAME
    assert level(tmp_path / "town", street, street, zip5=None, city="Dayton") is None


@pytest.mark.parametrize("count", [1, MAX_COMPANIES, MAX_COMPANIES + 1])
def test_addresses_of_many_companies_are_left_out_and_counted(tmp_path: Path, count: int) -> None:
    firms = [company(f"Firm{letter} Widgets", BOSTON) for letter in "ABCDEFGHIJK"[:count]]
    build_index(company_table(firms), tmp_path)
    matcher = OrganisationMatcher()
    index = matcher.open_index(tmp_path)
    found, counts = matcher.match(index, recipient_table(located("ZEPHYR", BOSTON), located("QUIXOTE", BOSTON)))
    left_out = {row["kind"]: row["count"] for row in counts.to_pylist()}.get("addresses_left_out", 0)
    few = count <= MAX_COMPANIES
    assert (len(found), left_out) == ((2 * count, 0) if few else (0, 2))
    assert set(found["address_companies"].to_pylist()) == ({count} if few else set())


def test_pairs_by_name_have_their_address_level(tmp_path: Path) -> None:
    firms = [company("Acme Widgets", BOSTON), company("Acme Widgets", {**BOSTON, "address": "99 Elm Street"})]
    found = match(tmp_path, firms, located("ACME WIDGETS", BOSTON))
    assert [row["address_level"] for row in found] == [AddressLevel.SAME, AddressLevel.DIFFERENT]
