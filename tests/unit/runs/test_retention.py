"""``enrich-dist runs space`` and ``runs prune``: what only older runs need, and nothing else, is removed."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from enrich_dist.cli.main import app
from enrich_dist.errors import SettingsError
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.runs.journal import read_runs
from enrich_dist.runs.records import published_release
from enrich_dist.runs.retention import measure_space
from enrich_dist.settings import Settings
from tests.support import known_case as known
from tests.support.in_process import run_in_process


def run(settings: Settings, number: int, keep: int | None = None) -> Pipeline:
    """Publish a run of its own chunks and result."""
    changed = {"chunk_size": 5 + number, "match_rate_threshold": 0.1 + number / 100, "retention": {"keep_runs": keep}}
    own = Settings(**{**settings.model_dump(), **changed})
    pipeline = run_in_process(own, f"{number}-run")
    pipeline.publish_awards()
    finish_run(pipeline)
    return pipeline


def entries(pipeline: Pipeline) -> dict[str, int]:
    root = pipeline.directory.root
    return {name: sum(1 for _ in (root / name).iterdir()) for name in ("awards", "chunks", "results")}


def test_prune_keeps_what_the_latest_runs_need(tmp_path: Path) -> None:
    settings = known.settings(tmp_path)
    pipeline = [run(settings, number) for number in range(2)][-1]
    root = pipeline.directory.root
    foreign = root / "results" / "mine"
    foreign.mkdir()
    (foreign / "notes.txt").write_text("keep", "utf-8")
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "chunks" / "linked").symlink_to(outside)
    oldest = read_runs(pipeline.directory)[0]
    (root / "results" / oldest.result / "added.txt").write_text("of a user", "utf-8")
    before = {space.name: space for space in measure_space(pipeline.directory, 1)}
    arguments = ["--work-dir", str(root), "--keep", "1"]

    shown = json.loads(CliRunner().invoke(app, ["runs", "space", *arguments, "--json"]).stdout)
    dry = CliRunner().invoke(app, ["runs", "prune", *arguments, "--dry-run"])
    unchanged = entries(pipeline)
    done = CliRunner().invoke(app, ["runs", "prune", *arguments])

    assert {item["name"]: len(item["removable"]) for item in shown} == {
        name: len(space.removable) for name, space in before.items()
    }
    assert len(before["chunks"].removable) == len(before["results"].removable) == 1
    assert unchanged == {"awards": 1, "chunks": 3, "results": 3}
    assert (dry.exit_code, done.exit_code) == (0, 0)
    # The latest, the directory of the user, the link, and the file that was added to a result.
    assert entries(pipeline) == {"awards": 1, "chunks": 2, "results": 3}
    assert (foreign / "notes.txt").exists()
    assert [path.name for path in (root / "results" / oldest.result).iterdir()] == ["added.txt"]
    assert outside.exists()
    assert published_release(pipeline.directory) is not None
    assert pq.read_table(root / "published" / "current" / "enriched_awards.parquet").num_rows
    assert len(read_runs(pipeline.directory)) == 2


@pytest.mark.long
def test_published_release_of_an_older_run_is_kept(tmp_path: Path) -> None:
    settings = known.settings(tmp_path)
    published = run(settings, 0)
    later = settings.model_copy(update={"match_rate_threshold": 0.99})
    blocked = run_in_process(later, "1-blocked")
    finish_run(blocked)

    CliRunner().invoke(app, ["runs", "prune", "--work-dir", str(blocked.directory.root), "--keep", "1"])

    assert published_release(published.directory) == read_runs(published.directory)[0].release
    assert (published.directory.published / "current" / "enriched_awards.parquet").exists()


@pytest.mark.setting("retention.keep_runs")
def test_setting_prunes_after_each_run(tmp_path: Path) -> None:
    settings = known.settings(tmp_path)
    for number in range(2):
        pipeline = run(settings, number, keep=1)

    assert entries(pipeline) == {"awards": 1, "chunks": 1, "results": 1}


def test_number_of_runs_must_be_given(tmp_path: Path) -> None:
    failed = CliRunner().invoke(app, ["runs", "prune", "--work-dir", str(tmp_path)])

    assert isinstance(failed.exception, SettingsError)


def test_hard_links_count_once(tmp_path: Path) -> None:
    pipeline = run(known.settings(tmp_path), 0)
    spaces = {space.name: space for space in measure_space(pipeline.directory, None)}

    files = [path for path in (pipeline.directory.results).rglob("*") if path.is_file()]
    assert spaces["results"].bytes == sum(path.stat().st_size for path in files)
    assert spaces["published"].bytes < spaces["results"].bytes
    assert not any(space.removable for space in spaces.values())
