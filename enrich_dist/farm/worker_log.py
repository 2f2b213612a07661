"""The workers over time: a listener that keeps what it is told of them in a file, and the reader of that file.

One JSON object a line, written at once, so that a run that was killed has told all it knew. A worker's sample is kept
when it says something new, and every half minute: a night's run of a hundred workers stays at some megabytes. The
memory is what Dask sampled; the peak of a chunk, which no sample sees for certain, stands in its checkpoint.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from enrich_dist.core.json_lines import JsonLinesLog, read_json_lines
from enrich_dist.events import Event, WorkerSample, WorkersSeen

# A change of memory that is worth a line: a share of the limit, or so many bytes where there is none.
_CHANGED_SHARE = 0.02
_CHANGED_BYTES = 20_000_000
_ANYWAY_SECONDS = 30.0


class WorkerLog(JsonLinesLog):
    """Listener that keeps the samples that say something new."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._kept: dict[str, tuple[float, WorkerSample]] = {}

    def __call__(self, event: Event) -> None:
        """Keep what is new of the workers."""
        if not isinstance(event, WorkersSeen):
            return
        seconds = time.monotonic() - self.began
        for sample in event.workers:
            if self._tells_something(sample, seconds):
                self._kept[sample.worker] = (seconds, sample)
                self.write({"seconds": round(seconds, 1), **sample.__dict__})

    def _tells_something(self, sample: WorkerSample, seconds: float) -> bool:
        if sample.worker not in self._kept:
            return True
        then, before = self._kept[sample.worker]
        change_bytes = sample.memory_limit_bytes * _CHANGED_SHARE or _CHANGED_BYTES
        return (
            (sample.paused, sample.restarts) != (before.paused, before.restarts)
            or abs(sample.memory_bytes - before.memory_bytes) >= change_bytes
            or seconds - then >= _ANYWAY_SECONDS
        )


@dataclass(frozen=True)
class WorkerHistory:
    """What was seen of one worker: ``samples`` are (seconds since the farm began, resident bytes), in order."""

    worker: str
    samples: tuple[tuple[float, int], ...]
    memory_limit_bytes: int
    restarts: int
    paused: bool

    @property
    def peak_memory_bytes(self) -> int:
        """The most memory that was sampled."""
        return max(count_bytes for _, count_bytes in self.samples)


def read_worker_log(path: Path) -> list[WorkerHistory]:
    """The workers of the latest farm, ordered by name; empty where there was none.

    A last line that was cut as its writer died is left out.
    """
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
