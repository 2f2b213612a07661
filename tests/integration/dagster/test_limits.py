"""An exceeded limit is seen in Dagster, terminal, report, Prometheus and notification, also in a blocked run."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from enrich_dist.core.files import read_json
from enrich_dist.runs.performance import read_performance
from enrich_dist.store.run_directory import RunDirectory
from tests.conftest import enrich_dist
from tests.integration.dagster.test_notifications import Project, checks_of
from tests.support.in_process import run_in_process
from tests.support.listener import listening_for_posts

pytestmark = pytest.mark.cluster
LIMITS = ("performance.run.max_seconds=0.01", "performance.assets.enriched_awards.max_memory_mb=200",
          "performance.error_ratio=20")  # fmt: skip


def test_exceeded_limits_are_seen_everywhere(tmp_path: Path) -> None:
    with listening_for_posts() as listener, dg.DagsterInstance.ephemeral() as instance:
        project = Project(tmp_path, listener.url())
        run_in_process(project.settings)
        project.evaluate_sensor(instance)
        textfile = tmp_path / "run.prom"
        run_id = project.run(instance, *LIMITS, "match_rate_threshold=0.99", f"monitoring.textfile={textfile}")
        project.evaluate_sensor(instance)
        checks = checks_of(instance, run_id)
        log = [entry.user_message for entry in instance.all_logs(run_id) if entry.level >= 30]
        posts = listener.taken()

    run, step = checks["run_limits"], checks["enriched_awards_limits"]
    assert (run.passed, step.passed, checks["sbir_awards_limits"].passed) == (False, False, True)
    assert run.severity is dg.AssetCheckSeverity.ERROR
    assert step.severity is dg.AssetCheckSeverity.WARN
    value, ratio = (run.metadata[f"max_seconds_{name}"].value for name in ("value", "ratio"))
    assert run.metadata["max_seconds"].value == 0.01
    assert ratio == pytest.approx(value / 0.01)
    assert any("times the limit of" in line and "performance.run.max_seconds" in line for line in log)
    [post] = posts
    assert "times the limit of" in post["message"]
    assert "enriched_awards_limits (warning)" in post["message"]

    directory = RunDirectory(project.work_dir)
    findings = read_performance(directory, run_id)
    assert {item.title for item in findings if item.severity.is_flagged} >= {
        "run: time",
        "enriched awards: peak memory of a process",
    }
    html = directory.html_report.read_text("utf-8")
    assert "Limits of time and memory" in html
    assert "performance.run.max_seconds" in html
    metrics = textfile.read_text("utf-8")
    assert 'enrich_dist_limit_threshold{limit="max_memory_mb",scope="enriched_awards"} 2e+08' in metrics
    assert 'enrich_dist_limit_ratio{limit="max_seconds",scope="run"}' in metrics
    assert "enrich_dist_limit_error_ratio 20.0" in metrics

    shown = enrich_dist("report", "--work-dir", str(project.work_dir), "--markdown", str(tmp_path / "report.md"))
    assert shown.returncode == 0, shown.stderr
    assert "performance.run.max_seconds" in (tmp_path / "report.md").read_text("utf-8")
    assert read_json(directory.steps / "performance.json")
