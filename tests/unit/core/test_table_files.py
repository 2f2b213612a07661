"""Tables in files: exact in every format that can be, never a formula in a spreadsheet, and equal bytes."""

from __future__ import annotations

import csv
import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_calamine import load_workbook

from enrich_dist.core import table_files
from enrich_dist.core.table_files import FORMATS, is_our_workbook, require_format, write_table
from enrich_dist.errors import SettingsError
from enrich_dist.plain_text import from_spreadsheet, is_formula, printable, spreadsheet_text
from tests.support.hostile_text import HOSTILE_TEXTS, hostile_text

FULL_WIDTH = str.maketrans("＝＋－＠", "=+-@")
in_a_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
# Text that UTF-8 and this Unicode version have.
utf8_text = hostile_text().map(
    lambda text: "".join(c for c in text if unicodedata.category(c) not in ("Cs", "Cn", "Co"))
)


def table_of(texts: list[str | None]) -> pa.Table:
    return pa.table({"id": pa.array([f"k {n} " for n in range(len(texts))]), "name": pa.array(texts, pa.string()),
                     "n": pa.array(range(len(texts)), pa.int64()), "p": pa.array([0.1] * len(texts))})  # fmt: skip


def read(path: Path) -> list[list[Any]]:
    """Cells as a program reads them; empty ones as None."""
    match path.suffix:
        case ".csv":
            with path.open(encoding="utf-8", newline="") as handle:
                return [[cell or None for cell in row] for row in csv.reader(handle)][1:]
        case ".xlsx":
            rows = load_workbook(path).get_sheet_by_index(0).to_python(skip_empty_area=False)[1:]
            return [[None if cell == "" else cell for cell in row] for row in rows]
        case ".jsonl" | ".ndjson":
            return [list(json.loads(line).values()) for line in path.read_text("utf-8").split("\n")[:-1]]
        case _:
            return [list(row.values()) for row in pq.read_table(path).to_pylist()]


@given(st.lists(utf8_text, min_size=1, max_size=4))
@in_a_folder
def test_every_format_but_csv_is_exact(tmp_path: Path, texts: list[str]) -> None:
    table = table_of([*texts, None])
    for suffix in FORMATS[1:]:
        path = tmp_path / f"t{suffix}"
        write_table(table, path)
        exact = [[row["id"], row["name"] or None, row["n"], row["p"]] for row in table.to_pylist()]
        assert [[cell if cell != "" else None for cell in row] for row in read(path)] == exact, suffix


@given(st.lists(utf8_text, min_size=1, max_size=4))
@in_a_folder
def test_no_cell_of_csv_is_a_formula(tmp_path: Path, texts: list[str]) -> None:
    write_table(table_of(texts), tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text("utf-8")
    assert not {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") and char != "\n"}
    assert len(text.splitlines()) == len(texts) + 1, "one line per row"
    for delimiter in ",;":
        # Spreadsheets of other languages separate by semicolons, also inside of quotes that do not begin a cell.
        cells = [cell for row in csv.reader(text.splitlines(), delimiter=delimiter) for cell in row]
        raw = [part for line in text.splitlines() for part in line.split(";")] if delimiter == ";" else []
        for cell in [*cells, *raw]:
            begin = cell.lstrip(' "').translate(FULL_WIDTH)
            assert begin[:1] not in ("=", "@") or not begin, cell
            assert begin[:1] not in ("+", "-") or not is_formula(cell), cell
    for given_text, (_, shown, *_) in zip(texts, read(tmp_path / "t.csv"), strict=True):
        assert (shown or "").replace("'", "") == printable(given_text).replace("'", "")


@given(hostile_text())
def test_spreadsheet_text_can_be_undone_for_keys(text: str) -> None:
    key = printable(text)
    if ";" not in key:
        assert from_spreadsheet(spreadsheet_text(key)) == key
    assert not is_formula(spreadsheet_text(text))


@pytest.mark.parametrize("number", ["-5", "+1,234.50", "-3%", "=", "a=1", "a-b", "A+B LLC", "3M", "", "-1;-2"])
def test_what_is_no_formula_stays(number: str) -> None:
    assert spreadsheet_text(number) == ("'=" if number == "=" else number)


def test_formula_regex_of_arrow_finds_all_that_changes(tmp_path: Path) -> None:
    for text in HOSTILE_TEXTS:
        if "\udcff" not in text:
            [safe] = table_files.spreadsheet_safe(table_of([text]), tmp_path)["name"].to_pylist()
            assert safe == spreadsheet_text(text)


def test_keys_are_exact_or_refused(tmp_path: Path) -> None:
    keys = ["A  1", "B&amp;2", " C3 ", "007", '"q"', "-5", "a\tb", "x\x1by"]
    for suffix in FORMATS:
        write_table(pa.table({"id": [*keys]}), tmp_path / f"t{suffix}", keys=["id"])
        assert [row[0] for row in read(tmp_path / f"t{suffix}")] == keys
    for suffix in FORMATS[1:]:
        write_table(pa.table({"id": ["=1+1"]}), tmp_path / f"f{suffix}", keys=["id"])
        assert read(tmp_path / f"f{suffix}") == [["=1+1"]]
    with pytest.raises(SettingsError, match="column id"):
        write_table(pa.table({"id": ["a", "=1+1"]}), tmp_path / "f.csv", keys=["id"])
    assert not (tmp_path / "f.csv").exists()


def test_equal_tables_have_equal_bytes(tmp_path: Path) -> None:
    for suffix in FORMATS:
        write_table(table_of(["a", None]), tmp_path / f"a{suffix}")
    time.sleep(1.1)
    for suffix in FORMATS:
        write_table(table_of(["a", None]), tmp_path / f"b{suffix}")
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes(), suffix


def test_worksheet_limits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="40,000 characters"):
        write_table(table_of(["x" * 40_000]), tmp_path / "t.xlsx")
    monkeypatch.setattr(table_files, "_XLSX_ROWS", 1)
    with pytest.raises(SettingsError, match="2 rows"):
        write_table(table_of(["a", "b"]), tmp_path / "t.xlsx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["links", "links.json", "links.csv.gz", "links.xls", "links.txt", "links.ods"])
def test_other_endings_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"\.csv, \.jsonl.*\.xlsx"):
        require_format(Path(name), "--out")


def test_own_workbooks_are_known(tmp_path: Path) -> None:
    write_table(table_of(["a"]), tmp_path / "t.xlsx")
    write_table(table_of(["a"]), tmp_path / "t.csv")
    assert is_our_workbook(tmp_path / "t.xlsx")
    assert not is_our_workbook(tmp_path / "t.csv")
    assert not is_our_workbook(tmp_path / "none.xlsx")
