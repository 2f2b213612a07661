"""What runs on the driver while chunks are farmed out: submit, keep bounded in flight, retry, finish.

At most one chunk per worker thread is in flight, so what a dead worker takes with it is small. What follows a failure
depends on its kind (``failures``): an error that comes again has its rows found and set aside; a chunk that took too
much memory is matched in more parts; one whose worker was lost, or that ran over ``timeout_seconds``, is tried again,
up to ``max_attempts`` times; one that only waited on a lost worker is, too, at no cost. A chunk's time begins when its
worker says so. When a chunk is given up, those in flight are still waited for: their checkpoints make the next run
shorter.

Knows tasks and checkpoints, not what is matched.
"""

from __future__ import annotations

import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from distributed import CancelledError, Client, Future, wait

from enrich_dist.attempts import AttemptLedger, FailedAttempt, FailureKind, Marker
from enrich_dist.checkpoints import CheckpointRecord
from enrich_dist.errors import EnvironmentFailureError, FarmError, IndexMismatchError
from enrich_dist.failures import classify
from enrich_dist.observe.events import Notice, emit
from enrich_dist.worker import ChunkTask, Matcher, run_chunk

RESUME = "Run the same command again: finished chunks are kept and only the rest is computed."
_GIVEN_UP = "It is given up; chunks in flight are waited for."
_POLL_SECONDS = 1.0
_RESTART_SECONDS = 60
# How often the driver asks which workers there are.
_LOOK_SECONDS = 0.5
# A worker this near its limit when it was last seen, and then lost, most likely died of it.
_NEAR_LIMIT = 0.8
# How long the nanny's word on a lost worker may be on its way.
_EVENT_SECONDS = 1.0
_MEMORY_TOPIC = "worker-restart-memory"
# A chunk that always waits on workers that die is tried no more often than this at no cost.
_MOST_BYSTANDERS = 20

ChunkListener = Callable[["ChunkTask", CheckpointRecord], None]


@dataclass(frozen=True)
class FarmPolicy:
    """How long and how often the farm tries."""

    timeout_seconds: float
    max_attempts: int
    min_part_rows: int
    """A chunk is not cut into parts of fewer rows."""
    no_worker_seconds: float
    """Time without any worker that takes work after which the run stops."""


@dataclass
class FarmOutcome:
    """Records by checkpoint key, failed attempts by kind, and wall seconds of the farm."""

    records: dict[str, CheckpointRecord] = field(default_factory=dict)
    failures: Counter[FailureKind] = field(default_factory=Counter)
    seconds: float = 0.0


@dataclass
class _Flight:
    task: ChunkTask
    submitted: float
    begun: float | None = None


@dataclass
class _Story:
    """What became of a chunk so far."""

    tries: int = 0
    bystanders: int = 0
    last_error: str | None = None


@dataclass(frozen=True)
class _Decision:
    """What follows a failure: the next attempt, None where the chunk is given up."""

    next_step: str
    following: ChunkTask | None
    counted: bool = True
    remedy: str = RESUME


@dataclass(frozen=True)
class _Worker:
    """A worker as it was last seen."""

    memory_bytes: int
    memory_limit_bytes: int
    paused: bool


