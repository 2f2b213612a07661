"""Calibration workloads: fixed work that measures the current speed of the machine, in wall time and in CPU time.

They detect that the machine itself was slower in one session than in another, for example because of neighbours or a
lower clock rate. Does not cover disks.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from enrich_dist.runs.environment import usable_cores

_VALUES = 1_000_000
_SHOTS = 7
_MAX_CORES = 8
_SORTED, _COUNTED, _GATHERED = 1_500_000, 120_000, 1_500_000
_SPREAD = 4_000_000  # values of 8 bytes: larger than the cache of a core


def calibration_seconds() -> float:
    """Return the median wall seconds in which each core sorts a million numbers, all cores at once; takes under 1 s."""
    cores = min(usable_cores(), _MAX_CORES)
    values = np.random.default_rng(0).random(_VALUES)
    with ThreadPoolExecutor(cores) as pool:

        def shot() -> float:
            started = time.perf_counter()
            list(pool.map(np.sort, [values] * cores))  # numpy releases the GIL while it sorts
            return time.perf_counter() - started

        shot()  # starts the threads
        return round(statistics.median(shot() for _ in range(_SHOTS)), 6)


class CalibrationWorkload:
    """Fixed work like that of a run: sorting, random memory access and pure Python; about 0.3 CPU seconds."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._values = random.random(_SORTED)
        self._memory = np.arange(_SPREAD)
        self._places = random.integers(0, _SPREAD, _GATHERED)

    def seconds(self) -> float:
        """Run the workload; return the CPU seconds of this process."""
        started = time.process_time()
        np.sort(self._values)
        self._memory[self._places].sum()
        counts: dict[str, int] = {}
        for number in range(_COUNTED):
            name = str(number * 2_654_435_761 % 65_536)
            counts[name] = counts.get(name, 0) + len(name)
        return time.process_time() - started
