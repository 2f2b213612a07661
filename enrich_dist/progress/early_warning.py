"""Warn once when the upper bound of the projected match rate is below the threshold (``projection``).

A projection reads every finished chunk while workers wait for the driver, so later projections are skipped where they
would take a noticeable share of the time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from enrich_dist.core.tables import percent
from enrich_dist.errors import ProjectedToFailError
from enrich_dist.events import Notice, emit
from enrich_dist.progress.projection import MIN_CHUNKS, Projection

logger = logging.getLogger(__name__)

# Shares of the recipients after which to decide. Few, because each is another chance of a false warning.
_SHARES = (0.1, 0.2, 0.4)
# Shares after which to refresh the projection that is shown, so that it is never of long ago.
_REFRESH_SHARES = (0.55, 0.7, 0.9, 0.96)
# A projection after the first may take this share of the elapsed time, and all refreshing ones together the second.
_COST_SHARE, _REFRESH_COST_SHARE = 0.01, 0.03


class EarlyWarning:
    """Projects the match rate of a farm at times; ``projection`` is the latest, None before the first, made after
    ``projection_share`` of the recipients."""

    def __init__(
        self,
        project: Callable[[Sequence[str], float], Projection],
        *,
        threshold: float,
        chunks_total: int,
        fail_fast: bool,
    ) -> None:
        """``project``: function of checkpoint keys and the share of the recipients in them."""
        self._project = project
        self.threshold = threshold
        self._chunks_total = chunks_total
        self._fail_fast = fail_fast
        self._shares_left = [*_SHARES, *_REFRESH_SHARES]
        self._refresh_seconds = 0.0  # of all refreshing projections
        self._warned = False
        self._began_seconds = time.monotonic()
        self._chunk_seconds = 0.0  # of the latest projection, per chunk
        self.projection: Projection | None = None
        self.projection_share: float | None = None

    def check(self, keys: Sequence[str], share_done: float) -> None:
        """Project, if it is time to, from all finished checkpoints, which have ``share_done`` of the recipients.

        Raises ``ProjectedToFailError`` where the rate will be too low and ``fail_fast`` is set.
        """
        started = time.monotonic()
        due = self._shares_left and share_done >= self._shares_left[0] and MIN_CHUNKS <= len(keys) < self._chunks_total
        elapsed_seconds = started - self._began_seconds
        # Decisions that were too expensive do not hold up what only refreshes.
        refreshes = any(share <= share_done for share in self._shares_left if share in _REFRESH_SHARES)
        limit_seconds = elapsed_seconds * (_REFRESH_COST_SHARE if refreshes else _COST_SHARE)
        if not due or self._refresh_seconds + self._chunk_seconds * len(keys) > limit_seconds:
            return
        self._shares_left = [share for share in self._shares_left if share > share_done]
        try:
            self.projection, self.projection_share = self._project(keys, share_done), share_done
        except Exception as error:  # the run does not need it
            logger.warning("no projection of the match rate", exc_info=True)
            emit(Notice(f"The match rate cannot be projected: {error}", warning=True))
            self._shares_left.clear()
            return
        seconds = time.monotonic() - started
        self._chunk_seconds = seconds / len(keys)
        if refreshes:
            self._refresh_seconds += seconds
        elif self.projection.high < self.threshold and not self._warned:
            self._warned = True
            self._warn(self.projection, share_done)

    def _warn(self, found: Projection, share_done: float) -> None:
        what = (
            f"after {percent(share_done)} of the recipients the match rate is projected to end at "
            f"{percent(found.rate)} (95% interval {percent(found.low)} to {percent(found.high)}), below "
            f"match_rate_threshold ({percent(self.threshold)})"
        )
        if self._fail_fast:
            raise ProjectedToFailError(
                f"Stopped early because fail_fast is set: {what}.",
                remedy="Finished chunks are kept. Check that awards and recipients are the right files and have their "
                "columns, or lower match_rate_threshold; with fail_fast: false the run continues to its report.",
            )
        what = f"{what[0].upper()}{what[1:]}"
        emit(Notice(f"{what}: the result will be blocked. With fail_fast: true a run stops here.", warning=True))
