"""The driver: a thin shell between Dask and the farm's state machine.

Turns Dask's callbacks, the scheduler's information and the ledger's markers into events for ``FarmState``, and carries
out the actions that it returns: submit, cancel, restart, retire, record. Decides nothing: retries, timeouts and backup
tasks are in ``state``. Knows tasks and checkpoints, not what is matched.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from distributed import CancelledError, Client, Future, KilledWorker

from enrich_dist.core.matcher import Matcher
from enrich_dist.events import emit
from enrich_dist.farm.attempts import AttemptLedger, FailureKind
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
    SchedulerLost,
    SchedulerReturned,
    Stop,
    Submit,
    Tick,
    WorkerOutOfMemory,
    WorkerRestarted,
    WorkersObserved,
    WorkerStatus,
)
from enrich_dist.farm.policy import FarmPolicy
from enrich_dist.farm.state import FarmState
from enrich_dist.farm.worker import run_chunk
from enrich_dist.store.checkpoints import CheckpointRecord, CheckpointStore

_POLL_SECONDS = 1.0
_RECONNECT_POLL_SECONDS = 0.1
_OBSERVE_WORKERS_SECONDS = 0.5
_READ_MARKERS_SECONDS = 1.0
# Records of finished chunks are fetched together: each request costs driver and worker 3 ms of CPU.
_FETCH_SECONDS = 0.25
# A record is a few hundred bytes: a worker that takes longer to send it hangs.
_FETCH_TIMEOUT_SECONDS = 5.0
_RESTART_TIMEOUT_SECONDS = 60
_MEMORY_TOPIC = "worker-restart-memory"

ChunkListener = Callable[[ChunkTask, CheckpointRecord], None]


@dataclass
class FarmOutcome:
    """Result of a farm. ``records``: by checkpoint key; ``restarts``: by worker name; ``seconds``: wall time."""

    records: dict[str, CheckpointRecord] = field(default_factory=dict)
    failures: Counter[FailureKind] = field(default_factory=Counter)
    backup_tasks: int = 0
    restarts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class _AttemptDone:
    attempt: AttemptId
    seconds: float


@dataclass(frozen=True)
class _Fetched:
    records: dict[AttemptId, CheckpointRecord | Exception]


class _Interval:
    """Whether something is due that happens every ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        self._last = float("-inf")

    def remaining(self) -> float:
        return max(0.0, self._last + self._seconds - time.monotonic())

    def is_due(self) -> bool:
        if self.remaining() > 0:
            return False
        self._last = time.monotonic()
        return True


