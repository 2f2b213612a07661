"""Clerical review: content of the sheet, refused sheets, and the effect of decisions on a result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from distributed import Client

from enrich_dist import schema
from enrich_dist.core.files import file_digest, read_json
from enrich_dist.plain_text import from_markdown
from enrich_dist.results import overrides
from enrich_dist.store.run_directory import Output
from tests.support.review_case import CommandLine, Reviewed, finished_run, read_rows, write_rows

pytestmark = pytest.mark.cluster

OPTICS, LASERS = "name:AMBIGUOUS OPTICS|FL", "name:AMBIVALENT LASERS|FL"
QUARTET, DOUBLED = "name:QUARTET GYROSCOPES|NV", "name:DOUBLED CATALYSIS|FL"
COLUMNS = [
    "decision", "other_recipient_id", "company_key", "recipient_id", "match_probability", "match_weight", "award_count",
    "company_name", "recipient_name", "company_places", "recipient_place", "evidence",
    "other_names_at_address", "same_organisation", "company_ueis", "recipient_uei",
]  # fmt: skip

Decide = Callable[..., Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, client: Client) -> Reviewed:
    return finished_run(tmp_path_factory.mktemp("review"), lambda: client)


@pytest.fixture(autouse=True)
def _no_decisions(run: Reviewed) -> None:
    run.reset()


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def sheet(run: Reviewed, cli: CommandLine, tmp_path: Path) -> Path:
    path = tmp_path / "review.csv"
    assert cli("review", "export", "--out", path, "--config", run.config)[0] == 0
    return path


@pytest.fixture
def decide(sheet: Path) -> Decide:
    """Fill in the sheet: (company, recipient, decision, other recipient) of some rows."""

    def fill_in(*decisions: tuple[str, str, str, str]) -> Path:
        rows = read_rows(sheet)
        for company, recipient, decision, other in decisions:
            [row] = [row for row in rows if (row["company_key"], row["recipient_id"]) == (company, recipient)]
            row |= {"decision": decision, "other_recipient_id": other}
        return write_rows(sheet, rows)

    return fill_in


def row_of(sheet: Path, recipient: str) -> int:
    """The row of a spreadsheet in which a candidate stands."""
    return next(number for number, row in enumerate(read_rows(sheet), start=2) if row["recipient_id"] == recipient)


# Export


def test_sheet_is_ordered_by_expected_gain(sheet: Path) -> None:
    rows = read_rows(sheet)

    assert list(rows[0]) == COLUMNS
    assert [row["recipient_id"] for row in rows] == [
        "r-quartet-1", "r-quartet-2", "r-quartet-3",  # the fourth is not shown
        "r-optics-a", "r-optics-b", "r-lasers-a", "r-lasers-b",  # as much to be gained: by company_key
        "r-doubled-a1", "r-doubled-b",  # the second row of the first organisation is no candidate of its own
        "r-formula-a", "r-formula-b", "r-contrary",
    ]  # fmt: skip
    doubled = {row["recipient_id"]: row["same_organisation"] for row in rows if row["company_key"] == DOUBLED}
    assert doubled == {"r-doubled-a1": "r-doubled-a2", "r-doubled-b": ""}
    best = {row["company_key"]: row for row in reversed(rows)}
    gains = [float(row["match_probability"]) * int(row["award_count"]) for row in reversed(best.values())]
    assert gains == sorted(gains, reverse=True)
    assert {row["decision"] + row["other_recipient_id"] for row in rows} == {""}


def test_sheet_describes_each_candidate(sheet: Path, run: Reviewed) -> None:
    rows = {row["recipient_id"]: row for row in read_rows(sheet)}
    match = run.matches()["Contrary Propulsion"]
    quartet = rows["r-quartet-1"]

    assert (quartet["company_name"], quartet["recipient_name"]) == ("Quartet Gyroscopes", "QUARTET GYROSCOPES")
    assert quartet["company_places"] == "12 Main St, RENO, NV 89501"
    assert quartet["recipient_place"] == "12 MAIN ST, RENO, NV 89501"
    assert rows["r-optics-a"]["recipient_place"] == "TAMPA, FL 33601"
    assert (quartet["company_ueis"], quartet["recipient_uei"]) == ("", "PK7PM2PP9PW1")
    assert rows["r-contrary"]["evidence"] == (
        f"name equal ({match['name_weight']:+.1f}), same state, different city ({match['place_weight']:+.1f}), "
        f"UEI differs ({match['uei_weight']:+.1f}), DUNS differs ({match['duns_weight']:+.1f})"
    )
    assert rows["r-contrary"]["company_ueis"] == "QK7QM2QP9QW6"
    assert float(rows["r-contrary"]["match_probability"]) == match["match_probability"]
    assert float(rows["r-contrary"]["match_weight"]) == match["match_weight"]
    assert "same city and ZIP code (+" in quartet["evidence"]
    assert "same street (+" in quartet["evidence"]


def test_names_are_never_formulas(sheet: Path) -> None:
    rows = {row["recipient_id"]: row for row in read_rows(sheet)}

    assert rows["r-formula-a"]["company_name"] == "'@Formula Bolometry"
    assert sheet.read_bytes().startswith(b"\xef\xbb\xbf")  # by which Excel knows UTF-8


def test_limit_counts_companies(run: Reviewed, cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "few.csv"

    code, out, _ = cli("review", "export", "--out", path, "--limit", "2", "--config", run.config)

    assert code == 0
    assert "2 of 6 companies need a decision: 5 candidates." in out
    assert f"enrich-dist review import {path}" in out
    assert {row["company_key"] for row in read_rows(path)} == {QUARTET, OPTICS}


def test_unstored_decisions_are_not_overwritten(
    run: Reviewed, cli: CommandLine, decide: Decide, tmp_path: Path
) -> None:
    path = decide((OPTICS, "r-optics-a", "confirm", ""))
    before = path.read_bytes()
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear reader\n", "utf-8")

    refused = cli("review", "export", "--out", path, "--config", run.config)
    other = cli("review", "export", "--out", letter, "--config", run.config)
    assert path.read_bytes() == before
    stored = cli("review", "import", path, "--config", run.config)
    again = cli("review", "export", "--out", path, "--config", run.config)

    assert (refused[0], other[0], stored[0], again[0]) == (1, 1, 0, 0)
    assert "has 1 decisions that are not stored" in refused[2]
    assert "is not a review sheet" in other[2]
    assert letter.read_text("utf-8") == "Dear reader\n"
    # Decided companies are left out, also before the next result.
    assert OPTICS not in {row["company_key"] for row in read_rows(path)}


def test_same_run_makes_same_sheet(run: Reviewed, cli: CommandLine, sheet: Path, tmp_path: Path) -> None:
    cli("review", "export", "--out", tmp_path / "again.csv", "--config", run.config)

    assert (tmp_path / "again.csv").read_bytes() == sheet.read_bytes()


# The whole way round


def test_decisions_change_what_is_published(run: Reviewed, cli: CommandLine, decide: Decide) -> None:
    path = decide(
        (OPTICS, "r-optics-b", "Confirm", ""),
        (LASERS, "r-lasers-a", "reject", ""),
        (QUARTET, "r-quartet-1", "REJECT", ""),
        (QUARTET, "r-quartet-2", " reject ", ""),
        (QUARTET, "r-quartet-3", "reject", ""),
    )

    code, out, _ = cli("review", "import", path, "--config", run.config)
    again = cli("review", "import", path, "--config", run.config)
    judged = cli("rejudge", "--publish", "--config", run.config)

    assert code == 0
    assert "1 confirmed, 4 rejected, 0 unchanged; 5 decisions in all" in out
    assert "enrich-dist rejudge" in out
    assert "0 confirmed, 0 rejected, 5 unchanged; 5 decisions in all" in again[1]
    assert judged[0] == 0
    assert "Human review decisions: 1 confirmed, 4 rejected." in judged[1]
    rows = run.published()
    chosen = {name: (row["match_status"], row["match_method"], row["recipient_id"]) for name, row in rows.items()}
    assert chosen["Ambiguous Optics"] == ("matched", "review", "r-optics-b")
    assert chosen["Ambivalent Lasers"] == ("matched", "exact_name_place", "r-lasers-b")
    assert chosen["Quartet Gyroscopes"] == ("matched", "exact_name_place", "r-quartet-4")
    assert rows["Ambiguous Optics"]["match_probability"] == 1.0
    report = (run.pipeline.directory.published / "current" / "report.md").read_text("utf-8")
    assert "## Human review decisions\n\n1 confirmed, 4 rejected.\n" in report


def test_rejection_covers_the_whole_organisation(run: Reviewed, cli: CommandLine, decide: Decide) -> None:
    cli("review", "import", decide((DOUBLED, "r-doubled-a1", "reject", "")), "--config", run.config)
    cli("rejudge", "--config", run.config)

    match = run.matches()["Doubled Catalysis"]
    assert (match["recipient_id"], match["match_status"]) == ("r-doubled-b", "matched")
    assert match["runner_up_probability"] == 0.0


def test_rejected_organisation_can_be_confirmed(run: Reviewed, cli: CommandLine, decide: Decide) -> None:
    cli("review", "import", decide((DOUBLED, "r-doubled-a1", "reject", "r-doubled-a2")), "--config", run.config)
    cli("rejudge", "--config", run.config)

    match = run.matches()["Doubled Catalysis"]
    assert (match["recipient_id"], match["match_method"]) == ("r-doubled-a2", "review")


def test_rejecting_all_candidates_leaves_unmatched(run: Reviewed, cli: CommandLine, decide: Decide) -> None:
    cli("review", "import", decide(("uei:QK7QM2QP9QW6", "r-contrary", "reject", "")), "--config", run.config)
    cli("rejudge", "--publish", "--config", run.config)

    assert run.matches()["Contrary Propulsion"]["match_status"] == "unmatched"
    assert run.published()["Contrary Propulsion"]["recipient_id"] is None


def test_confirmed_recipient_needs_no_blocking(run: Reviewed, cli: CommandLine, decide: Decide) -> None:
    path = decide((OPTICS, "r-optics-a", "reject", "r-noise-7"), (LASERS, "r-lasers-b", "", "r-lasers-a"))

    code, out, _ = cli("review", "import", path, "--config", run.config)
    judged = cli("rejudge", "--publish", "--config", run.config)
    result = run.pipeline.directory.output(Output.RESULT)
    first = file_digest(result / "company_matches.parquet")
    shutil.rmtree(result)
    run.pipeline.enrich_awards()

    assert (code, judged[0]) == (0, 0)
    assert "2 confirmed, 1 rejected" in out
    row = run.published()["Ambiguous Optics"]
    assert (row["match_status"], row["match_method"], row["recipient_id"]) == ("matched", "review", "r-noise-7")
    assert row["recipient_name"] == "UNRELATED VENDOR NUMBER 7 HHH"
    assert (row["recipient_address_line_1"], row["recipient_city"], row["recipient_zip5"]) == (
        "7 FARNAM ST", "OMAHA", "68102",
    )  # fmt: skip
    assert run.published()["Ambivalent Lasers"]["recipient_id"] == "r-lasers-a"
    metrics = read_json(result / "metrics.json")
    assert metrics["reconciliation"]["balanced"]
    assert metrics["overrides"] == {"confirmed": 2, "rejected": 1, "without_effect": [], "without_effect_count": 0}
    assert file_digest(result / "company_matches.parquet") == first


def test_altered_chunk_file_is_refused(run: Reviewed, cli: CommandLine, decide: Decide) -> None:
    path = decide((OPTICS, "r-optics-a", "", "r-noise-7"))
    [chunk] = [
        file
        for file in run.pipeline.directory.chunks.glob("*/0*.parquet")
        if "r-noise-7" in pq.read_table(file)["recipient_id"].to_pylist()
    ]
    content = chunk.read_bytes()
    table = pq.read_table(chunk)
    pq.write_table(table.set_column(2, "name", pa.array(["FORGED"] * len(table))), chunk)
    try:
        code, _, err = cli("review", "import", path, "--config", run.config)
    finally:
        chunk.write_bytes(content)

    assert code == 1
    assert "is not the file that was planned" in err
    assert run.decisions() == []


def test_decisions_without_effect_are_listed(run: Reviewed) -> None:
    decisions = [
        {"company_key": "name:GONE|XX", "recipient_id": "r-optics-a", "decision": "confirm"},
        {"company_key": OPTICS, "recipient_id": "r-gone", "decision": "confirm"},
        {"company_key": LASERS, "recipient_id": "r-lasers-a", "decision": "confirm"},
        {"company_key": QUARTET, "recipient_id": "r-noise-3", "decision": "reject"},
        *({"company_key": f"name:Z{n:02}|XX", "recipient_id": "r-x", "decision": "reject"} for n in range(30)),
    ]
    pq.write_table(pa.Table.from_pylist(decisions, schema=schema.OVERRIDE), run.pipeline.directory.overrides)

    result = run.pipeline.enrich_awards().path(Output.RESULT)

    effects = read_json(result / "metrics.json")["overrides"]
    assert (effects["confirmed"], effects["rejected"], effects["without_effect_count"]) == (1, 0, 33)
    assert len(effects["without_effect"]) == 20
    assert effects["without_effect"][:3] == [
        f"{OPTICS} -> r-gone", "name:GONE|XX -> r-optics-a", f"{QUARTET} -> r-noise-3",
    ]  # fmt: skip
    assert run.matches()["Ambiguous Optics"]["match_status"] == "review"
    assert run.matches()["Ambivalent Lasers"]["match_method"] == "review"
    report = (result / "report.md").read_text("utf-8")
    assert "1 confirmed, 0 rejected. Without effect" in report
    assert f"33 ({OPTICS} -> r-gone; name:GONE|XX -> r-optics-a; " in from_markdown(report)
    assert " and 13 more)" in report


def test_report_without_decisions_omits_them(run: Reviewed) -> None:
    result = run.pipeline.directory.output(Output.RESULT)

    assert "Human review decisions" not in (result / "report.md").read_text("utf-8")
    assert read_json(result / "metrics.json")["overrides"]["without_effect_count"] == 0


# Import: what is refused

ERRORS = {
    "an unknown word": (
        [(OPTICS, "r-optics-a", "yes", "")],
        "column 'decision', row {row}: 'yes' is not confirm, reject or empty. Write one of these words",
    ),
    "an unknown company": (
        [("", "", "confirm", "")],
        "column 'company_key', row {row}: 'name:UNKNOWN|FL' is not a company of the latest result. Do not edit",
    ),
    "no candidate": (
        [("", "r-optics-a", "confirm", "")],
        f"column 'recipient_id', row {{row}}: 'r-kitware' is not a candidate of {OPTICS}. Write the id of",
    ),
    "a missing recipient": (
        [("", "r-optics-b", "reject", "")],
        f"column 'recipient_id', row {{row}}: the cell is empty, which is not a candidate of {OPTICS}.",
    ),
    "an unknown other recipient": (
        [(OPTICS, "r-optics-a", "", "r-nowhere")],
        "column 'other_recipient_id', row {row}: 'r-nowhere' is not a recipient of this run. Write the recipient_id",
    ),
    "two confirmations": (
        [(OPTICS, "r-optics-a", "confirm", ""), (OPTICS, "r-optics-b", "confirm", "")],
        f"column 'recipient_id', row {{row}}: 'r-optics-b' {OPTICS} is confirmed as r-optics-a in row 5 already.",
    ),
    "confirmed next to another recipient": (
        [(OPTICS, "r-optics-a", "confirm", "r-noise-1")],
        f"column 'other_recipient_id', row {{row}}: 'r-noise-1' {OPTICS} is confirmed as r-optics-a in row 5 already.",
    ),
    "two other recipients": (
        [(OPTICS, "r-optics-a", "", "r-noise-1"), (OPTICS, "r-optics-b", "", "r-noise-2")],
        f"column 'other_recipient_id', row {{row}}: 'r-noise-2' {OPTICS} is confirmed as r-noise-1 in row 5 already.",
    ),
    "confirmed and rejected": (
        [(OPTICS, "r-optics-a", "reject", "r-optics-a")],
        f"column 'other_recipient_id', row {{row}}: 'r-optics-a' is both confirmed and rejected for {OPTICS}, first in",
    ),
}


@pytest.mark.parametrize("case", ERRORS)
def test_error_has_position_and_remedy(run: Reviewed, cli: CommandLine, sheet: Path, decide: Decide, case: str) -> None:
    decisions, message = ERRORS[case]
    rows = read_rows(sheet)
    if case == "an unknown company":
        rows[3] |= {"company_key": "name:UNKNOWN|FL", "decision": "confirm"}
    elif case == "no candidate":
        rows[3] |= {"recipient_id": "r-kitware", "decision": "confirm"}
    elif case == "a missing recipient":
        rows[4] |= {"recipient_id": " ", "decision": "reject"}
    if case in ("an unknown company", "no candidate", "a missing recipient"):
        number = 6 if case == "a missing recipient" else 5
        write_rows(sheet, rows)
    else:
        decide(*decisions)
        number = row_of(sheet, decisions[-1][1])

    code, _, err = cli("review", "import", sheet, "--config", run.config)

    assert code == 2
    assert f"Error: {sheet}, {message.format(row=number)}" in err
    assert run.decisions() == []


def test_many_errors_store_nothing(run: Reviewed, cli: CommandLine, sheet: Path) -> None:
    rows = read_rows(sheet)
    for row in rows:
        row["decision"] = "maybe"
    rows[0]["decision"] = "reject"

    code, _, err = cli("review", "import", write_rows(sheet, rows), "--config", run.config)

    lines = err.splitlines()
    assert code == 2
    assert lines[0] == f"Error: {sheet}: 11 errors, nothing is stored, the first 10 of them:"
    assert [line.split(":")[0] for line in lines[1:11]] == [f"  row {n}, column 'decision'" for n in range(3, 13)]
    assert lines[11] == "Correct them and import the sheet again."
    assert run.decisions() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"company_key"', '"company"'), "column 'company_key': there is no such column."),
        (lambda text: text.replace('"evidence"', '"Decision"'), "column 'decision': there are two columns"),
        (lambda text: text.replace(',,"name:AMBIGUOUS', ',"confirm,,"name:AMBIGUOUS', 1), "row 5: a quote in"),
        (
            lambda text: text.replace('"PK7PM2PP9PW1"', '"PK7PM2PP9PW1'),
            "row 2: a quote in",
        ),  # to the end of the file
        (lambda text: text.replace("\n,,", "\nconfirm,,,", 1), "row 2: 17 cells instead of 16."),
        (lambda _: "", "the file is empty"),
    ],
)
def test_other_file_is_refused(
    run: Reviewed, cli: CommandLine, sheet: Path, change: Callable[[str], str], message: str
) -> None:
    sheet.write_text(change(sheet.read_text("utf-8-sig")), "utf-8")

    code, _, err = cli("review", "import", sheet, "--config", run.config)

    assert code == 2
    assert str(sheet) in err
    assert message in err
    assert run.decisions() == []


def test_unclosed_quote_is_refused(run: Reviewed, cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    lines = [
        "company_key,recipient_id,decision,notes",
        f'{OPTICS},r-optics-a,reject,"',
        f"{LASERS},r-lasers-a,reject,x",
    ]
    path.write_text("\n".join(lines), "utf-8")

    code, _, err = cli("review", "import", path, "--config", run.config)

    assert code == 2
    assert f"{path}, row 2: a quote in this row is not closed and hides the rows after it." in err
    assert run.decisions() == []


@pytest.mark.parametrize(("name", "message"), [("review.xlsx", "is a workbook"), ("gone.csv", "does not exist")])
def test_workbook_and_missing_file_are_refused(
    run: Reviewed, cli: CommandLine, tmp_path: Path, name: str, message: str
) -> None:
    code, _, err = cli("review", "import", tmp_path / name, "--config", run.config)

    assert code == 2
    assert message in err


# Import: what spreadsheets do to a sheet


def test_sheet_saved_by_spreadsheet_is_read(run: Reviewed, cli: CommandLine, decide: Decide) -> None:
    path = decide((OPTICS, "r-optics-a", "CONFIRM", ""), (LASERS, "r-lasers-a", "reject", "r-noise-2"))
    rows = read_rows(path)
    order = sorted(COLUMNS, reverse=True)
    lines = [";".join([" Notes ", *(name.upper() for name in order)])]
    for number, row in enumerate(rows):
        note = '"see ""file""; é"' if number else '"first line\nsecond line"'
        cells = [f'"{row[name]}"' if ";" in row[name] else row[name] for name in order]
        # Empty cells at the end of a row are left out now and then.
        lines.append(";".join([note, *cells]).rstrip(";"))
    lines[1:1] = ["", ";;;;;;;;;;;;;;;;;"]
    path.write_bytes("\r\n".join(lines).encode("cp1252"))

    code, out, err = cli("review", "import", path, "--config", run.config)

    assert (code, err) == (0, "")
    assert "2 confirmed, 1 rejected" in out
    assert run.decisions() == [
        (OPTICS, "r-optics-a", "confirm"), (LASERS, "r-lasers-a", "reject"), (LASERS, "r-noise-2", "confirm"),
    ]  # fmt: skip


def test_rows_are_counted_as_displayed(run: Reviewed, cli: CommandLine, decide: Decide) -> None:
    path = decide((LASERS, "r-lasers-b", "perhaps", ""))
    lines = path.read_bytes().decode().split("\r\n")
    lines[2:2] = ["", '"",""', ",,,,,,,,,,,,,,,"]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())

    _, _, err = cli("review", "import", path, "--config", run.config)

    assert "row 11: 'perhaps'" in err


def test_unread_columns_may_be_missing(run: Reviewed, cli: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "short.csv"
    path.write_text(f"recipient_id,decision,company_key\nr-optics-a,reject,{OPTICS}\n,,\n", "utf-8")

    assert cli("review", "import", path, "--config", run.config)[0] == 0
    assert run.decisions() == [(OPTICS, "r-optics-a", "reject")]


# Merging


def test_new_decision_replaces_earlier_one(run: Reviewed, cli: CommandLine, tmp_path: Path) -> None:
    def store(*lines: str) -> str:
        path = tmp_path / "sheet.csv"
        path.write_text("\n".join(["company_key,recipient_id,decision,other_recipient_id", *lines]), "utf-8")
        code, out, err = cli("review", "import", path, "--config", run.config)
        assert (code, err) == (0, "")
        return out

    store(f"{OPTICS},r-optics-a,confirm,", f"{LASERS},r-lasers-a,reject,", f"{LASERS},r-lasers-b,,r-noise-1")
    first = run.pipeline.directory.overrides.read_bytes()
    # Another confirmation of the company replaces the first; a rejected pair is confirmed; one stays; a pair that is no
    # candidate but was confirmed is rejected.
    out = store(f"{OPTICS},r-optics-b,confirm,", f"{LASERS},r-noise-1,reject,", f"{LASERS},r-lasers-a,reject,")

    assert "1 confirmed, 1 rejected, 1 unchanged, 2 earlier replaced; 3 decisions in all" in out
    assert run.decisions() == [
        (OPTICS, "r-optics-b", "confirm"), (LASERS, "r-lasers-a", "reject"), (LASERS, "r-noise-1", "reject"),
    ]  # fmt: skip
    run.pipeline.directory.overrides.unlink()
    store(f"{LASERS},r-lasers-b,,r-noise-1", f"{LASERS},r-lasers-a,reject,", f"{OPTICS},r-optics-a,confirm,")
    assert run.pipeline.directory.overrides.read_bytes() == first


def test_decision_without_recipient_can_change(run: Reviewed, cli: CommandLine, tmp_path: Path) -> None:
    gone = [{"company_key": OPTICS, "recipient_id": "r-gone", "decision": "confirm"}]
    pq.write_table(pa.Table.from_pylist(gone, schema=schema.OVERRIDE), run.pipeline.directory.overrides)
    path = tmp_path / "sheet.csv"
    path.write_text(f"company_key,recipient_id,decision\n{OPTICS},r-gone,reject\n", "utf-8")

    assert cli("review", "import", path, "--config", run.config)[0] == 0
    assert run.decisions() == [(OPTICS, "r-gone", "reject")]


def test_a_sheet_without_decisions_changes_nothing(run: Reviewed, cli: CommandLine, sheet: Path) -> None:
    code, out, _ = cli("review", "import", sheet, "--config", run.config)

    assert code == 0
    assert "0 confirmed, 0 rejected, 0 unchanged; 0 decisions in all" in out


def test_merging_keeps_unrelated_decisions() -> None:
    earlier = [("a", "1", "confirm"), ("a", "2", "reject"), ("b", "1", "confirm")]
    new = [("a", "3", "confirm"), ("c", "1", "reject")]
    tables = [
        pa.table(dict(zip(schema.OVERRIDE.names, zip(*rows, strict=True), strict=True)), schema=schema.OVERRIDE)
        for rows in (earlier, new)
    ]

    with duckdb.connect() as connection:
        merged = overrides.merge_decisions(connection, *tables)

    assert [tuple(row.values()) for row in merged.table.to_pylist()] == [
        ("a", "2", "reject"), ("a", "3", "confirm"), ("b", "1", "confirm"), ("c", "1", "reject"),
    ]  # fmt: skip
    assert (merged.confirmed, merged.rejected, merged.unchanged, merged.replaced) == (1, 1, 0, 1)
