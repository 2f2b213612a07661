"""The farm as a state machine: events in, actions out. No I/O, no clock, no Dask, no threads.

``FarmState.handle(event, now)`` returns the actions that ``driver`` carries out. A failed attempt is classified in
``_attempt_failed``; its chunk is retried or given up in ``_fail``, by the table in ``policy``. At most two
attempts per worker thread are active: one runs and one is queued, so that no worker waits for the driver and a lost
worker takes little with it. ``now`` is the driver's monotonic clock, in seconds.
"""

from __future__ import annotations

import traceback
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace

from enrich_dist.errors import EnrichError, EnvironmentFailureError, FarmError, IndexMismatchError
from enrich_dist.events import Notice
from enrich_dist.farm import messages
from enrich_dist.farm.active_attempts import ActiveAttempt, find_stragglers
from enrich_dist.farm.attempts import FailedAttempt, FailureKind, Marker
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.messages import Action, AttemptId, Event
from enrich_dist.farm.policy import ChunkHistory, Decision, FarmPolicy, classify_error, decide, describe_failure
from enrich_dist.farm.worker_monitor import WorkerMonitor
from enrich_dist.farm.worker_recovery import WorkerRecovery
from enrich_dist.remedies import RESUME
from enrich_dist.store.checkpoints import CheckpointRecord

MAX_ATTEMPTS_PER_THREAD = 2
# How long the nanny's report on a lost worker may be on its way.
MEMORY_EVENT_SECONDS = 1.0
# Workers and stragglers are checked at this interval.
_CHECK_SECONDS = 1.0


@dataclass(frozen=True)
class _LostAttempt:
    """An attempt whose worker was lost while it ran: a crash, unless a nanny reports within ``deadline``."""

    entry: ActiveAttempt
    failure: messages.AttemptFailed
    marker: Marker
    received: float
    deadline: float


