"""The run directory: a moved or copied one works, and reads nothing from the old place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from distributed import Client
from typer.testing import CliRunner, Result

from enrich_dist.cli.main import app
from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.json_documents import read_json_lines
from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.events import Step
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import Number, Output, RunDirectory, StepReport
from tests.support import known_case
from tests.support.in_process import run_in_process
from tests.support.published import published_bytes

REPORT = StepReport(Step.SBIR_AWARDS, "run", 3, 1.0, 5, False, {"awards": "", "source": "/data/awards.csv"})


def test_partial_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    partial, others = ".tmp-0123456789ab.parquet", ["notes.parquet", ".tmp-mine", "0" * 24 + ".json"]
    for place in (directory.checkpoints, directory.attempts, directory.results):
        place.mkdir()
        for name in (partial, *others):
            (place / name).touch()

    directory.clear_leftovers()

    for place in (directory.checkpoints, directory.attempts, directory.results):
        assert sorted(path.name for path in place.iterdir()) == sorted(others)


def copy_and_delete(old: Path, new: Path) -> None:
    shutil.copytree(old, new, symlinks=True)
    shutil.rmtree(old)


def no_cluster() -> Client:
    raise AssertionError("a chunk is computed again")


def run_and_publish(settings: Settings, run_id: str) -> Pipeline:
    pipeline = run_in_process(settings, run_id)
    pipeline.publish_awards()
    finish_run(pipeline)
    return pipeline


@pytest.mark.parametrize("move", [os.rename, copy_and_delete])
def test_moved_work_directory_works(tmp_path: Path, move: Callable[[Path, Path], None]) -> None:
    settings = known_case.settings(tmp_path)
    before, after = settings.paths.work_dir, tmp_path / "elsewhere" / "moved"
    RunDirectory(before).record_settings("1aaa", settings.flat(), {})
    run_and_publish(settings, "1aaa")
    published = published_bytes(before)
    after.parent.mkdir()
    move(before, after)
    config = tmp_path / "settings.yaml"
    inputs = {name: str(value) for name, value in settings.inputs.model_dump(include={"awards", "recipients"}).items()}
    config.write_text(
        yaml.safe_dump(
            {"inputs": inputs, "paths": {"work_dir": str(after)}, "chunk_size": 10, "match_rate_threshold": 0.5}
        ),
        "utf-8",
    )

    def command(*arguments: str) -> Result:
        result = CliRunner().invoke(app, [*arguments, "--config", str(config)])
        assert result.exit_code == 0, result.output
        assert str(before) not in result.output
        return result

    assert "Kitware" in command("explain", "--company", "Kitware & Sons, Inc.").output
    command("status")
    command("report")
    command("rejudge", "--publish")
    command("runs", "ls")
    command("runs", "show", "latest")
    command("runs", "diff", "1aaa", "latest")
    moved = settings.model_copy(update={"paths": settings.paths.model_copy(update={"work_dir": after})})
    resumed = Pipeline(moved, "2bbb")
    resumed.ingest_awards()
    resumed.join_companies()
    resumed.partition_recipients()
    assert resumed.farm_chunks(no_cluster).numbers[Number.CHUNKS_COMPUTED] == 0
    resumed.enrich_awards()
    resumed.publish_awards()
    finish_run(resumed)

    assert published_bytes(after) == published
    assert not before.exists()
    assert all(report.reused for report in resumed.directory.all_latest().values())


def test_records_hold_no_work_directory(tmp_path: Path) -> None:
    pipeline = run_and_publish(known_case.settings(tmp_path), "1aaa")

    root = str(pipeline.directory.root)
    recorded = {path.name: path.read_text("utf-8") for path in pipeline.directory.steps.glob("*.json*")}
    history = [{**run, "settings": []} for run in read_json_lines(pipeline.directory.run_history)]
    recorded[pipeline.directory.run_history.name] = json.dumps(history)
    assert len(recorded) > len(Step)
    assert [name for name, text in recorded.items() if root in text and name != "settings.json"] == []


def test_inputs_elsewhere_stay_absolute(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.record(replace(REPORT, paths={**REPORT.paths, "awards": str(directory.awards / "a")}))

    stored = read_json(directory.steps / "sbir_awards.json")["paths"]
    assert stored == {"awards": "./awards/a", "source": "/data/awards.csv"}
    assert directory.output(Output.AWARDS) == directory.awards / "a"
    assert directory.latest(Step.SBIR_AWARDS).source == "/data/awards.csv"


def test_checkpoints_inside_move_along(tmp_path: Path) -> None:
    old, new, outside = tmp_path / "old", tmp_path / "new", str(tmp_path / "shared")
    for location, expected in ((str(old / "mine"), str(new / "mine")), (outside, outside), ("s3://b/p", "s3://b/p")):
        RunDirectory(old).record_farm_plan([(0, 10, "key")], {}, location)
        shutil.copytree(old, new, dirs_exist_ok=True)
        assert RunDirectory(new).latest_farm()[1] == expected


def test_absolute_paths_of_earlier_versions(tmp_path: Path) -> None:
    old, new = RunDirectory(tmp_path / "old"), RunDirectory(tmp_path / "new")
    old.record(replace(REPORT, paths={**REPORT.paths, "awards": "x"}))
    document = read_json(old.steps / "sbir_awards.json")
    document["paths"]["awards"] = str(old.awards / "a")
    for directory in (old, new):
        write_json(directory.steps / "sbir_awards.json", document)

    assert old.output(Output.AWARDS) == old.awards / "a"
    with pytest.raises(StateError, match="finished chunks are kept") as error:
        new.latest(Step.SBIR_AWARDS)
    assert str(old.awards) in error.value.message


@pytest.mark.parametrize("content", ["", "[]", '{"chunks": 7}', json.dumps({"step": "unknown"})])
def test_damaged_report_is_refused(tmp_path: Path, content: str) -> None:
    directory = RunDirectory(tmp_path)
    directory.steps.mkdir()
    (directory.steps / "sbir_awards.json").write_text(content, "utf-8")

    with pytest.raises(CorruptionError, match=r"sbir_awards\.json"):
        directory.latest(Step.SBIR_AWARDS)
