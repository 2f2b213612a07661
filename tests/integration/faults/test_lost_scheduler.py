"""The scheduler is killed during matching: the run stops with one error, and resumes on a new scheduler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from distributed import Client

from tests.conftest import REPOSITORY, free_port
from tests.support.damaged import CHUNK_STARTS, LEDGER, calls
from tests.support.known_case import write_inputs
from tests.support.published import published_bytes

pytestmark = [pytest.mark.cluster, pytest.mark.long]
_PATIENCE_SECONDS = 240
_DASK = str(Path(sys.executable).with_name("dask"))


class Scheduler:
    """A scheduler with two workers by Dask's own commands, on a port of its own."""

    def __init__(self, folder: Path, stack: ExitStack, port: int) -> None:
        self._folder = folder
        self._stack = stack
        self._port = port
        self.address = f"tcp://127.0.0.1:{port}"

    def start(self) -> subprocess.Popen[bytes]:
        scheduler = self._spawn("scheduler", "--host", "127.0.0.1", "--port", str(self._port), "--no-dashboard")
        self._spawn(
            "worker", self.address, "--nthreads", "1", "--nworkers", "2", "--no-dashboard", "--host", "127.0.0.1"
        )
        with Client(self.address, timeout=_PATIENCE_SECONDS, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=_PATIENCE_SECONDS)
        return scheduler

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        # Workers unpickle the counting matcher of the tests.
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        process = subprocess.Popen(
            [_DASK, *arguments],
            cwd=self._folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._stack.callback(process.wait, 60)
        self._stack.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process with all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def command(folder: Path, address: str, pause_seconds: float) -> list[str]:
    ledger = folder / LEDGER
    ledger.mkdir(exist_ok=True)
    awards, recipients = write_inputs(folder / "inputs")
    return [
        sys.executable, "-m", "tests.support.process", str(ledger), str(pause_seconds), "--",
        "run", "--work-dir", str(folder / "work"), "--awards", str(awards), "--recipients", str(recipients),
        "--chunk-size", "10", "--set", "match_rate_threshold=0.5", "--set", "cluster.kind=address",
        "--set", "cluster.allow_insecure=true",
        "--set", f"cluster.address={address}", "--set", "cluster.start_timeout_seconds=20",
    ]  # fmt: skip


def records(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "work" / "checkpoints").glob("[0-9a-f]*.json")}


@dataclass(frozen=True)
class Lost:
    """A run that lost its scheduler in the middle of the farm."""

    folder: Path
    exit_code: int
    printed: str
    seconds: float
    """From the loss to the end of the run."""


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> Lost:
    folder = tmp_path_factory.mktemp("lost")
    with ExitStack() as stack:
        cluster = Scheduler(folder, stack, free_port())
        scheduler = cluster.start()
        driver = subprocess.Popen(
            command(folder, cluster.address, 1.0),
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(driver.kill)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(records(folder)) < 2:
            assert driver.poll() is None, "the run ended before its scheduler could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        scheduler.kill()
        started = time.monotonic()
        _, printed = driver.communicate(timeout=_PATIENCE_SECONDS)
        return Lost(folder, driver.returncode, printed, time.monotonic() - started)


def test_lost_scheduler_prints_one_line(lost: Lost) -> None:
    [line] = [line for line in lost.printed.splitlines() if line.startswith("Error:")]
    assert "scheduler" in line
    assert "finished chunks are kept" in line


def test_the_run_stops_soon_and_cleanly(lost: Lost) -> None:
    assert lost.exit_code == 1, lost.printed
    assert "Traceback" not in lost.printed
    assert lost.seconds < 120


def test_run_resumes_on_another_scheduler(lost: Lost, undisturbed: dict[str, str]) -> None:
    kept, matched = records(lost.folder), calls(lost.folder)
    assert 2 <= len(kept) < len(CHUNK_STARTS)

    with ExitStack() as stack:
        cluster = Scheduler(lost.folder, stack, free_port())
        cluster.start()
        resumed = subprocess.run(
            command(lost.folder, cluster.address, 0.0),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )

    assert resumed.returncode == 0, resumed.stderr
    assert published_bytes(lost.folder / "work") == undisturbed
    after = records(lost.folder)
    assert {name: after[name] for name in kept} == kept
    assert sum(calls(lost.folder).values()) - len(CHUNK_STARTS) == sum(matched.values()) - len(kept) <= 2
