"""One contestant's process: wall time, peak memory of it and all its children, a time limit and a memory limit.

Memory is the proportional set size of the whole process tree, sampled, so that pages which processes share count once;
where the system does not tell it, resident memory. The kernel's own peak of the largest single process
replaces it where that is greater, as it misses no moment, and greater than this process's, from which a new process
inherits it. A process that is over a limit is ended with its children.
Covers POSIX; a child that starts a session of its own and outlives its parent is neither measured nor ended.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

SAMPLE_SECONDS: Final = 0.25
TAIL_CHARACTERS: Final = 2_000
_UNIT: Final = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


@dataclass(frozen=True)
class Measured:
    """How a process went. ``end``: finished, failed, time limit, memory limit.

    ``cpu_seconds``: of the process and the children it waited for; where others use the machine, it tells more than
    the wall time.
    """

    end: str
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    tail: str


def measure(
    command: Sequence[str | Path],
    *,
    cwd: Path,
    timeout: float,
    memory_bytes: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> Measured:
    """Run the command to its end or to a limit. ``tail``: the last that it said, on either stream."""
    with tempfile.TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=dict(environment) if environment is not None else None,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            end, sampled, status, usage = _watch(process, started, timeout, memory_bytes)
        except BaseException:
            _end(process)
            raise
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if end == "finished" and process.returncode != 0:
            end = "failed"
        said.seek(0)
        tail = said.read().decode("utf-8", "replace")[-TAIL_CHARACTERS:]
    inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak = usage.ru_maxrss * _UNIT if usage.ru_maxrss > inherited else 0
    return Measured(end, wall, usage.ru_utime + usage.ru_stime, max(sampled, peak), tail)


def _watch(
    process: subprocess.Popen[bytes], started: float, timeout: float, memory_bytes: int | None
) -> tuple[str, int, int, resource.struct_rusage]:
    """Wait for the process: how it ended, the greatest sampled memory, its status, what the kernel says it used."""
    end, greatest = "finished", 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            return end, greatest, status, usage
        if end != "finished":
            time.sleep(0.01)
            continue
        greatest = max(greatest, _tree_memory(process.pid))
        if memory_bytes is not None and greatest > memory_bytes:
            end = "memory limit"
        elif time.perf_counter() - started > timeout:
            end = "time limit"
        if end != "finished":
            _end(process)
        time.sleep(min(SAMPLE_SECONDS, 0.01 + (time.perf_counter() - started) / 50))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and its children, which are one process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _tree_memory(pid: int) -> int:
    """Memory of the process and all its children now."""
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                full = process.memory_full_info()
                total += getattr(full, "pss", 0) or full.rss
    return total
