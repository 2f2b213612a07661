"""Events that ``FarmState`` handles, and actions that it returns.

``driver`` turns Dask's callbacks, the scheduler's information and the ledger's markers into events, and carries out the
actions. All are immutable and hold no Dask object: futures stay in the driver, under the attempt's id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from enrich_dist.errors import EnrichError
from enrich_dist.events import Event as RunEvent
from enrich_dist.farm.attempts import FailedAttempt, FailureKind, Marker
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.store.checkpoints import CheckpointRecord


class AttemptId(NamedTuple):
    """Identifies an attempt."""

    chunk_id: int
    attempt: int


@dataclass(frozen=True)
class WorkerStatus:
    """A worker as the scheduler reports it."""

    address: str
    name: str
    nthreads: int
    memory_bytes: int
    memory_limit_bytes: int
    """0: no limit."""
    managed_bytes: int
    paused: bool
    last_heartbeat: Any
    """Compared for equality only: it is of the scheduler's clock."""


# Events


@dataclass(frozen=True)
class WorkersObserved:
    """The scheduler's workers, requested at ``requested_seconds``. ``metrics_addresses``: of Prometheus pages."""

    workers: tuple[WorkerStatus, ...]
    requested_seconds: float
    metrics_addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class AttemptStarted:
    """The attempt's marker is in the ledger."""

    attempt: AttemptId
    marker: Marker


@dataclass(frozen=True)
class AttemptSucceeded:
    """The task returned; the driver fetches its record next."""

    attempt: AttemptId
    done_seconds: float


@dataclass(frozen=True)
class RecordFetched:
    """The checkpoint record of an attempt that succeeded."""

    attempt: AttemptId
    record: CheckpointRecord


@dataclass(frozen=True)
class AttemptFailed:
    """The attempt raised ``error``, or its worker was lost, or (``error`` is None) the scheduler was."""

    attempt: AttemptId
    error: BaseException | None
    marker: Marker | None
    done_seconds: float
    worker_lost: bool = False


@dataclass(frozen=True)
class WorkerOutOfMemory:
    """A nanny terminated its worker for its memory (Dask's event "worker-restart-memory")."""

    worker: str
    pid: int


@dataclass(frozen=True)
class AttemptsLocated:
    """Answers ``LocateAttempts``: the worker to which each attempt is assigned, None if there is none."""

    worker_of: Mapping[AttemptId, str | None]


@dataclass(frozen=True)
class WorkerRestarted:
    """``RestartWorker`` is complete."""

    worker: str


@dataclass(frozen=True)
class SchedulerLost:
    """The connection to the scheduler is lost. ``reconnecting``: whether the client still tries to restore it."""

    address: str
    reconnecting: bool


@dataclass(frozen=True)
class SchedulerReturned:
    """The connection is back."""


@dataclass(frozen=True)
class Tick:
    """Time has passed: submit, check timeouts, and stop if nothing is left to do."""


Event = (
    WorkersObserved | AttemptStarted | AttemptSucceeded | RecordFetched | AttemptFailed | WorkerOutOfMemory
    | AttemptsLocated | WorkerRestarted | SchedulerLost | SchedulerReturned | Tick
)  # fmt: skip

# Actions


@dataclass(frozen=True)
class Submit:
    """Submit the task. ``workers``: addresses that Dask should prefer; empty for any worker."""

    task: ChunkTask
    workers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cancel:
    """Cancel the attempt; its end is ignored."""

    attempt: AttemptId


@dataclass(frozen=True)
class LocateAttempts:
    """Ask the scheduler where the attempts are, unless an answer is due; answer with ``AttemptsLocated``."""

    attempts: tuple[AttemptId, ...]


@dataclass(frozen=True)
class RestartWorker:
    """Have the worker's nanny restart it."""

    worker: str


@dataclass(frozen=True)
class RetireWorker:
    """Retire the worker."""

    worker: str


@dataclass(frozen=True)
class RecordFailure:
    """Write the failure to the ledger."""

    failure: FailedAttempt


@dataclass(frozen=True)
class FinishChunk:
    """The chunk is finished: report it."""

    task: ChunkTask
    record: CheckpointRecord


@dataclass(frozen=True)
class Abandon:
    """End an active attempt as failed. ``FarmState`` carries it out itself."""

    attempt: AttemptId
    kind: FailureKind
    why: str


@dataclass(frozen=True)
class Notify:
    """Emit a run event."""

    event: RunEvent


@dataclass(frozen=True)
class Stop:
    """The farm is done, or cannot continue: ``error``."""

    error: EnrichError | None = None


Action = (
    Submit | Cancel | LocateAttempts | RestartWorker | RetireWorker | RecordFailure | FinishChunk | Notify | Stop
)  # fmt: skip
