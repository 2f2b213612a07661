"""A run in another process whose chunks the test can delay: ``python -m tests.support.paced``.

Its matcher is sent to workers, so it is in a module that they can import.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from enrich_dist.cluster.client import ClusterStart
from enrich_dist.core.matcher import Matcher
from enrich_dist.events import Event, Notice, listening
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings, load_settings
from enrich_dist.store.lock import locked
from tests.support.delegating import DelegatingMatcher

HOLD = "hold"
_PACE_SECONDS = 0.2


@dataclass(frozen=True)
class Paced(DelegatingMatcher):
    """Delegates to ``inner`` after a short delay, and waits while the file ``hold`` is in ``ledger``.

    Every call writes a file there, named by the first source row of the chunk, the process, and the time.
    """

    ledger: Path

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Wait, then match."""
        row = recipients["source_row"][0] if len(recipients) else "none"  # all rows of a chunk may be rejected
        (self.ledger / f"{row}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(_PACE_SECONDS)
        while (self.ledger / HOLD).exists():
            time.sleep(0.05)
        return self.inner.match(index, recipients)


class PacedPipeline(Pipeline):
    """A pipeline whose matcher is paced."""

    def __init__(self, settings: Settings, ledger: Path) -> None:
        super().__init__(settings, "paced")
        self._ledger = ledger

    def matcher(self) -> Matcher:
        return Paced(super().matcher(), self._ledger)


def calls(ledger: Path) -> list[tuple[str, str]]:
    """Return (first row of the chunk, process) of every call of the matcher."""
    names = [path.name.split("-") for path in ledger.iterdir() if path.name != HOLD]
    return [(row, process) for row, process, _ in names]


def _print_notice(event: Event) -> None:
    if isinstance(event, Notice):
        print(event.message, flush=True)  # noqa: T201


def main() -> None:
    """Run all steps with the settings of ``key=value`` arguments after the ledger's path."""
    settings = load_settings(None, sys.argv[2:], {}).settings
    pipeline = PacedPipeline(settings, Path(sys.argv[1]))
    root = pipeline.directory.root
    with (
        listening(_print_notice),
        locked(root, run_id="paced", what="a paced run"),
        ClusterStart(settings, pipeline.directory.scratch / "dask", root) as start,
    ):
        pipeline.ingest_awards()
        pipeline.join_companies()
        pipeline.partition_recipients()
        pipeline.farm_chunks(start.client)
        pipeline.enrich_awards()
        pipeline.publish_awards()


if __name__ == "__main__":
    main()
