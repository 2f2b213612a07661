"""The command line with a matcher that uses more CPU time or memory than the real one.

    python -m tests.support.planted BURN_SECONDS HOLD_BYTES run --config …

Each call of the matcher uses BURN_SECONDS more of CPU time and allocates HOLD_BYTES more of memory. Workers receive it
like the real matcher.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tests.support.delegating import DelegatingMatcher


@dataclass(frozen=True)
class Planted(DelegatingMatcher):
    """Delegates to ``inner``; each call of ``match`` burns ``burn_seconds`` of CPU and holds ``hold_bytes``."""

    burn_seconds: float
    hold_bytes: int

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        held = np.ones(self.hold_bytes, dtype=np.uint8)  # touched, so that it is resident
        found = self.inner.match(index, recipients)
        until = time.process_time() + self.burn_seconds
        while time.process_time() < until:
            sum(range(1_000))
        assert len(held) == self.hold_bytes
        return found


def main() -> None:
    """Replace the matcher, then run the console script."""
    from enrich_dist.cli.command import command
    from enrich_dist.pipeline.steps import Pipeline
    from tests.support.planted import Planted as Importable  # not of __main__, which no worker could import

    burn_seconds, hold_bytes = float(sys.argv.pop(1)), int(sys.argv.pop(1))
    real = Pipeline.matcher
    Pipeline.matcher = lambda self: Importable(real(self), burn_seconds, hold_bytes)  # type: ignore[method-assign]
    command()


if __name__ == "__main__":
    main()
