"""The chunk log: the times of each attempt of the latest farm, for the timeline of the report.

One JSON object per line and attempt, written when the attempt ends. Seconds count from the start of the farm, as in
``worker_log``. Does not contain chunks that earlier runs finished.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from enrich_dist.core.json_documents import JsonLinesLog, read_json_lines
from enrich_dist.events import AttemptTimes, Event

_CLOCKS = ("submitted_seconds", "started_seconds", "finished_seconds", "received_seconds")


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
