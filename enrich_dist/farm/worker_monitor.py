"""What the driver knows of the workers: a look at them at intervals.

Covers which workers there are, what they hold, which of them are paused, silent or were started again, and whether one
that was lost died of its memory. Tells what an operator should know of a worker once. Clocks of other machines play no
part: that a worker is silent is told by a sign of life that stays the same while this machine's clock goes on. Does not
act on any of it (``driver``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from distributed import Client

from enrich_dist.events import Notice, WorkerSample, WorkersSeen, emit
from enrich_dist.farm.attempts import Marker

# How often the driver asks which workers there are.
_LOOK_SECONDS = 0.5
# A worker this near its limit when it was last seen, and then lost, most likely died of it.
_NEAR_LIMIT = 0.8
# How long the nanny's word on a lost worker may be on its way.
_EVENT_SECONDS = 1.0
_MEMORY_TOPIC = "worker-restart-memory"
# A worker is paused for moments while a chunk needs much memory; only longer is worth a word.
_PAUSED_NOTICE_SECONDS = 5.0


@dataclass
class SeenWorker:
    """A worker as it was last seen. Times are of ``time.monotonic`` here."""

    name: str
    memory_bytes: int
    memory_limit_bytes: int
    managed_bytes: int
    nthreads: int
    sign_of_life: Any
    sign_changed: float
    paused_since: float | None = None
    told: bool = False

    def holds(self) -> str:
        """What fills its memory, in words."""
        limit = f" of {_mb(self.memory_limit_bytes)}" if self.memory_limit_bytes else ""
        return (
            f"holds {_mb(self.memory_bytes)}{limit} MB: {_mb(self.managed_bytes)} MB of results kept by Dask, "
            f"{_mb(max(self.memory_bytes - self.managed_bytes, 0))} MB of libraries, index and the chunk under way"
        )


class WorkerMonitor:
    """The workers of one client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._seen: dict[str, SeenWorker] = {}
        self._present: set[str] = set()
        self._address_of_name: dict[str, str] = {}
        self._restarts: dict[str, int] = {}
        self._looked = float("-inf")
        self._last_usable = time.monotonic()

    def look(self, *, at_once: bool = False) -> None:
        """Ask the scheduler, unless that was a moment ago and it is not to be ``at_once``."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS and not at_once:
            return
        self._looked = now
        scheduler = self._client.scheduler_info(n_workers=-1)
        known = scheduler["workers"]
        self._present = set(known)
        for address, info in known.items():
            self._seen[address] = self._refreshed(address, info, now)
        if any(self._seen[address].paused_since is None for address in self._present):
            self._last_usable = now
        self._tell_of_paused(now)
        pages = (_pages(address, info) for address, info in ((scheduler.get("address"), scheduler), *known.items()))
        emit(
            WorkersSeen(
                tuple(self._sample(address) for address in sorted(self._present)),
                metrics_addresses=tuple(page for page in pages if page is not None),
            )
        )

    @property
    def threads(self) -> int:
        """Threads of all workers that are there."""
        return sum(self._seen[address].nthreads for address in self._present)

    @property
    def present(self) -> set[str]:
        """Addresses of the workers that are there."""
        return set(self._present)

    @property
    def restarts(self) -> Mapping[str, int]:
        """How often each worker, by its name, was started again."""
        return self._restarts

    @property
    def unusable_seconds(self) -> float:
        """For how long there has been no worker that takes work."""
        return time.monotonic() - self._last_usable

    def begin_anew(self) -> None:
        """Forget for how long nobody took work: the scheduler was away."""
        self._last_usable = time.monotonic()
        self._looked = float("-inf")

    def last_seen(self, address: str) -> SeenWorker | None:
        """What was known of a worker last, also of one that is gone."""
        return self._seen.get(address)

    def paused_seconds(self) -> dict[str, float]:
        """For how long the paused workers have been paused, by address."""
        now = time.monotonic()
        return {
            address: now - since
            for address in sorted(self._present)
            if (since := self._seen[address].paused_since) is not None
        }

    def silent_seconds(self, address: str) -> float:
        """For how long a worker has given no sign of life; 0 for one that is gone."""
        if address not in self._present:
            return 0.0
        return self._looked - self._seen[address].sign_changed

    def short_of_memory(self, marker: Marker | None) -> bool:
        """Whether the worker of an attempt was ended for its memory, or was near its limit when it was last seen."""
        if marker is None:
            return False
        seen = self._seen.get(marker.worker)
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

    def _refreshed(self, address: str, info: Mapping[str, Any], now: float) -> SeenWorker:
        before = self._seen.get(address)
        metrics = info.get("metrics", {})
        name, sign = str(info.get("name", address)), info.get("last_seen")
        if self._address_of_name.setdefault(name, address) != address:
            self._address_of_name[name] = address
            self._restarts[name] = self._restarts.get(name, 0) + 1
        paused = info.get("status") == "paused"
        return SeenWorker(
            name=name,
            memory_bytes=int(metrics.get("memory", 0)),
            memory_limit_bytes=int(info.get("memory_limit") or 0),
            managed_bytes=int(metrics.get("managed_bytes", 0)),
            nthreads=int(info["nthreads"]),
            sign_of_life=sign,
            sign_changed=before.sign_changed if before and before.sign_of_life == sign else now,
            paused_since=(before.paused_since if before and before.paused_since is not None else now)
            if paused
            else None,
            told=paused and before is not None and before.told,
        )

    def _tell_of_paused(self, now: float) -> None:
        for address in sorted(self._present):
            worker = self._seen[address]
            if worker.paused_since is None or worker.told or now - worker.paused_since < _PAUSED_NOTICE_SECONDS:
                continue
            worker.told = True
            emit(Notice(f"Worker {worker.name} ({address}) is paused and takes no work: it {worker.holds()}.", True))

    def _sample(self, address: str) -> WorkerSample:
        worker = self._seen[address]
        return WorkerSample(
            worker=worker.name,
            address=address,
            memory_bytes=worker.memory_bytes,
            memory_limit_bytes=worker.memory_limit_bytes,
            paused=worker.paused_since is not None,
            restarts=self._restarts.get(worker.name, 0),
        )


def _pages(address: str | None, info: Mapping[str, Any]) -> str | None:
    """Where a scheduler or worker serves its pages, Dask's own metrics among them, as ``host:port``."""
    host, port = urlsplit(str(address)).hostname, info.get("services", {}).get("dashboard")
    if host is None or port is None:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _mb(count_bytes: int) -> str:
    return f"{count_bytes / 1e6:,.0f}"
