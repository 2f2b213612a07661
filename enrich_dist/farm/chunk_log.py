"""The chunks over time: a listener that keeps when each attempt did what in a file, and the reader of that file.

One JSON object a line for every attempt that has ended, written at once. Seconds count from the moment the farm began,
as those of the workers' samples do (``worker_log``). Covers the attempts of the latest farm alone: a chunk that an
earlier run finished is not in it. Nothing depends on the file but the timeline of the report.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from enrich_dist.core.json_lines import JsonLinesLog, read_json_lines
from enrich_dist.events import AttemptTimes, Event

_CLOCKS = ("submitted_seconds", "started_seconds", "finished_seconds", "received_seconds")


class ChunkLog(JsonLinesLog):
    """Listener that keeps the attempts that have ended."""

    def __call__(self, event: Event) -> None:
        """Keep an attempt that has ended."""
        if not isinstance(event, AttemptTimes):
            return
        line = asdict(event)
        for clock in _CLOCKS:
            line[clock] = None if line[clock] is None else round(line[clock] - self.began, 3)
        self.write(line)


def read_chunk_log(path: Path) -> list[AttemptTimes]:
    """The attempts of the latest farm in the order of their ends, in seconds since it began; empty where there was
    none.

    A line that was cut as its writer died, or that another version wrote, is left out.
    """
    attempts = []
    for line in read_json_lines(path):
        with suppress(TypeError):
            attempts.append(AttemptTimes(**line))
    return attempts
