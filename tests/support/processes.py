"""A Dask cluster by Dask's own commands, whose processes can be ended one by one: scheduler, nannies, workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil
from distributed import Client

REPOSITORY = Path(__file__).resolve().parents[2]
_DASK = str(Path(sys.executable).with_name("dask"))
_PATIENCE_SECONDS = 120


class CommandLineCluster:
    """A scheduler and workers with a nanny each, one thread per worker. Context manager; leaving kills all of it."""

    def __init__(self, folder: Path, workers: int) -> None:
        self._folder = folder
        self._count = workers
        self._nannies: list[subprocess.Popen[bytes]] = []
        self._scheduler: subprocess.Popen[bytes] | None = None
        self.address = ""

    def __enter__(self) -> CommandLineCluster:
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "scheduler.json"
        self._scheduler = self._spawn(
            "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)
        )
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not file.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the scheduler did not start")
            time.sleep(0.05)
        with Client(scheduler_file=str(file), set_as_default=False) as client:
            self.address = client.scheduler.address
        self.restore()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in [*self._nannies, *([self._scheduler] if self._scheduler else [])]:
            _kill(process)

    def worker_pids(self) -> list[int]:
        """The worker processes that the nannies have now."""
        found = []
        for nanny in self._nannies:
            with suppress(psutil.Error):
                found += [child.pid for child in psutil.Process(nanny.pid).children() if _is_worker(child)]
        return sorted(found)

    def add(self) -> None:
        """Start one more worker; it joins when it is ready."""
        self._nannies.append(
            self._spawn("worker", self.address, "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")
        )

    def remove(self) -> None:
        """Ask the worker that has been there longest to leave, as a resource manager would (SIGTERM)."""
        if self._nannies:
            self._nannies[0].send_signal(signal.SIGTERM)

    def restore(self) -> None:
        """Restore the initial number of workers, and wait until they accept tasks."""
        self._nannies = [nanny for nanny in self._nannies if nanny.poll() is None]
        while len(self._nannies) > self._count:
            _kill(self._nannies.pop(0))
        while len(self._nannies) < self._count:
            self.add()
        with Client(self.address, set_as_default=False) as client:
            try:
                client.wait_for_workers(self._count, timeout=30)
            except TimeoutError:  # a nanny that lost its worker for good: as an operator would
                for nanny in self._nannies:
                    _kill(nanny)
                self._nannies = []
                for _ in range(self._count):
                    self.add()
                client.wait_for_workers(self._count, timeout=_PATIENCE_SECONDS)

    def _spawn(self, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            # Workers unpickle the matchers of the tests.
            "PYTHONPATH": str(REPOSITORY),
            # As the clusters that we start ourselves: a worker's death is ours to judge.
            "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0",
        }
        return subprocess.Popen(
            [_DASK, *arguments],
            cwd=self._folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def _is_worker(process: psutil.Process) -> bool:
    return any("spawn_main" in argument for argument in process.cmdline())


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
