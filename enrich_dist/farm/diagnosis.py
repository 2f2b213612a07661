"""What state a run is in, chunk by chunk, from its files alone: during it, after it, and when nobody knows.

Covers who works there, what each chunk's state is, why attempts failed and what helps; and the files in the checkpoint
location that belong to no chunk of the latest plan. Verifies nothing unless asked to, changes nothing. Does not
print (``observe.findings``).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from enrich_dist.core.storage import Entry
from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.farm.attempts import AttemptLedger, FailedAttempt, FailureKind, Marker
from enrich_dist.farm.worker_log import WorkerHistory, read_worker_log
from enrich_dist.store.checkpoints import CheckpointRecord, CheckpointStore
from enrich_dist.store.lock import read_holder
from enrich_dist.store.run_directory import RunDirectory

ADVICE = {
    FailureKind.DATA: "The traceback names what the rows could not pass. An error that comes twice has its rows set "
    "aside by itself; correct them at the source, or raise max_quarantined_share.",
    FailureKind.OUT_OF_MEMORY: "Raise memory_threshold_mb, or lower chunk_size or matching.batch_rows.",
    FailureKind.CRASH: "Something ended the worker from outside, or it crashed: look at its log, and at the machine's "
    "(dmesg).",
    FailureKind.NOT_STARTED: "Nothing: the chunk only waited on a worker that was lost.",
    FailureKind.HANG: "Raise timeout_seconds if the chunk is only slow; else look at what its worker waited for (disk, "
    "network).",
    FailureKind.SCHEDULER: "Look why the scheduler or the network went away. Run again if the run was stopped.",
    FailureKind.CORRUPTION: "Run again: damaged files are made anew. If it comes back, check the disk.",
    FailureKind.ENVIRONMENT: "Make space, or see that paths.work_dir and paths.checkpoints can be written to, "
    "then run again.",
    FailureKind.CONFIGURATION: "Let every worker see the driver's paths.work_dir under the same path, then run again.",
}
"""What helps, by the kind of failure."""


class ChunkState(StrEnum):
    """Where a chunk stands."""

    FINISHED = "finished"
    RUNNING = "running"
    FAILED = "failed"
    """Its last attempt failed; a run that is under way tries it again unless it was given up."""
    DAMAGED = "damaged"
    """It has a checkpoint that is not valid: the next run computes it again."""
    WAITING = "waiting"


@dataclass(frozen=True)
class ChunkFinding:
    """One chunk of the latest plan. ``problem``: why its checkpoint is not valid."""

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
    """``holder``: who works in the directory now, None where nobody does; ``workers``: those of the latest farm;
    ``leftovers``: files in the checkpoint location that belong to no chunk of the latest plan; ``shared``: whether runs
    of other work directories may have put them there."""

    root: Path
    holder: dict[str, Any] | None
    chunks: list[ChunkFinding]
    workers: list[WorkerHistory]
    checkpoint_location: str
    leftovers: list[Entry]
    shared: bool

    def count(self, state: ChunkState) -> int:
        """Chunks in a state."""
        return sum(chunk.state is state for chunk in self.chunks)


def examine(directory: RunDirectory, *, verify: bool = False) -> Findings:
    """Look at a run directory; with ``verify``, read all checkpoints and hold them against their digests."""
    planned, location = directory.latest_farm()
    store, ledger = CheckpointStore(location), AttemptLedger(directory.attempts)
    failures = ledger.failures()
    running = {marker.checkpoint_key: marker for marker in ledger.markers()}
    holder = read_holder(directory.root)
    chunks = []
    for item in planned:
        key = str(item["checkpoint_key"])
        record, problem = _record(store, key, verify=verify)
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
        shared=not directory.owns(location),
    )


def find_chunk(findings: Findings, chunk_id: int) -> ChunkFinding:
    """The chunk of that number.

    Raises ``StateError`` when the latest plan has none.
    """
    for chunk in findings.chunks:
        if chunk.chunk_id == chunk_id:
            return chunk
    raise StateError(
        f"The latest plan in {findings.root} has no chunk {chunk_id}; it has {len(findings.chunks)} chunks.",
        remedy="Look at all of them with: enrich-dist doctor",
    )


def _record(store: CheckpointStore, key: str, *, verify: bool) -> tuple[CheckpointRecord | None, str | None]:
    try:
        return store.read_record(key, verify=verify), None
    except FileNotFoundError:
        return None, None
    except CorruptionError as error:
        return None, str(error)


def _state(
    record: CheckpointRecord | None, problem: str | None, marker: Marker | None, failed: list[FailedAttempt]
) -> ChunkState:
    if record is not None:
        return ChunkState.FINISHED
    if marker is not None:
        return ChunkState.RUNNING
    if problem is not None:
        return ChunkState.DAMAGED
    # A chunk that was not started only waits again.
    return ChunkState.FAILED if failed and failed[-1].kind is not FailureKind.NOT_STARTED else ChunkState.WAITING