class Farm:
    """One run of many chunks on one client."""

    def __init__(self, client: Client, matcher: Matcher, policy: FarmPolicy, ledger: AttemptLedger) -> None:
        self._client = client
        self._matcher = matcher
        self._policy = policy
        self._ledger = ledger
        self._in_flight: dict[Future[Any], _Flight] = {}
        self._pending: deque[ChunkTask] = deque()
        self._stories: dict[int, _Story] = {}
        self._workers: dict[str, _Worker] = {}
        self._outcome = FarmOutcome()
        self._given_up: FarmError | None = None
        self._last_worker_seen = time.monotonic()
        self._looked = float("-inf")
        self._threads = 0

    def run(
        self, tasks: Iterable[ChunkTask], *, on_chunk: ChunkListener, on_tick: Callable[[int], None]
    ) -> FarmOutcome:
        """Run all tasks; call ``on_chunk`` after each and ``on_tick(worker threads)`` about every second.

        Raises ``FarmError`` when a chunk was given up or no worker is left, ``IndexMismatchError`` and
        ``EnvironmentFailureError`` at once.
        """
        started = time.monotonic()
        self._pending.extend(tasks)
        self._ledger.clear()
        told: list[tuple[ChunkTask, CheckpointRecord]] = []
        try:
            while self._in_flight or (self._pending and self._given_up is None):
                threads = self._look_at_workers()
                self._fill(threads)
                # Workers have their next chunk before anybody is told of the last one.
                for task, record in told:
                    on_chunk(task, record)
                on_tick(threads)
                told = list(self._settled())
                self._restart_overdue()
            for task, record in told:
                on_chunk(task, record)
        finally:
            for future in self._in_flight:
                future.cancel()
        if self._given_up is not None:
            raise self._given_up
        self._outcome.seconds = time.monotonic() - started
        return self._outcome

    def _look_at_workers(self) -> int:
        """See which workers there are and how they are; return the threads of all."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return self._threads
        self._looked = now
        known = self._client.scheduler_info(n_workers=-1)["workers"]
        for address, info in known.items():
            self._workers[address] = _Worker(
                memory_bytes=int(info.get("metrics", {}).get("memory", 0)),
                memory_limit_bytes=int(info.get("memory_limit") or 0),
                paused=info.get("status") == "paused",
            )
        threads = self._threads = sum(int(info["nthreads"]) for info in known.values())
        paused = [address for address in known if self._workers[address].paused]
        if threads and len(paused) < len(known):
            self._last_worker_seen = now
        elif now - self._last_worker_seen > self._policy.no_worker_seconds:
            raise self._no_capacity(paused)
        return threads

    def _no_capacity(self, paused: list[str]) -> FarmError:
        seconds = f"{self._policy.no_worker_seconds:.0f} seconds"
        if not paused:
            return FarmError(f"The cluster has had no worker for {seconds}.", remedy=f"Start workers. {RESUME}")
        held = ", ".join(
            f"{address} holds {self._workers[address].memory_bytes / 1e6:,.0f} of "
            f"{self._workers[address].memory_limit_bytes / 1e6:,.0f} MB"
            for address in sorted(paused)
        )
        return FarmError(
            f"All workers have been paused for {seconds} as their memory is nearly full: {held}.",
            remedy=f"Raise memory_threshold_mb, or lower chunk_size or matching.batch_rows. {RESUME}",
        )

    def _fill(self, threads: int) -> None:
        while self._pending and self._given_up is None and len(self._in_flight) < threads:
            task = self._pending.popleft()
            # A name of its own for every attempt: Dask must never answer with an earlier one.
            name = f"chunk-{task.chunk_id}-attempt-{task.attempt}-{time.monotonic_ns()}"
            future = self._client.submit(run_chunk, task, self._matcher, key=name, pure=False)
            self._in_flight[future] = _Flight(task, time.monotonic())

    def _finished(self) -> list[Future[Any]]:
        if not self._in_flight:
            time.sleep(min(_POLL_SECONDS, 0.1))
            return []
        try:
            with self._client.as_current():
                wait(list(self._in_flight), timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")
        except (TimeoutError, CancelledError):  # nothing yet, or a future that the scheduler dropped
            pass
        return [future for future in self._in_flight if future.done()]

    def _settled(self) -> Iterator[tuple[ChunkTask, CheckpointRecord]]:
        """What finished since the last call and has a checkpoint."""
        for future in self._finished():
            task = self._in_flight.pop(future).task
            if future.status == "finished":
                record: CheckpointRecord = future.result()
                # Not left to the garbage collector: what is wanted and lost with its worker is computed again.
                future.release()
                self._outcome.records[task.checkpoint_key] = record
                if record.quarantined:
                    emit(Notice(_set_aside(task, record), warning=True))
                yield task, record
                continue
            error = None if future.cancelled() else future.exception()
            if isinstance(error, IndexMismatchError):
                raise error
            marker = self._ledger.marker(task.checkpoint_key, task.attempt)
            kind = classify(error, begun=marker is not None, short_of_memory=self._short_of_memory(marker))
            self._act(task, kind, error, marker)

    def _short_of_memory(self, marker: Marker | None) -> bool:
        """Whether the worker of an attempt was ended for its memory, or was near its limit when it was last seen."""
        if marker is None:
            return False
        seen = self._workers.get(marker.worker)
        if seen and seen.memory_limit_bytes and seen.memory_bytes >= _NEAR_LIMIT * seen.memory_limit_bytes:
            return True
        deadline = time.monotonic() + _EVENT_SECONDS
        while True:
            events = self._client.get_events(_MEMORY_TOPIC)
            if any((event["worker"], event["pid"]) == (marker.worker, marker.pid) for _, event in events):
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)

    def _act(self, task: ChunkTask, kind: FailureKind, error: BaseException | None, marker: Marker | None) -> None:
        """Do what the policy says after a failure: try again, differently or not, or give the chunk up."""
        story = self._stories.setdefault(task.chunk_id, _Story())
        why = self._why(kind, error, marker).strip().removesuffix(".")
        decision = self._decide(task, kind, why, story)
        self._outcome.failures[kind] += 1
        story.tries += decision.counted
        story.bystanders += kind is FailureKind.BYSTANDER
        if kind is FailureKind.DATA:
            story.last_error = why
        what = f"Chunk {task.chunk_id}, attempt {task.attempt}, failed ({kind}): {why}"
        self._note(task, kind, error, marker, why, decision)
        emit(Notice(f"{what}. {decision.next_step}", warning=True))
        if decision.following is not None:
            self._pending.appendleft(decision.following)
        elif kind is FailureKind.ENVIRONMENT:
            raise EnvironmentFailureError(f"{what}.", remedy=decision.remedy) from error
        elif self._given_up is None:
            self._given_up = FarmError(f"{what}.", remedy=decision.remedy)
            self._given_up.__cause__ = error

    def _decide(self, task: ChunkTask, kind: FailureKind, why: str, story: _Story) -> _Decision:
        following = replace(task, attempt=task.attempt + 1)
        match kind:
            case FailureKind.BYSTANDER if story.bystanders < _MOST_BYSTANDERS:
                return _Decision("It had not begun, and is tried again at no cost.", following, counted=False)
            case FailureKind.OUT_OF_MEMORY:
                remedy = f"Raise memory_threshold_mb. {RESUME}"
                parts = 2 * task.parts
                if task.chunk_rows < parts * self._policy.min_part_rows:
                    return _Decision(_GIVEN_UP, None, counted=False, remedy=remedy)
                return _Decision(f"It is matched in {parts} parts.", replace(following, parts=parts), counted=False)
            case FailureKind.ENVIRONMENT:
                remedy = f"Make space, or see that the disk can be written to. {RESUME}"
                return _Decision("The run stops.", None, remedy=remedy)
            case FailureKind.DATA if task.isolate:  # not a matter of single rows
                return _Decision(_GIVEN_UP, None)
            case FailureKind.DATA if story.last_error == why:
                next_step = "The same error came again: the rows that raise it are looked for and set aside."
                return _Decision(next_step, replace(following, isolate=True))
        if story.tries + 1 < self._policy.max_attempts:
            return _Decision("It is tried again.", following)
        return _Decision(_GIVEN_UP, None)

    def _why(self, kind: FailureKind, error: BaseException | None, marker: Marker | None) -> str:
        match kind:
            case FailureKind.HANG:
                return f"it ran over timeout_seconds ({self._policy.timeout_seconds:g} s)"
            case FailureKind.BYSTANDER:
                return "its worker was lost"
            case FailureKind.CRASH | FailureKind.OUT_OF_MEMORY if marker is not None:
                seen = self._workers.get(marker.worker)
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
        decision: _Decision,
    ) -> None:
        """Keep the failure in the ledger, for whoever looks from files alone."""
        seen = self._workers.get(marker.worker) if marker else None
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

    def _restart_overdue(self) -> None:
        now = time.monotonic()
        for flight in self._in_flight.values():
            # By this clock: those of the workers may differ.
            if flight.begun is None and self._ledger.marker(flight.task.checkpoint_key, flight.task.attempt):
                flight.begun = now
        timeout_seconds = self._policy.timeout_seconds
        overdue = [
            future
            for future, flight in self._in_flight.items()
            if now - (flight.submitted if flight.begun is None else flight.begun) > timeout_seconds
        ]
        if not overdue:
            return
        worker_of = {key: address for address, keys in self._client.processing().items() for key in keys}
        for future in overdue:
            flight = self._in_flight[future]
            address = worker_of.get(future.key)
            if address is None:  # finished just now, or waiting for a worker: its time has not begun
                flight.submitted = now
                continue
            del self._in_flight[future]
            future.cancel(force=True)
            marker = self._ledger.marker(flight.task.checkpoint_key, flight.task.attempt)
            # A running task cannot be stopped, only its process can.
            self._client.restart_workers([address], timeout=_RESTART_SECONDS, raise_for_error=False)
            self._act(flight.task, FailureKind.HANG, None, marker)


def _set_aside(task: ChunkTask, record: CheckpointRecord) -> str:
    first = record.quarantined[0]
    return (
        f"Chunk {task.chunk_id}: {len(record.quarantined)} of {record.rows_in} rows are set aside, the first of them "
        f"row {first['source_row']} ({first['reason']})."
    )


@dataclass(frozen=True)
class WorkerMemory:
    """What one worker process did and the most memory it used doing it."""

    worker: str
    host: str
    pid: int
    chunks: int
    records: int
    busy_seconds: float
    peak_memory_bytes: int
    memory_method: str
    memory_limit_bytes: int


def memory_per_worker(records: Iterable[CheckpointRecord]) -> list[WorkerMemory]:
    """Aggregate chunk records by worker process, ordered by host, name and process number."""
    groups: dict[tuple[str, str, int], list[CheckpointRecord]] = {}
    for record in records:
        groups.setdefault((record.host, record.worker, record.pid), []).append(record)
    return [
        WorkerMemory(
            worker=worker,
            host=host,
            pid=pid,
            chunks=len(items),
            records=sum(item.rows_in for item in items),
            busy_seconds=sum(item.seconds for item in items),
            peak_memory_bytes=max(item.peak_memory_bytes for item in items),
            memory_method=items[0].memory_method,
            memory_limit_bytes=items[0].memory_limit_bytes,
        )
        for (host, worker, pid), items in sorted(groups.items())
    ]
