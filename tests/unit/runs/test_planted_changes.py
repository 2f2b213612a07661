"""A planted change of the matcher is detected in real runs of the bundled sample."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from enrich_dist.errors import EXIT_REGRESSION
from enrich_dist.runs.metrics import worker_peak_bytes
from enrich_dist.runs.records import RunRecord
from enrich_dist.runs.session import DEFAULT_REPEATS, command_of, run_session
from tests.conftest import REPOSITORY, enrich_dist

pytestmark = [pytest.mark.long, pytest.mark.cluster]


def session(folder: Path, burn_seconds: float = 0.0, hold_bytes: int = 0) -> list[RunRecord]:
    """Run a session whose matcher burns CPU and holds memory in each call."""
    planted = [sys.executable, "-m", "tests.support.planted", str(burn_seconds), str(hold_bytes)]
    return list(
        run_session(
            config=REPOSITORY / "config/sample.yaml",
            overrides=[],
            scratch=folder / "scratch",
            archive=folder / "archive",
            repeats=DEFAULT_REPEATS,
            command=command_of(planted),
        )
    )


def compared(folder: Path) -> subprocess.CompletedProcess[str]:
    return enrich_dist("bench", "compare", "--archive", folder / "archive", "--json")


def test_planted_regression_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.chdir(REPOSITORY)
    baseline = session(tmp_path)
    assert enrich_dist("bench", "baseline", "--archive", tmp_path / "archive").returncode == 0
    cpu_seconds = statistics.median(record.cpu_seconds or 0.0 for record in baseline)
    peak_bytes = statistics.median(worker_peak_bytes(record) or 0.0 for record in baseline)

    session(tmp_path)
    same = compared(tmp_path)
    session(tmp_path, burn_seconds=0.15 * cpu_seconds / baseline[0].chunks, hold_bytes=int(0.25 * peak_bytes))
    worse = compared(tmp_path)

    assert same.returncode == 0, same.stdout
    assert worse.returncode == EXIT_REGRESSION, worse.stdout
    found = {name for name, item in json.loads(worse.stdout)["metrics"].items() if item["verdict"] == "regression"}
    assert "worker_peak_memory_bytes" in found
    # Only where it was planted: the time of the whole command depends on the load of the machine.
    assert {"chunk_matches_seconds", "farm_seconds"} <= found
