"""What runs on the driver while chunks are farmed out: submit, keep bounded in flight, retry, finish.

At most one chunk per worker thread is in flight, so what a dead worker takes with it is small. A chunk that fails is
tried again up to ``max_attempts`` times, wherever a worker is free; one that runs over ``timeout_seconds`` has its
worker restarted first. When a chunk is given up, those in flight are still waited for: their checkpoints make
the next run shorter.

Knows tasks and checkpoints, not what is matched. Does not yet tell apart why a worker died.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from distributed import CancelledError, Client, Future, wait

from enrich_dist.checkpoints import CheckpointRecord
from enrich_dist.errors import FarmError, IndexMismatchError
from enrich_dist.observe.events import Notice, emit
from enrich_dist.worker import ChunkTask, Matcher, run_chunk

RESUME = "Run the same command again: finished chunks are kept and only the rest is computed."
_POLL_SECONDS = 1.0
_RESTART_SECONDS = 60

ChunkListener = Callable[["ChunkTask", CheckpointRecord], None]


@dataclass(frozen=True)
class FarmPolicy:
    """How long and how often the farm tries."""

    timeout_seconds: float
    max_attempts: int
    no_worker_seconds: float
    """Time without any worker after which the run stops."""


@dataclass
class FarmOutcome:
    """Records by checkpoint key, failed attempts, and wall seconds of the farm."""

    records: dict[str, CheckpointRecord] = field(default_factory=dict)
    failed_attempts: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Flight:
    task: ChunkTask
    submitted: float


class Farm:
    """One run of many chunks on one client."""

    def __init__(self, client: Client, matcher: Matcher, policy: FarmPolicy) -> None:
        self._client = client
        self._matcher = matcher
        self._policy = policy
        self._in_flight: dict[Future[Any], _Flight] = {}
        self._pending: deque[ChunkTask] = deque()
        self._outcome = FarmOutcome()
        self._given_up: FarmError | None = None
        self._last_worker_seen = time.monotonic()

    def run(
        self, tasks: Iterable[ChunkTask], *, on_chunk: ChunkListener, on_tick: Callable[[int], None]
    ) -> FarmOutcome:
        """Run all tasks; call ``on_chunk`` after each and ``on_tick(worker threads)`` about every second.

        Raises ``FarmError`` when a chunk was given up or no worker is left, ``IndexMismatchError`` at once.
        """
        started = time.monotonic()
        self._pending.extend(tasks)
        told: list[tuple[ChunkTask, CheckpointRecord]] = []
        try:
            while self._in_flight or (self._pending and self._given_up is None):
                threads = sum(self._client.nthreads().values())
                self._require_workers(threads)
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

    def _require_workers(self, threads: int) -> None:
        now = time.monotonic()
        if threads:
            self._last_worker_seen = now
        elif now - self._last_worker_seen > self._policy.no_worker_seconds:
            raise FarmError(
                f"The cluster has had no worker for {self._policy.no_worker_seconds:.0f} seconds.",
                remedy=f"Start workers. {RESUME}",
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
            flight = self._in_flight.pop(future)
            record = self._settle(future, flight.task)
            if record is not None:
                yield flight.task, record

    def _settle(self, future: Future[Any], task: ChunkTask) -> CheckpointRecord | None:
        if future.status == "finished":
            record: CheckpointRecord = future.result()
            self._outcome.records[task.checkpoint_key] = record
            return record
        error = None if future.cancelled() else future.exception()
        if isinstance(error, IndexMismatchError):
            raise error
        self._try_again(task, "its task was cancelled" if error is None else f"{type(error).__name__}: {error}", error)
        return None

    def _try_again(self, task: ChunkTask, why: str, cause: BaseException | None = None) -> None:
        self._outcome.failed_attempts += 1
        why = why.strip().removesuffix(".")
        what = f"Chunk {task.chunk_id}, attempt {task.attempt} of {self._policy.max_attempts}, failed: {why}"
        if task.attempt < self._policy.max_attempts:
            emit(Notice(f"{what}. It is tried again.", warning=True))
            self._pending.append(replace(task, attempt=task.attempt + 1))
        elif self._given_up is None:
            emit(Notice(f"{what}. It is given up; chunks in flight are waited for.", warning=True))
            self._given_up = FarmError(f"{what}.", remedy=RESUME)
            self._given_up.__cause__ = cause

    def _restart_overdue(self) -> None:
        now = time.monotonic()
        timeout_seconds = self._policy.timeout_seconds
        overdue = [f for f, flight in self._in_flight.items() if now - flight.submitted > timeout_seconds]
        if not overdue:
            return
        worker_of = {key: address for address, keys in self._client.processing().items() for key in keys}
        for future in overdue:
            task = self._in_flight[future].task
            address = worker_of.get(future.key)
            if address is None:  # finished just now, or waiting for a worker: its time has not begun
                self._in_flight[future] = _Flight(task, now)
                continue
            del self._in_flight[future]
            future.cancel(force=True)
            # A running task cannot be stopped, only its process can.
            self._client.restart_workers([address], timeout=_RESTART_SECONDS, raise_for_error=False)
            self._try_again(task, f"it ran over timeout_seconds ({timeout_seconds:g} s)")


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
