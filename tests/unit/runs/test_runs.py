"""``enrich-dist runs``: the journal, and the difference of two runs."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from enrich_dist.cli.main import app
from enrich_dist.core.files import file_digest
from enrich_dist.errors import EnrichError, SettingsError, StateError
from enrich_dist.events import Event, Notice, listening
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.run_lifecycle import finish_run, report_run
from enrich_dist.runs.journal import find_run, read_runs
from enrich_dist.runs.records import latest_record
from enrich_dist.store.run_directory import RunDirectory
from tests.support import known_case as known
from tests.support.in_process import run_in_process

FIRST, SECOND, THIRD = "1aaa-first", "1bbb-second", "2ccc-third"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Return three runs: the known case, published; with a stricter threshold; with other inputs, published."""
    folder = tmp_path_factory.mktemp("runs")
    settings = known.settings(folder)
    directory = RunDirectory(settings.paths.work_dir)

    def record(run_id: str, run: Any, **origins: str) -> None:
        directory.record_settings(run_id, run.flat(), origins)

    record(FIRST, settings, chunk_size="file some.yaml")
    first = run_in_process(settings, FIRST)
    first.publish_awards()
    finish_run(first)
    stricter = settings.model_copy(
        update={"matching": settings.matching.model_copy(update={"accept_probability": 0.98})}
    )
    record(SECOND, stricter)
    second = Pipeline(stricter, SECOND)
    second.enrich_awards()
    report_run(second)
    other = known.settings(folder, inputs=_other_inputs(folder / "inputs", folder / "other"))
    record(THIRD, other)
    third = run_in_process(other, THIRD)
    third.publish_awards()
    finish_run(third)
    return directory


def _other_inputs(old: Path, new: Path) -> tuple[Path, Path]:
    """Write later inputs: an award less, one more, one corrected, and three companies with another recipient."""
    new.mkdir()
    lines = (old / "awards.csv").read_text("utf-8").splitlines()
    assert sum("Placeless Analytics" in line for line in lines) == 1
    lines = [line for line in lines if "Placeless Analytics" not in line]
    lines = [line.replace("Spectral Dynamics Researh LLC", "Spectral Dynamics Research LLC") for line in lines]
    lines = [line.replace("77 Hill Road", "77 Hill Rd") for line in lines]
    newcomer = lines[-1].split(",")
    newcomer[0], newcomer[1] = "Newcomer Networks", "=a new one"
    lines.append(",".join(newcomer))
    (new / "awards.csv").write_text("\n".join(lines) + "\n", "utf-8")
    table = pq.read_table(old / "recipients.parquet")
    rows = table.to_pylist()
    for row in rows:
        if row["recipient_hash"] == "r-exact":
            row["recipient_hash"], row["uei"] = "r-exact-later", "WK7WM2WP9WW1"
    rows = [row for row in rows if row["recipient_hash"] != "r-uei"]
    rows.append({**dict.fromkeys(table.column_names), "recipient_hash": "r-known-now", "city": "NOME", "state": "AK",
                 "legal_business_name": "NOBODY KNOWS US CORPORATION", "zip5": "99762"})  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, table.schema), new / "recipients.parquet")
    return new / "awards.csv", new / "recipients.parquet"


Runs = Callable[..., str]


