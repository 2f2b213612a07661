"""The driver is killed during matching; the same command resumes and publishes the same bytes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from enrich_dist.errors import RunInterruptedError
from tests.conftest import REPOSITORY, SampleRuns, enrich_dist
from tests.support.published import published_bytes

pytestmark = pytest.mark.cluster
CHUNKS = 25  # 96,666 recipients in chunks of 4,000


def records(work_dir: Path) -> dict[str, dict[str, Any]]:
    """Finished checkpoints by key."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in (work_dir / "checkpoints").glob("[0-9a-f]*.json")
    }


def start(work_dir: Path, chunk_size: int) -> tuple[subprocess.Popen[str], list[str]]:
    """A run of the sample, left to itself; and its arguments."""
    arguments = ["run", "--config", "config/sample.yaml", "--work-dir", str(work_dir), "--chunk-size", str(chunk_size)]
    driver = subprocess.Popen(
        [str(Path(sys.executable).with_name("enrich-dist")), *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    return driver, arguments


def wait_for_checkpoints(driver: subprocess.Popen[str], work_dir: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while len(records(work_dir)) < count:
        assert driver.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.long
def test_interrupt_stops_cleanly_and_resumes(tmp_path: Path) -> None:
    driver, _ = start(tmp_path / "work", chunk_size=1000)
    wait_for_checkpoints(driver, tmp_path / "work", 3)
    workers = psutil.Process(driver.pid).children(recursive=True)

    driver.send_signal(signal.SIGINT)
    _, printed = driver.communicate(timeout=60)

    assert driver.returncode == 1
    assert str(RunInterruptedError()) in printed
    assert "Traceback" not in printed
    assert psutil.wait_procs(workers, timeout=60)[1] == []


@pytest.mark.long
def test_killed_run_resumes_with_same_bytes(tmp_path: Path, sample_runs: SampleRuns) -> None:
    undisturbed = published_bytes(sample_runs.work_dir)
    work_dir = tmp_path / "work"
    driver, arguments = start(work_dir, chunk_size=4000)
    wait_for_checkpoints(driver, work_dir, 3)
    workers = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert alive == [], "worker processes outlived their driver"
    before = records(work_dir)
    assert 3 <= len(before) < CHUNKS
    assert not (work_dir / "published").exists()

    status = enrich_dist("status", "--set", f"paths.work_dir={work_dir}")
    resumed = enrich_dist(*arguments)

    assert f"{len(before)} of {CHUNKS} finished" in status.stdout
    assert resumed.returncode == 0, resumed.stderr
    assert f"{len(before)} of {CHUNKS} chunks have a valid checkpoint and are kept" in resumed.stderr
    after = records(work_dir)
    assert len(after) == CHUNKS
    assert {key: after[key] for key in before} == before  # with process and time: these very files
    assert published_bytes(work_dir) == undisturbed
