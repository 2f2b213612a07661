"""Says early that a run will end with too low a match rate: once its projected rate's upper bound lies below the
threshold, and not at the end.

Covers when to look and what is said. A look reads every finished chunk while workers wait for the driver, so that
later ones are only taken where they are not felt. Does not cover the projection itself (``result.projection``).
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

# Shares of the recipients after which to look. Few: each is a further chance to be wrong.
_LOOKS = (0.1, 0.2, 0.4)
# A look after the first may take this share of the time that the farm has worked.
_COST_SHARE = 0.01


class EarlyWarning:
    """Looks at a farm's finished chunks at times; ``projection`` is the latest, None before the first."""

    def __init__(
        self,
        project: Callable[[Sequence[str], float], Projection],
        *,
        threshold: float,
        chunks_total: int,
        fail_fast: bool,
    ) -> None:
        """``project``: gets checkpoint keys and the share of the recipients in them."""
        self._project = project
        self.threshold = threshold
        self._chunks_total = chunks_total
        self._fail_fast = fail_fast
        self._looks = list(_LOOKS)
        self._warned = False
        self._began_seconds = time.monotonic()
        self._chunk_seconds = 0.0  # that the latest look took for each chunk
        self.projection: Projection | None = None

    def look(self, keys: Sequence[str], share_done: float) -> None:
        """Look, if it is time to. ``keys``: of all finished checkpoints, which hold ``share_done`` of the recipients.

        Raises ``ProjectedToFailError`` where the rate is going to be too low and the run is to ``fail_fast``.
        """
        started = time.monotonic()
        due = self._looks and share_done >= self._looks[0] and MIN_CHUNKS <= len(keys) < self._chunks_total
        worked_seconds = started - self._began_seconds
        if not due or self._chunk_seconds * len(keys) > _COST_SHARE * worked_seconds:
            return
        self._looks = [share for share in self._looks if share > share_done]
        try:
            self.projection = self._project(keys, share_done)
        except Exception as error:  # the run does not depend on it
            logger.warning("no projection of the match rate", exc_info=True)
            emit(Notice(f"The match rate cannot be projected: {error}", warning=True))
            self._looks.clear()
            return
        self._chunk_seconds = (time.monotonic() - started) / len(keys)
        if self.projection.high < self.threshold and not self._warned:
            self._warned = True
            self._warn(self.projection, share_done)

    def _warn(self, found: Projection, share_done: float) -> None:
        what = (
            f"after {percent(share_done)} of the recipients the match rate is projected to end at "
            f"{percent(found.rate)} (95% interval {percent(found.low)} to {percent(found.high)}), under "
            f"match_rate_threshold ({percent(self.threshold)})"
        )
        if self._fail_fast:
            raise ProjectedToFailError(
                f"Stopped early, as fail_fast is set: {what}.",
                remedy="Finished chunks are kept. Check that awards and recipients are the right files and have their "
                "columns, or lower match_rate_threshold; with fail_fast: false the run goes on to its report.",
            )
        what = f"{what[0].upper()}{what[1:]}"
        emit(Notice(f"{what}: the result will be blocked. fail_fast: true stops a run here.", warning=True))