@pytest.fixture
def runs(work: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Return the command on that directory; it returns its output and raises errors of the project."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str | Path, directory: RunDirectory = work) -> str:
        result = CliRunner().invoke(app, ["runs", *map(str, arguments), "--work-dir", str(directory.root)])
        if isinstance(result.exception, EnrichError):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


def test_ls_lists_newest_first(runs: Runs, work: RunDirectory) -> None:
    lines = runs("ls").splitlines()[2:]  # the headings have two lines
    documents = json.loads(runs("ls", "--json"))

    assert [line.split()[2] for line in lines] == [THIRD[:8], SECOND[:8], FIRST[:8]]
    assert [line.split()[3] for line in lines] == ["published", "passed", "published"]
    assert "all chunks (judged again)" in lines[1]
    assert [line.split()[-1] for line in lines] == ["now", "again)", "earlier"]
    assert [item["run_id"] for item in documents] == [THIRD, SECOND, FIRST]
    for item in documents:
        result = json.loads((work.results / item["result"] / "metrics.json").read_text("utf-8"))
        assert item["numbers"]["match_rate"] == result["match_rate"]
        assert item["numbers"]["awards_matched"] == result["awards"]["matched"]
        assert item["matched_by_method"] == {entry["method"]: entry["awards"] for entry in result["by_method"]}
    assert [item["is_published_now"] for item in documents] == [True, False, False]


def test_record_has_inputs(runs: Runs) -> None:
    shown = json.loads(runs("show", "1aaa", "--json"))

    assert shown["awards"]["rows"] == known.AWARD_ROWS
    assert shown["awards"]["valid_rows"] == known.AWARD_ROWS - known.REJECTED_AWARD_ROWS
    assert shown["recipients"]["rows"] == known.RECIPIENT_ROWS
    for name in ("awards", "recipients"):
        assert shown[name]["blake3"] == file_digest(Path(shown[name]["path"]))


def test_show_lists_changed_settings(runs: Runs) -> None:
    first, latest = runs("show", FIRST), runs("show")

    assert "chunk_size            10" in first
    assert next(line for line in first.splitlines() if line.startswith("chunk_size")).endswith("file some.yaml")
    assert "timeout_seconds" not in first
    assert f"Run {THIRD}" in latest
    for text in ("estimated precision", "Matching", "peak MB", "Failures: none", "awards matched by exact_name_place"):
        assert text in latest
    assert "this run did not match chunks" in runs("show", "previous")
    assert "earlier run" in runs("show", "previous")


def test_diff_of_settings_and_awards(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "changes.csv"

    text = runs("diff", FIRST, SECOND, "--awards", out)
    found = json.loads(runs("diff", FIRST, SECOND, "--json"))

    assert [item["key"] for item in found["settings"]] == ["matching.accept_probability"]
    assert [item["same_bytes"] for item in found["inputs"].values()] == [True, True]
    assert "Awards: the same file" in text
    lost = found["awards"]["counts"]["lost"]
    figures = found["figures"]["awards_matched"]
    assert lost == figures["before"] - figures["now"] > 0
    assert found["awards"]["counts"]["kept"] == figures["now"]
    assert {(item["before"], item["now"]) for item in found["awards"]["moves"] if item["before"] != item["now"]} == {
        ("matched", "review")
    }
    assert sum(item["awards"] for item in found["awards"]["by_method"]) == lost
    assert "lost their match" in text
    assert "Moved Materials Inc" in text
    written = pyarrow.csv.read_csv(out)
    assert Counter(written["change"].to_pylist()) == {"lost": lost}
    assert set(written["old_status"].to_pylist()) == {"matched"}


def test_csv_formulas_are_text(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "changes.csv"

    runs("diff", FIRST, THIRD, "--awards", out)

    titles = {row["company"]: row["award_title"] for row in pyarrow.csv.read_csv(out).to_pylist()}
    assert titles["Newcomer Networks"] == "'=a new one"


def test_diff_of_other_inputs(runs: Runs, tmp_path: Path) -> None:
    out = tmp_path / "changes.parquet"

    text = runs("diff", FIRST, THIRD, "--awards", out)
    rows = {row["company"]: row for row in pq.read_table(out).to_pylist()}

    assert {company: row["change"] for company, row in rows.items()} == {
        "Nobody Knows Us Corporation": "gained",
        "Renamed Photonics Inc": "lost",
        "Kitware & Sons, Inc.": "changed",
        "Placeless Analytics": "only in the older",
        "Newcomer Networks": "only in the newer",
        # Its name was corrected, so neither the row nor company and title are equal.
        **{name: row["change"] for name, row in rows.items() if name.startswith("Spectral")},
    }
    kitware = rows["Kitware & Sons, Inc."]
    assert (kitware["old_recipient_id"], kitware["new_recipient_id"]) == ("r-exact", "r-exact-later")
    assert rows["Nobody Knows Us Corporation"]["new_recipient_id"] == "r-known-now"
    assert "Awards: other content" in text
    assert "identified by contract, tracking number or title" in text  # Quixotic: another spelling of its street
    assert "changed to another recipient" in text


def test_diff_defaults_to_previous_run(runs: Runs) -> None:
    found = json.loads(runs("diff", "--json"))

    assert (found["before"]["run_id"], found["now"]["run_id"]) == (SECOND, THIRD)


def test_run_equals_itself(runs: Runs) -> None:
    found = json.loads(runs("diff", FIRST, FIRST, "--json"))

    assert found["settings"] == []
    counts = found["awards"]["counts"]
    assert counts["kept"] + counts["open"] == found["awards"]["in_both"] == found["figures"]["awards_matched"][
        "now"] + found["figures"]["awards_review"]["now"] + found["figures"]["awards_unmatched"]["now"]  # fmt: skip


def test_unknown_or_ambiguous_id_is_refused(runs: Runs, work: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"No run id starts with 'x'"):
        runs("show", "x")
    with pytest.raises(SettingsError, match="ids of 2 runs start with '1'"):
        runs("show", "1")
    with pytest.raises(StateError, match="has no judged run"):
        runs("diff", directory=RunDirectory(tmp_path))
    assert "enrich-dist run" in runs("ls", directory=RunDirectory(tmp_path))
    assert find_run(work, "latest").run_id == THIRD


def test_diff_without_a_result(runs: Runs, work: RunDirectory, tmp_path: Path) -> None:
    copy = RunDirectory(tmp_path / "work")
    shutil.copytree(work.root, copy.root, symlinks=True)
    shutil.rmtree(copy.results / find_run(copy, SECOND).result)
    # The result of the first run is deleted, too, but it was published.
    shutil.rmtree(copy.results / find_run(copy, FIRST).result)

    text = runs("diff", FIRST, SECOND, directory=copy)

    assert "The result of run 1bbb-sec (results/" in text
    assert "is no longer on disk" in text
    assert "matching.accept_probability" in text
    assert "awards matched" in text
    with pytest.raises(StateError, match="no longer on disk"):
        runs("diff", FIRST, SECOND, "--awards", tmp_path / "x.csv", directory=copy)
    assert "gained a match" in runs("diff", FIRST, THIRD, directory=copy)
    with pytest.raises(SettingsError, match=r"none of the endings \.csv"):
        runs("diff", FIRST, THIRD, "--awards", tmp_path / "x.txt")


def test_publishing_keeps_the_record(work: RunDirectory, tmp_path: Path) -> None:
    run = known.settings(tmp_path)
    directory = RunDirectory(run.paths.work_dir)
    directory.record_settings("judging", run.flat(), {"chunk_size": "command line"})
    finish_run(run_in_process(run, "judging"))
    [judged] = read_runs(directory)
    directory.record_settings("publishing", {"chunk_size": 3}, {})

    publishing = Pipeline(run, "publishing")
    publishing.publish_awards()
    finish_run(publishing)

    [published] = read_runs(directory)
    assert (judged.status, published.status) == ("passed", "published")
    assert published.settings == judged.settings != ()
    assert published.own_steps.keys() == judged.own_steps.keys()


def test_invalid_journal_lines_are_ignored(work: RunDirectory, tmp_path: Path) -> None:
    copy = RunDirectory(tmp_path)
    copy.steps.mkdir()
    lines = work.run_history.read_text("utf-8").splitlines()
    torn = lines[-1][: len(lines[-1]) // 2]
    copy.run_history.write_text("\n".join(['{"run_id": "old"}', *lines, "[]", torn]), "utf-8")

    assert [run.run_id for run in read_runs(copy)] == [FIRST, SECOND, THIRD]
    assert read_runs(work)[-1] == latest_record(work)


def test_unwritable_journal_warns(work: RunDirectory, tmp_path: Path) -> None:
    copy = RunDirectory(tmp_path / "work")
    shutil.copytree(work.root, copy.root, symlinks=True)
    copy.run_history.unlink()
    copy.run_history.mkdir()
    events: list[Event] = []

    with listening(events.append):
        report_run(Pipeline(known.settings(tmp_path), THIRD))

    notice = events[0]  # the report reads the journal, too
    assert isinstance(notice, Notice)
    assert notice.warning
    assert "could not be added to runs.jsonl" in notice.message


def test_comparison_contains_every_award(runs: Runs, work: RunDirectory) -> None:
    found = json.loads(runs("diff", FIRST, THIRD, "--json"))["awards"]
    rows = [
        pq.read_metadata(work.results / find_run(work, name).result / "enriched_awards.parquet").num_rows
        for name in (FIRST, THIRD)
    ]

    counts = found["counts"]
    assert rows == [
        found["in_both"] + counts["only in the older"],
        found["in_both"] + counts["only in the newer"],
    ]
    assert sum(found["found_by"].values()) == found["in_both"]
    assert pc.sum(pa.array([item["awards"] for item in found["moves"]])).as_py() == found["in_both"]
