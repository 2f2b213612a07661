"""The driver's loop does not wait for the scheduler, and a late observation cannot stop a farm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import Client

from enrich_dist.farm import messages
from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.farm.driver import Farm
from enrich_dist.farm.worker_monitor import WorkerMonitor
from tests.support.farm_case import POLICY, checkpoint_record, chunk_task


class InstantFuture:
    """A task that has returned its record."""

    status = "finished"

    def __init__(self, key: str, record: object) -> None:
        self.key, self.record = key, record

    def add_done_callback(self, function: Callable[[Any], None]) -> None:
        threading.Thread(target=function, args=(self,), daemon=True).start()

    def cancel(self, **_: object) -> None:
        pass

    def release(self) -> None:
        pass


class BlockedClient(Client):
    """Runs every task at once; only the first request for the workers is answered before ``release`` is set."""

    status = "running"

    def __init__(self) -> None:
        self.release = threading.Event()
        self.requests = 0
        self.scheduler = SimpleNamespace(identity=self._identity, address="tcp://s")

    def sync(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("callback_timeout", None)
        return func(*args, **kwargs)

    def _identity(self, n_workers: int) -> dict[str, Any]:
        self.requests += 1
        if self.requests > 1:
            self.release.wait(60)
        return {"workers": {"tcp://1": {"nthreads": 1, "name": "one"}}}

    def submit(self, function: object, task: Any, *_: object, key: str, **options: object) -> Any:
        return InstantFuture(key, checkpoint_record(task, worker="one", seconds=0.0))

    def gather(self, futures: Any, **_: object) -> Any:
        return {attempt: future.record for attempt, future in futures.items()}

    def subscribe_topic(self, topic: str, handler: object) -> None:
        pass

    def unsubscribe_topic(self, topic: str) -> None:
        pass

    def __del__(self) -> None:
        pass


@contextmanager
def released(client: BlockedClient) -> Iterator[None]:
    try:
        yield
    finally:
        client.release.set()


def test_blocked_scheduler_does_not_stop_submission(tmp_path: Path) -> None:
    client = BlockedClient()
    farm = Farm(client, None, POLICY, AttemptLedger(tmp_path))  # type: ignore[arg-type]
    finished: list[int] = []
    began = time.monotonic()

    with released(client):

        def on_chunk(task: Any, _: object) -> None:
            finished.append(task.chunk_id)
            if len(finished) == 40:
                client.release.set()

        outcome = farm.run([chunk_task(number) for number in range(40)], on_chunk=on_chunk, on_tick=lambda _: None)

    assert sorted(finished) == list(range(40))
    assert len(outcome.records) == 40
    assert client.requests <= 3, "one request at a time, and one at the end"
    assert time.monotonic() - began < 30


def test_unexpected_observation_error_stops_farm(tmp_path: Path) -> None:
    client = BlockedClient()
    client.scheduler = SimpleNamespace(identity=lambda n_workers: {"no": "workers"})

    with pytest.raises(KeyError, match="workers"):
        Farm(client, None, POLICY, AttemptLedger(tmp_path)).run(  # type: ignore[arg-type]
            [chunk_task(1)], on_chunk=lambda *_: None, on_tick=lambda _: None
        )


def test_late_observation_does_not_prolong_states() -> None:
    monitor = WorkerMonitor()
    paused = messages.WorkerStatus("tcp://1", "one", 1, 0, 0, 0, paused=True, last_heartbeat=1)

    for requested, arrived in ((0.0, 50.0), (51.0, 100.0)):
        list(monitor.update(messages.WorkersObserved((paused,), requested), arrived))

    assert monitor.unusable_seconds() == 1.0
    assert monitor.silent_seconds("tcp://1") == 1.0
    assert monitor.paused() == {"tcp://1": 1.0}
