"""How fast this machine is at this moment: a fixed piece of work, the same on all cores at once, and a file written.

Covers what times of other machines, or of a busier hour, are converted by. Takes about two seconds. Does not cover
what rows cost (``trial``).
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from enrich_dist.runs.calibration import CalibrationWorkload
from enrich_dist.runs.machine import usable_cores

_SHOTS: Final = 7
_MAX_CORES: Final = 8
_VALUES: Final = 400_000
_SORTS: Final = 4
_DISK_BYTES: Final = 32_000_000


@dataclass(frozen=True)
class MachineSpeed:
    """How fast a machine is.

    ``yardstick_seconds``: wall seconds of ``runs.calibration.CalibrationWorkload``, median;
    ``scatter``: half the middle of them over it; ``contention``: how much longer a core takes when all are busy.
    """

    yardstick_seconds: float
    scatter: float
    cores: int
    contention: float
    disk_bytes_per_second: float


def measure_machine(scratch: Path) -> MachineSpeed:
    """Measure; ``scratch``: a directory on the disk that the run will use."""
    yardstick = CalibrationWorkload()
    yardstick.seconds()  # the first one waits for memory
    shots = sorted(_seconds(yardstick.seconds) for _ in range(_SHOTS))
    median = statistics.median(shots)
    return MachineSpeed(
        yardstick_seconds=median,
        scatter=(shots[-2] - shots[1]) / 2 / median,
        cores=usable_cores(),
        contention=contention(usable_cores()),
        disk_bytes_per_second=_disk(scratch),
    )


def yardstick_wall_seconds() -> float:
    """Median wall seconds of the yardstick, now."""
    yardstick = CalibrationWorkload()
    yardstick.seconds()
    return statistics.median(_seconds(yardstick.seconds) for _ in range(_SHOTS))


def contention(cores: int) -> float:
    """CPU seconds of the same work with all cores at it, over those of one alone: hyper-threads of one core, shared
    caches and memory tell here. Time spent waiting for neighbours does not count: it is in the yardstick."""
    cores = min(cores, _MAX_CORES)
    if cores == 1:
        return 1.0
    values = [np.random.default_rng(core).random(_VALUES) for core in range(cores)]

    def work(own: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
        started = time.thread_time()
        for _ in range(_SORTS):
            np.sort(own)  # lets go of the interpreter
        return time.thread_time() - started

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(work, values))
        alone = statistics.median(work(values[0]) for _ in range(_SHOTS))
        together = statistics.median(statistics.fmean(pool.map(work, values)) for _ in range(_SHOTS))
    # One after the other would take ``cores`` times as long.
    return min(float(cores), max(1.0, together / alone))


def _disk(scratch: Path) -> float:
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"plan-disk-{os.getpid()}"
    block = os.urandom(1_000_000)

    def write() -> None:
        with path.open("wb") as file:
            for _ in range(_DISK_BYTES // len(block)):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    try:
        return _DISK_BYTES / _seconds(write)
    finally:
        path.unlink(missing_ok=True)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
