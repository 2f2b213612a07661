"""Which ``chunk_size``, workers and ``memory_threshold_mb`` a run should have, and why.

Chosen by the model among sizes from 5,000 to 200,000: the least wall time whose chunks fit the memory there is, with
enough chunks that the last ones keep no worker waiting, and few enough that the driver keeps up. Among choices within
5% of the best the one nearest to what is set already wins, then the one that takes the least. Never recommends what
the budget refuses (``farm.budget``). Does not change a setting.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from enrich_dist.farm.budget import MB, Projection

CHUNK_SIZES: Final = (5_000, 10_000, 20_000, 50_000, 100_000, 200_000)
_NEAR: Final = 1.05
# Of the machine's memory; the rest is for the system and its cache.
MACHINE_SHARE: Final = 0.8
# The driver's own peak: DuckDB's limit and what it has imported (docs/performance/enrichment-benchmarks.md).
DRIVER_BYTES: Final = 1_000_000_000
# Over what is projected: measured peaks were at most 2% above it (docs/explanation/memory.md), and Dask counts what
# caches keep.
_HEADROOM: Final = 1.1
_STEP_MB: Final = 50
_TIMEOUT_SHARE: Final = 0.1
_MIN_CHUNK_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Choice:
    """Settings that could be chosen, and what the model says of them; ``projection``: a worker's peak."""

    chunk_size: int
    workers: int
    wall_seconds: float
    chunk_seconds: float
    projection: Projection


@dataclass(frozen=True)
class Advice:
    """The settings to be used, with the reasons. ``fits``: whether there is memory for any."""

    chunk_size: int
    workers: int
    memory_threshold_mb: int
    wall_seconds: float
    fits: bool
    reasons: tuple[str, ...]

    def flags(self) -> tuple[str, ...]:
        """As they are given to ``enrich-dist run``."""
        settings = (
            f"chunk_size={self.chunk_size}",
            f"cluster.n_workers={self.workers}",
            f"memory_threshold_mb={self.memory_threshold_mb}",
        )
        return tuple(f"--set {setting}" for setting in settings)


def recommend(
    choice: Callable[[int, int], Choice],
    *,
    chunk_size: int,
    workers: Iterable[int],
    workers_now: int,
    timeout_seconds: float,
    machine_bytes: int | None,
) -> Advice:
    """The best of all ``CHUNK_SIZES``, the ``chunk_size`` of now, and numbers of ``workers``.

    ``choice``: what (chunk size, workers) come to; ``workers_now``: those that are set; ``machine_bytes``: memory that
    driver and workers share, None where workers are on machines of their own.
    """
    choices = [choice(size, count) for size in sorted({*CHUNK_SIZES, chunk_size}) for count in sorted(set(workers))]
    held = [item for item in choices if machine_bytes is None or _threshold_mb(item) <= _each_mb(item, machine_bytes)]
    if not held:
        least = min(choices, key=lambda item: (item.projection.peak_bytes, item.workers))
        return _advice(least, fits=False, reasons=(_too_little(least, machine_bytes or 0),))
    sensible = [
        item for item in held if _MIN_CHUNK_SECONDS <= item.chunk_seconds <= _TIMEOUT_SHARE * timeout_seconds
    ] or held
    best = min(item.wall_seconds for item in sensible)
    near = [item for item in sensible if item.wall_seconds <= _NEAR * best]
    chosen = min(near, key=lambda item: (item.chunk_size != chunk_size, item.workers != workers_now, item.workers))
    return _advice(chosen, fits=True, reasons=_reasons(chosen, choices, held, chunk_size, machine_bytes))


def _threshold_mb(item: Choice) -> int:
    """What a worker should have: never less than the budget asks for."""
    wanted = item.projection.peak_bytes * _HEADROOM / 0.8 / MB
    return max(item.projection.min_threshold_mb, int(-(-wanted // _STEP_MB) * _STEP_MB))


def _each_mb(item: Choice, machine_bytes: int) -> float:
    return (MACHINE_SHARE * machine_bytes - DRIVER_BYTES) / item.workers / MB


def _advice(item: Choice, *, fits: bool, reasons: tuple[str, ...]) -> Advice:
    return Advice(item.chunk_size, item.workers, _threshold_mb(item), item.wall_seconds, fits, reasons)


def _reasons(
    chosen: Choice, choices: list[Choice], held: list[Choice], chunk_size: int, machine_bytes: int | None
) -> tuple[str, ...]:
    same = [item for item in held if item.workers == chosen.workers]
    slowest = max(same, key=lambda item: item.wall_seconds)
    now = next((item for item in same if item.chunk_size == chunk_size), None)
    told = []
    if chosen.chunk_size == chunk_size:
        told.append(f"chunk_size {chunk_size:,} stays: no other is more than 5% faster.")
    elif now is not None:
        told.append(
            f"chunk_size {chosen.chunk_size:,}: {chosen.wall_seconds:,.0f} s in all, {now.wall_seconds:,.0f} s with "
            f"{chunk_size:,}."
        )
    else:
        told.append(f"chunk_size {chosen.chunk_size:,}: with {chunk_size:,} a worker's memory does not fit.")
    if slowest.wall_seconds > _NEAR * chosen.wall_seconds:
        told.append(f"The slowest would be {slowest.chunk_size:,} with {slowest.wall_seconds:,.0f} s.")
    others = sorted({item.workers for item in held if item.chunk_size == chosen.chunk_size} - {chosen.workers})
    walls = {item.workers: item.wall_seconds for item in held if item.chunk_size == chosen.chunk_size}
    if others:
        compared = ", ".join(f"{count:,}: {walls[count]:,.0f} s" for count in (others[:1] + others[-1:])[: len(others)])
        many = "1 worker" if chosen.workers == 1 else f"{chosen.workers:,} workers"
        told.append(f"{many}: {chosen.wall_seconds:,.0f} s ({compared}).")
    told.append(
        f"memory_threshold_mb {_threshold_mb(chosen):,}: a worker will need at most "
        f"{chosen.projection.peak_bytes / MB:,.0f} MB, of the threshold 80% are used, and a tenth is to spare."
    )
    if machine_bytes is not None and len(held) < len(choices):
        told.append(f"Left out: what does not fit {machine_bytes / 1e9:,.0f} GB of memory beside the driver.")
    return tuple(told)


def _too_little(least: Choice, machine_bytes: int) -> str:
    return (
        f"This machine's {machine_bytes / 1e9:,.1f} GB do not hold the driver (1 GB) and one worker of "
        f"{_threshold_mb(least):,} MB within 80%: use a larger one, or a cluster."
    )
