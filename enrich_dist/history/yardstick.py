"""A fixed piece of work whose time tells how fast the machine is at this moment.

Covers what repeats within one session cannot tell: that the whole machine was slower in one session than in another,
because its neighbours were busy or its clock was lowered. Does not cover disks.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from enrich_dist.history.machine import usable_cores

_VALUES = 1_000_000
_SHOTS = 7
_MOST_CORES = 8


def yardstick_seconds() -> float:
    """Median wall seconds in which each core sorts the same million numbers (some 0.1 s; all of it less than 1 s).

    On all cores at once, as a run works: a neighbour on one of them shows.
    """
    cores = min(usable_cores(), _MOST_CORES)
    values = np.random.default_rng(0).random(_VALUES)
    with ThreadPoolExecutor(cores) as pool:

        def shot() -> float:
            started = time.perf_counter()
            list(pool.map(np.sort, [values] * cores))  # numpy lets go of the interpreter while it sorts
            return time.perf_counter() - started

        shot()  # the first one waits for threads and memory
        return round(statistics.median(shot() for _ in range(_SHOTS)), 6)
