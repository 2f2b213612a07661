"""A plan, the run that follows, and what became of the prediction; and a small cluster that is simulated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.simulate_cluster import simulate
from tests.conftest import REPOSITORY, enrich_dist

pytestmark = [pytest.mark.cluster, pytest.mark.long]


def test_a_planned_run_is_compared_and_lies_within_loose_bounds(tmp_path: Path) -> None:
    where = ("--config", str(REPOSITORY / "config" / "sample.yaml"), "--set", f"paths.work_dir={tmp_path}")
    plan = enrich_dist("plan", "--json", "--sample-rows", "20000", *where)
    run = enrich_dist("run", *where)
    compared = enrich_dist("plan", "--compare", "--json", *where)
    shown = enrich_dist("plan", "--compare", *where)

    assert (plan.returncode, run.returncode, compared.returncode, shown.returncode) == (0, 0, 0, 0)
    told, figures = json.loads(plan.stdout), {f["name"]: f for f in json.loads(compared.stdout)["figures"]}
    # Neighbours of a busy machine may make one of both several times as slow; an error of the model would be more.
    assert figures["wall"]["predicted"] / 4 < figures["wall"]["actual"] < figures["wall"]["predicted"] * 4
    assert figures["wall"]["actual"] == pytest.approx(sum(f["actual"] for f in figures.values() if f["name"] in (
        told["seconds"]["next_run"])))  # fmt: skip
    assert figures["wall"]["predicted"] == pytest.approx(told["seconds"]["next_run"]["total"]["seconds"])
    assert abs(figures["worker_peak_memory_bytes"]["error"]) < 0.25
    assert [figures[name]["reused"] for name in ("sbir_awards", "award_companies", "chunk_matches")] == [
        True,
        True,
        False,
    ]
    for name in ("inputs", "chunks", "checkpoints", "results"):
        assert abs(figures[name]["error"]) < 0.4, name
    assert "Wall time" in shown.stdout
    assert "Planned and actual" in (tmp_path / "report.html").read_text("utf-8")


def test_fifty_simulated_workers_do_all_chunks_by_the_real_driver(tmp_path: Path) -> None:
    told = simulate(50, 300, 0.2, tmp_path)

    assert told["failed_attempts"] == 0
    assert told["ideal_seconds"] <= told["wall_seconds"]
    # One chunk told the process of all workers what it needs, before the farm.
    assert told["chunks"] == 299
    assert told["chunks_per_second"] == pytest.approx(299 / told["wall_seconds"], rel=0.05)
    for part in ("driver", "scheduler", "workers"):
        assert told[f"{part}_cpu_ms_per_chunk"] > 0
    assert len(list((tmp_path / "work" / "checkpoints").glob("*.counts.parquet"))) == 300
