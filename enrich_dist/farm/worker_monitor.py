"""The worker monitor: what is known of the workers, from successive observations. Pure.

Covers which workers are present, their memory, and which are paused, silent or were restarted. Reports a paused worker
once. Uses the driver's clock only: a worker is silent if its heartbeat does not change. A state lasts from the arrival
of the first observation that shows it to the request of the latest: a late observation cannot prolong it. Does not act
(``state``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from enrich_dist.events import Event as RunEvent
from enrich_dist.events import Notice, WorkerSample, WorkersSeen
from enrich_dist.farm.messages import WorkersObserved, WorkerStatus

# A lost worker whose last memory was this share of its limit most likely exceeded it.
_NEAR_LIMIT = 0.8
# Workers pause for moments while a chunk needs much memory; only longer pauses are reported.
_PAUSED_NOTICE_SECONDS = 5.0


@dataclass
class ObservedWorker:
    """A worker as last observed. Times are of the driver's monotonic clock."""

    status: WorkerStatus
    heartbeat_changed: float
    paused_since: float | None
    notified: bool

    @property
    def near_memory_limit(self) -> bool:
        """Whether its memory was near its limit."""
        limit = self.status.memory_limit_bytes
        return bool(limit) and self.status.memory_bytes >= _NEAR_LIMIT * limit

    def describe_memory(self) -> str:
        """Return what its memory contains, in words."""
        status = self.status
        limit = f" of {_mb(status.memory_limit_bytes)}" if status.memory_limit_bytes else ""
        unmanaged = max(status.memory_bytes - status.managed_bytes, 0)
        return (
            f"uses {_mb(status.memory_bytes)}{limit} MB: {_mb(status.managed_bytes)} MB managed by Dask, "
            f"{_mb(unmanaged)} MB unmanaged (libraries, index, current chunk)"
        )


class WorkerMonitor:
    """The workers of one cluster. ``now``: the driver's monotonic clock."""

    def __init__(self) -> None:
        self.present: set[str] = set()
        """Addresses of the workers that are connected."""
        self.threads = 0
        """Threads of all of them."""
        self.restarts: dict[str, int] = {}
        """Restarts of each worker, by name."""
        self._workers: dict[str, ObservedWorker] = {}
        self._address_of_name: dict[str, str] = {}
        self._observed = 0.0
        self._unusable_since: float | None = None

    def update(self, observed: WorkersObserved, now: float) -> Iterator[RunEvent]:
        """Take an observation into account; return the run events that follow from it."""
        self._observed = observed.requested_seconds
        self.present = {status.address for status in observed.workers}
        self.threads = sum(status.nthreads for status in observed.workers)
        for status in observed.workers:
            self._update_worker(status, now)
        if any(not status.paused for status in observed.workers):
            self._unusable_since = None
        elif self._unusable_since is None:
            self._unusable_since = now
        for address in sorted(self.present):
            worker = self._workers[address]
            since = worker.paused_since
            if since is not None and not worker.notified and now - since >= _PAUSED_NOTICE_SECONDS:
                worker.notified = True
                name = f"Worker {worker.status.name} ({address})"
                yield Notice(f"{name} is paused and accepts no tasks. It {worker.describe_memory()}.", warning=True)
        samples = (
            WorkerSample(
                worker=status.name,
                address=status.address,
                memory_bytes=status.memory_bytes,
                memory_limit_bytes=status.memory_limit_bytes,
                paused=status.paused,
                restarts=self.restarts.get(status.name, 0),
            )
            for status in sorted(observed.workers, key=lambda worker: worker.address)
        )
        yield WorkersSeen(tuple(samples), metrics_addresses=observed.metrics_addresses)

    def unusable_seconds(self) -> float:
        """Return for how long no worker has accepted tasks."""
        return 0.0 if self._unusable_since is None else self._observed - self._unusable_since

    def reset_unusable(self) -> None:
        """Measure ``unusable_seconds`` from the next observation: the scheduler was away."""
        self._unusable_since = None

    def last_observed(self, address: str) -> ObservedWorker | None:
        """Return what was last observed of a worker, also of one that is gone."""
        return self._workers.get(address)

    def paused(self) -> Mapping[str, float]:
        """Return the seconds for which each paused worker has been paused, by address."""
        since = {address: self._workers[address].paused_since for address in sorted(self.present)}
        return {address: self._observed - start for address, start in since.items() if start is not None}

    def describe_paused(self) -> str:
        """Return the paused workers with what their memory contains, in words."""
        paused = [self._workers[address] for address in self.paused()]
        return "; ".join(f"{worker.status.name} {worker.describe_memory()}" for worker in paused)

    def silent_seconds(self, address: str) -> float:
        """Return for how long a worker has sent no heartbeat."""
        return self._observed - self._workers[address].heartbeat_changed

    def _update_worker(self, status: WorkerStatus, now: float) -> None:
        if self._address_of_name.setdefault(status.name, status.address) != status.address:
            self._address_of_name[status.name] = status.address
            self.restarts[status.name] = self.restarts.get(status.name, 0) + 1
        before = self._workers.get(status.address)
        since = before.paused_since if before and before.paused_since is not None else now
        same_heartbeat = before is not None and before.status.last_heartbeat == status.last_heartbeat
        self._workers[status.address] = ObservedWorker(
            status,
            heartbeat_changed=before.heartbeat_changed if before and same_heartbeat else now,
            paused_since=since if status.paused else None,
            notified=status.paused and before is not None and before.notified,
        )


def _mb(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:,.0f}"