class FarmState:
    """The state of one farm of ``tasks``, which have distinct ``chunk_id``."""

    def __init__(self, tasks: Iterable[ChunkTask], policy: FarmPolicy) -> None:
        self.monitor = WorkerMonitor()
        self.active_attempts: dict[AttemptId, ActiveAttempt] = {}
        self.failures: Counter[FailureKind] = Counter()
        self.backup_tasks = 0
        self.finished_chunks = 0
        self._policy = policy
        self._pending = deque(tasks)
        self._histories = {task.chunk_id: ChunkHistory(unfinished=1) for task in self._pending}
        self._recovery = WorkerRecovery(policy, self.monitor, self.active_attempts)
        self._fetching: dict[AttemptId, ActiveAttempt] = {}
        self._lost: dict[AttemptId, _LostAttempt] = {}
        self._out_of_memory: set[tuple[str, int]] = set()
        self._chunk_seconds: list[float] = []
        self._scheduler_lost: float | None = None
        self._checked = float("-inf")
        self._given_up: FarmError | None = None
        self._stopped = False
        self._actions: list[Action] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        """Return the actions that follow from ``event``; none after ``Stop``."""
        if self._stopped:
            return []
        match event:
            case messages.Tick():
                self._tick(now)
            case messages.WorkersObserved():
                self._actions += [messages.Notify(news) for news in self.monitor.update(event, now)]
                self._recovery.forget_absent()
            case messages.AttemptStarted() if (
                entry := self.active_attempts.get(event.attempt)
            ) and entry.started is None:
                entry.started, entry.marker = now, event.marker
            case messages.AttemptSucceeded():
                self._attempt_succeeded(event)
            case messages.RecordFetched() if entry := self._fetching.pop(event.attempt, None):
                self._chunk_finished(entry, event.record, now)
            case messages.AttemptFailed():
                self._attempt_failed(event, now)
            case messages.WorkerOutOfMemory():
                self._out_of_memory.add((event.worker, event.pid))
                self._classify_lost(now)
            case messages.AttemptsLocated():
                self._recover(self._recovery.recover_overdue(event.worker_of, now), now)
            case messages.WorkerRestarted():
                self._recovery.excluded.discard(event.worker)
            case messages.SchedulerLost():
                self._scheduler_is_lost(event, now)
            case messages.SchedulerReturned():
                self._scheduler_lost = None
                self.monitor.reset_unusable()
                self._notify("The connection to the scheduler is restored.")
        actions, self._actions = self._actions, []
        return actions

    def _tick(self, now: float) -> None:
        self._classify_lost(now)
        if self.monitor.unusable_seconds() > self._policy.no_worker_seconds:
            self._stop(self._no_capacity())
            return
        self._submit_pending(now)
        if now - self._checked >= _CHECK_SECONDS:
            self._checked = now
            if overdue := self._recovery.overdue(now):
                self._actions.append(messages.LocateAttempts(overdue))
            self._recover(self._recovery.recover_silent(), now)
            self._recover(self._recovery.recover_paused(self.finished_chunks), now)
            self._submit_backup_tasks(now)
        if not (self.active_attempts or self._fetching or self._lost) and (self._given_up or not self._pending):
            self._stop(self._given_up)

    # Submission

    def _submit_pending(self, now: float) -> None:
        limit = self.monitor.threads * MAX_ATTEMPTS_PER_THREAD
        while self._pending and self._given_up is None and len(self.active_attempts) < limit:
            self._submit(self._pending.popleft(), now, avoid=self._recovery.excluded)

    def _submit(self, task: ChunkTask, now: float, *, avoid: set[str]) -> None:
        self.active_attempts[AttemptId(task.chunk_id, task.attempt)] = ActiveAttempt(task, now, now)
        self._actions.append(messages.Submit(task, tuple(sorted(self.monitor.present - avoid)) if avoid else ()))

    def _submit_backup_tasks(self, now: float) -> None:
        if self._pending or self._given_up:
            return
        busy = {entry.worker for entry in self.active_attempts.values() if entry.worker}
        avoid = busy | self._recovery.excluded | set(self.monitor.paused())
        stragglers = find_stragglers(
            self.active_attempts.values(),
            self._chunk_seconds,
            now=now,
            factor=self._policy.straggler_factor,
            min_seconds=self._policy.straggler_min_seconds,
            free_threads=self.monitor.threads - len(self.active_attempts) if self.monitor.present - avoid else 0,
        )
        for entry in stragglers:
            task, history = entry.task, self._histories[entry.task.chunk_id]
            self._notify(
                f"Chunk {task.chunk_id} has been running for {entry.running_seconds(now):.0f} s, longer than most "
                "chunks. An idle worker runs a backup task; the first to finish counts."
            )
            self.backup_tasks += 1
            history.unfinished += 1
            self._submit(replace(task, attempt=history.next_attempt()), now, avoid=avoid)

    # Ends of attempts

    def _attempt_succeeded(self, event: messages.AttemptSucceeded) -> None:
        if (entry := self.active_attempts.pop(event.attempt, None)) is None:
            return
        entry.done = event.done_seconds
        self._fetching[event.attempt] = entry
        if self._histories[event.attempt.chunk_id].unfinished > 1:
            for other in [other for other in self.active_attempts if other.chunk_id == event.attempt.chunk_id]:
                self._release(other)
                self._histories[other.chunk_id].unfinished -= 1

    def _chunk_finished(self, entry: ActiveAttempt, record: CheckpointRecord, now: float) -> None:
        task, history = entry.task, self._histories[entry.task.chunk_id]
        history.unfinished -= 1
        if history.finished:
            return
        history.finished = True
        self.finished_chunks += 1
        self._chunk_seconds.append(record.seconds)
        self._actions.append(messages.Notify(entry.times("finished", record.worker, now, record)))
        if record.quarantined:
            first = record.quarantined[0]
            self._notify(
                f"Chunk {task.chunk_id}: {len(record.quarantined)} of {record.rows_in} rows are quarantined, the first "
                f"is row {first['source_row']} ({first['reason']}).",
                warning=True,
            )
        self._actions.append(messages.FinishChunk(task, record))

    def _attempt_failed(self, event: messages.AttemptFailed, now: float) -> None:
        """Classify the failure; if only a nanny can say why the worker was lost, wait for its report."""
        entry = self.active_attempts.pop(event.attempt, None) or self._fetching.pop(event.attempt, None)
        if entry is None:
            return
        entry.done = event.done_seconds
        if isinstance(event.error, IndexMismatchError) and not self._retire(event.error):
            self._stop(event.error)
        elif event.error is None:
            self._fail(entry, event, FailureKind.SCHEDULER, now)
        elif not event.worker_lost:
            self._fail(entry, event, classify_error(event.error), now)
        elif event.marker is None:
            self._fail(entry, event, FailureKind.NOT_STARTED, now)
        else:
            deadline = now + MEMORY_EVENT_SECONDS
            self._lost[event.attempt] = _LostAttempt(entry, event, event.marker, now, deadline)
            self._classify_lost(now)

    def _classify_lost(self, now: float) -> None:
        """Classify the attempts whose worker was lost while they ran, as soon as the cause is known."""
        for attempt, lost in list(self._lost.items()):
            worker = self.monitor.last_observed(lost.marker.worker)
            reported = (lost.marker.worker, lost.marker.pid) in self._out_of_memory
            if reported or (worker is not None and worker.near_memory_limit):
                kind = FailureKind.OUT_OF_MEMORY
            elif now >= lost.deadline:
                kind = FailureKind.CRASH
            else:
                continue
            del self._lost[attempt]
            self._fail(lost.entry, lost.failure, kind, lost.received)

    def _retire(self, error: IndexMismatchError) -> bool:
        """Retire a worker that cannot use the index. Refuse if no other worker has finished a chunk: most likely none
        can."""
        if not self.finished_chunks or error.worker is None:
            return False
        if error.worker not in self._recovery.excluded:
            self._notify(f"Worker {error.worker} is retired: {error}", warning=True)
            self._recovery.end(error.worker)
            self._actions.append(messages.RetireWorker(error.worker))
        return True

    def _fail(
        self,
        entry: ActiveAttempt,
        failure: messages.AttemptFailed,
        kind: FailureKind,
        received: float,
        why: str | None = None,
    ) -> None:
        """Retry the chunk of a failed attempt, or give it up, as the policy says, and record the failure."""
        task, history, marker = entry.task, self._histories[entry.task.chunk_id], failure.marker
        worker = self.monitor.last_observed(marker.worker) if marker else None
        limit_bytes = worker.status.memory_limit_bytes if worker else 0
        why = why or describe_failure(kind, failure.error, marker, limit_bytes)
        history.unfinished -= 1
        redundant = (history.unfinished > 0 or history.finished) and kind is not FailureKind.ENVIRONMENT
        if redundant:
            decision = Decision("Another attempt at the chunk is active.", None, counted=False)
        else:
            decision = decide(task, kind, why, history, self._policy)
        what = f"Chunk {task.chunk_id}, attempt {task.attempt}, failed ({kind}): {why}."
        self.failures[kind] += 1
        self._actions += [
            messages.Notify(entry.times(str(kind), worker.status.name if worker else None, received)),
            messages.RecordFailure(
                FailedAttempt(
                    checkpoint_key=task.checkpoint_key,
                    chunk_id=task.chunk_id,
                    attempt=task.attempt,
                    kind=kind,
                    counted=decision.counted,
                    message=why,
                    next_step=decision.next_step,
                    traceback="".join(traceback.format_exception(failure.error)) if failure.error else "",
                    marker=marker,
                    memory_bytes=worker.status.memory_bytes if worker else None,
                )
            ),
        ]
        self._notify(f"{what} {decision.next_step}", warning=True)
        if decision.retry is not None:
            history.unfinished += 1
            self._pending.appendleft(decision.retry)
        elif kind is FailureKind.ENVIRONMENT:
            self._stop(EnvironmentFailureError(what, remedy=decision.remedy), failure.error)
        elif not redundant and self._given_up is None:
            self._given_up = FarmError(what, remedy=decision.remedy)
            self._given_up.__cause__ = failure.error

    # Workers and scheduler

    def _recover(self, decisions: Iterable[messages.Abandon | Action], now: float) -> None:
        for decision in decisions:
            if not isinstance(decision, messages.Abandon):
                self._actions.append(decision)
                continue
            entry = self._release(decision.attempt)
            self._fail(
                entry,
                messages.AttemptFailed(decision.attempt, None, entry.marker, now),
                decision.kind,
                now,
                decision.why,
            )

    def _release(self, attempt: AttemptId) -> ActiveAttempt:
        self._actions.append(messages.Cancel(attempt))
        return self.active_attempts.pop(attempt)

    def _no_capacity(self) -> FarmError:
        seconds = f"{self._policy.no_worker_seconds:.0f} seconds"
        if paused := self.monitor.describe_paused():
            return FarmError(
                f"All workers have been paused for {seconds} because their memory is nearly full: {paused}.",
                remedy=f"Raise memory_threshold_mb, or lower chunk_size or matching.batch_rows. {RESUME}",
            )
        return FarmError(f"The cluster has had no worker for {seconds}.", remedy=f"Start workers. {RESUME}")

    def _scheduler_is_lost(self, event: messages.SchedulerLost, now: float) -> None:
        limit_seconds = self._policy.no_worker_seconds
        if self._scheduler_lost is None:
            self._scheduler_lost = now
            self._notify(
                f"The connection to the scheduler at {event.address} is lost. The run waits up to "
                f"{limit_seconds:.0f} seconds for it.",
                warning=True,
            )
        if not event.reconnecting or now - self._scheduler_lost >= limit_seconds:
            lost = f"The scheduler at {event.address} was lost and did not return within {limit_seconds:.0f} seconds."
            self._stop(FarmError(lost, remedy=f"Start scheduler and workers again. {RESUME}"))

    def _notify(self, message: str, *, warning: bool = False) -> None:
        self._actions.append(messages.Notify(Notice(message, warning)))

    def _stop(self, error: EnrichError | None, cause: BaseException | None = None) -> None:
        if error is not None and cause is not None:
            error.__cause__ = cause
        self._actions.append(messages.Stop(error))
        self._stopped = True
