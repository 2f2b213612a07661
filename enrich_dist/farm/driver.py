"""What runs on the driver while chunks are farmed out: submit, keep bounded in flight, retry, finish.

At most two chunks per worker thread are in flight, one under way and one that waits there: no worker waits for the
driver, and what a dead worker takes with it is small. What follows a failure depends on its kind (``failures``,
``policy``): an error that comes again has its rows found and set aside; a chunk that took too much memory is matched in
more parts; one whose worker was lost, fell silent, or that ran over ``timeout_seconds``, is tried again, up to
``max_attempts`` times; one that only waited on a lost worker, or was lost with the scheduler, is too, at no cost. A
chunk's time begins when its worker says so. When nothing waits any more, a chunk that takes far longer than the others
is given to an idle worker as well; whichever finishes first counts. When a chunk is given up, those in flight are
still waited for: their checkpoints make the next run shorter.

Knows tasks and checkpoints, not what is matched.
"""

from __future__ import annotations

import statistics
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import Any

from distributed import Client, Future, KilledWorker

from enrich_dist.core.matcher import Matcher
from enrich_dist.errors import EnvironmentFailureError, FarmError, IndexMismatchError
from enrich_dist.events import Notice, emit
from enrich_dist.farm.attempts import AttemptLedger, FailedAttempt, FailureKind, Marker
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.failures import classify
from enrich_dist.farm.in_flight import Flight, fetch_records
from enrich_dist.farm.policy import ChunkHistory, Decision, FarmPolicy, decide
from enrich_dist.farm.worker import run_chunk
from enrich_dist.farm.worker_monitor import WorkerMonitor
from enrich_dist.farm.worker_recovery import StuckWorkers
from enrich_dist.farm.worker_retirement import Dismissals
from enrich_dist.remedies import RESUME
from enrich_dist.store.checkpoints import CheckpointRecord

_IN_FLIGHT_PER_THREAD = 2
_POLL_SECONDS = 1.0
_IDLE_SECONDS = 0.1
# Records of finished chunks are fetched together, this long after the last ones.
_FETCH_SECONDS = 0.25
# Fewer finished chunks do not tell how long a chunk usually takes.
_USUAL_CHUNKS = 3

ChunkListener = Callable[["ChunkTask", CheckpointRecord], None]


