"""Diagnose a run from its files, during and after it: the state of each chunk, failures, and what to do.

Also finds the files in the checkpoint location that belong to no chunk of the latest plan. Changes nothing; verifies
checkpoints on request. Does not print (``reporting.diagnosis``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from enrich_dist.core.storage import Entry
from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.farm.attempts import AttemptLedger, FailedAttempt, FailureKind, Marker
from enrich_dist.farm.logs import WorkerHistory, read_worker_log
from enrich_dist.store.checkpoints import CheckpointRecord, CheckpointStore
from enrich_dist.store.lock import read_holder
from enrich_dist.store.run_directory import RunDirectory

REMEDIES = {
    FailureKind.DATA: "See the traceback for the value that fails. Rows that raise the same error twice are "
    "quarantined; correct them at the source, or raise max_quarantined_share.",
    FailureKind.OUT_OF_MEMORY: "Raise memory_threshold_mb, or lower chunk_size or matching.batch_rows.",
    FailureKind.CRASH: "Check the worker's log and the machine's (dmesg): the worker crashed or was killed.",
    FailureKind.NOT_STARTED: "Nothing: the chunk was only queued on a worker that was lost.",
    FailureKind.HANG: "Raise timeout_seconds if the chunk is only slow; otherwise check what its worker waited for "
    "(disk, network).",
    FailureKind.SCHEDULER: "Check why the scheduler or the network failed. If the run stopped, run it again.",
    FailureKind.CORRUPTION: "Run again: damaged files are rebuilt. If it happens again, check the disk.",
    FailureKind.ENVIRONMENT: "Free disk space, or make paths.work_dir and paths.checkpoints writable, then run again.",
    FailureKind.CONFIGURATION: "Make the driver's paths.work_dir visible to every worker under the same path, then run "
    "again.",
}
"""What to do, by the kind of failure."""


class ChunkState(StrEnum):
    """The state of a chunk."""

    FINISHED = "finished"
    RUNNING = "running"
    FAILED = "failed"
    """Its last attempt failed; an active run retries it unless it was given up."""
    DAMAGED = "damaged"
    """Its checkpoint is not valid; the next run computes it again."""
    WAITING = "waiting"


@dataclass(frozen=True)
class ChunkFinding:
    """A chunk of the latest plan. ``problem``: why its checkpoint is not valid."""

    chunk_id: int
    rows: int
    checkpoint_key: str
    state: ChunkState
    record: CheckpointRecord | None
    marker: Marker | None
    failures: list[FailedAttempt]
    problem: str | None


@dataclass(frozen=True)
class Findings:
    """The diagnosis of a run directory.

    ``holder``: the active run, None if there is none; ``workers``: of the latest farm; ``leftovers``: files in the
    checkpoint location that belong to no chunk of the latest plan; ``shared``: whether they may belong to runs of other
    work directories.
    """

    root: Path
    holder: dict[str, Any] | None
    chunks: list[ChunkFinding]
    workers: list[WorkerHistory]
    checkpoint_location: str
    leftovers: list[Entry]
    shared: bool

    def count(self, state: ChunkState) -> int:
        """Return the number of chunks in a state."""
        return sum(chunk.state is state for chunk in self.chunks)


def examine(directory: RunDirectory, *, verify: bool = False) -> Findings:
    """Diagnose a run directory; with ``verify``, compare all checkpoints with their digests."""
    planned, location = directory.latest_farm()
    store, ledger = CheckpointStore(location), AttemptLedger(directory.attempts)
    failures = ledger.failures()
    running = {marker.checkpoint_key: marker for marker in ledger.markers()}
    holder = read_holder(directory.root)
    chunks = []
    for item in planned:
        key = str(item["checkpoint_key"])
        record, problem = None, None
        try:
            record = store.read_record(key, verify=verify)
        except FileNotFoundError:
            pass
        except CorruptionError as error:
            problem = str(error)
        failed = [failure for failure in failures if failure.checkpoint_key == key]
        marker = running.get(key)
        chunks.append(
            ChunkFinding(
                chunk_id=int(item["chunk_id"]),
                rows=int(item["rows"]),
                checkpoint_key=key,
                state=_state(record, problem, marker if holder else None, failed),
                record=record,
                marker=marker,
                failures=failed,
                problem=problem,
            )
        )
    return Findings(
        root=directory.root,
        holder=holder,
        chunks=chunks,
        workers=read_worker_log(directory.worker_log),
        checkpoint_location=location,
        leftovers=store.leftovers({chunk.checkpoint_key for chunk in chunks}),
        shared=location != str(directory.checkpoints),  # other directories' runs may write there
    )


def find_chunk(findings: Findings, chunk_id: int) -> ChunkFinding:
    """Return the chunk with this number.

    Raises ``StateError`` if the latest plan has none.
    """
    for chunk in findings.chunks:
        if chunk.chunk_id == chunk_id:
            return chunk
    raise StateError(
        f"The latest plan in {findings.root} has no chunk {chunk_id}; its chunks are 0 to {len(findings.chunks) - 1}.",
        remedy="List them with: enrich-dist doctor",
    )


def _state(
    record: CheckpointRecord | None, problem: str | None, marker: Marker | None, failed: list[FailedAttempt]
) -> ChunkState:
    if record is not None:
        return ChunkState.FINISHED
    if marker is not None:
        return ChunkState.RUNNING
    if problem is not None:
        return ChunkState.DAMAGED
    return ChunkState.FAILED if failed and failed[-1].kind is not FailureKind.NOT_STARTED else ChunkState.WAITING
