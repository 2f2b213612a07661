"""Names over time from award downloads, and the further names that recipients get from them."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich_dist import schema
from enrich_dist.errors import SettingsError, SourceError
from enrich_dist.schema import NameKind
from enrich_dist.sources.former_names import add_names
from enrich_dist.sources.name_history import NameHistory, NameInput, write_names
from enrich_dist.sources.recipients import RecipientBatch
from tests.conftest import REPOSITORY

REAL = REPOSITORY / "tests" / "corpus" / "former-names-real" / "renames_real.csv"
UEI, OTHER, THIRD = "D7SRYQVNKMV3", "C7SRYQVNKMV4", "ZQGGHJH74DW7"
HEADER = [
    "recipient_uei", "recipient_duns", "recipient_name", "recipient_name_raw", "recipient_doing_business_as_name",
    "recipient_parent_uei", "recipient_parent_name", "recipient_parent_name_raw", "action_date",
]  # fmt: skip
Name = tuple[str, str, str | None, str | None]


def download(path: Path, *rows: dict[str, str], header: Sequence[str] = HEADER) -> Path:
    """Write rows; keys are headers without ``recipient_``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows([[row.get(name.removeprefix("recipient_"), "") for name in header] for row in rows])
    data = text.getvalue().encode("utf-8")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def names(tmp_path: Path, *files: Path | str) -> list[dict[str, Any]]:
    with NameHistory([NameInput(file) for file in files]).open(tmp_path / "scratch") as table:
        table.write(tmp_path / "names.parquet")
    found = pq.read_table(tmp_path / "names.parquet")
    assert found.schema.equals(schema.NAME_HISTORY)
    return found.to_pylist()


def brief(rows: list[dict[str, Any]], uei: str | None = UEI) -> list[Name]:
    """Return (name, kind, first seen, last seen) of an organisation."""
    dates = [[value and str(value) for value in (row["first_seen"], row["last_seen"])] for row in rows]
    return [
        (row["name"], row["kind"], first, last)
        for row, (first, last) in zip(rows, dates, strict=True)
        if row["uei"] == uei
    ]


def test_real_rows(tmp_path: Path) -> None:
    found = names(tmp_path, REAL)

    assert brief(found, "PJ8ADGQ1HCP3") == [
        ("1366 TECHNOLOGIES INC.", "recipient", None, None),
        ("CUBICPV INC", "recipient", None, None),
    ]
    assert brief(found, "GRWVG3NP66A9")[0] == ("EXELON CORPORATION", "parent", None, None)
    assert brief(found, "RQNMMKNVVES8") == [("EXELON CORPORATION", "recipient", None, None)]


def test_dates_are_those_of_the_name_on_the_award(tmp_path: Path) -> None:
    file = download(
        tmp_path / "a.csv",
        {"uei": UEI, "name": "NEW NAME LLC", "name_raw": "OLD NAME INC", "action_date": "2015-03-02"},
        {"uei": UEI, "name": "NEW NAME LLC", "name_raw": "OLD NAME INC", "action_date": "2012-01-05"},
        {"uei": UEI, "name": "NEW NAME LLC", "name_raw": "NEW NAME LLC", "action_date": "2020-06-07"},
    )

    assert brief(names(tmp_path, file)) == [
        ("NEW NAME LLC", "recipient", "2020-06-07", "2020-06-07"),
        ("OLD NAME INC", "recipient", "2012-01-05", "2015-03-02"),
    ]


def test_old_header_dates_the_only_name(tmp_path: Path) -> None:
    header = ["recipient_duns", "recipient_name", "award_base_action_date", "award_latest_action_date"]
    file = download(
        tmp_path / "a.csv.gz",
        {"duns": "808111222", "name": "OLD NAME", "award_base_action_date": "2001-01-01"},
        {"duns": "808111222", "name": "OLD NAME", "award_latest_action_date": "2003-04-05",
         "award_base_action_date": "2002-01-01"},
        header=header,
    )  # fmt: skip

    found = names(tmp_path, file)

    assert [row["duns"] for row in found] == ["808111222"]
    assert brief(found, None) == [("OLD NAME", "recipient", "2001-01-01", "2003-04-05")]