@dataclass
class FarmOutcome:
    """Records by checkpoint key, failed attempts by kind, chunks given to a second worker, how often workers were
    started again by their names, and wall seconds of the farm."""

    records: dict[str, CheckpointRecord] = field(default_factory=dict)
    failures: Counter[FailureKind] = field(default_factory=Counter)
    doubled: int = 0
    restarts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class Farm:
    """One run of many chunks on one client."""

    def __init__(self, client: Client, matcher: Matcher, policy: FarmPolicy, ledger: AttemptLedger) -> None:
        self._client = client
        self._matcher = matcher
        self._policy = policy
        self._ledger = ledger
        self._watch = WorkerMonitor(client)
        self._dismissals = Dismissals(client)
        self._in_flight: dict[Future[Any], Flight] = {}
        self._landed: dict[Future[Any], Flight] = {}  # done, their records not fetched yet
        self._fetched = float("-inf")
        self._stuck = StuckWorkers(
            client, policy, ledger, self._watch, self._dismissals, self._in_flight, self._abandon
        )
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()
        self._pending: deque[ChunkTask] = deque()
        self._stories: dict[int, ChunkHistory] = {}
        self._outcome = FarmOutcome()
        self._given_up: FarmError | None = None
        self._chunk_seconds: list[float] = []

    def run(
        self, tasks: Iterable[ChunkTask], *, on_chunk: ChunkListener, on_tick: Callable[[int], None]
    ) -> FarmOutcome:
        """Run all tasks; call ``on_chunk`` after each and ``on_tick(worker threads)`` about every second.

        Raises ``FarmError`` when a chunk was given up, or no worker or no scheduler is left, ``IndexMismatchError`` and
        ``EnvironmentFailureError`` at once.
        """
        started = time.monotonic()
        self._pending.extend(tasks)
        self._ledger.clear()
        told: list[tuple[ChunkTask, CheckpointRecord]] = []
        try:
            while self._in_flight or self._landed or (self._pending and self._given_up is None):
                self._hold_on_to_scheduler()
                self._look_at_workers()
                self._fill()
                # Workers have their next chunk before anybody is told of the last one.
                for task, record in told:
                    on_chunk(task, record)
                on_tick(self._watch.threads)
                told = list(self._settled())
                self._stuck.restart(len(self._outcome.records))
                self._double_stragglers()
            for task, record in told:
                on_chunk(task, record)
        finally:
            if self._client.status == "running":
                for future in self._in_flight:
                    future.cancel()
        if self._given_up is not None:
            raise self._given_up
        self._watch.look(at_once=True)  # a worker may have come back since the last time
        self._outcome.restarts = dict(self._watch.restarts)
        self._outcome.seconds = time.monotonic() - started
        return self._outcome

    def _hold_on_to_scheduler(self) -> None:
        """Wait for a scheduler that is away; the client itself looks for it.

        Raises ``FarmError`` when it does not come back.
        """
        if self._client.status == "running":
            return
        address = self._client.scheduler.address if self._client.scheduler else "its address"
        patience_seconds = self._policy.no_worker_seconds
        emit(
            Notice(
                f"The connection to the scheduler at {address} is lost; it is waited for, "
                f"up to {patience_seconds:.0f} seconds.",
                warning=True,
            )
        )
        deadline = time.monotonic() + patience_seconds
        while self._client.status == "connecting" and time.monotonic() < deadline:
            time.sleep(0.1)
        if self._client.status != "running":
            raise FarmError(
                f"The scheduler at {address} was lost and did not come back within {patience_seconds:.0f} seconds.",
                remedy=f"Start scheduler and workers again. {RESUME}",
            )
        emit(Notice("The connection to the scheduler is back."))
        self._watch.begin_anew()

    def _look_at_workers(self) -> None:
        self._watch.look()
        self._dismissals.forget_gone(self._watch.present)
        if self._watch.unusable_seconds > self._policy.no_worker_seconds:
            raise self._no_capacity()

    def _no_capacity(self) -> FarmError:
        seconds = f"{self._policy.no_worker_seconds:.0f} seconds"
        paused = [self._watch.last_seen(address) for address in self._watch.paused_seconds()]
        if not paused:
            return FarmError(f"The cluster has had no worker for {seconds}.", remedy=f"Start workers. {RESUME}")
        held = "; ".join(f"{worker.name} {worker.holds()}" for worker in paused if worker)
        return FarmError(
            f"All workers have been paused for {seconds} as their memory is nearly full: {held}.",
            remedy=f"Raise memory_threshold_mb, or lower chunk_size or matching.batch_rows. {RESUME}",
        )

    def _fill(self) -> None:
        most = self._watch.threads * _IN_FLIGHT_PER_THREAD
        while self._pending and self._given_up is None and len(self._in_flight) < most:
            task = self._pending.popleft()
            self._submit(task, without=self._dismissals.unfit)

    def _submit(self, task: ChunkTask, *, without: set[str]) -> None:
        # A name of its own for every attempt: Dask must never answer with an earlier one.
        name = f"chunk-{task.chunk_id}-attempt-{task.attempt}-{time.monotonic_ns()}"
        workers = sorted(self._watch.present - without) if without else None
        # Were those workers gone when the scheduler looks, others may have it.
        future = self._client.submit(
            run_chunk,
            task,
            self._matcher,
            key=name,
            pure=False,
            workers=workers or None,
            allow_other_workers=bool(workers),
        )
        flight = self._in_flight[future] = Flight(task, time.monotonic())

        def done(ended: Future[Any]) -> None:
            flight.done = time.monotonic()
            self._done.put(ended)

        future.add_done_callback(done)

    def _ended(self) -> Iterator[Future[Any]]:
        """Futures that are done since the last call; waits a moment for the first."""
        with suppress(Empty):
            yield self._done.get(timeout=self._patience_seconds())
            # No more than are there now: workers must not wait while the driver counts.
            for _ in range(self._done.qsize()):
                yield self._done.get_nowait()

    def _patience_seconds(self) -> float:
        if not self._in_flight:
            return _IDLE_SECONDS
        if not self._landed:
            return _POLL_SECONDS
        return max(0.0, self._fetched + _FETCH_SECONDS - time.monotonic())

    def _settled(self) -> Iterator[tuple[ChunkTask, CheckpointRecord]]:
        """What finished since the last call and has a checkpoint; a record may come a moment after its chunk is done,
        with others."""
        for future in self._ended():
            flight = self._in_flight.pop(future, None)
            if flight is None:  # let go of: another attempt at the same chunk finished first, or it hung
                continue
            if future.status == "finished":
                self._end_others(flight.task)
                self._landed[future] = flight
            else:
                self._fail(flight, None if future.cancelled() else future.exception())
        if not self._landed or (self._in_flight and time.monotonic() < self._fetched + _FETCH_SECONDS):
            return
        landed, self._landed = self._landed, {}
        for flight, record, error in fetch_records(self._client, landed):
            if record is None:
                self._fail(flight, error)
                continue
            flight.tell_times("finished", record.worker, record)
            self._outcome.records[flight.task.checkpoint_key] = record
            self._chunk_seconds.append(record.seconds)
            if record.quarantined:
                emit(Notice(_set_aside(flight.task, record), warning=True))
            yield flight.task, record
        self._fetched = time.monotonic()

    def _fail(self, flight: Flight, error: BaseException | None) -> None:
        """See to an attempt that has failed; without an error it was lost with the scheduler."""
        task = flight.task
        if isinstance(error, IndexMismatchError):
            self._refuse_worker(error)
        marker = self._ledger.marker(task.checkpoint_key, task.attempt)
        kind = (
            FailureKind.SCHEDULER
            if error is None
            else classify(error, begun=marker is not None, short_of_memory=self._short_of_memory(error, marker))
        )
        self._tell_failed(flight, kind, marker)
        self._act(task, kind, error, marker, self._why(kind, error, marker))

    def _tell_failed(self, flight: Flight, kind: FailureKind, marker: Marker | None) -> None:
        seen = self._watch.last_seen(marker.worker) if marker else None
        flight.tell_times(str(kind), seen.name if seen else None)

    def _short_of_memory(self, error: BaseException, marker: Marker | None) -> bool:
        if not isinstance(error, KilledWorker):
            return False
        with suppress(OSError):  # the scheduler is away: then nobody knows
            return self._watch.short_of_memory(marker)
        return False

    def _refuse_worker(self, error: IndexMismatchError) -> None:
        """Send a worker away that has no use for the index where others have.

        Raises the error where no worker has finished a chunk yet: then most likely none can.
        """
        if not self._outcome.records or error.worker is None:
            raise error
        if error.worker not in self._dismissals.unfit:
            emit(Notice(f"Worker {error.worker} takes no more work: {error}", warning=True))
            self._dismissals.retire(error.worker)

    def _end_others(self, task: ChunkTask) -> None:
        """Let go of other attempts at a finished chunk; what they still write is the same."""
        if not self._outcome.doubled:  # the usual case: nothing to look for among all that are in flight
            return
        for other in [other for other, flight in self._in_flight.items() if flight.task.chunk_id == task.chunk_id]:
            del self._in_flight[other]
            other.cancel()

    def _act(
        self, task: ChunkTask, kind: FailureKind, error: BaseException | None, marker: Marker | None, why: str
    ) -> None:
        """Do what the policy says after a failure: try again, differently or not, or give the chunk up."""
        why = why.strip().removesuffix(".")
        self._outcome.failures[kind] += 1
        others = [flight.task for flight in self._in_flight.values() if flight.task.chunk_id == task.chunk_id]
        if others and kind is not FailureKind.ENVIRONMENT:
            decision = Decision("Another worker is at it already.", None, counted=False)
        else:
            decision = decide(task, kind, why, self._story(task), self._policy)
        what = f"Chunk {task.chunk_id}, attempt {task.attempt}, failed ({kind}): {why}"
        self._note(task, kind, error, marker, why, decision)
        emit(Notice(f"{what}. {decision.next_step}", warning=True))
        if decision.following is not None:
            self._pending.appendleft(decision.following)
        elif kind is FailureKind.ENVIRONMENT:
            raise EnvironmentFailureError(f"{what}.", remedy=decision.remedy) from error
        elif not others and self._given_up is None:
            self._given_up = FarmError(f"{what}.", remedy=decision.remedy)
            self._given_up.__cause__ = error

    def _story(self, task: ChunkTask) -> ChunkHistory:
        return self._stories.setdefault(task.chunk_id, ChunkHistory())

    def _why(self, kind: FailureKind, error: BaseException | None, marker: Marker | None) -> str:
        match kind:
            case FailureKind.SCHEDULER:
                return "the connection to the scheduler was lost"
            case FailureKind.NOT_STARTED:
                return "its worker was lost"
            case FailureKind.CRASH | FailureKind.OUT_OF_MEMORY if marker is not None:
                seen = self._watch.last_seen(marker.worker)
                limit = f" (limit {seen.memory_limit_bytes / 1e6:,.0f} MB)" if seen and seen.memory_limit_bytes else ""
                how = f" for its memory{limit}" if kind is FailureKind.OUT_OF_MEMORY else ""
                return f"worker {marker.worker} (process {marker.pid} on {marker.host}) was lost{how}"
            case _:
                return f"{type(error).__name__}: {error}"

    def _note(
        self,
        task: ChunkTask,
        kind: FailureKind,
        error: BaseException | None,
        marker: Marker | None,
        why: str,
        decision: Decision,
    ) -> None:
        """Keep the failure in the ledger, for whoever looks from files alone."""
        seen = self._watch.last_seen(marker.worker) if marker else None
        self._ledger.add(
            FailedAttempt(
                checkpoint_key=task.checkpoint_key,
                chunk_id=task.chunk_id,
                attempt=task.attempt,
                kind=kind,
                counted=decision.counted,
                message=why,
                next_step=decision.next_step,
                traceback="".join(traceback.format_exception(error)) if error is not None else "",
                worker=marker.worker if marker else None,
                host=marker.host if marker else None,
                pid=marker.pid if marker else None,
                memory_bytes=seen.memory_bytes if seen else None,
                failed_seconds=time.time(),
            )
        )
        self._ledger.clear_marker(task.checkpoint_key, task.attempt)

    def _abandon(self, future: Future[Any], kind: FailureKind, why: str) -> None:
        flight = self._in_flight.pop(future)
        task = flight.task
        future.cancel(force=True)
        marker = self._ledger.marker(task.checkpoint_key, task.attempt)
        self._tell_failed(flight, kind, marker)
        self._act(task, kind, None, marker, why)

    def _double_stragglers(self) -> None:
        """Give chunks that take far longer than usual to idle workers, too, when nothing else waits."""
        factor = self._policy.straggler_factor
        if not factor or self._pending or self._given_up or len(self._chunk_seconds) < _USUAL_CHUNKS:
            return
        now = time.monotonic()
        usual_seconds = statistics.median(self._chunk_seconds)
        limit_seconds = max(self._policy.straggler_min_seconds, factor * usual_seconds)
        flights = list(self._in_flight.values())
        attempts = Counter(flight.task.chunk_id for flight in flights)
        taken = (
            {flight.worker for flight in flights if flight.worker}
            | self._dismissals.unfit
            | set(self._watch.paused_seconds())
        )
        for flight in flights:
            if len(self._in_flight) >= self._watch.threads or not self._watch.present - taken:
                return
            if flight.begun is None or now - flight.begun < limit_seconds or attempts[flight.task.chunk_id] > 1:
                continue
            emit(
                Notice(
                    f"Chunk {flight.task.chunk_id} has taken {now - flight.begun:.0f} s, usual are "
                    f"{usual_seconds:.1f} s: an idle worker computes it, too, and the first to finish counts."
                )
            )
            self._outcome.doubled += 1
            attempt = self._story(flight.task).next_attempt()
            self._submit(replace(flight.task, attempt=attempt), without=taken)


def _set_aside(task: ChunkTask, record: CheckpointRecord) -> str:
    first = record.quarantined[0]
    return (
        f"Chunk {task.chunk_id}: {len(record.quarantined)} of {record.rows_in} rows are set aside, the first of them "
        f"row {first['source_row']} ({first['reason']})."
    )
