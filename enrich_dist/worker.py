"""What runs on a Dask worker: open the index once, match one chunk, meter it, checkpoint it.

Receives the matching function and knows nothing of names or identifiers. A worker may join at any time: the task
itself opens and verifies the index if this process has not yet. Does not cover what happens when a task fails
(``farm``).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import get_worker

from enrich_dist.checkpoints import CheckpointRecord, CheckpointStore
from enrich_dist.errors import CorruptionError, IndexMismatchError
from enrich_dist.files import file_digest
from enrich_dist.meter import Meter
from enrich_dist.store import open_verified


class Matcher(Protocol):
    """What the farm is given: opens an index directory and finds candidates for a table of recipients."""

    def key(self) -> str:
        """Digest of all settings and versions that the candidates depend on."""

    def open_index(self, directory: Path) -> Any:
        """Open the index files, memory-mapped."""

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Candidates of the recipients, each with its recipient in the column ``source_row``; and counts to be added
        up over chunks."""


@dataclass(frozen=True)
class ChunkTask:
    """One chunk to match; paths are those of the file system that driver and workers share."""

    chunk_id: int
    chunk_path: Path
    chunk_rows: int
    chunk_sha256: str
    index_path: Path
    index_digest: str
    checkpoint_directory: Path
    checkpoint_key: str
    attempt: int = 1


_open_indexes: dict[str, Any] = {}


def run_chunk(task: ChunkTask, matcher: Matcher) -> CheckpointRecord:
    """Match the chunk and write its checkpoint.

    Raises ``IndexMismatchError`` when the index here is not the driver's, ``CorruptionError`` when the chunk file is
    not what the manifest says.
    """
    with Meter() as meter:
        index = _index(task, matcher)
        if file_digest(task.chunk_path) != task.chunk_sha256:
            raise CorruptionError(
                f"{task.chunk_path} is not the file that was planned.", remedy="Run again: the chunks are made anew."
            )
        recipients = pq.read_table(task.chunk_path)
        if len(recipients) != task.chunk_rows:
            raise CorruptionError(f"{task.chunk_path} holds {len(recipients)} rows, planned were {task.chunk_rows}.")
        candidates, counts = matcher.match(index, recipients)
        with_candidates = int(np.unique(candidates["source_row"].to_numpy()).size)
        return CheckpointStore(task.checkpoint_directory).write(
            task.checkpoint_key,
            candidates,
            counts,
            lambda: {
                "rows_in": len(recipients),
                "rows_with_candidates": with_candidates,
                "rows_without_candidates": len(recipients) - with_candidates,
                "rows_quarantined": 0,
                "seconds": meter.seconds,
                "peak_memory_bytes": meter.peak_memory_bytes,
                "memory_method": meter.memory_method,
                **_worker_facts(),
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "attempt": task.attempt,
            },
        )


def _index(task: ChunkTask, matcher: Matcher) -> Any:
    if task.index_digest not in _open_indexes:
        try:
            found = open_verified(task.index_path).content_digest
        except (CorruptionError, OSError) as error:
            raise IndexMismatchError(
                f"The index at {task.index_path} cannot be used on {socket.gethostname()}: {error}",
                remedy="Check that every worker sees paths.work_dir under the same path.",
            ) from error
        if found != task.index_digest:
            raise IndexMismatchError(
                f"The index at {task.index_path} on {socket.gethostname()} is another one ({found[:12]}) than the "
                f"driver's ({task.index_digest[:12]}).",
                remedy="Check that every worker sees the driver's paths.work_dir.",
            )
        _open_indexes.clear()  # a worker that serves many runs keeps the index of the latest
        _open_indexes[task.index_digest] = matcher.open_index(task.index_path)
    return _open_indexes[task.index_digest]


def _worker_facts() -> dict[str, str | int]:
    try:
        worker = get_worker()
    except ValueError:  # not on a Dask worker
        return {"worker": "driver", "memory_limit_bytes": 0}
    return {"worker": str(worker.name), "memory_limit_bytes": int(worker.memory_manager.memory_limit or 0)}
