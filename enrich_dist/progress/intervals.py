"""Decide when a log gets its next progress line: often at first, rarely in a long run.

``FarmProgress.line`` and ``StepProgress.line`` have the text.
"""

from __future__ import annotations

import time

from enrich_dist.events import FarmProgress, StepProgress

# In a long run the interval grows to this share of the elapsed time.
_GROWTH_SHARE = 1 / 60


class ProgressIntervals:
    """Decides for each progress event whether it is logged; ``interval_seconds`` is the minimum between two."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._began: float | None = None
        self._last = float("-inf")
        self._finished = False

    def due(self, event: FarmProgress | StepProgress) -> bool:
        """Return True for the first and the last event, and for others after the interval."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        finished = event.finished
        wait_seconds = max(self._interval_seconds, (now - self._began) * _GROWTH_SHARE)
        if now - self._last < wait_seconds and (not finished or self._finished):
            return False
        self._last, self._finished = now, finished
        return True
