"""When a log gets its next line of progress: often at first, and seldom in a long run.

Covers the interval. What a line says is ``FarmProgress.line``.
"""

from __future__ import annotations

import time

from enrich_dist.events import FarmProgress

# A run of ten hours needs no line every ten seconds: the interval grows to this share of the time so far.
_GROWTH_SHARE = 1 / 60


class ProgressIntervals:
    """Says of each progress event whether it is worth a line; ``interval_seconds`` is the least between two."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._began: float | None = None
        self._last = float("-inf")
        self._finished = False

    def due(self, event: FarmProgress) -> bool:
        """True for the first, for the one that tells of the end, and for others when it is time."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        finished = event.chunks_done == event.chunks_total
        wait_seconds = max(self._interval_seconds, (now - self._began) * _GROWTH_SHARE)
        if now - self._last < wait_seconds and (not finished or self._finished):
            return False
        self._last, self._finished = now, finished
        return True
