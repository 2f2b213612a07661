"""The driver: a thin shell between Dask and the farm's state machine.

Turns Dask's callbacks, the scheduler's information and the ledger's markers into events for ``FarmState``, and carries
out the actions that it returns: submit, cancel, restart, retire, record. Decides nothing: retries, timeouts and backup
tasks are in ``state``. Knows tasks and checkpoints, not what is matched.

The loop never waits for the scheduler: submit and cancel only send a message, and threads make the calls that wait for
an answer. With a thousand workers on a loaded machine, such a call can take many seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

from distributed import CancelledError, Client, Future, KilledWorker

from enrich_dist.core.matcher import Matcher
from enrich_dist.events import emit
from enrich_dist.farm import messages
from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.messages import Action, AttemptId, Event
from enrich_dist.farm.metrics import FarmOutcome
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

T = TypeVar("T")
ChunkListener = Callable[[ChunkTask, CheckpointRecord], None]


class _Periodic:
    """Whether a call is due that is made every ``seconds``, but only once at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0
        self._is_active = False

    def remaining(self) -> float:
        return float("inf") if self._is_active else max(0.0, self._next - time.monotonic())

    def start_if_due(self) -> bool:
        if self.remaining() > 0:
            return False
        self._is_active = True
        return True

    def finish(self) -> None:
        self._is_active = False
        self._next = time.monotonic() + self._seconds


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
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._to_report: list[tuple[ChunkTask, CheckpointRecord]] = []
        self._records: dict[str, CheckpointRecord] = {}
        self._observation = _Periodic(_OBSERVE_WORKERS_SECONDS)
        self._location = _Periodic(0.0)
        self._marker_check = _Periodic(_READ_MARKERS_SECONDS)
        self._fetch = _Periodic(_FETCH_SECONDS)
        self._stop: messages.Stop | None = None
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
        self._state = FarmState(tasks, self._policy)
        self._subscribe()
        try:
            while self._stop is None:
                if not self._is_connected():
                    continue
                if self._observation.start_if_due():
                    self._start_thread(partial(observe_workers, self._client), self._handle, self._observation)
                self._handle(messages.Tick())
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
        with suppress(OSError):  # the chunks are finished, whatever happens to the scheduler now
            for event in self._state.monitor.update(observe_workers(self._client), time.monotonic()):
                emit(event)
        restarts = self._state.monitor.restarts
        seconds = time.monotonic() - started
        return FarmOutcome(self._records, self._state.failures, self._state.backup_tasks, restarts, seconds)

    def _handle(self, event: Event) -> None:
        for action in self._state.handle(event, time.monotonic()):
            self._execute(action)

    def _execute(self, action: Action) -> None:
        match action:
            case messages.Submit():
                self._submit(action)
            case messages.Cancel():
                # Forced: without that, Dask lets a task run to its end that another client waits for.
                self._futures.pop(action.attempt).cancel(force=True)
            case messages.LocateAttempts():
                self._locate(action.attempts)
            case messages.RestartWorker():
                self._start_thread(
                    partial(self._restart, action.worker),
                    lambda _: self._handle(messages.WorkerRestarted(action.worker)),
                )
            case messages.RetireWorker():
                self._start_thread(partial(self._client.retire_workers, [action.worker]))
            case messages.RecordFailure():
                failure = action.failure
                self._ledger.add(replace(failure, failed_seconds=time.time()))
                self._ledger.clear_marker(failure.checkpoint_key, failure.attempt)
            case messages.FinishChunk():
                self._records[action.task.checkpoint_key] = action.record
                self._to_report.append((action.task, action.record))
            case messages.Notify():
                emit(action.event)
            case messages.Stop():
                self._stop = action

    # Actions

    def _submit(self, action: messages.Submit) -> None:
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
        future.add_done_callback(lambda _: self._queue.put(partial(self._attempt_done, attempt, time.monotonic())))

    def _locate(self, attempts: tuple[AttemptId, ...]) -> None:
        def report(processing: Mapping[str, Iterable[Any]]) -> None:
            worker_of = {key: address for address, keys in processing.items() for key in keys}
            keys = {attempt: self._futures[attempt].key for attempt in attempts if attempt in self._futures}
            self._handle(messages.AttemptsLocated({attempt: worker_of.get(key) for attempt, key in keys.items()}))

        if self._location.start_if_due():
            self._start_thread(self._client.processing, report, self._location)

    def _restart(self, address: str) -> None:
        # A running task cannot be cancelled, only its process can be ended; without a nanny (ValueError) not even that.
        with suppress(ValueError):
            self._client.restart_workers([address], timeout=_RESTART_TIMEOUT_SECONDS, raise_for_error=False)

    def _start_thread(
        self, call: Callable[[], T], then: Callable[[T], None] | None = None, periodic: _Periodic | None = None
    ) -> None:
        """Make the call in a thread; let the loop pass its result to ``then``."""

        def finish(result: list[T], error: Exception | None) -> None:
            if periodic is not None:
                periodic.finish()
            if error is not None:
                raise error
            if then is not None and result:
                then(result[0])

        def run() -> None:
            result, unexpected = [], None
            try:
                result.append(call())
            except (OSError, CancelledError):
                pass  # the worker or the scheduler is gone: the next observation shows that
            except Exception as error:  # raised in the loop  # noqa: BLE001
                unexpected = error
            self._queue.put(partial(finish, result, unexpected))

        threading.Thread(target=run, daemon=True).start()

    # Events

    def _subscribe(self) -> None:
        def put(event: tuple[float, dict[str, Any]]) -> None:
            out_of_memory = messages.WorkerOutOfMemory(event[1]["worker"], event[1]["pid"])
            self._queue.put(partial(self._handle, out_of_memory))

        self._client.subscribe_topic(_MEMORY_TOPIC, put)

    def _is_connected(self) -> bool:
        """Whether the scheduler is connected; waits a moment if it is not. The client itself reconnects."""
        if self._client.status == "running":
            if not self._connected:
                self._handle(messages.SchedulerReturned())
                self._subscribe()  # the new scheduler does not know of the subscription
            self._connected = True
            return True
        self._connected = False
        address = str(self._client.scheduler.address) if self._client.scheduler else "its address"
        self._handle(messages.SchedulerLost(address, reconnecting=self._client.status == "connecting"))
        time.sleep(_RECONNECT_POLL_SECONDS)
        return False

    def _wait_for_events(self) -> None:
        """Handle the events since the last call; wait a moment for the first."""
        with suppress(Empty):
            self._queue.get(timeout=min(_POLL_SECONDS, self._fetch.remaining()) if self._to_fetch else _POLL_SECONDS)()
            # No more than there are now: workers must not wait while the driver handles events.
            for _ in range(self._queue.qsize()):
                self._queue.get_nowait()()

    def _attempt_done(self, attempt: AttemptId, seconds: float) -> None:
        if (future := self._futures.pop(attempt, None)) is None:  # it was cancelled
            return
        if future.status == "finished":
            self._handle(messages.AttemptSucceeded(attempt, seconds))
            self._to_fetch[attempt] = future
        else:
            self._fail(attempt, None if future.cancelled() else future.exception(), seconds)

    def _fail(self, attempt: AttemptId, error: BaseException | None, seconds: float) -> None:
        task = self._tasks[attempt]
        marker = self._ledger.marker(task.checkpoint_key, task.attempt)
        lost = isinstance(error, KilledWorker)
        self._handle(messages.AttemptFailed(attempt, error, marker, seconds, worker_lost=lost))

    def _fetch_records(self) -> None:
        """Fetch the records of finished chunks in a thread: submission must not wait for a slow or lost worker."""
        if self._to_fetch and self._fetch.start_if_due():
            futures, self._to_fetch = self._to_fetch, {}
            self._start_thread(partial(self._gather, futures), self._records_fetched, self._fetch)

    def _records_fetched(self, records: dict[AttemptId, CheckpointRecord | Exception]) -> None:
        for attempt, record in records.items():
            if isinstance(record, CheckpointRecord):
                self._handle(messages.RecordFetched(attempt, record))
            else:
                self._fail(attempt, record, time.monotonic())

    def _gather(self, futures: dict[AttemptId, Future[Any]]) -> dict[AttemptId, CheckpointRecord | Exception]:
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
        return records

    def _read_markers(self) -> None:
        if not self._marker_check.start_if_due():
            return
        waiting = [attempt for attempt, entry in self._state.active_attempts.items() if entry.started is None]
        started = self._ledger.started() if waiting else set()
        for attempt in waiting:
            key = self._tasks[attempt].checkpoint_key
            if (key, attempt.attempt) in started and (marker := self._ledger.marker(key, attempt.attempt)):
                self._handle(messages.AttemptStarted(attempt, marker))
        self._marker_check.finish()

    def _report_chunks(self, on_chunk: ChunkListener) -> None:
        chunks, self._to_report = self._to_report, []
        for task, record in chunks:
            on_chunk(task, record)


def observe_workers(client: Client) -> messages.WorkersObserved:
    """Return the workers as the scheduler reports them now. Raises ``OSError`` if it cannot be reached."""
    requested = time.monotonic()
    if client.scheduler is None:
        raise ConnectionError("The client is closed.")
    # Not client.scheduler_info: that returns the previous answer if the scheduler cannot be reached.
    scheduler = client.sync(client.scheduler.identity, n_workers=-1)
    workers = scheduler["workers"]
    pages = (_page(address, info) for address, info in ((scheduler.get("address"), scheduler), *workers.items()))
    return messages.WorkersObserved(
        tuple(
            messages.WorkerStatus(
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
        requested,
        metrics_addresses=tuple(page for page in pages if page is not None),
    )


def _page(address: str | None, info: dict[str, Any]) -> str | None:
    """Return ``host:port`` of the HTTP server of a scheduler or worker, None if it has none."""
    host, port = urlsplit(str(address)).hostname, info.get("services", {}).get("dashboard")
    if host is None or port is None:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
