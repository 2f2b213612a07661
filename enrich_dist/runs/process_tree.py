"""Measure a command with all its child processes: wall time and CPU time.

    python -m enrich_dist.runs.process_tree FIGURES.json COMMAND [ARGUMENT …]

Runs as a separate process that adopts orphaned workers and waits for them, so that they count. CPU time is measured on
Linux only. Imports the standard library only, as its start is part of every measurement.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_SET_CHILD_SUBREAPER = 36  # prctl(2)
_TIMEOUT_SECONDS = 30.0  # for orphaned processes
_POLL_SECONDS = 0.02


def measure_process_tree(command: Sequence[str]) -> tuple[int, float, float | None]:
    """Return exit code, wall seconds and CPU seconds; None where orphans cannot be waited for."""
    counted = sys.platform == "linux" and ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    started = time.perf_counter()
    code = subprocess.run(list(command), check=False).returncode
    wall_seconds = time.perf_counter() - started
    if not counted or not _all_ended():
        return code, wall_seconds, None
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return code, wall_seconds, used.ru_utime + used.ru_stime


def _all_ended() -> bool:
    until = time.monotonic() + _TIMEOUT_SECONDS
    while time.monotonic() < until:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True
        if not ended:
            time.sleep(_POLL_SECONDS)
    return False


def main() -> None:
    """Run the command, write the measurements, and exit with its exit code."""
    figures, *command = sys.argv[1:]
    code, wall_seconds, cpu_seconds = measure_process_tree(command)
    Path(figures).write_text(json.dumps({"wall_seconds": wall_seconds, "cpu_seconds": cpu_seconds}), "utf-8")
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
