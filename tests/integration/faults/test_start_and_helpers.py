"""Signals while a run starts, and killed helper processes: the resume line, or one warning; never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from enrich_dist.errors import EXIT_FAILED, RunInterruptedError
from tests.conftest import REPOSITORY, enrich_dist
from tests.support.hosts import wait_until

SAMPLE = ["run", "--config", "config/sample.yaml", "--work-dir"]


def start(work_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("enrich-dist")), *SAMPLE, str(work_dir)], cwd=REPOSITORY, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process catches a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


def helper(pid: int, module: str) -> psutil.Process | None:
    """The child process that runs a module of ``multiprocessing``."""
    children = psutil.Process(pid).children()
    return next((child for child in children if f"multiprocessing.{module}" in " ".join(child.cmdline())), None)


def assert_stopped(run: subprocess.Popen[str]) -> None:
    _, printed = run.communicate(timeout=60)
    assert run.returncode == EXIT_FAILED, printed
    assert printed.splitlines()[-1].endswith(str(RunInterruptedError()))
    assert "Traceback" not in printed


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_during_imports_ends_with_resume_line(tmp_path: Path, number: signal.Signals) -> None:
    run = start(tmp_path)
    wait_until(lambda: handles(run.pid, signal.SIGTERM), "the handler")

    run.send_signal(number)

    assert_stopped(run)


@pytest.mark.long
@pytest.mark.cluster
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "reached",
    [
        lambda run, work_dir: helper(run.pid, "forkserver") is not None,
        lambda run, work_dir: (work_dir / "dagster").exists(),
        lambda run, work_dir: (work_dir / "scratch" / "dask").exists(),
    ],
    ids=["fork server", "Dagster", "cluster"],
)
def test_signal_to_all_processes_before_workers(
    tmp_path: Path, reached: Callable[[subprocess.Popen[str], Path], bool], number: signal.Signals
) -> None:
    run = start(tmp_path)
    wait_until(lambda: reached(run, tmp_path), "the stage")
    family = psutil.Process(run.pid).children(recursive=True)

    os.killpg(run.pid, number)

    assert_stopped(run)
    assert psutil.wait_procs(family, timeout=60)[1] == []
    assert enrich_dist(*SAMPLE, tmp_path).returncode == 0


@pytest.mark.long
@pytest.mark.cluster
@pytest.mark.parametrize("module", ["forkserver", "resource_tracker"])
def test_run_survives_killed_helper(tmp_path: Path, module: str) -> None:
    run = start(tmp_path)
    wait_until(lambda: list((tmp_path / "checkpoints").glob("*.json")), "the first chunk")
    process = helper(run.pid, module)
    assert process is not None

    process.kill()

    _, printed = run.communicate(timeout=120)
    assert run.returncode == 0, printed
    assert "Traceback" not in printed
    assert (tmp_path / "published" / "current").exists()


@pytest.mark.long
def test_killed_resource_tracker_is_one_warning(tmp_path: Path) -> None:
    code = """
import multiprocessing, os, signal
from multiprocessing import resource_tracker
from enrich_dist.cluster import forkserver
from enrich_dist.events import listening
forkserver.begin()
locks = [multiprocessing.get_context("forkserver").Lock() for _ in range(20)]
os.kill(resource_tracker._resource_tracker._pid, signal.SIGKILL)
os.waitpid(resource_tracker._resource_tracker._pid, 0)
seen = []
with listening(seen.append):
    del locks
    multiprocessing.get_context("forkserver").Lock()
assert len(seen) == 1 and seen[0].warning, seen
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
