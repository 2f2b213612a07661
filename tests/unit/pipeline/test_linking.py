"""``enrich-dist link``: two small tables of organisations from the command line, and what a link makes of odd ones."""

from __future__ import annotations

import csv
import json
import random
import re
import string
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from python_calamine import load_workbook

from enrich_dist.errors import SourceError
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.pipeline import linking as module
from enrich_dist.pipeline.linking import LINK, LinkSummary, link
from enrich_dist.results.estimation import observe
from tests.conftest import enrich_dist
from tests.support.review_case import CommandLine

TYPES = {"alternate_names": pa.list_(pa.string())}
CLIFTON = {"city": "Clifton Park", "state": "NY", "zip": "12065"}
BOSTON = {"city": "Boston", "state": "MA", "zip": "02110"}
LEFT: list[dict[str, Any]] = [
    {"id": "L1", "name": "Kitware, Inc.", "address": "1 Main Street", **CLIFTON},
    {"id": "L2", "name": "Zymergen Photonics", "address": None, "city": None, "state": None, "zip": None},
    {"id": "L3", "name": "Nobody Knows Us", "address": None, "city": "Nome", "state": "AK", "zip": "99762"},
    {"id": "L4", "name": "Quuxly Robotcs LLC", "address": "9 Elm Rd", **BOSTON},
]
RIGHT: list[dict[str, Any]] = [
    {"id": "R1", "name": "KITWARE INCORPORATED", "address": "1 MAIN ST", **CLIFTON},
    {"id": "R2", "name": "ZYMERGEN PHOTONICS LLC", "address": "1 ALPHA AVE", **BOSTON},
    {"id": "R3", "name": "ZYMERGEN PHOTONICS INC", "address": "2 BETA AVE", **CLIFTON},
    {"id": "R4", "name": "QUUXLY ROBOTICS", "address": "9 ELM ROAD", **BOSTON},
    *({"id": f"N{n}", "name": f"VENDOR OF WARES {n}", "address": None, **BOSTON} for n in range(20)),
]


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows as CSV or Parquet."""
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        names = list(rows[0])
        columns = {name: pa.array([row[name] for row in rows], TYPES.get(name, pa.string())) for name in names}
        pq.write_table(pa.table(columns), path)
    return path


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        assert table.schema.equals(LINK)
        return table.to_pylist()
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def linked(
    folder: Path,
    left: list[dict[str, Any]],
    right: list[dict[str, Any]],
    *,
    with_review: bool = False,
    decision: DecisionConfig | None = None,
    **columns: dict[str, str | None],
) -> tuple[list[dict[str, Any]], LinkSummary]:
    """Links of two tables, and the summary."""
    folder.mkdir(exist_ok=True)
    summary = link(
        write(folder / "left.parquet", left),
        write(folder / "right.parquet", right),
        folder / "links.parquet",
        left_columns=columns.get("left_columns", {}),
        right_columns=columns.get("right_columns", {}),
        candidates=CandidateConfig(),
        decision=decision or DecisionConfig(),
        with_review=with_review,
    )
    return read(folder / "links.parquet"), summary


# --- the command -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_command_links_two_tables(tmp_path: Path, kind: str) -> None:
    left, right = write(tmp_path / f"left.{kind}", LEFT), write(tmp_path / f"right.{kind}", RIGHT)

    done = enrich_dist("link", left, right, "--out", tmp_path / "made" / f"links.{kind}", cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "4 left rows: 2 matched, 1 for review, 1 unmatched, 0 invalid. 24 right rows, 0 invalid." in done.stdout
    assert "Estimated precision 99.0% (95% interval " in done.stdout
    assert f"Links  {tmp_path / 'made' / f'links.{kind}'}" in done.stdout
    links = read(tmp_path / "made" / f"links.{kind}")
    assert [(row["left_id"], row["right_id"], row["method"], row["status"]) for row in links] == [
        ("L1", "R1", "exact_name_place", "matched"),
        ("L4", "R4", "fuzzy_name_place", "matched"),
    ]
    assert all(0.9 < float(row["probability"]) <= 1 for row in links)
    assert all(float(row["score"]) > 10 for row in links)
    assert [path.name for path in (tmp_path / "made").iterdir()] == [f"links.{kind}"]


def test_undecided_links_are_written_on_demand(tmp_path: Path, cli: CommandLine) -> None:
    left, right = write(tmp_path / "left.csv", LEFT), write(tmp_path / "right.csv", RIGHT)

    code, _, _ = cli("link", left, right, "--out", tmp_path / "links.parquet", "--all")

    assert code == 0
    links = {row["left_id"]: row for row in read(tmp_path / "links.parquet")}
    assert list(links) == ["L1", "L2", "L4"]
    assert (links["L2"]["status"], links["L2"]["right_id"]) == ("review", "R2"), "as probable as R3, and before it"
    assert links["L2"]["probability"] == pytest.approx(0.48, abs=0.02)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_earlier_links_are_replaced_and_nothing_else(tmp_path: Path, cli: CommandLine, kind: str) -> None:
    left, right = write(tmp_path / f"left.{kind}", LEFT), write(tmp_path / f"right.{kind}", RIGHT)
    out, foreign = tmp_path / f"links.{kind}", write(tmp_path / f"foreign.{kind}", RIGHT)
    (tmp_path / "link").symlink_to(foreign)
    before = {path: path.read_bytes() for path in (left, right, foreign)}

    assert [cli("link", left, right, "--out", out)[0] for _ in range(2)] == [0, 0]
    refused = [
        cli("link", left, right, "--out", path)[0] for path in (left, right, foreign, tmp_path / "link", tmp_path)
    ]

    assert refused == [2] * 5
    assert {path: path.read_bytes() for path in before} == before
    assert (tmp_path / "link").is_symlink()


def test_settings_of_the_match_act(tmp_path: Path, cli: CommandLine) -> None:
    left, right, out = write(tmp_path / "left.csv", LEFT), write(tmp_path / "right.csv", RIGHT), tmp_path / "links.csv"

    code, _, _ = cli("link", left, right, "--out", out, "--set", "matching.accept_probability=0.4")
    assert code == 0
    assert [row["right_id"] for row in read(out)] == ["R1", "R2", "R4"]

    code, _, error = cli("link", left, right, "--out", out, "--set", "matching.accept_probability=4")
    assert code == 2
    assert "matching.accept_probability (command line)" in error


def test_columns_of_other_names_are_named(tmp_path: Path, cli: CommandLine) -> None:
    def renamed(rows: list[dict[str, Any]], names: dict[str, str]) -> list[dict[str, Any]]:
        return [{names.get(key, key): value for key, value in row.items()} for row in rows]

    left = write(tmp_path / "left.csv", renamed(LEFT, {"id": "No.", "name": "Firm", "zip": "Postal"}))
    right = write(tmp_path / "right.csv", renamed(RIGHT, {"id": "vendor_no", "address": "street"}))

    code, out, _ = cli(
        "link", left, right, "--out", tmp_path / "links.csv", "--left-column", "id=No.", "--left-column", "name=Firm",
        "--left-column", "zip=Postal", "--right-column", "id=vendor_no", "--right-column", "address=street",
    )  # fmt: skip

    assert code == 0, out
    same = enrich_dist(
        "link", write(tmp_path / "a.csv", LEFT), write(tmp_path / "b.csv", RIGHT), "--out", tmp_path / "plain.csv",
        cwd=tmp_path,
    )  # fmt: skip
    assert same.returncode == 0
    assert read(tmp_path / "links.csv") == read(tmp_path / "plain.csv")


def test_column_can_be_declared_absent(tmp_path: Path) -> None:
    left, right = [LEFT[0]], [RIGHT[0], *RIGHT[4:]]
    with_street = linked(tmp_path / "a", left, right)[0]
    without = linked(tmp_path / "b", left, right, left_columns={"address": None})[0]
    assert with_street[0]["score"] > without[0]["score"]


@pytest.mark.parametrize(
    ("left", "right", "options", "message"),
    [
        ("name,city\nKitware,Troy\n", None, [], "left.csv: no column 'id'. Name the id column: id="),
        (None, "name,city\nKitware,Troy\n", [], "right.csv: no column 'id'"),
        ("id,name\nA,Kitware\nB,Other\nA,Again\n", None, [], "left.csv, row 2: the id 'A' occurs more than once."),
        ("id,city\nA,Troy\n", None, [], "left.csv, column 'name': no column for name"),
        ("id,name\n", None, [], "left.csv: the file has a header but no rows"),
        (None, "id,name\n", [], "right.csv: the file has a header but no rows"),
        ("", None, [], "left.csv: the file is empty"),
        (None, None, ["--left-column", "idd"], "'idd' has no '='"),
        (None, None, ["--left-column", "id=vendor"], "'vendor'"),
        (None, None, ["--right-column", "idd=id"], "unknown column 'idd'"),
    ],
)
def test_unusable_tables_are_refused(
    tmp_path: Path, cli: CommandLine, left: str | None, right: str | None, options: list[str], message: str
) -> None:
    for name, text, rows in (("left.csv", left, LEFT), ("right.csv", right, RIGHT)):
        write(tmp_path / name, rows)
        if text is not None:
            (tmp_path / name).write_text(text, "utf-8")

    code, _, error = cli("link", tmp_path / "left.csv", tmp_path / "right.csv", "--out", tmp_path / "o.csv", *options)

    assert code == 2
    [line] = [line for line in error.splitlines() if line.startswith("Error:")]
    assert message in line
    assert not (tmp_path / "o.csv").exists()


def test_column_error_names_the_option(tmp_path: Path, cli: CommandLine) -> None:
    left, right = write(tmp_path / "left.csv", LEFT), write(tmp_path / "right.csv", RIGHT)

    _, _, error = cli("link", left, right, "--out", tmp_path / "o.csv", "--left-column", "id=vendor")

    assert "inputs." not in error


def test_missing_file_is_named(tmp_path: Path, cli: CommandLine) -> None:
    right = write(tmp_path / "right.csv", RIGHT)
    code, _, error = cli("link", tmp_path / "none.csv", right, "--out", tmp_path / "o.csv")
    assert code == 2
    assert "none.csv: the file does not exist" in error


# --- what a link makes of odd tables ---------------------------------------------------------------------------


def test_nameless_rows_are_invalid(tmp_path: Path) -> None:
    nameless = dict.fromkeys(LEFT[0])
    left = [{**nameless, "id": "L0"}, *LEFT, {**nameless, "id": "L9", "city": "Troy", "state": "NY"}]

    links, summary = linked(tmp_path, left, [*RIGHT, {**nameless, "id": "R9"}])

    assert [row["left_id"] for row in links] == ["L1", "L4"]
    assert (summary.left_rows, summary.left_invalid) == (6, 2)
    assert (summary.right_rows, summary.right_invalid) == (25, 1)
    assert summary.matched + summary.review + summary.unmatched + summary.left_invalid == summary.left_rows


def test_only_invalid_rows_are_refused(tmp_path: Path) -> None:
    nameless = [{**dict.fromkeys(LEFT[0]), "id": "X"}]
    for number, (left, right) in enumerate([(nameless, RIGHT), (LEFT, nameless), (nameless, nameless)]):
        with pytest.raises(SourceError, match="no row can be used"):
            linked(tmp_path / str(number), left, right, with_review=True)


def test_a_duplicate_id_names_its_row(tmp_path: Path) -> None:
    rows = [{"id": "A", "name": "Kitware"}, {"id": "B", "name": "Zymergen"}, {"id": "B", "name": "Quuxly"}]
    with pytest.raises(SourceError, match=r"left\.parquet, row 2: the id 'B' occurs more than once"):
        linked(tmp_path, rows, RIGHT)


def test_right_ids_may_repeat(tmp_path: Path) -> None:
    links, summary = linked(tmp_path, LEFT, [*RIGHT, RIGHT[0]])
    assert [row["right_id"] for row in links] == ["R1", "R4"]
    assert summary.right_rows == 25


def test_each_left_row_gets_best_right(tmp_path: Path) -> None:
    left = [LEFT[0], {**LEFT[0], "id": "L0", "address": None}]
    right = [*RIGHT, {**RIGHT[0], "id": "R0", "city": "Dayton", "state": "OH", "zip": "45402", "address": None}]
    links, _ = linked(tmp_path, left, right)
    assert [(row["left_id"], row["right_id"]) for row in links] == [("L1", "R1"), ("L0", "R1")]
    assert links[0]["score"] > links[1]["score"], "the street agrees, too"


def test_identifiers_and_alternate_names_are_used(tmp_path: Path) -> None:
    uei = "K7LMN3PQRST5"
    left = [
        {"id": "by-uei", "name": "Renamed Since", "uei": uei, "duns": None, "alternate_names": None, **BOSTON},
        {"id": "by-duns", "name": "Renamed Too", "uei": None, "duns": "081466849", "alternate_names": [], **BOSTON},
        {"id": "by-name", "name": "New", "uei": None, "duns": None, "alternate_names": ["Kitware"], **CLIFTON},
    ]
    right = [
        {"id": "R1", "name": "OLD NAME", "uei": uei, "duns": None, **CLIFTON},
        {"id": "R2", "name": "OTHER NAME", "uei": None, "duns": "81466849", **CLIFTON},
        {"id": "R3", "name": "KITWARE INC", "uei": None, "duns": None, **CLIFTON},
    ]

    links, _ = linked(tmp_path, left, right)

    assert [(row["left_id"], row["right_id"], row["method"]) for row in links] == [
        ("by-uei", "R1", "uei"), ("by-duns", "R2", "duns"), ("by-name", "R3", "exact_name_place"),
    ]  # fmt: skip


def test_names_alone_are_enough(tmp_path: Path) -> None:
    left, right = ([{"id": row["id"], "name": row["name"]} for row in rows] for rows in (LEFT, RIGHT))

    links, summary = linked(tmp_path, left, right)

    assert ("L1", "R1", "exact_name") in [(row["left_id"], row["right_id"], row["method"]) for row in links]
    assert "L3" not in [row["left_id"] for row in links]
    assert summary.left_rows == 4


def test_numeric_ids_become_text(tmp_path: Path) -> None:
    for name, rows, first in (("left", LEFT, 1), ("right", RIGHT, 100)):
        table = pa.Table.from_pylist([{**row, "id": first + number} for number, row in enumerate(rows)])
        pq.write_table(table, tmp_path / f"{name}.parquet")

    link(
        tmp_path / "left.parquet", tmp_path / "right.parquet", tmp_path / "links.parquet", left_columns={},
        right_columns={}, candidates=CandidateConfig(), decision=DecisionConfig(), with_review=False,
    )  # fmt: skip

    assert [(row["left_id"], row["right_id"]) for row in read(tmp_path / "links.parquet")] == [
        ("1", "100"),
        ("4", "103"),
    ]


@given(st.integers(1, 30), st.permutations(range(len(LEFT))), st.permutations(range(len(RIGHT))))
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_links_ignore_order_and_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int, left_order: list[int], right_order: list[int]
) -> None:
    expected, expected_summary = linked(tmp_path, LEFT, RIGHT, with_review=True)
    with monkeypatch.context() as patch:
        patch.setattr(module, "BATCH_ROWS", batch_rows)
        links, summary = linked(
            tmp_path, [LEFT[at] for at in left_order], [RIGHT[at] for at in right_order], with_review=True
        )

    assert [row["left_id"] for row in links] == [LEFT[at]["id"] for at in left_order if LEFT[at]["id"] != "L3"], (
        "in the order of the left table"
    )
    # Which of the random pairs of places are drawn depends on the row numbers, and weights on these.
    assert {row["left_id"]: (row["right_id"], row["status"]) for row in links} == {
        row["left_id"]: (row["right_id"], row["status"]) for row in expected
    }
    assert (summary.matched, summary.review) == (expected_summary.matched, expected_summary.review)


def test_batches_change_no_digit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = linked(tmp_path, LEFT, RIGHT, with_review=True)
    monkeypatch.setattr(module, "BATCH_ROWS", 3)
    assert linked(tmp_path, LEFT, RIGHT, with_review=True) == expected


def test_names_distinguish_organisations_of_one_town(tmp_path: Path) -> None:
    """Where all are at one place, the place says nothing: that is learned from the tables."""
    parts = ("KORBA", "TULMI", "SENRU", "VOPLA", "WIGDO"), ("DEX", "FIN", "GOM", "HAP", "JIR", "KUL", "LOV", "MEC")
    names = [f"{first}{second} {first}WORKS" for first in parts[0] for second in parts[1]]
    right = [{"id": f"R{n}", "name": name, **BOSTON} for n, name in enumerate(names)]
    left = [
        {"id": "known", "name": "Korbadex Korbaworks", **BOSTON},
        {"id": "other", "name": "Korbazyn Korbaworks", **BOSTON},
        {"id": "stranger", "name": "Wexler Systems", **BOSTON},
    ]

    links, _ = linked(tmp_path, left, right)

    assert [row["left_id"] for row in links] == ["known"]


def test_equal_name_beats_typing_error(tmp_path: Path) -> None:
    neighbours = [
        {"id": "exact", "name": "KITWARE ZYMERGEN", **BOSTON},
        {"id": "near", "name": "KITWERE ZYMERGEN", **BOSTON},
    ]
    others = [{key: row[key] for key in ("id", "name", "city", "state", "zip")} for row in RIGHT[4:]]

    links, _ = linked(tmp_path, [{"id": "L", "name": "Kitware Zymergen", **BOSTON}], [*neighbours, *others])

    assert [row["right_id"] for row in links] == ["exact"]


# --- ids and other outputs -------------------------------------------------------------------------------------

ODD_IDS = ["A  1", "B&amp;2", " C3 ", "007", "NA", "nan", '"q"', "-5", "a\tb", "É  ", "x,y;z", "1.0"]
FORMATS = (".csv", ".jsonl", ".parquet", ".xlsx")


def odd_tables(folder: Path, kind: str, ids: list[str]) -> tuple[Path, Path]:
    words = ["Quorvex", "Zymerlan", "Bractol", "Ulmetrix", "Fandrel", "Hextovar", "Jorblen", "Klemptik", "Mistrova",
             "Nuxelby", "Ostrigen", "Pelvarin"]  # fmt: skip
    rows = [{"id": key, "name": f"{word} Optics", **BOSTON} for key, word in zip(ids, words, strict=False)]
    others = [{"id": f"n{number}", "name": f"{word} Bakeries", **CLIFTON} for number, word in enumerate(words)]
    return write(folder / f"left.{kind}", rows), write(folder / f"right.{kind}", [*rows, *others])


def read_any(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    if path.suffix == ".xlsx":
        head, *rows = load_workbook(path).get_sheet_by_index(0).to_python()
        return [dict(zip(map(str, head), row, strict=True)) for row in rows]
    return read(path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_ids_are_kept_byte_for_byte(tmp_path: Path, cli: CommandLine, kind: str) -> None:
    left, right = odd_tables(tmp_path, kind, ODD_IDS)
    for suffix in FORMATS:
        code, _, error = cli("link", left, right, "--out", tmp_path / f"links{suffix}")
        assert code == 0, error
        links = read_any(tmp_path / f"links{suffix}")
        assert [(row["left_id"], row["right_id"]) for row in links] == [(key, key) for key in ODD_IDS], suffix


def test_both_sides_stand_in_the_output(tmp_path: Path, cli: CommandLine) -> None:
    left, right = write(tmp_path / "left.csv", LEFT), write(tmp_path / "right.csv", RIGHT)
    for suffix in FORMATS:
        assert cli("link", left, right, "--out", tmp_path / f"links{suffix}", "--all")[0] == 0
        row = read_any(tmp_path / f"links{suffix}")[0]
        assert list(row) == LINK.names
        place = {"city": "CLIFTON PARK", "state": "NY", "zip": "12065"}
        for side, address, name in (("left", "1 Main Street", "Kitware, Inc."), ("right", "1 MAIN ST",
                                                                                  "KITWARE INCORPORATED")):  # fmt: skip
            assert (row[f"{side}_address"], row[f"{side}_name"]) == (address, name)
            assert {key: row[f"{side}_{key}"].upper() for key in place} == place
        assert row["status"] == "matched"


def test_formula_ids_are_refused_in_csv_only(tmp_path: Path, cli: CommandLine) -> None:
    left, right = odd_tables(tmp_path, "parquet", ["=1+1", "@b", "c"])
    code, _, error = cli("link", left, right, "--out", tmp_path / "links.csv")
    assert code == 2
    assert "'=1+1' in column left_id" in error
    assert not (tmp_path / "links.csv").exists()
    for suffix in FORMATS[1:]:
        assert cli("link", left, right, "--out", tmp_path / f"links{suffix}")[0] == 0
        assert [row["left_id"] for row in read_any(tmp_path / f"links{suffix}")] == ["=1+1", "@b", "c"]


def test_formulas_in_names_stay_text(tmp_path: Path, cli: CommandLine) -> None:
    names = ["=1+1 Quorvex Optics", "@x Zymerlan Optics", "＝2 Bractol Optics", "a;=3 Ulmetrix Optics"]
    rows = [{**LEFT[1], "id": str(number), "name": name} for number, name in enumerate(names)]
    left, right = write(tmp_path / "left.csv", rows), write(tmp_path / "right.csv", [*rows, *RIGHT])
    assert cli("link", left, right, "--out", tmp_path / "links.csv", "--all")[0] == 0
    links = read(tmp_path / "links.csv")
    assert links
    assert all(re.match(r"'[=@＝]|a;'=", row[f"{side}_name"]) for row in links for side in ("left", "right"))


def test_other_endings_are_refused_before_work(tmp_path: Path, cli: CommandLine) -> None:
    for name in ("links.json", "links.csv.gz", "links", "links.xls"):
        code, _, error = cli("link", tmp_path / "no.csv", tmp_path / "no.csv", "--out", tmp_path / name)
        assert code == 2
        assert ".jsonl" in error, "refused although the inputs do not exist"


def test_an_output_is_never_an_input(tmp_path: Path, cli: CommandLine) -> None:
    left, right = write(tmp_path / "left.csv", LEFT), write(tmp_path / "right.csv", RIGHT)
    (tmp_path / "same.csv").hardlink_to(right)
    (tmp_path / "soft.csv").symlink_to(left)
    for out in (left, right, tmp_path / "same.csv", tmp_path / "soft.csv", tmp_path / "x" / ".." / "left.csv"):
        (tmp_path / "x").mkdir(exist_ok=True)
        before = left.read_bytes(), right.read_bytes()
        assert cli("link", left, right, "--out", out)[0] == 2
        assert (left.read_bytes(), right.read_bytes()) == before


def test_every_output_replaces_its_earlier_self(tmp_path: Path, cli: CommandLine) -> None:
    left, right = write(tmp_path / "left.csv", LEFT), write(tmp_path / "right.csv", RIGHT)
    for suffix in FORMATS:
        out = tmp_path / f"links{suffix}"
        assert cli("link", left, right, "--out", out)[0] == 0
        first = out.read_bytes()
        assert cli("link", left, right, "--out", out)[0] == 0
        assert out.read_bytes() == first, "equal bytes"


def test_values_that_are_not_understood_are_counted(tmp_path: Path) -> None:
    rows = [
        {"id": f"{n}", "name": f"Firm {chr(65 + n)}", "city": "Boston", "state": "MA", "zip": "02101"} for n in range(4)
    ]
    odd = [{**row, "state": "Middlesex"} for row in rows[:2]] + rows[2:]
    _, summary = linked(tmp_path, rows, odd)
    [warning] = summary.warnings
    assert "2 of 4 values" in warning
    assert "'Middlesex'" in warning


# --- whether the estimated precision can be relied on --------------------------------------------------------------

FIRMS, SITES = 60, 4
PLACELESS = {"address": None, "city": None, "state": None, "zip": None}


def firm(number: int, site: int = 0) -> dict[str, Any]:
    """A site of a firm whose name no other firm has."""
    letters = random.Random(number)
    word, second = ("".join(letters.choices(string.ascii_lowercase, k=9)) for _ in range(2))
    place = {"city": f"{word[::-1]} {'abcd'[site]}ville", "state": ("NY", "MA", "OH", "TX")[site]}
    return {"id": f"{number}-{site}", "name": f"{word} {second} Optics", "address": f"{number} Elm Road", **place,
            "zip": f"{10000 + 7 * number + 2000 * site}"}  # fmt: skip


ONE_SITE, ALL_SITES = [firm(n) for n in range(FIRMS)], [firm(n, site) for n in range(FIRMS) for site in range(SITES)]


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        pytest.param(ONE_SITE, ONE_SITE, None, id="ordinary"),
        pytest.param(ONE_SITE, ALL_SITES, r"100\.0% .* several organisations or sites have", id="chains of sites"),
        pytest.param(
            [row | PLACELESS for row in ONE_SITE],
            [row | PLACELESS for row in ONE_SITE],
            r"100\.0% .* compare only names",
            id="names only",
        ),
        pytest.param(ONE_SITE[:9], ONE_SITE, "only 9 matches are accepted", id="few matches"),
    ],
)
def test_an_estimate_that_cannot_be_right_says_so(
    tmp_path: Path, left: list[dict[str, Any]], right: list[dict[str, Any]], reason: str | None
) -> None:
    _, summary = linked(tmp_path, left, right)

    assert summary.matched == len(left)
    assert summary.accuracy["reliable"] == (reason is None)
    assert len(summary.accuracy["reasons"]) == (reason is not None)
    assert reason is None or re.fullmatch(f".*{reason}.*", summary.accuracy["reasons"][0])


def test_companies_of_one_name_are_one_observation_of_the_weights(tmp_path: Path) -> None:
    again = [row | {"id": f"again-{row['id']}", "name": row["name"].upper() + "."} for row in LEFT]
    left, right = write(tmp_path / "left.csv", LEFT + again), write(tmp_path / "right.csv", RIGHT)
    options: dict[str, Any] = {
        "candidates": CandidateConfig(),
        "decision": DecisionConfig(),
        "left_columns": {},
        "right_columns": {},
    }

    with module.linked_tables(left, right, **options) as linked:
        observed, companies_per_sampled = observe(linked.scores.tables, linked.scores.weights)

    assert observed.companies == len(LEFT)
    assert companies_per_sampled == 1


def test_namesakes_of_matches_by_an_identifier_do_not_matter(tmp_path: Path) -> None:
    left, right = (
        [row | {"uei": f"ABCDE{int(row['id'].replace('-', '')):05d}K7"} for row in rows]
        for rows in (ONE_SITE, ALL_SITES)
    )

    _, summary = linked(tmp_path, left, right)

    assert summary.matched == FIRMS
    assert summary.accuracy["reliable"]


def test_the_command_says_why_its_estimate_is_not_reliable(tmp_path: Path, cli: CommandLine) -> None:
    left, right = write(tmp_path / "left.csv", LEFT), write(tmp_path / "right.csv", RIGHT)

    _, out, _ = cli("link", left, right, "--out", tmp_path / "links.csv")

    assert ", not reliable here: only 2 matches are accepted." in " ".join(out.split())
