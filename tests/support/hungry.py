"""A matcher whose memory grows with every call, in a module that workers can import."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from distributed import get_worker

from enrich_dist.core.resource_usage import resident_bytes
from tests.support.delegating import DelegatingMatcher

_RESIDENT_AT_FIRST: list[int] = []


@dataclass(frozen=True)
class Hungry(DelegatingMatcher):
    """Delegates to ``inner`` and allocates memory while it matches.

    In the first call, a batch of ``full_rows`` rows brings its worker to 70% of the limit; smaller batches take a
    proportional share. Each call takes a fifth more than the one before.

    Every call leaves a file in ``ledger``, named by the number of rows.
    """

    ledger: Path
    full_rows: int

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Hold memory for longer than the nanny looks away, then match."""
        result = self.inner.match(index, recipients)
        if not _RESIDENT_AT_FIRST:
            _RESIDENT_AT_FIRST.append(resident_bytes())
        calls = len(list(self.ledger.iterdir()))
        (self.ledger / f"{len(recipients)}-{time.monotonic_ns()}").touch()
        limit = int(get_worker().memory_manager.memory_limit or 0)
        full = (0.7 * limit - _RESIDENT_AT_FIRST[0]) * (1 + 0.2 * calls)
        held = b"x" * round(full * len(recipients) / self.full_rows)
        time.sleep(0.3)
        del held
        return result
