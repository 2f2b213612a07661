"""The failure policy: which kind of failure an attempt met, and whether and how its chunk is retried.

Pure functions of what is known; ``FarmState`` (``state``) applies them. docs/how-to/handle-failures.md describes the
same table to operators.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, replace

from enrich_dist.errors import CorruptionError, IndexMismatchError
from enrich_dist.farm.attempts import FailureKind, Marker
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.remedies import FREE_SPACE, RESUME

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_GIVEN_UP = "The chunk is given up; the run waits for the active chunks, then stops."
# Failures that are not the chunk's fault are not counted, up to this number: the run must end.
_MAX_UNCOUNTED = 20
_UNCOUNTED = {
    FailureKind.NOT_STARTED: "The chunk had not started: it is retried, and the attempt is not counted.",
    FailureKind.SCHEDULER: "The chunk is retried unless its worker finished it; the attempt is not counted.",
    FailureKind.CONFIGURATION: "Another worker retries the chunk; the attempt is not counted.",
}


@dataclass(frozen=True)
class FarmPolicy:
    """Timeouts and limits of the farm."""

    timeout_seconds: float
    max_attempts: int
    """Counted attempts per chunk."""
    min_part_rows: int
    """A chunk is not split into parts of fewer rows."""
    no_worker_seconds: float
    """The run stops after this time without a scheduler, or without any worker that accepts tasks."""
    heartbeat_timeout_seconds: float
    """A worker is restarted after this time without a heartbeat."""
    straggler_factor: float
    """An idle worker runs a backup task for a chunk that takes this many times the median. 0: no backup tasks."""
    straggler_min_seconds: float


@dataclass
class ChunkHistory:
    """The attempts at one chunk so far."""

    attempts: int = 1
    """Number of the latest attempt."""
    unfinished: int = 0
    """Attempts that are pending, active, or lost and not yet classified."""
    counted: int = 0
    uncounted: int = 0
    last_error: str | None = None
    finished: bool = False

    def next_attempt(self) -> int:
        """Return the number of a new attempt."""
        self.attempts += 1
        return self.attempts


@dataclass(frozen=True)
class Decision:
    """What follows a failure. ``retry``: the next attempt, None if there is none."""

    next_step: str
    retry: ChunkTask | None
    counted: bool = True
    remedy: str = RESUME


def classify_error(error: BaseException) -> FailureKind:
    """Return the kind of an error that the task raised."""
    match error:
        case IndexMismatchError():
            return FailureKind.CONFIGURATION
        case CorruptionError():
            return FailureKind.CORRUPTION
        case MemoryError():
            return FailureKind.OUT_OF_MEMORY
        case OSError():
            return FailureKind.ENVIRONMENT if error.errno in _DISK_ERRORS else FailureKind.CRASH
    return FailureKind.DATA


def describe_failure(
    kind: FailureKind, error: BaseException | None, marker: Marker | None, memory_limit_bytes: int
) -> str:
    """Return why an attempt failed, without a full stop."""
    match kind:
        case FailureKind.SCHEDULER:
            return "the connection to the scheduler was lost"
        case FailureKind.NOT_STARTED:
            return "its worker was lost"
        case FailureKind.CRASH | FailureKind.OUT_OF_MEMORY if marker is not None:
            cause = ""
            if kind is FailureKind.OUT_OF_MEMORY:
                limit = f" of {memory_limit_bytes / 1e6:,.0f} MB" if memory_limit_bytes else ""
                cause = f": it exceeded its memory limit{limit}"
            return f"worker {marker.worker} (process {marker.pid} on {marker.host}) was lost{cause}"
    return f"{type(error).__name__}: {error}".strip().removesuffix(".")


def decide(task: ChunkTask, kind: FailureKind, why: str, history: ChunkHistory, policy: FarmPolicy) -> Decision:
    """Return what follows the failure of ``task``, and update its history. ``why`` identifies a repeated error."""
    decision = _decide(task, kind, why, history, policy)
    history.counted += decision.counted
    history.uncounted += kind in _UNCOUNTED
    if kind is FailureKind.DATA:
        history.last_error = why
    if decision.retry is None:
        return decision
    return replace(decision, retry=replace(decision.retry, attempt=history.next_attempt()))


def _decide(task: ChunkTask, kind: FailureKind, why: str, history: ChunkHistory, policy: FarmPolicy) -> Decision:
    match kind:
        case _ if kind in _UNCOUNTED and history.uncounted < _MAX_UNCOUNTED:
            return Decision(_UNCOUNTED[kind], task, counted=False)
        case FailureKind.OUT_OF_MEMORY:
            parts = 2 * task.parts
            if min(task.chunk_rows, task.batch_rows) < parts * policy.min_part_rows:
                return Decision(_GIVEN_UP, None, counted=False, remedy=f"Raise memory_threshold_mb. {RESUME}")
            return Decision(f"The chunk is retried in {parts} parts.", replace(task, parts=parts), counted=False)
        case FailureKind.ENVIRONMENT:
            return Decision("The run stops.", None, remedy=FREE_SPACE)
        case FailureKind.DATA if task.isolate:  # single rows are not the cause
            return Decision(_GIVEN_UP, None)
        case FailureKind.DATA if history.last_error == why:
            next_step = "The same error was raised twice: the rows that raise it are quarantined."
            return Decision(next_step, replace(task, isolate=True))
    if history.counted + 1 < policy.max_attempts:
        return Decision("The chunk is retried.", task)
    return Decision(_GIVEN_UP, None)
