"""Fixed pieces of work whose time tells how fast the machine is at this moment: in wall seconds, and in CPU seconds.

Covers what repeats within one session cannot tell: that the whole machine was slower in one session than in another,
because its neighbours were busy or its clock was lowered. Does not cover disks.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from enrich_dist.runs.machine import usable_cores

_VALUES = 1_000_000
_SHOTS = 7
_MAX_CORES = 8
_SORTED, _COUNTED, _GATHERED = 1_500_000, 120_000, 1_500_000
_SPREAD = 4_000_000  # values of 8 bytes: more than a core's own cache holds


def calibration_seconds() -> float:
    """Median wall seconds in which each core sorts the same million numbers (some 0.1 s; all of it less than 1 s).

    On all cores at once, as a run works: a neighbour on one of them shows.
    """
    cores = min(usable_cores(), _MAX_CORES)
    values = np.random.default_rng(0).random(_VALUES)
    with ThreadPoolExecutor(cores) as pool:

        def shot() -> float:
            started = time.perf_counter()
            list(pool.map(np.sort, [values] * cores))  # numpy lets go of the interpreter while it sorts
            return time.perf_counter() - started

        shot()  # the first one waits for threads and memory
        return round(statistics.median(shot() for _ in range(_SHOTS)), 6)


class CalibrationWorkload:
    """A fixed piece of work of the kinds that a run is made of: sorting numbers, reading memory here and there, and
    Python's own counting. Some 0.3 CPU seconds a time."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._values = random.random(_SORTED)
        self._memory = np.arange(_SPREAD)
        self._places = random.integers(0, _SPREAD, _GATHERED)

    def seconds(self) -> float:
        """CPU seconds of this process for the work, now."""
        started = time.process_time()
        np.sort(self._values)
        self._memory[self._places].sum()
        counts: dict[str, int] = {}
        for number in range(_COUNTED):
            name = str(number * 2_654_435_761 % 65_536)
            counts[name] = counts.get(name, 0) + len(name)
        return time.process_time() - started
