"""A killed run is closed by the next one, and operators are notified once, also without Dagster's daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
import yaml

from dagster_defs.launch import open_instance
from enrich_dist.runs.ended_runs import Ending, read_ended_runs
from enrich_dist.store.run_directory import RunDirectory
from tests.conftest import REPOSITORY, enrich_dist
from tests.integration.dagster.test_notifications import GATE, Project
from tests.support.listener import Listener, listening_for_posts

pytestmark = pytest.mark.cluster
_PATIENCE_SECONDS = 120


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening_for_posts() as started:
        yield started


def kill_during_matching(project: Project, **environment: str) -> str:
    """Start a run and kill its process once it matches; return its id."""
    project.home.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("enrich-dist")), "run", "--config", str(project.config)],
        cwd=REPOSITORY, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    directory = RunDirectory(project.work_dir)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not (directory.worker_log.exists() and directory.worker_log.stat().st_size):
        assert process.poll() is None, "the run ended before it was killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    psutil.wait_procs(workers, timeout=60)
    [run_id] = [run.run_id for run in runs(project)]
    return run_id


def runs(project: Project) -> list[dg.DagsterRun]:
    """Return the runs, the newest first."""
    with open_instance(project.home) as instance:
        return list(instance.get_runs())


@pytest.mark.parametrize("command", ["enrich-dist run", pytest.param("dagster job execute", marks=pytest.mark.long)])
def test_killed_run_is_closed_and_notified_once(tmp_path: Path, listener: Listener, command: str) -> None:
    project = Project(tmp_path, listener.url())
    home = {"DAGSTER_HOME": str(project.home)}
    killed = kill_during_matching(project, **home)
    assert [run.status for run in runs(project)] == [dg.DagsterRunStatus.STARTED]

    with open_instance(project.home) as instance:
        project.evaluate_sensor(instance)
    if command == "enrich-dist run":
        resumed = [enrich_dist("run", "--config", project.config, **home) for _ in range(2)]
    else:
        resumed = [dagster("job", "execute", "-j", "enrich", project=project)]
    posts = listener.taken()

    assert [ended.returncode for ended in resumed] == [0] * len(resumed), resumed[0].stderr
    assert [run.status for run in runs(project)] == [
        *[dg.DagsterRunStatus.SUCCESS] * len(resumed),
        dg.DagsterRunStatus.FAILURE,
    ]
    [post] = posts
    assert post["title"] == "enrich_dist failed: start"
    assert killed in post["message"]
    assert "RunKilledError: The process of the run (process " in post["message"]
    assert "during chunk_matches" in post["message"]
    with open_instance(project.home) as instance:
        assert project.evaluate_sensor(instance) == len(resumed) + 1
    assert listener.taken() == []
    first, *_ = read_ended_runs(RunDirectory(project.work_dir))
    assert (first.run_id, first.ending, first.where) == (killed, Ending.KILLED, "chunk_matches")
    assert first.totals.steps == 4
    assert first.totals.memory_sum_bytes > first.totals.peak_memory_bytes + 50_000_000


def test_killed_run_of_another_history_is_notified(tmp_path: Path, listener: Listener) -> None:
    project = Project(tmp_path, listener.url())
    killed = kill_during_matching(project, DAGSTER_HOME=str(project.home))

    resumed = enrich_dist("run", "--config", project.config)  # its history is in the work directory

    assert resumed.returncode == 0, resumed.stderr
    [post] = listener.taken()
    assert killed in post["message"]


def dagster(*arguments: str, project: Project) -> subprocess.CompletedProcess[str]:
    """Run Dagster's command with the project's settings and history."""
    run_config = {"resources": {"settings": {"config": {"config": str(project.config)}}}}
    (project.folder / "run.yaml").write_text(yaml.safe_dump(run_config), "utf-8")
    return subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), *arguments, "-m", "dagster_defs.definitions",
         "-c", str(project.folder / "run.yaml")],
        cwd=REPOSITORY, env={**os.environ, "DAGSTER_HOME": str(project.home)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_dagster_command_notifies_without_a_daemon(tmp_path: Path, listener: Listener) -> None:
    project = Project(tmp_path, listener.url())
    project.home.mkdir()
    document = yaml.safe_load(project.config.read_text("utf-8"))
    project.config.write_text(yaml.safe_dump({**document, GATE: 0.99}), "utf-8")

    blocked = [dagster("asset", "materialize", "--select", "*", project=project) for _ in range(2)]
    project.config.write_text(yaml.safe_dump({**document, "environment": "production"}), "utf-8")
    refused = dagster("asset", "materialize", "--select", "sbir_awards", project=project)
    posts = listener.taken()

    assert [ended.returncode for ended in (*blocked, refused)] == [1, 1, 1], blocked[0].stderr
    assert [post["title"] for post in posts] == ["enrich_dist blocked: match_rate", "enrich_dist failed: start"]
    assert "ReadinessError: Not ready" in posts[1]["message"]
    with open_instance(project.home) as instance:
        project.evaluate_sensor(instance)
        assert [run.run_id for run in instance.get_runs()][-1] in posts[0]["message"]
    assert listener.taken() == []