class Farm:
    """One run of many chunks on one client."""

    def __init__(self, client: Client, matcher: Matcher, policy: FarmPolicy, ledger: AttemptLedger) -> None:
        self._client = client
        self._matcher = matcher
        self._policy = policy
        self._ledger = ledger
        self._futures: dict[AttemptId, Future[Any]] = {}
        self._tasks: dict[AttemptId, ChunkTask] = {}
        self._to_fetch: dict[AttemptId, Future[Any]] = {}
        self._queue: SimpleQueue[_AttemptDone | _Fetched | Event] = SimpleQueue()
        self._to_report: list[tuple[ChunkTask, CheckpointRecord]] = []
        self._records: dict[str, CheckpointRecord] = {}
        self._observation = _Interval(_OBSERVE_WORKERS_SECONDS)
        self._marker_check = _Interval(_READ_MARKERS_SECONDS)
        self._fetch = _Interval(_FETCH_SECONDS)
        self._stop: Stop | None = None
        self._is_fetching = False
        self._connected = True

    def run(
        self, tasks: Iterable[ChunkTask], *, on_chunk: ChunkListener, on_tick: Callable[[int], None]
    ) -> FarmOutcome:
        """Run all tasks; call ``on_chunk`` after each and ``on_tick(worker threads)`` about every second.

        Raises ``FarmError`` if a chunk was given up, or no worker or no scheduler is left, ``IndexMismatchError`` and
        ``EnvironmentFailureError`` at once.
        """
        started = time.monotonic()
        self._ledger.clear()
        self._state = FarmState(tasks, self._policy, started)
        self._subscribe()
        try:
            while self._stop is None:
                if not self._is_connected():
                    continue
                if self._observation.is_due():
                    self._handle(observe_workers(self._client))
                self._handle(Tick())
                # Only now: workers get their next chunk before listeners hear of the last one.
                self._report_chunks(on_chunk)
                on_tick(self._state.monitor.threads)
                if self._stop is None:
                    self._wait_for_events()
                    self._fetch_records()
                    self._read_markers()
        finally:
            if self._client.status == "running":
                self._client.unsubscribe_topic(_MEMORY_TOPIC)
                for future in self._futures.values():
                    future.cancel()
        self._report_chunks(on_chunk)
        if self._stop.error is not None:
            raise self._stop.error
        restarts = self._restarts()
        seconds = time.monotonic() - started
        return FarmOutcome(self._records, self._state.failures, self._state.backup_tasks, restarts, seconds)

    def _handle(self, event: Event) -> None:
        for action in self._state.handle(event, time.monotonic()):
            self._execute(action)

    def _execute(self, action: Action) -> None:
        match action:
            case Submit():
                self._submit(action)
            case Cancel():
                # Forced: without that, Dask lets a task run to its end that another client waits for.
                self._futures.pop(action.attempt).cancel(force=True)
            case LocateAttempts():
                self._handle(AttemptsLocated(self._locate(action.attempts)))
            case RestartWorker():
                self._start_thread(self._restart, action.worker)
            case RetireWorker():
                self._start_thread(self._client.retire_workers, [action.worker])
            case RecordFailure():
                failure = action.failure
                self._ledger.add(replace(failure, failed_seconds=time.time()))
                self._ledger.clear_marker(failure.checkpoint_key, failure.attempt)
            case FinishChunk():
                self._records[action.task.checkpoint_key] = action.record
                self._to_report.append((action.task, action.record))
            case Notify():
                emit(action.event)
            case Stop():
                self._stop = action

    # Actions

    def _submit(self, action: Submit) -> None:
        task, attempt = action.task, AttemptId(action.task.chunk_id, action.task.attempt)
        future = self._client.submit(
            run_chunk,
            task,
            self._matcher,
            # A key of its own for each attempt: Dask must never return the result of an earlier one.
            key=f"chunk-{task.chunk_id}-attempt-{task.attempt}-{time.monotonic_ns()}",
            pure=False,
            workers=list(action.workers) or None,
            # Those workers may be gone when the scheduler assigns the task.
            allow_other_workers=bool(action.workers),
        )
        self._futures[attempt], self._tasks[attempt] = future, task
        future.add_done_callback(lambda _: self._queue.put(_AttemptDone(attempt, time.monotonic())))

    def _locate(self, attempts: tuple[AttemptId, ...]) -> dict[AttemptId, str]:
        worker_of: dict[Any, str] = {}
        with suppress(OSError):
            worker_of = {key: address for address, keys in self._client.processing().items() for key in keys}
        keys = {attempt: self._futures[attempt].key for attempt in attempts if attempt in self._futures}
        return {attempt: worker_of[key] for attempt, key in keys.items() if key in worker_of}

    def _restart(self, address: str) -> None:
        # A running task cannot be cancelled, only its process can be ended; without a nanny (ValueError) not even that.
        self._client.restart_workers([address], timeout=_RESTART_TIMEOUT_SECONDS, raise_for_error=False)
        self._queue.put(WorkerRestarted(address))

    def _start_thread(self, function: Callable[[Any], Any], argument: Any) -> None:
        def call() -> None:
            # The worker or the scheduler is gone: the next observation shows that.
            with suppress(OSError, TimeoutError, KeyError, ValueError):
                function(argument)

        threading.Thread(target=call, daemon=True).start()

    # Events

    def _subscribe(self) -> None:
        def put(event: tuple[float, dict[str, Any]]) -> None:
            self._queue.put(WorkerOutOfMemory(event[1]["worker"], event[1]["pid"]))

        self._client.subscribe_topic(_MEMORY_TOPIC, put)

    def _is_connected(self) -> bool:
        """Whether the scheduler is connected; waits a moment if it is not. The client itself reconnects."""
        if self._client.status == "running":
            if not self._connected:
                self._handle(SchedulerReturned())
                self._subscribe()  # the new scheduler does not know of the subscription
                self._observation.reset()
            self._connected = True
            return True
        self._connected = False
        address = str(self._client.scheduler.address) if self._client.scheduler else "its address"
        self._handle(SchedulerLost(address, reconnecting=self._client.status == "connecting"))
        time.sleep(_RECONNECT_POLL_SECONDS)
        return False

    def _wait_for_events(self) -> None:
        """Handle the events since the last call; wait a moment for the first."""
        with suppress(Empty):
            event = self._queue.get(
                timeout=self._fetch.remaining() if self._to_fetch and not self._is_fetching else _POLL_SECONDS
            )
            self._handle_queued(event)
            # No more than there are now: workers must not wait while the driver handles events.
            for _ in range(self._queue.qsize()):
                self._handle_queued(self._queue.get_nowait())

    def _handle_queued(self, event: _AttemptDone | _Fetched | Event) -> None:
        if isinstance(event, _Fetched):
            self._is_fetching = False
            for attempt, record in event.records.items():
                if isinstance(record, CheckpointRecord):
                    self._handle(RecordFetched(attempt, record))
                else:
                    self._fail(attempt, record, time.monotonic())
        elif not isinstance(event, _AttemptDone):
            self._handle(event)
        elif (future := self._futures.pop(event.attempt, None)) is not None:  # None: it was cancelled
            if future.status == "finished":
                self._handle(AttemptSucceeded(event.attempt, event.seconds))
                self._to_fetch[event.attempt] = future
            else:
                self._fail(event.attempt, None if future.cancelled() else future.exception(), event.seconds)

    def _fail(self, attempt: AttemptId, error: BaseException | None, seconds: float) -> None:
        task = self._tasks[attempt]
        marker = self._ledger.marker(task.checkpoint_key, task.attempt)
        lost = isinstance(error, KilledWorker)
        self._handle(AttemptFailed(attempt, error, marker, seconds, worker_lost=lost))

    def _fetch_records(self) -> None:
        """Fetch the records of finished chunks in a thread: submission must not wait for a slow or lost worker."""
        if self._to_fetch and not self._is_fetching and self._fetch.is_due():
            futures, self._to_fetch = self._to_fetch, {}
            self._is_fetching = True
            self._start_thread(self._gather, futures)

    def _gather(self, futures: dict[AttemptId, Future[Any]]) -> None:
        """Get the record of each attempt that succeeded, from its worker or else from the checkpoint store."""
        records: dict[AttemptId, CheckpointRecord | Exception] = {}
        with suppress(Exception, CancelledError):  # whatever is wrong with the workers: the store has the records
            # Dask computes a lost record again, so "skip" leaves it out if that fails.
            gather = partial(self._client.gather, futures, errors="skip", asynchronous=True)
            records.update(self._client.sync(gather, callback_timeout=_FETCH_TIMEOUT_SECONDS))
        for attempt, future in futures.items():
            # Not left to the garbage collector: Dask recomputes lost results that a future still refers to.
            future.release()
            if records.get(attempt) is None:
                task = self._tasks[attempt]
                try:
                    records[attempt] = CheckpointStore(task.checkpoint_location).read_record(task.checkpoint_key)
                except Exception as error:  # the chunk is retried  # noqa: BLE001
                    records[attempt] = error
        self._queue.put(_Fetched(records))

    def _read_markers(self) -> None:
        if not self._marker_check.is_due():
            return
        waiting = [attempt for attempt, entry in self._state.in_flight.items() if entry.started is None]
        started = self._ledger.started() if waiting else set()
        for attempt in waiting:
            key = self._tasks[attempt].checkpoint_key
            if (key, attempt.attempt) in started and (marker := self._ledger.marker(key, attempt.attempt)):
                self._handle(AttemptStarted(attempt, marker))

    def _report_chunks(self, on_chunk: ChunkListener) -> None:
        chunks, self._to_report = self._to_report, []
        for task, record in chunks:
            on_chunk(task, record)

    def _restarts(self) -> dict[str, int]:
        for event in self._state.monitor.update(observe_workers(self._client), time.monotonic()):
            emit(event)
        return self._state.monitor.restarts


def observe_workers(client: Client) -> WorkersObserved:
    """Return the workers as the scheduler reports them now."""
    scheduler = client.scheduler_info(n_workers=-1)
    workers = scheduler["workers"]
    pages = (_page(address, info) for address, info in ((scheduler.get("address"), scheduler), *workers.items()))
    return WorkersObserved(
        tuple(
            WorkerStatus(
                address=address,
                name=str(info.get("name", address)),
                nthreads=int(info["nthreads"]),
                memory_bytes=int(info.get("metrics", {}).get("memory", 0)),
                memory_limit_bytes=int(info.get("memory_limit") or 0),
                managed_bytes=int(info.get("metrics", {}).get("managed_bytes", 0)),
                paused=info.get("status") == "paused",
                last_heartbeat=info.get("last_seen"),
            )
            for address, info in workers.items()
        ),
        metrics_addresses=tuple(page for page in pages if page is not None),
    )


def _page(address: str | None, info: dict[str, Any]) -> str | None:
    """Return ``host:port`` of the HTTP server of a scheduler or worker, None if it has none."""
    host, port = urlsplit(str(address)).hostname, info.get("services", {}).get("dashboard")
    if host is None or port is None:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
