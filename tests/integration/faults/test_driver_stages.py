"""The driver is killed in every stage; the same command resumes without repeating finished work.

The command, Dagster and the cluster are real processes. The driver is killed at the rename that commits the output of a
stage, or during matching. Calls of the matcher are counted over both runs, and the published bytes compared.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from enrich_dist.core.files import read_json
from enrich_dist.core.owned_files import TEMPORARY_PREFIX
from tests.conftest import REPOSITORY
from tests.support.damaged import CHUNK_STARTS, LEDGER, calls, each_once
from tests.support.known_case import write_inputs
from tests.support.published import published_bytes

pytestmark = [pytest.mark.cluster, pytest.mark.long]
_PATIENCE_SECONDS = 240
_KEY = "[0-9a-f]{24}"

# Stage: (the rename to be killed at, matcher calls that are then done, steps that are then finished).
STAGES = {
    "awards are read": (rf"/awards/{_KEY}", 0, []),
    "companies are joined": (r"/index/\.tmp-[0-9a-f]+/manifest.json", 0, ["sbir_awards"]),
    "recipients are cut": (r"/chunks/\.tmp-[0-9a-f]+/manifest.json", 0, []),  # before or after the awards
    "chunks are planned": ("/steps/farm_plan.json", 0, ["sbir_awards", "award_companies", "recipient_chunks"]),
    "farm reported": ("/steps/chunk_matches.json", 6, ["award_companies", "recipient_chunks"]),
    "the result is made": (r"/results/\.tmp-[0-9a-f]+/manifest.json", 6, ["chunk_matches"]),
    "result written, not reported": ("/steps/enriched_awards.json", 6, ["chunk_matches"]),
    "a release is made": (rf"/published/{_KEY}", 6, ["enriched_awards"]),
    "the release is there, and not current": ("/published/current", 6, ["enriched_awards"]),
    "published, not reported": ("+/published/current", 6, ["enriched_awards"]),
}


def command(folder: Path, *kill: str, pause_seconds: float = 0.0) -> list[str]:
    ledger = folder / LEDGER
    ledger.mkdir(parents=True, exist_ok=True)
    awards, recipients = write_inputs(folder / "inputs")
    return [
        sys.executable, "-m", "tests.support.process", str(ledger), str(pause_seconds), *kill, "--",
        "run", "--work-dir", str(folder / "work"), "--awards", str(awards), "--recipients", str(recipients),
        "--chunk-size", "10", "--set", "match_rate_threshold=0.5",
    ]  # fmt: skip


# Identifies the processes of a test, which inherit it.
_MARK = "ENRICHMENT_OF_TEST"


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, _MARK: str(folder)}


def run(folder: Path, *kill: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *kill),
        cwd=REPOSITORY,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
        check=False,
    )


def processes_end(folder: Path) -> None:
    """Wait for the processes that the driver left: they end without a signal."""
    left = [process for process in psutil.process_iter() if _mark(process) == str(folder)]
    _, alive = psutil.wait_procs(left, timeout=120)
    assert alive == [], "worker processes outlived their driver"


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(_MARK)
    except psutil.Error:
        return None


def finished_steps(work_dir: Path) -> set[str]:
    return {path.stem for path in (work_dir / "steps").glob("[a-z]*.json")}


def checkpoints(work_dir: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (work_dir / "checkpoints").glob("[0-9a-f]*.json")}


@pytest.mark.parametrize("stage", STAGES)
def test_driver_killed_in_stage_resumes(tmp_path: Path, undisturbed: dict[str, str], stage: str) -> None:
    pattern, matched, steps = STAGES[stage]
    work = tmp_path / "work"

    killed = run(tmp_path, pattern)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    processes_end(tmp_path)
    assert sum(calls(tmp_path).values()) == matched
    assert finished_steps(work).issuperset(steps)
    # Readers see a complete release or none.
    assert (work / "published" / "current").exists() == stage.startswith("published")
    if stage.startswith("published"):
        assert published_bytes(work) == undisturbed

    resumed = run(tmp_path)

    assert resumed.returncode == 0, resumed.stderr
    assert "Traceback" not in resumed.stderr
    assert published_bytes(work) == undisturbed
    assert calls(tmp_path) == each_once()
    assert read_json(work / "steps" / "chunk_matches.json")["numbers"]["chunks_resumed"] == matched
    assert [path for path in (work / "published").iterdir() if path.name.startswith(TEMPORARY_PREFIX)] == []


@pytest.mark.parametrize("finished", [1, 4], ids=["first checkpoint", "half of the chunks"])
def test_driver_killed_during_matching_resumes(tmp_path: Path, undisturbed: dict[str, str], finished: int) -> None:
    work = tmp_path / "work"
    with subprocess.Popen(
        command(tmp_path, pause_seconds=1.0),
        cwd=REPOSITORY,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as driver:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(checkpoints(work)) < finished:
            assert driver.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(driver.pid, signal.SIGKILL)
    processes_end(tmp_path)
    kept, matched = checkpoints(work), calls(tmp_path)
    assert finished <= len(kept) < len(CHUNK_STARTS)

    resumed = run(tmp_path)

    assert resumed.returncode == 0, resumed.stderr
    assert f"{len(kept)} of 6 chunks have a valid checkpoint and are kept" in resumed.stderr
    assert published_bytes(work) == undisturbed
    after = checkpoints(work)
    assert {name: after[name] for name in kept} == kept  # with process and time: these very files
    # Only running chunks are computed again: at most one for each of the two workers.
    redone = sum(calls(tmp_path).values()) - len(CHUNK_STARTS)
    assert redone == sum(matched.values()) - len(kept) <= 2