def test_parents(tmp_path: Path) -> None:
    file = download(
        tmp_path / "a.csv",
        {"uei": UEI, "name": "ACME", "name_raw": "ACME", "parent_uei": OTHER, "parent_name": "NEW HOLDER",
         "parent_name_raw": "OLD HOLDER", "action_date": "2010-01-01", "doing_business_as_name": "ROCKETS"},
        {"uei": THIRD, "name": "OWN", "parent_uei": THIRD, "parent_name": "OWN", "parent_name_raw": "OWN BEFORE"},
    )  # fmt: skip

    found = names(tmp_path, file)

    assert brief(found) == [
        ("ROCKETS", "dba", "2010-01-01", "2010-01-01"),
        ("NEW HOLDER", "parent", None, None),
        ("OLD HOLDER", "parent", "2010-01-01", "2010-01-01"),
        ("ACME", "recipient", "2010-01-01", "2010-01-01"),
    ]
    assert [name[0] for name in brief(found, OTHER)] == ["NEW HOLDER", "OLD HOLDER"]
    assert [name[:2] for name in brief(found, THIRD)] == [("OWN", "recipient"), ("OWN BEFORE", "recipient")]


def test_sam_extract_has_trade_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(REAL.parents[1] / "sam-extract" / "make.py"))

    for file in ("extract.dat", "extract.ZIP"):
        assert brief(names(tmp_path, file)) == [
            ("QUORVEX WORKS", "dba", None, None),
            ("QUORVEX OPTICS LLC", "recipient", None, None),
        ]


def test_what_is_lost_is_counted(tmp_path: Path) -> None:
    file = download(
        tmp_path / "a.csv",
        {"uei": UEI, "name": "ACME", "name_raw": "BEFORE", "action_date": "2015-02-30"},
        {"uei": "nothing", "name": "ACME", "name_raw": "OTHER", "action_date": "soon"},
        {"uei": UEI, "name": "unknown", "name_raw": "N/A"},
    )
    with file.open("a", encoding="utf-8") as handle:
        handle.write("too,few\n")

    with NameHistory([NameInput(file)]).open(tmp_path / "scratch") as table:
        counts = table.counts()

    assert counts == {
        "files": 1, "rows": 4, "rows_unreadable": 1, "rows_without_names": 2, "dates_lost": 2, "identifiers_lost": 1,
        "names": 2, "organisations": 1, "with_several_names": 1, "recipients": 0,
    }  # fmt: skip


def test_names_of_an_identifier_are_limited(tmp_path: Path) -> None:
    rows = [{"uei": UEI, "name_raw": f"FIRM {number:03d}"} for number in range(80)]
    file = download(tmp_path / "a.csv", *rows, {"uei": UEI, "name_raw": "FIRM 079"})

    found = [name[0] for name in brief(names(tmp_path, file))]

    assert len(found) == 50
    assert {"FIRM 000", "FIRM 079"} <= {*found}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipient_name,recipient_name_raw\nA,B\n", "no column for uei or duns .* Set columns.uei"),
        ("recipient_uei,action_date\nA,B\n", "no column for name"),
        ("recipient_uei,recipient_name\nnothing,B\n", "none of its 1 rows has a name and a valid UEI"),
    ],
)
def test_files_without_names_are_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(text, "utf-8")

    with pytest.raises(SourceError, match=message):
        names(tmp_path, download(tmp_path / "good.csv", {"uei": UEI, "name": "ACME"}), file)


def test_columns_and_members_are_named(tmp_path: Path) -> None:
    file = download(tmp_path / "a.csv", {"who": UEI, "name": "ACME"}, header=["who", "recipient_name"])

    with NameHistory([NameInput(file, columns={"uei": "who"})]).open(tmp_path / "scratch") as table:
        assert table.counts()["names"] == 1


def test_output_is_no_input_and_only_replaces_itself(tmp_path: Path) -> None:
    file = download(tmp_path / "a.csv", {"uei": UEI, "name": "ACME", "action_date": "2015-02-03"})
    out, note = tmp_path / "out" / "names.parquet", tmp_path / "note.parquet"
    note.write_text("mine", "utf-8")

    write_names([file], out)
    first = out.read_bytes()
    write_names([file], out)

    assert out.read_bytes() == first
    for target, message in ((note, "did not write it"), (tmp_path / "names.csv", "does not end in")):
        with pytest.raises(SettingsError, match=message):
            write_names([file], target)
    with pytest.raises(SettingsError, match="is an input"):
        write_names([out], out)


_NAMES = st.sampled_from(["ACME INC", "Acme, Inc.", "BEFORE LLC", "", "N/A"])
_DATES = st.sampled_from(["2012-03-04", "03/05/2019", "1999-12-31", "2015-02-30", ""])
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "uei": st.sampled_from([UEI, OTHER, "", "bad"]), "duns": st.sampled_from(["808111222", ""]),
            "name": _NAMES, "name_raw": _NAMES, "parent_uei": st.sampled_from([UEI, THIRD, ""]), "parent_name": _NAMES,
            "parent_name_raw": _NAMES, "action_date": _DATES,
        }
    ),
    min_size=1, max_size=8,
)  # fmt: skip


