"""A plan, the run that follows and their comparison; and a small simulated cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.simulate_cluster import simulate
from tests.conftest import REPOSITORY, enrich_dist

pytestmark = [pytest.mark.cluster, pytest.mark.long]


def test_planned_run_lies_within_interval(tmp_path: Path) -> None:
    where = ("--config", str(REPOSITORY / "config" / "sample.yaml"), "--set", f"paths.work_dir={tmp_path}")
    plan = enrich_dist("plan", "--json", "--sample-rows", "20000", *where)
    run = enrich_dist("run", *where)
    compared = enrich_dist("plan", "--compare", "--json", *where)
    shown = enrich_dist("plan", "--compare", *where)

    assert (plan.returncode, run.returncode, compared.returncode, shown.returncode) == (0, 0, 0, 0)
    planned, figures = json.loads(plan.stdout), {f["name"]: f for f in json.loads(compared.stdout)["figures"]}
    stages, wall = planned["seconds"]["next_run"], figures["wall"]
    # Other load on the machine may slow the run down; a wrong estimate would be off by more.
    assert wall["low"] / 2 < wall["actual"] < wall["high"] * 3
    assert wall["actual"] == pytest.approx(sum(f["actual"] for name, f in figures.items() if name in stages))
    assert wall["predicted"] == pytest.approx(stages["total"]["seconds"])
    assert abs(figures["worker_peak_memory_bytes"]["error"]) < 0.25
    reused = {name for name in stages if name in figures and figures[name]["reused"]}
    assert reused == {"sbir_awards", "award_companies"}
    for name in ("inputs", "chunks", "checkpoints", "results"):
        assert abs(figures[name]["error"]) < 0.4, name
    assert "Wall time" in shown.stdout
    assert "Wall time" in (tmp_path / "report.html").read_text("utf-8")


def test_real_driver_runs_simulated_workers(tmp_path: Path) -> None:
    figures = simulate(50, 300, 0.2, tmp_path)

    assert figures["failed_attempts"] == 0
    assert figures["ideal_seconds"] <= figures["wall_seconds"]
    # One chunk warms up the worker process first.
    assert figures["chunks"] == 299
    assert figures["chunks_per_second"] == pytest.approx(299 / figures["wall_seconds"], rel=0.05)
    for part in ("driver", "scheduler", "workers"):
        assert figures[f"{part}_cpu_ms_per_chunk"] > 0
    assert len(list((tmp_path / "work" / "checkpoints").glob("*.counts.parquet"))) == 300
