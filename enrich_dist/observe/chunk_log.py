"""The chunks over time: a listener that keeps when each attempt did what in a file, and the reader of that file.

One JSON object a line for every attempt that has ended, written at once. Seconds count from the moment the farm began,
as those of the workers' samples do (``worker_log``). Covers the attempts of the latest farm alone: a chunk that an
earlier run finished is not in it. Nothing depends on the file but the timeline of the report.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO

from enrich_dist.observe.events import AttemptTimes, Event

_CLOCKS = ("submitted_seconds", "started_seconds", "finished_seconds", "received_seconds")


class ChunkLog:
    """Context manager and listener: begins the file anew, as a farm begins."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._began = time.monotonic()

    def __enter__(self) -> ChunkLog:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.monotonic()
        self._file = self._path.open("w", encoding="utf-8", buffering=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __call__(self, event: Event) -> None:
        """Keep an attempt that has ended."""
        if self._file is None or not isinstance(event, AttemptTimes):
            return
        line = asdict(event)
        for clock in _CLOCKS:
            line[clock] = None if line[clock] is None else round(line[clock] - self._began, 3)
        self._file.write(json.dumps(line) + "\n")


def read_chunk_log(path: Path) -> list[AttemptTimes]:
    """The attempts of the latest farm in the order of their ends, in seconds since it began; empty where there was
    none.

    A line that was cut as its writer died, or that another version wrote, is left out.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return []
    attempts = []
    for line in text.splitlines():
        try:
            attempts.append(AttemptTimes(**json.loads(line)))
        except (json.JSONDecodeError, TypeError):
            continue
    return attempts
