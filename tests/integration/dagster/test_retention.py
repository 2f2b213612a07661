"""Old runs are removed from Dagster's history and event log."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from dagster_defs.assets import enrich
from dagster_defs.launch import open_instance
from dagster_defs.retention import prune_history


@dg.op
def greet() -> None:
    dg.get_dagster_logger().info("hello")


@dg.job(name=enrich.name)
def small() -> None:
    greet()


@dg.job
def another() -> None:
    greet()


def execute(instance: dg.DagsterInstance, *jobs: dg.JobDefinition) -> list[str]:
    return [job.execute_in_process(instance=instance).run_id for job in jobs]


def ids(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


@pytest.mark.long
def test_own_instance_keeps_the_latest_runs(tmp_path: Path) -> None:
    own = tmp_path / "dagster"
    with open_instance(own) as instance:
        failed, first, other, second, third = execute(instance, small, small, another, small, small)

        assert prune_history(instance, own, [first, second, third], 2) == 2

        assert ids(instance) == {other, second, third}
        assert not instance.all_logs(first)
        assert instance.all_logs(second)
        sizes = {path.stem: path.stat().st_size for path in (own / "history" / "runs").glob("*-*.db")}
        assert sizes[first] < sizes[second]
        assert prune_history(instance, own, [first, second, third], 2) == 0
    assert failed


@pytest.mark.long
def test_shared_instance_keeps_runs_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with open_instance(tmp_path / "dagster") as instance:
        foreign, first, second = execute(instance, small, small, small)

        assert prune_history(instance, tmp_path / "dagster", [first, second], 1) == 1

        assert ids(instance) == {foreign, second}
