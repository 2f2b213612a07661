"""``enrich-dist bench``: exit codes, output, and refused input."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import replace
from datetime import timedelta
from html import escape, unescape
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from enrich_dist.cli.bench import run
from enrich_dist.cli.main import app
from enrich_dist.errors import EnrichError
from enrich_dist.runs.archive import write_record
from enrich_dist.runs.session import DEFAULT_REPEATS
from tests.conftest import enrich_dist
from tests.support.histories import BEGIN, a_session


def bench(*arguments: str | Path) -> Result:
    """Run the command in this process; errors of the project are raised."""
    result = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    if isinstance(result.exception, EnrichError):
        raise result.exception
    return result


def measured(
    archive: Path, name: str, *, day: int, noise: float = 0.01, slower: float = 1.0, memory: float = 1.0, code: str = ""
) -> None:
    random = np.random.default_rng(day)
    at = BEGIN + timedelta(days=day)
    for record in a_session(random, noise, slower=slower, memory=memory, name=name, at=at):
        write_record(
            archive, replace(record, code=replace(record.code, version=code, revision=None)) if code else record
        )


@pytest.mark.parametrize(
    ("slower", "memory", "noise", "code", "verdict"),
    [
        (1.0, 1.0, 0.01, 0, "no regression"),
        (1.15, 1.0, 0.01, 4, "regression"),
        (1.0, 1.25, 0.01, 4, "regression"),
        (1.0, 1.0, 0.5, 0, "inconclusive"),
    ],
)
def test_compare_exit_code(tmp_path: Path, slower: float, memory: float, noise: float, code: int, verdict: str) -> None:
    measured(tmp_path, "old", day=0, noise=noise)
    assert bench("baseline", "--archive", tmp_path).exit_code == 0
    measured(tmp_path, "new", day=1, noise=noise, slower=slower, memory=memory)
    markdown = tmp_path / "reports" / "compare.md"

    shown = bench("compare", "--archive", tmp_path, "--markdown", markdown)
    as_json = bench("compare", "--archive", tmp_path, "--json")

    assert shown.exit_code == as_json.exit_code == code
    assert f"Verdict: {verdict}" in shown.stdout
    assert markdown.read_text("utf-8").startswith(f"# Benchmark: {verdict}\n")
    document = json.loads(as_json.stdout)
    assert document["verdict"] == verdict
    if slower > 1:
        assert 10 < document["metrics"]["wall_seconds"]["percent"] < 20
        assert document["metrics"]["wall_seconds"]["delta"] > 0
    assert bench("compare", "--archive", tmp_path, "--strict").exit_code == (code or int(verdict == "inconclusive"))


HOSTILE = "<script>alert(1)</script>"


def test_pages_are_offline_escaped_and_complete(tmp_path: Path) -> None:
    for day in range(7):
        measured(tmp_path / "archive", f"day{day}", day=day, slower=1 + 0.1 * day, code=HOSTILE)
        if not day:
            bench("baseline", "--archive", tmp_path / "archive")
    comparison, trend = tmp_path / "new" / "comparison.html", tmp_path / "trend.html"

    assert bench("compare", "--archive", tmp_path / "archive", "--html", comparison).exit_code == 4
    assert bench("trend", "--archive", tmp_path / "archive", "--html", trend).exit_code == 0

    for page, title, badge, charts in (
        (comparison, "Benchmark comparison", "regression", {"changes", "repeats-wall_seconds"}),
        (trend, "Benchmark trend", "degrading", {"trend-wall_seconds", "trend-worker_peak_memory_bytes"}),
    ):
        text = page.read_text("utf-8")
        assert f"<h1>{title}</h1>" in text
        assert badge in text.partition("<main")[0]
        assert charts <= set(re.findall(r'data-chart="([^"]+)"', text))
        assert "default-src 'none'" in unescape(text)
        assert not re.search(r'(src|href)="(?!#)', text.partition("<script type")[0])
        assert HOSTILE not in text
    assert "whole command: +6" in comparison.read_text("utf-8")
    assert escape(HOSTILE) in comparison.read_text("utf-8")
    bench("compare", "--archive", tmp_path / "archive", "--html", comparison)  # over the earlier page
    other = tmp_path / "notes.html"
    other.write_text("mine", "utf-8")
    for command in ("compare", "trend"):
        with pytest.raises(EnrichError, match="--html"):
            bench(command, "--archive", tmp_path / "archive", "--html", other)
    assert other.read_text("utf-8") == "mine"


def test_console_script_exits_with_4(tmp_path: Path) -> None:
    measured(tmp_path, "old", day=0)
    bench("baseline", "--archive", tmp_path)
    measured(tmp_path, "new", day=1, slower=1.15)
    (tmp_path / "run-0-damaged.json").write_text("{", "utf-8")

    finished = enrich_dist("bench", "compare", "--archive", tmp_path)

    assert finished.returncode == 4
    assert "whole command: +1" in finished.stdout
    assert "run-0-damaged.json" in finished.stderr


def test_baseline_of_several_sessions(tmp_path: Path) -> None:
    for day in range(3):
        measured(tmp_path, f"old{day}", day=day)

    assert "Baseline: 14 runs" in bench("baseline", "--archive", tmp_path, "--sessions", "2").stdout


def test_compare_needs_another_session(tmp_path: Path) -> None:
    with pytest.raises(EnrichError, match="no repeated runs"):
        bench("compare", "--archive", tmp_path)
    measured(tmp_path, "old", day=0)
    with pytest.raises(EnrichError, match="There is no baseline"):
        bench("compare", "--archive", tmp_path)
    bench("baseline", "--archive", tmp_path)
    with pytest.raises(EnrichError, match="the baseline itself"):
        bench("compare", "--archive", tmp_path)


def test_trend_covers_every_metric(tmp_path: Path) -> None:
    for day in range(7):
        measured(tmp_path, f"day{day}", day=day, slower=1 + 0.1 * day)

    shown = bench("trend", "--archive", tmp_path)
    windowed = json.loads(bench("trend", "--archive", tmp_path, "--until", "2026-11-02", "--json").stdout)

    assert shown.exit_code == 0
    assert "49 runs from 2026-11-01 12:00" in shown.stdout
    assert "degrading" in shown.stdout
    assert "●" in shown.stdout
    assert windowed["runs"] == 14
    assert "No run in this window" in bench("trend", "--archive", tmp_path, "--since", "2027-01-01").stdout


def test_trend_refuses_bad_input(tmp_path: Path) -> None:
    with pytest.raises(EnrichError, match="computed everything"):
        bench("trend", "--archive", tmp_path)
    with pytest.raises(EnrichError, match="'speed'"):
        bench("trend", "--archive", tmp_path, "--figure", "speed")


def test_default_repeats() -> None:
    assert inspect.signature(run).parameters["repeats"].default == DEFAULT_REPEATS


def test_bench_run_checks_inputs_first(tmp_path: Path) -> None:
    with pytest.raises(EnrichError, match=r"inputs\.awards is not set"):
        bench("run", "--set", f"paths.work_dir={tmp_path}", "--set", "inputs.awards=")