@given(rows=_ROWS, data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_order_and_parts_do_not_matter(tmp_path: Path, rows: list[dict[str, str]], data: st.DataObject) -> None:
    good = {"uei": UEI, "name": "ACME INC", "action_date": "2011-01-01"}
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    whole = NameHistory([NameInput(download(tmp_path / "whole.csv", good, *rows))])
    parts = [
        download(tmp_path / f"{number}.csv", good, *part)
        for number, part in enumerate([shuffled[:cut], shuffled[cut:]])
    ]
    tables = []
    for number, history in enumerate(
        [whole, *(NameHistory([NameInput(f) for f in order]) for order in (parts, parts[::-1]))]
    ):
        with history.open(tmp_path / "scratch") as table:
            table.write(tmp_path / f"{number}.parquet")
        tables.append(pq.read_table(tmp_path / f"{number}.parquet"))

    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()
    assert (
        NameHistory([NameInput(f) for f in parts]).digest() == NameHistory([NameInput(f) for f in parts[::-1]]).digest()
    )
    assert tables[0].drop_columns(["rows"]).equals(tables[1].drop_columns(["rows"]))
    found = tables[0].to_pylist()
    assert all(row["uei"] is None or row["duns"] is None for row in found)
    assert all(row["first_seen"] <= row["last_seen"] for row in found if row["first_seen"])
    assert all((row["first_seen"] is None) == (row["last_seen"] is None) for row in found)
    # A table of names is read as the downloads are.
    with NameHistory([NameInput(tmp_path / "1.parquet")]).open(tmp_path / "scratch") as table:
        table.write(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()


def recipients(*rows: dict[str, Any]) -> pa.Table:
    filled = [{"source_row": number, "recipient_id": f"r{number}", **row} for number, row in enumerate(rows)]
    return pa.Table.from_pylist(filled, schema=schema.RECIPIENT)


def with_names(tmp_path: Path, file: Path, *tables: pa.Table) -> list[list[dict[str, Any]] | None]:
    def batches() -> Iterator[RecipientBatch]:
        for table in tables:
            yield RecipientBatch(table, schema.REJECT.empty_table(), len(table))

    with NameHistory([NameInput(file)]).open(tmp_path / "scratch") as names:
        found = [batch.recipients for batch in add_names((batch for batch in batches()), names)]
        assert all(table.schema.equals(schema.RECIPIENT) for table in found)
        lists = [item for table in found for item in table["name_history"].to_pylist()]
        assert names.recipients == sum(item is not None for item in lists)
    return lists


def test_recipients_get_only_further_names(tmp_path: Path) -> None:
    file = download(
        tmp_path / "a.csv",
        {"uei": UEI, "name": "ACME INC", "name_raw": "BEFORE LLC", "action_date": "2012-01-01"},
        {"uei": UEI, "name": "ACME INC", "name_raw": "Before, L.L.C.", "action_date": "2015-01-01"},
        {"uei": UEI, "name": "ACME INC", "name_raw": "ACME ROCKETS", "doing_business_as_name": "BOOM",
         "parent_uei": OTHER, "parent_name": "HOLDER", "parent_name_raw": "FORMER HOLDER"},
        {"duns": "808111222", "name": "BY DUNS"},
        {"uei": OTHER, "name": "HOLDER"},
    )  # fmt: skip
    rows = (
        {
            "name": "Acme, Incorporated",
            "uei": UEI,
            "alternate_names": ["Acme Rockets LLC"],
            "parent_name": "Holder Inc",
        },
        {"name": "HOLDER", "uei": OTHER},
        {"name": "NOBODY"},
        {"name": "FOUND", "duns": "808111222"},
    )

    acme, holder, nobody, by_duns = with_names(tmp_path, file, recipients(*rows))

    assert acme == [
        {"name": "BOOM", "kind": NameKind.ALTERNATE, "first_seen": None, "last_seen": None},
        {"name": "Before, L.L.C.", "kind": NameKind.FORMER, "first_seen": dt.date(2012, 1, 1),
         "last_seen": dt.date(2015, 1, 1)},
        {"name": "FORMER HOLDER", "kind": NameKind.PARENT, "first_seen": None, "last_seen": None},
    ]  # fmt: skip
    assert holder == [{"name": "FORMER HOLDER", "kind": NameKind.FORMER, "first_seen": None, "last_seen": None}]
    assert nobody is None
    assert by_duns is not None
    assert [item["name"] for item in by_duns] == ["BY DUNS"]
    assert with_names(tmp_path, file, *(recipients(row) for row in rows)) == [acme, holder, nobody, by_duns]
