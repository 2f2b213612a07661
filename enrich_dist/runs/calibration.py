"""The calibration workload: fixed work whose wall time says how fast the machine is at the moment.

A run measures it once its result is judged, when its workers are idle; ``bench run`` just before each repeat.
"""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from enrich_dist.core.files import read_json, write_json
from enrich_dist.errors import CorruptionError
from enrich_dist.runs.environment import usable_cores
from enrich_dist.store.run_directory import RunDirectory

_VALUES: Final = 1_000_000
_SORTS: Final = 7
_MAX_CORES: Final = 8
_FILE: Final = "calibration.json"


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
        return round(statistics.median(shot() for _ in range(_SORTS)), 6)


def record_calibration(directory: RunDirectory, run_id: str) -> float:
    """Measure the workload for a run, and record it; return its seconds."""
    seconds = calibration_seconds()
    write_json(directory.steps / _FILE, {"run_id": run_id, "calibration_seconds": seconds})
    return seconds


def recorded_calibration(directory: RunDirectory, run_id: str) -> float | None:
    """Return the seconds that a run recorded; None where it did not."""
    try:
        document = read_json(directory.steps / _FILE)
        return float(document["calibration_seconds"]) if document["run_id"] == run_id else None
    except (FileNotFoundError, CorruptionError, KeyError, TypeError, ValueError):
        return None
