"""The driver is killed while chunks are out; the same command resumes and publishes the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import REPOSITORY, SampleRuns, enrich_dist
from tests.published import published_bytes

pytestmark = pytest.mark.cluster
CHUNKS = 25  # 96,666 recipients in chunks of 4,000


def records(work_dir: Path) -> dict[str, dict[str, Any]]:
    """Finished checkpoints by key."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in (work_dir / "checkpoints").glob("[0-9a-f]*.json")
    }


def test_a_killed_run_resumes_with_the_same_bytes_and_computes_no_finished_chunk_again(
    tmp_path: Path, sample_runs: SampleRuns
) -> None:
    undisturbed = published_bytes(sample_runs.work_dir)
    work_dir = tmp_path / "work"
    arguments = ["run", "--config", "config/sample.yaml", "--work-dir", str(work_dir), "--chunk-size", "4000"]
    driver = subprocess.Popen(
        [str(Path(sys.executable).with_name("enrich-dist")), *arguments],
        cwd=REPOSITORY,
        env={**os.environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while len(records(work_dir)) < 3:
        assert driver.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    workers = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
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
