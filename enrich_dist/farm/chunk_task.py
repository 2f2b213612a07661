"""The task that the driver submits to Dask: one attempt at one chunk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from enrich_dist.core.matcher import MatchMemory
from enrich_dist.farm.fault_injection import FaultInjection


@dataclass(frozen=True)
class ChunkTask:
    """One chunk to match.

    Paths are on the file system that driver and workers share; ``checkpoint_location`` may be a URI.
    """

    chunk_id: int
    chunk_path: Path
    chunk_rows: int
    chunk_digest: str
    index_path: Path
    index_digest: str
    checkpoint_location: str
    checkpoint_key: str
    ledger_directory: Path
    attempt: int = 1
    parts: int = 1
    """Number of parts that each batch is split into, to use less memory."""
    batch_rows: int = 65_536
    """Maximum rows per batch."""
    min_batch_rows: int = 1_000
    """A worker near its memory limit does not use smaller batches."""
    chunk_bytes: int = 0
    """Size of the chunk's file."""
    memory: MatchMemory = field(default_factory=MatchMemory)
    """Expected memory of the matcher."""
    projected_peak_bytes: int = 0
    """Projected peak of a worker that matches the chunk."""
    memory_limit_bytes: int = 0
    """Memory budget of a worker, if its own limit is not lower. 0: none."""
    isolate: bool = False
    """Whether to find and quarantine the rows that raise errors."""
    faults: FaultInjection | None = None
    """Faults to inject, for tests."""
