"""Evaluations of linked tables, of a file of links and of a run, with figures counted by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from python_calamine import load_workbook

from enrich_dist.errors import SettingsError
from enrich_dist.evaluation.compare import compare
from enrich_dist.evaluation.evaluate import FALSE, MISSED, REJECTED, RIGHT, WRONG, Evaluation, evaluate
from enrich_dist.evaluation.labels import make_labels
from enrich_dist.evaluation.resolve import AMBIGUOUS_LEFT, CONTRADICTION, NO_LEFT, UNKNOWN_LEFT, UNKNOWN_RIGHT
from enrich_dist.evaluation.subjects import Subject, open_links, open_run, open_tables
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.pipeline.linking import link
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory
from tests.support import known_case
from tests.support.in_process import run_in_process
from tests.support.review_case import CommandLine
from tests.unit.pipeline.test_linking import LEFT, write
from tests.unit.pipeline.test_linking import RIGHT as RIGHT_ROWS

DECISION = DecisionConfig()
NO_COLUMNS: Mapping[str, str | None] = {}


def labels(*rows: tuple[str, str | None], column: str = "left_id", **columns: list[Any]) -> pa.Table:
    lefts, rights = zip(*rows, strict=True)
    named = {name: pa.array(values) for name, values in columns.items()}
    return make_labels({column: pa.array(lefts), "right_id": pa.array(rights, pa.string()), **named})


# L1 and L4 are matched with R1 and R4, L2 is in review between R2 and R3, L3 has no candidate.
LABELS = (("L1", "R1"), ("L2", "R3"), ("L3", None), ("L4", "R1"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tables")
    return write(folder / "left.parquet", LEFT), write(folder / "right.parquet", RIGHT_ROWS)


def opened(tables: tuple[Path, Path], **options: bool) -> Any:
    return open_tables(
        *tables, left_columns=NO_COLUMNS, right_columns=NO_COLUMNS, candidates=CandidateConfig(), decision=DECISION,
        **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def linked(tables: tuple[Path, Path]) -> Iterator[Subject]:
    with opened(tables) as subject:
        yield subject


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def outcomes(found: Evaluation) -> dict[str, str]:
    return {row["company_key"]: row["outcome"] for row in found.answers.to_pylist()}


def test_linked_tables_are_measured(linked: Subject) -> None:
    found = evaluate(linked, labels(*LABELS), floor=0.98)

    assert outcomes(found) == {"L1": RIGHT, "L2": MISSED, "L3": REJECTED, "L4": WRONG}
    assert found.outcomes == {RIGHT: 1, REJECTED: 1, MISSED: 1, WRONG: 1, FALSE: 0}
    assert (found.own.precision, found.own.recall, found.own.no_match_wrong) == (0.5, pytest.approx(1 / 3), 0.0)
    assert found.blocking is not None
    assert (found.blocking.part, found.blocking.whole) == (2, 3), "R1 is no candidate of L4"
    assert (found.rows, found.companies, found.unlabelled, len(found.problems)) == (4, 4, 0, 0)
    assert sum(item.companies for item in found.bins) == 3


def test_errors_have_reasons_and_evidence(linked: Subject) -> None:
    wrong, missed = evaluate(linked, labels(*LABELS), floor=0.98).errors.to_pylist()

    assert (wrong["outcome"], wrong["reason"], wrong["labelled_name"]) == (
        WRONG,
        "not a candidate",
        RIGHT_ROWS[0]["name"],
    )
    assert (wrong["best_recipient"], wrong["best_status"], wrong["label_row"]) == ("R4", "matched", 4)
    assert "a typing error" in wrong["best_evidence"]
    assert missed["reason"] == "another candidate ranks before it, and none is accepted"
    assert missed["labelled_recipients"] == "R3"
    assert missed["labelled_probability"] == pytest.approx(0.47, abs=0.02)
    assert "name equal (+" in missed["labelled_evidence"]


def test_missed_in_review_is_told_apart(linked: Subject) -> None:
    [missed] = evaluate(linked, labels(("L2", "R2")), floor=0.98).errors.to_pylist()

    assert (missed["outcome"], missed["reason"]) == (MISSED, "in review")


def test_several_recipients_are_acceptable(linked: Subject) -> None:
    found = evaluate(linked, labels(("L4", "R1"), ("L4", "R4"), ("L4", "R4")), floor=0.98)

    assert outcomes(found) == {"L4": RIGHT}
    assert found.blocking is not None
    assert found.blocking.value == 1


def test_unknown_ids_are_problems(linked: Subject) -> None:
    given = labels(("L1", "R1"), ("L9", "R1"), ("L2", "R99"), ("L4", "R99"), ("L4", "R4"), (None, "R1"))  # type: ignore[arg-type]

    found = evaluate(linked, given, floor=0.98)

    assert outcomes(found) == {"L1": RIGHT, "L4": RIGHT}, "L2 has no recipient that exists"
    assert [tuple(row.values()) for row in found.problems.to_pylist()] == [
        (2, "left_id", "L9", UNKNOWN_LEFT),
        (3, "right_id", "R99", UNKNOWN_RIGHT),
        (4, "right_id", "R99", UNKNOWN_RIGHT),
        (6, None, None, NO_LEFT),
    ]


@pytest.mark.parametrize("column", ["company_key", "award"])
def test_labels_without_a_usable_column_are_refused(linked: Subject, column: str) -> None:
    with pytest.raises(SettingsError, match=r"no company by left_id or company, as .* needs"):
        evaluate(linked, labels(("L1", "R1"), column=column), floor=0.98)


def test_file_of_links_has_no_ueis(tables: tuple[Path, Path], tmp_path: Path) -> None:
    given = make_labels({"left_id": pa.array(["L1"]), "right_uei": pa.array(["ABC"])})

    with opened_links(tables, tmp_path, accept=0.5, given=given) as subject, pytest.raises(SettingsError, match="UEI"):
        evaluate(subject, given, floor=0.98)


def test_best_of_several_links_counts(tmp_path: Path) -> None:
    rows = ["L1,R1,0.4,review", "L1,R2,0.9,matched", "L2,R9,0.3,review"]
    path = tmp_path / "links.csv"
    path.write_text("\n".join(["left_id,right_id,probability,status", *rows]) + "\n", "utf-8")
    given = labels(("L1", "R2"), ("L2", "R9"))

    with open_links(path, given) as subject:
        found = evaluate(subject, given, floor=0.98)

    assert outcomes(found) == {"L1": RIGHT, "L2": MISSED}


def test_another_row_of_the_organisation_is_counted(tmp_path: Path) -> None:
    twin = {**RIGHT_ROWS[0], "id": "R0"}
    tables = write(tmp_path / "left.parquet", LEFT), write(tmp_path / "right.parquet", [*RIGHT_ROWS, twin])
    with opened(tables) as subject:
        found = evaluate(subject, labels(("L1", "R1")), floor=0.98)

    assert outcomes(found) == {"L1": WRONG}
    assert found.same_organisation == 1


def test_kinds_segments_and_findable(linked: Subject) -> None:
    given = labels(*LABELS, kind=["exact", "cut+city", "none", "unrelated"], segment=["a", "a", "b", None])

    found = evaluate(linked, given, floor=0.98)

    assert found.own.recall_by_kind == {"city": 0.0, "cut": 0.0, "exact": 1.0, "unrelated": 0.0}
    assert found.own.wrong_by_kind == {"none": 0.0}
    assert found.own.recall_findable == 0.5, "unrelated names are not findable"
    by_name = {(item.name, item.value): item.outcomes for item in found.segments}
    assert by_name["kind", "city"][MISSED] == 1
    assert by_name["segment", "a"] == {RIGHT: 1, REJECTED: 0, MISSED: 1, WRONG: 0, FALSE: 0}
    assert by_name["method", "no candidate"][REJECTED] == 1
    for name in ("segment", "state", "place", "method", "name level"):
        assert sum(sum(counts.values()) for (of, _), counts in by_name.items() if of == name) == 4, name


def test_column_findable_decides(linked: Subject) -> None:
    given = labels(*LABELS, kind=["exact", "exact", "none", "unrelated"], findable=[False, True, None, True])

    found = evaluate(linked, given, floor=0.98)

    assert found.judged.findable.tolist() == [False, True, False, True]


def test_labels_by_name_and_place(linked: Subject) -> None:
    given = labels(("KITWARE INC", "R1"), ("Zymergen Photonics", "R2"), ("Unheard Of", "R1"), column="company")

    found = evaluate(linked, given, floor=0.98)

    assert outcomes(found) == {"L1": RIGHT, "L2": MISSED}
    assert found.problems["problem"].to_pylist() == [UNKNOWN_LEFT]


def test_two_evaluations_are_compared(linked: Subject, tables: tuple[Path, Path], tmp_path: Path) -> None:
    given = labels(*LABELS, ("L4", "R4"))
    with opened_links(tables, tmp_path, accept=0.4, given=given) as other:
        generous = evaluate(other, given, floor=0.98)

    found = compare(evaluate(linked, given, floor=0.98), generous)

    assert (found.both, found.only_first, found.only_second, found.neither, found.p_value) == (3, 0, 0, 1, 1.0)
    again = labels(("L1", "R1"), ("L2", "R2"), ("L3", None), ("L4", None))
    with opened_links(tables, tmp_path, accept=0.4, given=again) as other:
        found = compare(evaluate(linked, again, floor=0.98), evaluate(other, again, floor=0.98))
    assert (found.both, found.only_first, found.only_second, found.neither) == (2, 0, 1, 1)
    [row] = found.discordant.to_pylist()
    assert (row["company_key"], row["outcome_first"], row["outcome_second"]) == ("L2", MISSED, RIGHT)


def opened_links(tables: tuple[Path, Path], folder: Path, *, accept: float, given: pa.Table) -> Any:
    out = folder / "links.csv"
    link(
        *tables, out, left_columns=NO_COLUMNS, right_columns=NO_COLUMNS, candidates=CandidateConfig(),
        decision=DecisionConfig(accept_probability=accept), with_review=True,
    )  # fmt: skip
    return open_links(out, given)


def test_file_of_links_has_the_same_figures(linked: Subject, tables: tuple[Path, Path], tmp_path: Path) -> None:
    given = labels(*LABELS)
    expected = evaluate(linked, given, floor=0.98)
    with opened_links(tables, tmp_path, accept=DECISION.accept_probability, given=given) as subject:
        found = evaluate(subject, given, floor=0.98)

    assert outcomes(found) == outcomes(expected)
    assert found.own == expected.own
    assert found.calibration_error == pytest.approx(expected.calibration_error)
    assert found.blocking is None
    assert "blocking is not measured" in found.note
    assert found.errors["reason"].to_pylist() == ["another candidate is best"] * 2


# --- a run -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return known_case.settings(tmp_path_factory.mktemp("evaluated"), matching={"accept_probability": 0.65})


@pytest.fixture(scope="module")
def pipeline(settings: Settings) -> Pipeline:
    pipeline = run_in_process(settings)
    pipeline.directory.record_settings("test", settings.flat(), {})
    return pipeline


def write_run_labels(path: Path) -> Path:
    """Label every award with what the known case says, by its company and place."""
    rows = [("company", "city", "state", "zip", "recipient_uei", "recipient_id", "kind")]
    for item in known_case.AWARDS:
        kind = "unrelated" if item.method == "uei" and "Renamed" in item.company else "known"
        rows.append((f'"{item.company}"', item.city, item.state, item.zip_code, "", item.recipient or "", kind))
    path.write_text("\n".join(",".join(row) for row in rows) + "\n", "utf-8")
    return path


def run_labels(*rows: tuple[str, str | None], column: str = "company") -> pa.Table:
    return labels(*rows, column=column)


def of_run(pipeline: Pipeline, given: pa.Table, **options: bool) -> Evaluation:
    with open_run(RunDirectory(pipeline.directory.root), decision=DECISION, **options) as subject:
        return evaluate(subject, given, floor=0.98)


def test_run_is_measured_by_key_award_and_name(pipeline: Pipeline) -> None:
    key = "name:MOVED MATERIALS|OR"
    award = pq.read_table(pipeline.directory.results.glob("*").__next__() / "enriched_awards.parquet")
    duns = award.filter(pa.compute.equal(award["company"], "Duns Only Systems"))["award_id"][0].as_py()
    parts = [
        run_labels(("Placeless Analytics", "r-placeless")),
        run_labels((key.lower(), "r-moved"), column="company_key"),
        run_labels((duns, "r-exact"), column="award"),
        make_labels({"company": pa.array(["Twin Identifiers"]), "right_uei": pa.array(["BK7BM2BP9BW2"])}),
    ]
    rows = pa.concat_tables(parts)
    found = of_run(pipeline, rows.set_column(0, "row", pa.array(range(1, 5), pa.int64())))

    assert [row["outcome"] for row in found.answers.to_pylist()] == [RIGHT, RIGHT, WRONG, RIGHT]
    assert len(found.problems) == 0
    assert found.decision is not None
    assert found.decision.accept_probability == 0.65, "that of the run"
    assert found.estimated is not None
    assert found.estimated["precision"]["estimate"] > 0.5


def test_identifiers_can_be_hidden(pipeline: Pipeline) -> None:
    given = run_labels(("Renamed Photonics", "r-uei"), ("Duns Only Systems", "r-duns"))

    shown, hidden = of_run(pipeline, given), of_run(pipeline, given, hide_identifiers=True)

    assert list(outcomes(shown).values()) == [RIGHT, RIGHT]
    assert list(outcomes(hidden).values()) == [MISSED, RIGHT]
    assert (hidden.identifiers_hidden, shown.identifiers_hidden) == (True, False)
    assert hidden.blocking is not None
    assert hidden.blocking.part == 1, "only the identifier found the renamed firm"


def test_ambiguous_and_joined_companies_are_problems(pipeline: Pipeline) -> None:
    given = run_labels(
        ("Twin Identifiers LLC", "r-twin"), ("TWIN IDENTIFIERS", None), ("", "r-moved"), ("Kitware & Sons", "r-none")
    )

    found = of_run(pipeline, given.filter(pa.compute.field("company") != ""))

    assert found.companies == 0
    assert found.problems["problem"].to_pylist() == [CONTRADICTION, CONTRADICTION, UNKNOWN_RIGHT]
    assert (found.own.precision, found.own.recall, found.calibration_error) == (None, 0.0, None)


def test_command_evaluates_a_run(pipeline: Pipeline, tmp_path: Path, cli: CommandLine) -> None:
    path = write_run_labels(tmp_path / "labels.csv")
    where = ("--labels", path, "--work-dir", pipeline.directory.root)
    files = {name: tmp_path / name for name in ("page.html", "page.md", "errors.xlsx")}

    code, printed, _ = cli(
        "evaluate", *where, "--html", files["page.html"], "--markdown", files["page.md"], "--out", files["errors.xlsx"],
        "--compare", "latest",
    )  # fmt: skip

    assert code == 0
    assert "19 labels of" in printed
    assert "Identifiers are used" in printed
    assert "McNemar's test (exact): p = 1.0000" in printed
    html, markdown = files["page.html"].read_text("utf-8"), files["page.md"].read_text("utf-8")
    assert 'data-chart="calibration"' in html
    assert '<h2 id="segments-title">' in html
    assert markdown.startswith("# Evaluation of run ")
    assert "| precision |" in markdown
    [head, *_] = load_workbook(files["errors.xlsx"]).get_sheet_by_index(0).to_python()
    assert head[:3] == ["outcome", "reason", "company_key"]
    assert cli("evaluate", *where, "--html", files["page.html"], "--out", files["errors.xlsx"])[0] == 0, "replaced"
    assert cli("evaluate", *where, "--html", path)[0] == 2, "the labels are no output"

    code, printed, _ = cli("evaluate", *where, "--json", "--hide-identifiers")
    document = json.loads(printed)

    assert code == 0
    assert document["identifiers_hidden"] is True
    assert sum(document["outcomes"].values()) == document["labels"]["companies"]
    assert len(document["errors"]) == sum(document["outcomes"][name] for name in (MISSED, WRONG, FALSE))


def test_run_without_checkpoints_is_measured_by_its_result(pipeline: Pipeline) -> None:
    given = run_labels(("Renamed Photonics", "r-uei"), ("Ambiguous Optics", "r-ambiguous-a"))
    plan = pipeline.directory.farm_plan
    content = plan.read_bytes()
    plan.unlink()
    try:
        found = of_run(pipeline, given)
    finally:
        plan.write_bytes(content)

    assert list(outcomes(found).values()) == [RIGHT, MISSED]
    assert found.blocking is None
    assert "Its candidates cannot be read" in found.note


def test_command_evaluates_tables_and_links(tables: tuple[Path, Path], tmp_path: Path, cli: CommandLine) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("left_id,right_id\n" + "".join(f"{left},{right or ''}\n" for left, right in LABELS), "utf-8")
    left, right = tables

    code, printed, _ = cli("evaluate", "--labels", path, "--left", left, "--right", right)

    assert code == 0
    assert "Blocking found 66.7%" in printed
    assert cli("link", left, right, "--out", tmp_path / "links.csv", "--all")[0] == 0
    code, printed, _ = cli("evaluate", "--labels", path, "--links", tmp_path / "links.csv", "--json")
    assert code == 0
    assert json.loads(printed)["outcomes"][RIGHT] == 1
    for wrong in (("--links", path), ("--left", left), ("--links", left, "--run", "latest")):
        assert cli("evaluate", "--labels", path, *wrong)[0] == 2, wrong
    refused = cli("evaluate", "--labels", path, "--links", tmp_path / "links.csv", "--hide-identifiers")
    assert refused[0] == 2
    assert "--left and --right" in refused[2]


def test_name_of_two_companies_needs_a_place(tmp_path: Path) -> None:
    rows = [{**LEFT[0], "id": "A"}, {**LEFT[0], "id": "B", "city": "Reno", "state": "NV", "zip": "89501"}]
    tables = write(tmp_path / "left.parquet", rows), write(tmp_path / "right.parquet", RIGHT_ROWS)
    given = make_labels(
        {"company": pa.array(["Kitware"] * 2), "state": pa.array([None, "nv"]), "right_id": pa.array(["R1", None])}
    )
    with opened(tables) as subject:
        found = evaluate(subject, given, floor=0.98)

    assert list(outcomes(found)) == ["B"]
    assert [(row["row"], row["problem"]) for row in found.problems.to_pylist()] == [(1, AMBIGUOUS_LEFT)]
