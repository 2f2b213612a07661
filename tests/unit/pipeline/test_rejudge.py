"""Rejudge: other thresholds, gates and decisions act on a finished run, and touch none of its chunks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from enrich_dist.core.files import file_digest, read_json, write_json
from enrich_dist.events import Step
from enrich_dist.runs.journal import read_runs
from enrich_dist.settings import load_settings
from enrich_dist.store.run_directory import Output, RunDirectory
from tests.conftest import REPOSITORY
from tests.support.preflight_case import make_ready
from tests.support.review_case import CommandLine, Reviewed, finished_run

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, client: Client) -> Reviewed:
    return finished_run(tmp_path_factory.mktemp("rejudge"), lambda: client)


@pytest.fixture
def run(finished: Reviewed) -> Iterator[Reviewed]:
    """The run with its first result published; restored after each test."""
    finished.reset()
    restored = [finished.pipeline.directory.checkpoints, finished.pipeline.directory.steps]
    saved = {path: path.read_bytes() for folder in restored for path in folder.iterdir()}
    yield finished
    for path, content in saved.items():
        path.write_bytes(content)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def chunk_files(directory: RunDirectory) -> dict[str, tuple[int, str]]:
    """Time of the last change and digest of all that the farm read and wrote."""
    folders = (directory.chunks, directory.checkpoints, directory.index, directory.companies, directory.awards)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 30
    return {str(path): (path.stat().st_mtime_ns, file_digest(path)) for path in [*files, directory.farm_plan]}


def test_threshold_applies_without_chunks(run: Reviewed, cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_farm(*_: object, **__: object) -> None:
        raise AssertionError("a chunk was farmed out")

    monkeypatch.setattr("enrich_dist.farm.driver.Farm", no_farm)
    monkeypatch.setattr("enrich_dist.cluster.client.open_client", no_farm)
    before = chunk_files(run.pipeline.directory)
    assert run.matches()["Ambiguous Optics"]["match_status"] == "review"

    code, out, err = cli("rejudge", "--config", run.config, "--set", "matching.accept_probability=0.45")

    assert code == 0
    assert run.matches()["Ambiguous Optics"]["match_status"] == "matched"
    assert run.matches()["Quartet Gyroscopes"]["match_status"] == "review"
    assert chunk_files(run.pipeline.directory) == before
    assert "setting matching.accept_probability = 0.45 (command line)" in err
    changes = {" ".join(line.split()[:-3]): line.split()[-3:] for line in out.splitlines() if "→" in line}
    assert changes["awards matched"] == ["9", "→", "18"]
    assert changes["awards review"] == ["18", "→", "9"]
    assert changes["verdict"] == ["passed", "→", "passed"]
    assert changes["match rate"] == ["32.1%", "→", "64.3%"]
    rates = {"match rate", "estimated precision", "estimated recall"}
    assert set(changes) == {*rates, "awards matched", "awards review", "awards unmatched", "verdict"}
    assert "without matching a chunk" in out
    # What is published stays until it is asked for.
    assert run.published()["Ambiguous Optics"]["match_status"] == "review"


def test_each_rejudge_is_a_run(run: Reviewed, cli: CommandLine) -> None:
    directory = run.pipeline.directory
    before = len(read_runs(directory))

    for accept, publish in (("0.45", []), ("0.6", ["--publish"])):
        directory.html_report.unlink(missing_ok=True)
        cli("rejudge", *publish, "--config", run.config, "--set", f"matching.accept_probability={accept}")
        assert directory.html_report.exists()

    *_, first, second = read_runs(directory)
    assert len(read_runs(directory)) == before + 2
    assert first.run_id != second.run_id
    assert (first.status, second.status) == ("passed", "published")
    assert "all chunks (judged again)" in (first.reused, second.reused)
    values = [{item.key: item.value for item in kept.settings} for kept in (first, second)]
    assert [value["matching.accept_probability"] for value in values] == ["0.45", "0.6"]


def test_earlier_settings_reuse_their_result(run: Reviewed, cli: CommandLine) -> None:
    first = run.pipeline.directory.output(Output.RESULT)
    cli("rejudge", "--config", run.config, "--set", "matching.accept_probability=0.45")

    code, out, _ = cli("rejudge", "--config", run.config)

    assert code == 0
    assert "the result is unchanged" in out
    assert run.pipeline.directory.output(Output.RESULT) == first


def test_production_needs_a_readiness_file(run: Reviewed, cli: CommandLine) -> None:
    arguments = ["--config", run.config, "--set", "environment=production", "--set", "matching.accept_probability=0.45"]

    refused, _, err = cli("rejudge", "--publish", *arguments)
    judged, _, _ = cli("rejudge", *arguments)  # publishes nothing

    assert (refused, judged) == (5, 0)
    assert "enrich-dist preflight --env production" in err
    assert run.published()["Ambiguous Optics"]["match_status"] == "review"

    ready = make_ready(load_settings(run.config, arguments[3::2], {}).settings)
    published, _, _ = cli("rejudge", "--publish", *arguments)
    other, _, err = cli("rejudge", "--publish", *arguments, "--set", "matching.accept_probability=0.6")
    ready.unlink()

    assert (published, other) == (0, 5)
    assert "matching.accept_probability was 0.45, is 0.6" in err
    assert run.published()["Ambiguous Optics"]["match_status"] == "matched"


def test_passed_result_is_published_on_request(run: Reviewed, cli: CommandLine) -> None:
    code, out, _ = cli("rejudge", "--publish", "--config", run.config, "--set", "matching.accept_probability=0.45")

    assert code == 0
    assert run.published()["Ambiguous Optics"]["match_status"] == "matched"
    assert "published/current" in out


@pytest.mark.parametrize("publish", [[], ["--publish"]])
def test_blocked_result_exits_with_3(run: Reviewed, cli: CommandLine, publish: list[str]) -> None:
    published = (run.pipeline.directory.published / "current").resolve()

    code, out, err = cli("rejudge", *publish, "--config", run.config, "--set", "match_rate_threshold=0.9")

    assert code == 3
    assert "Blocked: 9 of 28 valid awards have an accepted match: match rate 32.1% (minimum 90.0%)" in out
    assert ("Not published: the quality gate blocked this result" in err) == bool(publish)
    assert (run.pipeline.directory.published / "current").resolve() == published
    assert run.pipeline.verdict()["status"] == "blocked"


@pytest.mark.parametrize(
    "setting",
    [
        "chunk_size=7",
        "matching.min_name_overlap=0.9",
        "matching.max_candidates_per_name=1",
        "matching.max_block_size=1",
        "inputs.awards=other.csv",
        "inputs.recipients=null",
        "inputs.award_columns.company=Firm",
    ],
)
def test_setting_that_changes_chunks_is_refused(run: Reviewed, cli: CommandLine, setting: str) -> None:
    before = run.pipeline.directory.latest(Step.ENRICHED_AWARDS)

    code, _, err = cli("rejudge", "--config", run.config, "--set", setting, "--set", "matching.accept_probability=0.45")

    assert code == 1
    assert f"Error: {setting.split('=')[0]} would change the chunks" in err
    assert "run `enrich-dist run` with it" in err
    assert run.pipeline.directory.latest(Step.ENRICHED_AWARDS) == before


def test_values_of_the_run_are_accepted(run: Reviewed, cli: CommandLine) -> None:
    inputs = run.settings.inputs
    own = [
        f"inputs.awards={os.path.relpath(inputs.awards or '')}", f"inputs.recipients={inputs.recipients}",
        "chunk_size=10", f"matching.min_name_overlap={run.settings.matching.min_name_overlap}", "matching.batch_rows=5",
    ]  # fmt: skip

    assert cli("rejudge", "--config", run.config, *(word for text in own for word in ("--set", text)))[0] == 0


def test_changed_matching_settings_are_named(run: Reviewed, cli: CommandLine, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(run.config.read_text("utf-8") + "matching: {min_name_overlap: 0.9}\n", "utf-8")

    code, _, err = cli("rejudge", "--config", other)

    assert code == 1
    assert "not those of the latest plan and the current settings" in err
    assert f"matching.min_name_overlap (file {other})" in err


def test_an_unfinished_run_is_refused(run: Reviewed, cli: CommandLine) -> None:
    directory = run.pipeline.directory
    first, second, *_ = sorted(directory.checkpoints.glob("*.json"))
    first.unlink()
    second.with_suffix(".parquet").write_bytes(b"torn")

    missing = cli("rejudge", "--config", run.config)
    exported = cli("review", "export", "--config", run.config, "--out", run.config.with_name("none.csv"))
    directory.farm_plan.unlink()
    nothing = cli("rejudge", "--config", run.config)

    assert (missing[0], exported[0], nothing[0]) == (1, 1, 1)
    planned = len(read_json(directory.output(Output.CHUNKS) / "manifest.json")["facts"]["chunks"])
    assert f"2 of {planned} chunks have no valid checkpoint" in missing[2]
    assert "Run `enrich-dist run`" in missing[2]
    assert "no valid checkpoint" in exported[2]
    assert "no chunk is matched" in nothing[2]


def test_empty_work_directory_is_refused(cli: CommandLine, tmp_path: Path) -> None:
    code, _, err = cli("rejudge", "--set", f"paths.work_dir={tmp_path}")

    assert code == 1
    assert "has no output of the step 'recipient_chunks'" in err


def test_newer_plan_is_refused(run: Reviewed, cli: CommandLine) -> None:
    plan = read_json(run.pipeline.directory.farm_plan)
    plan["chunks"] = plan["chunks"][1:]
    write_json(run.pipeline.directory.farm_plan, plan)

    code, _, err = cli("rejudge", "--config", run.config)

    assert code == 1
    assert "the run is not complete, or it had other settings" in err


def test_deleted_results_are_rebuilt(run: Reviewed, cli: CommandLine) -> None:
    shutil.rmtree(run.pipeline.directory.results)

    code, out, _ = cli("rejudge", "--config", run.config)

    assert code == 0
    assert "no result" in out
    assert run.matches()["Kitware & Sons, Inc."]["match_status"] == "matched"


def test_neither_dagster_nor_cluster_starts(run: Reviewed) -> None:
    code = (
        "import sys, contextlib\n"
        "from enrich_dist.cli.main import main\n"
        f"sys.argv = ['enrich-dist', 'rejudge', '--config', {str(run.config)!r}]\n"
        "with contextlib.suppress(SystemExit): main()\n"
        "from distributed import Client, LocalCluster\n"
        "print('imported:', sorted({'dagster', 'dagster_dask', 'enrich_dist.cluster.client'} & set(sys.modules)))\n"
        "print('clients:', len(Client._instances), 'clusters:', len(LocalCluster._instances))\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True, cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip

    assert "without matching a chunk" in finished.stdout
    assert "imported: []" in finished.stdout
    assert "clients: 0 clusters: 0" in finished.stdout
