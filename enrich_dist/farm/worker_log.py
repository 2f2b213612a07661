"""The worker log: memory, pauses and restarts of each worker of the latest farm.

One JSON object per line and sample, written at once. A sample is written if it differs from the last one, and every
half minute, so that a night's run of a hundred workers takes a few megabytes. The memory is sampled by Dask; the exact
peak of a chunk is in its checkpoint.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich_dist.core.json_documents import JsonLinesLog, read_json_lines
from enrich_dist.events import Event, WorkerSample, WorkersSeen

# Minimum change of memory between samples: a share of the limit, or bytes if there is none.
_CHANGED_SHARE = 0.02
_CHANGED_BYTES = 20_000_000
_MAX_INTERVAL_SECONDS = 30.0


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
                self.write({"seconds": round(seconds, 1), **sample.__dict__})

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
