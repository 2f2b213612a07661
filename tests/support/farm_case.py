"""A farm without Dask: tasks, a policy, and a simulated cluster that carries out the actions of ``FarmState``."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from enrich_dist.events import Notice
from enrich_dist.farm.attempts import FailedAttempt, Marker
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.messages import (
    Action,
    AttemptFailed,
    AttemptId,
    AttemptsLocated,
    AttemptStarted,
    AttemptSucceeded,
    Cancel,
    Event,
    FinishChunk,
    LocateAttempts,
    Notify,
    RecordFailure,
    RecordFetched,
    RestartWorker,
    RetireWorker,
    Stop,
    Submit,
    Tick,
    WorkersObserved,
    WorkerStatus,
)
from enrich_dist.farm.policy import FarmPolicy
from enrich_dist.farm.state import FarmState
from enrich_dist.store.checkpoints import CheckpointRecord

POLICY = FarmPolicy(
    timeout_seconds=60,
    max_attempts=3,
    min_part_rows=300,
    no_worker_seconds=60,
    heartbeat_timeout_seconds=60,
    straggler_factor=3,
    straggler_min_seconds=10,
)


def chunk_task(chunk_id: int) -> ChunkTask:
    """A chunk of 1,000 rows."""
    return ChunkTask(chunk_id, Path("c"), 1_000, "", Path("i"), "", Path("s"), f"key{chunk_id}", Path("l"))  # type: ignore[arg-type]


def checkpoint_record(task: ChunkTask, *, worker: str, seconds: float) -> CheckpointRecord:
    """The record of a finished chunk."""
    return CheckpointRecord(
        key=task.checkpoint_key, rows_in=task.chunk_rows, rows_with_candidates=0,
        rows_without_candidates=task.chunk_rows, rows_quarantined=0, quarantined=[], candidates=0, bytes=0, blake3="",
        counts_bytes=0, counts_blake3="", seconds=seconds, peak_memory_bytes=0, projected_peak_memory_bytes=0,
        memory_method="none", memory_limit_bytes=0, worker=worker, host="host", pid=1, attempt=task.attempt,
        parts=task.parts, batch_rows=1_000, batch_rows_least=1_000, degradations=0,
    )  # fmt: skip


@dataclass
class SimulatedWorker:
    """One thread, and a queue of the attempts that the scheduler has assigned to it; the first one runs."""

    address: str
    name: str
    pid: int
    memory_bytes: int = 100
    paused: bool = False
    silent: bool = False
    queue: deque[AttemptId] = field(default_factory=deque)

    @property
    def running(self) -> AttemptId | None:
        """The attempt that runs."""
        return self.queue[0] if self.queue and not self.paused else None


class SimulatedFarm:
    """``FarmState`` on a simulated cluster with a simulated clock."""

    def __init__(self, chunks: int, workers: int, policy: FarmPolicy = POLICY, memory_limit_bytes: int = 1_000) -> None:
        self.now = 0.0
        self.state = FarmState([chunk_task(number) for number in range(chunks)], policy)
        self.workers: dict[str, SimulatedWorker] = {}
        self.tasks: dict[AttemptId, ChunkTask] = {}
        self.submitted: list[tuple[float, ChunkTask]] = []
        self.submissions: list[Submit] = []
        self.finished: Counter[int] = Counter()
        self.failures: list[FailedAttempt] = []
        self.notices: list[str] = []
        self.actions: list[Action] = []
        self.restarted: list[str] = []
        self.retired: list[str] = []
        self.stop: Stop | None = None
        self._memory_limit_bytes = memory_limit_bytes
        self._numbers = itertools.count()
        for _ in range(workers):
            self.add_worker()
        self.observe()

    def add_worker(self, name: str | None = None) -> SimulatedWorker:
        """Start a worker, or start one again under its name."""
        number = next(self._numbers)
        worker = SimulatedWorker(f"tcp://{number}", name or str(number), number)
        self.workers[worker.address] = worker
        return worker

    def observe(self) -> None:
        """Report the workers."""
        self.handle(
            WorkersObserved(
                tuple(
                    WorkerStatus(
                        worker.address, worker.name, 1, worker.memory_bytes, self._memory_limit_bytes, 0,
                        worker.paused, None if worker.silent else self.now,
                    )
                    for worker in self.workers.values()
                ),
                requested_seconds=self.now,
            )
        )  # fmt: skip

    def handle(self, event: Event) -> list[Action]:
        """Pass an event to the state and carry out its actions."""
        actions = self.state.handle(event, self.now)
        self.actions += actions
        for action in actions:
            self._execute(action)
        return actions

    def tick(self, seconds: float = 0.0) -> list[Action]:
        """Let time pass; report workers and started attempts."""
        self.now += seconds
        self.observe()
        for worker in self.workers.values():
            if worker.running is not None:
                self.handle(AttemptStarted(worker.running, self.marker(worker)))
        return self.handle(Tick())

    def marker(self, worker: SimulatedWorker) -> Marker:
        """The marker of the attempt that a worker runs."""
        assert worker.running is not None
        task = self.tasks[worker.running]
        return Marker(task.checkpoint_key, task.attempt, worker.address, "host", worker.pid, self.now)

    def finish(self, worker: SimulatedWorker, seconds: float = 1.0) -> None:
        """Let the worker finish the attempt that it runs."""
        attempt = worker.queue.popleft()
        self.handle(AttemptSucceeded(attempt, self.now))
        self.handle(
            RecordFetched(attempt, checkpoint_record(self.tasks[attempt], worker=worker.address, seconds=seconds))
        )

    def fail(self, worker: SimulatedWorker, error: BaseException) -> None:
        """Let the attempt that the worker runs raise an error."""
        self.handle(AttemptFailed(worker.queue.popleft(), error, None, self.now))

    def kill(self, worker: SimulatedWorker) -> None:
        """Lose a worker with the attempts that it has."""
        del self.workers[worker.address]
        for number, attempt in enumerate(worker.queue):
            marker = None if number or worker.paused else self.marker(worker)
            self.handle(AttemptFailed(attempt, RuntimeError("killed"), marker, self.now, worker_lost=True))

    def _execute(self, action: Action) -> None:
        match action:
            case Submit():
                attempt = AttemptId(action.task.chunk_id, action.task.attempt)
                assert attempt not in self.tasks, "an attempt has a number of its own"
                self.tasks[attempt] = action.task
                self.submitted.append((self.now, action.task))
                self.submissions.append(action)
                candidates = [self.workers[name] for name in action.workers if name in self.workers]
                self._with_shortest_queue(candidates or list(self.workers.values())).queue.append(attempt)
            case Cancel():
                for worker in self.workers.values():
                    if action.attempt in worker.queue:
                        worker.queue.remove(action.attempt)
            case LocateAttempts():
                worker_of = {attempt: worker.address for worker in self.workers.values() for attempt in worker.queue}
                self.handle(AttemptsLocated({attempt: worker_of.get(attempt) for attempt in action.attempts}))
            case RestartWorker():
                self.restarted.append(action.worker)
            case RetireWorker():
                self.retired.append(action.worker)
            case RecordFailure():
                self.failures.append(action.failure)
            case FinishChunk():
                self.finished[action.task.chunk_id] += 1
            case Notify():
                if isinstance(action.event, Notice):
                    self.notices.append(action.event.message)
            case Stop():
                assert self.stop is None, "the farm stops once"
                self.stop = action

    def _with_shortest_queue(self, workers: Sequence[SimulatedWorker]) -> SimulatedWorker:
        return min(workers, key=lambda worker: len(worker.queue))
