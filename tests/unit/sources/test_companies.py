"""Companies: which awards join, which stay separate, and independence of row order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich_dist import schema
from enrich_dist.sources.companies import CompanyTables, build_companies

A, B = "AK7AM2AP9AW1", "BK7BM2BP9BW2"
STREET = {"address1": "1 Main St", "city": "Troy"}


def awards(*rows: dict[str, Any]) -> pa.Table:
    """Return awards with the given values; other columns are null."""
    filled = [{"award_id": f"a{number:03}", "source_row": number + 2, **row} for number, row in enumerate(rows)]
    return pa.Table.from_pylist(filled, schema=schema.AWARD)


def build(tmp_path: Path, *rows: dict[str, Any]) -> CompanyTables:
    return build_companies(awards(*rows), tmp_path)


def groups(tables: CompanyTables) -> list[list[str]]:
    """Return award ids by company, in the order of the companies."""
    by_company: dict[int, list[str]] = {}
    for row in tables.award_companies.to_pylist():
        by_company.setdefault(row["company_id"], []).append(row["award_id"])
    return [sorted(by_company[company]) for company in sorted(by_company)]


def test_shared_keys_join_awards(tmp_path: Path) -> None:
    tables = build(
        tmp_path,
        {"company": "Acme Inc", "uei": A, "duns": "111111112", "state": "NY", **STREET},
        {"company": "Other words", "uei": A, **STREET},
        {"company": "Acme Research", "duns": "111111112", "state": "TX"},
        {"company": "ACME RESEARCH, LLC", "state": "TX"},
        {"company": "ACME RESEARCH, LLC", "state": "CA"},
    )

    assert groups(tables) == [["a004"], ["a000", "a001", "a002", "a003"]]
    assert tables.companies["company_key"].to_pylist() == ["name:ACME RESEARCH|CA", f"uei:{A}"]


def test_company_has_all_names_and_places(tmp_path: Path) -> None:
    [company] = build(
        tmp_path,
        {"company": "Acme Inc", "uei": A, "city": "Troy", "state": "NY", "zip5": "12180"},
        {"company": "Acme Labs", "uei": A, "duns": "111111112", "address1": "1 Main", "address2": "Suite 2"},
        {"company": "Acme Labs", "uei": A, "duns": "222222223", "city": "Troy", "state": "NY", "zip5": "12180"},
    ).companies.to_pylist()

    assert company["name"] == "Acme Labs"
    assert company["names"] == ["Acme Labs", "Acme Inc"]
    assert company["ueis"] == [A]
    assert company["duns"] == ["111111112", "222222223"]
    assert company["award_count"] == 3
    assert company["locations"] == [
        {"address": "1 Main, Suite 2", "city": None, "state": None, "zip5": None},
        {"address": None, "city": "Troy", "state": "NY", "zip5": "12180"},
    ]


def test_name_with_conflicting_ueis_stays_separate(tmp_path: Path) -> None:
    tables = build(
        tmp_path,
        {"company": "Acme", "state": "NY", "uei": A},
        {"company": "Acme", "state": "NY", "uei": B},
        {"company": "Acme", "state": "NY"},
        {"company": "Acme", "state": "NY"},
    )

    assert groups(tables) == [["a002", "a003"], ["a000"], ["a001"]]
    assert tables.names_kept_apart == 1


def test_unambiguous_name_joins_despite_conflict(tmp_path: Path) -> None:
    tables = build(
        tmp_path,
        {"company": "Acme", "state": "NY", "uei": A, **STREET},
        {"company": "Acme", "state": "NY", "uei": B},
        {"company": "Bolt", "state": "NY", "uei": A, **STREET},
        {"company": "Bolt", "state": "NY"},
    )

    assert groups(tables) == [["a000", "a002", "a003"], ["a001"]]


def test_duns_with_conflicting_ueis_stays_separate(tmp_path: Path) -> None:
    tables = build(
        tmp_path,
        {"company": "Acme", "uei": A, "duns": "111111112"},
        {"company": "Bolt", "uei": B, "duns": "111111112"},
        {"company": "Coil", "duns": "111111112"},
    )

    assert groups(tables) == [["a002"], ["a000"], ["a001"]]


def test_unlike_names_do_not_join_by_their_identifier(tmp_path: Path) -> None:
    tables = build(
        tmp_path,
        {"company": "Acme", "state": "NY", "uei": A, "duns": "111111112"},
        {"company": "Bolt", "state": "TX", "uei": A},
        {"company": "Acme", "state": "TX", "duns": "111111112"},
    )

    assert groups(tables) == [["a000", "a002"], ["a001"]]
    assert tables.companies["ueis"].to_pylist() == [[], []]
    [shared] = tables.shared_identifiers.to_pylist()
    assert (shared["identifier"], shared["names"]) == (A, ["Acme", "Bolt"])


def test_names_do_not_chain_companies(tmp_path: Path) -> None:
    tables = build(
        tmp_path,
        {"company": "Acme", "state": "NY", "uei": A},
        {"company": "Acme", "state": "NY", "duns": "111111112", **STREET},
        {"company": "Bolt", "state": "NY", "duns": "111111112", **STREET},
        {"company": "Bolt", "state": "NY", "uei": B},
    )

    assert groups(tables) == [["a001", "a002"], ["a000"], ["a003"]]


def test_unrelated_awards_stay_separate(tmp_path: Path) -> None:
    tables = build(tmp_path, {"duns": "111111112"}, {"duns": "222222223"}, {"company": "Acme"}, {"company": "Bolt"})

    assert len(groups(tables)) == 4
    assert tables.companies.schema.equals(schema.COMPANY)


_rows = st.lists(
    st.fixed_dictionaries(
        {
            "company": st.sampled_from([None, "Acme", "Acme Inc", "Bolt", "Coil LLC"]),
            "state": st.sampled_from([None, "NY", "TX"]),
            "uei": st.sampled_from([None, None, A, B]),
            "duns": st.sampled_from([None, None, "111111112", "222222223"]),
        }
    ),
    min_size=1,
    max_size=14,
)


@given(rows=_rows, data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_row_order_does_not_matter(tmp_path: Path, rows: list[dict[str, Any]], data: st.DataObject) -> None:
    table = awards(*rows)
    order = data.draw(st.permutations(range(len(rows))))

    tables = build_companies(table, tmp_path)
    shuffled = build_companies(table.take(np.array(order)), tmp_path)

    assert tables.companies.equals(shuffled.companies)
    assert sorted(map(str, tables.award_companies.to_pylist())) == sorted(
        map(str, shuffled.award_companies.to_pylist())
    )
    assert sum(tables.companies["award_count"].to_pylist()) == len(rows)
    assert max(map(len, tables.companies["ueis"].to_pylist())) <= 1
    keys = tables.companies["company_key"].to_pylist()
    assert len(set(keys)) == len(keys)
