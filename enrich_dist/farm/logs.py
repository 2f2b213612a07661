"""Logs of the latest farm, one JSON object per line: samples of the workers, and the times of the attempts.

Seconds count from the start of the farm. A sample of a worker is written if it differs from the last one, and every 30
seconds, so that a night's run of a hundred workers takes a few megabytes. Dask samples the memory; the exact peak of a
chunk is in its checkpoint. Does not contain chunks that earlier runs finished.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from enrich_dist.core.json_documents import JsonLinesLog, read_json_lines
from enrich_dist.events import AttemptTimes, Event, WorkerSample, WorkersSeen

# Minimum change of memory between samples: a share of the limit, or bytes if there is none.
_CHANGED_SHARE = 0.02
_CHANGED_BYTES = 20_000_000
_MAX_INTERVAL_SECONDS = 30.0
_CLOCKS = ("submitted_seconds", "started_seconds", "finished_seconds", "received_seconds")


class WorkerLog(JsonLinesLog):
    """Listener that writes the samples that differ from the last one."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._written: dict[str, tuple[float, WorkerSample]] = {}

    def __call__(self, event: Event) -> None:
        """Write the samples that differ."""
        if not isinstance(event, WorkersSeen):
            return
        seconds = time.monotonic() - self.began
        for sample in event.workers:
            if self._differs(sample, seconds):
                self._written[sample.worker] = (seconds, sample)
                self.write({"seconds": round(seconds, 1), **asdict(sample)})

    def _differs(self, sample: WorkerSample, seconds: float) -> bool:
        if sample.worker not in self._written:
            return True
        then, before = self._written[sample.worker]
        change_bytes = sample.memory_limit_bytes * _CHANGED_SHARE or _CHANGED_BYTES
        return (
            (sample.paused, sample.restarts) != (before.paused, before.restarts)
            or abs(sample.memory_bytes - before.memory_bytes) >= change_bytes
            or seconds - then >= _MAX_INTERVAL_SECONDS
        )


@dataclass(frozen=True)
class WorkerHistory:
    """The samples of one worker, in order: (seconds since the farm started, resident bytes)."""

    worker: str
    samples: tuple[tuple[float, int], ...]
    memory_limit_bytes: int
    restarts: int
    paused: bool

    @property
    def peak_memory_bytes(self) -> int:
        """Return the highest sample."""
        return max(count_bytes for _, count_bytes in self.samples)


def read_worker_log(path: Path) -> list[WorkerHistory]:
    """Return the workers of the latest farm, ordered by name; empty if there was none. Ignores a line that is cut."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for sample in read_json_lines(path):
        lines.setdefault(str(sample["worker"]), []).append(sample)
    return [
        WorkerHistory(
            worker=worker,
            samples=tuple((float(sample["seconds"]), int(sample["memory_bytes"])) for sample in samples),
            memory_limit_bytes=int(samples[-1]["memory_limit_bytes"]),
            restarts=int(samples[-1]["restarts"]),
            paused=bool(samples[-1]["paused"]),
        )
        for worker, samples in sorted(lines.items())
    ]


class ChunkLog(JsonLinesLog):
    """Listener that writes the attempts that have ended."""

    def __call__(self, event: Event) -> None:
        """Write an attempt that has ended."""
        if not isinstance(event, AttemptTimes):
            return
        line = asdict(event)
        for clock in _CLOCKS:
            line[clock] = None if line[clock] is None else round(line[clock] - self.began, 3)
        self.write(line)


def read_chunk_log(path: Path) -> list[AttemptTimes]:
    """Return the attempts of the latest farm, ordered by their ends; empty if there was none.

    Ignores a line that is cut, or that another version wrote.
    """
    attempts = []
    for line in read_json_lines(path):
        with suppress(TypeError):
            attempts.append(AttemptTimes(**line))
    return attempts
