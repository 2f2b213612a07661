"""Recommend ``chunk_size``, workers and ``memory_threshold_mb`` for a run, with the reasons.

The recommendation has the shortest estimated wall time of all chunk sizes that fit the memory and stay far below the
timeout. Within 5% of the best, the current settings win, then fewer workers. It changes no setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from enrich_dist.core.tables import counted
from enrich_dist.farm.budget import MB, Projection

CHUNK_SIZES: Final = (5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
_NEAR: Final = 1.05
# Share of the machine's memory; the rest is for the system and its cache.
MACHINE_SHARE: Final = 0.8
# Peak of the driver: DuckDB's memory limit and imported libraries (docs/performance/enrichment-benchmarks.md).
_DRIVER_BYTES: Final = 1_000_000_000
# Measured peaks exceeded the projection by at most 2% (docs/explanation/memory.md); Dask also counts caches.
_HEADROOM: Final = 1.1
_STEP_MB: Final = 50
_TIMEOUT_SHARE: Final = 0.1
_MIN_CHUNK_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Choice:
    """Candidate settings with their estimate. ``projection``: peak memory of a worker."""

    chunk_size: int
    workers: int
    wall_seconds: float
    chunk_seconds: float
    projection: Projection


@dataclass(frozen=True)
class Advice:
    """Recommended settings with the reasons. ``fits``: whether any setting fits the memory."""

    chunk_size: int
    workers: int
    memory_threshold_mb: int
    wall_seconds: float
    fits: bool
    reasons: tuple[str, ...]

    def flags(self) -> tuple[str, ...]:
        """Return the settings as options of ``enrich-dist run``."""
        return (
            f"--set chunk_size={self.chunk_size}",
            f"--set cluster.n_workers={self.workers}",
            f"--set memory_threshold_mb={self.memory_threshold_mb}",
        )


def recommend(
    choice: Callable[[int, int], Choice],
    *,
    chunk_size: int,
    workers: Iterable[int],
    current_workers: int,
    timeout_seconds: float,
    machine_bytes: int | None,
) -> Advice:
    """Return the best combination of ``CHUNK_SIZES`` (and the current ``chunk_size``) with numbers of ``workers``.
    ``choice`` estimates a combination; ``machine_bytes``: memory of driver and workers, None for other machines."""
    choices = [choice(size, count) for size in sorted({*CHUNK_SIZES, chunk_size}) for count in sorted(set(workers))]
    fitting = [item for item in choices if _threshold_mb(item) <= worker_share_mb(machine_bytes, item.workers)]
    if not fitting:
        smallest = min(choices, key=lambda item: (item.projection.peak_bytes, item.workers))
        reason = (
            f"The driver (1 GB) and one worker ({_threshold_mb(smallest):,} MB) do not fit 80% of this machine's "
            f"{(machine_bytes or 0) / 1e9:,.1f} GB. Use a larger machine or a cluster."
        )
        return _advice(smallest, fits=False, reasons=(reason,))
    sensible = [
        item for item in fitting if _MIN_CHUNK_SECONDS <= item.chunk_seconds <= _TIMEOUT_SHARE * timeout_seconds
    ] or fitting
    best = min(item.wall_seconds for item in sensible)
    near = [item for item in sensible if item.wall_seconds <= _NEAR * best]
    chosen = min(near, key=lambda item: (item.chunk_size != chunk_size, item.workers != current_workers, item.workers))
    return _advice(chosen, fits=True, reasons=_reasons(chosen, choices, fitting, chunk_size, machine_bytes))


def _threshold_mb(item: Choice) -> int:
    """Return the recommended threshold: never below what the budget requires."""
    required = item.projection.peak_bytes * _HEADROOM / 0.8 / MB
    return max(item.projection.min_threshold_mb, int(-(-required // _STEP_MB) * _STEP_MB))


def worker_share_mb(machine_bytes: int | None, workers: int) -> float:
    """Return the memory of each worker on a machine; infinite where workers run on other machines."""
    return math.inf if machine_bytes is None else (MACHINE_SHARE * machine_bytes - _DRIVER_BYTES) / workers / MB


def _advice(item: Choice, *, fits: bool, reasons: tuple[str, ...]) -> Advice:
    return Advice(item.chunk_size, item.workers, _threshold_mb(item), item.wall_seconds, fits, reasons)


def _reasons(
    chosen: Choice, choices: list[Choice], fitting: list[Choice], chunk_size: int, machine_bytes: int | None
) -> tuple[str, ...]:
    walls = {(item.chunk_size, item.workers): item.wall_seconds for item in fitting}
    sizes = {size: seconds for (size, count), seconds in walls.items() if count == chosen.workers}
    slowest = max(sizes, key=sizes.__getitem__)
    if chosen.chunk_size == chunk_size:
        why = "no other size is more than 5% faster."
    elif chunk_size in sizes:
        why = f"{chosen.wall_seconds:,.0f} s estimated, {sizes[chunk_size]:,.0f} s with {chunk_size:,}."
    else:
        why = f"{chunk_size:,} does not fit the memory of a worker."
    notes = [f"chunk_size {chosen.chunk_size:,}: {why}"]
    if sizes[slowest] > _NEAR * chosen.wall_seconds:
        notes.append(f"The slowest size is {slowest:,} with {sizes[slowest]:,.0f} s.")
    others = sorted(count for size, count in walls if size == chosen.chunk_size and count != chosen.workers)
    if others:
        ends = dict.fromkeys((others[0], others[-1]))
        compared = ", ".join(f"{count:,}: {walls[chosen.chunk_size, count]:,.0f} s" for count in ends)
        notes.append(f"{counted(chosen.workers, 'worker')}: {chosen.wall_seconds:,.0f} s ({compared}).")
    notes.append(
        f"memory_threshold_mb {_threshold_mb(chosen):,}: a worker needs up to "
        f"{chosen.projection.peak_bytes / MB:,.0f} MB; 80% of the threshold are usable, and 10% are in reserve."
    )
    if machine_bytes is not None and len(fitting) < len(choices):
        notes.append(f"Settings that do not fit {machine_bytes / 1e9:,.0f} GB of memory with the driver are left out.")
    return tuple(notes)
