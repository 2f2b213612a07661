"""Worker recovery: which workers to restart, and which active attempts to abandon with them. Pure.

A worker is restarted if its attempt runs over the timeout, if it sends no heartbeat, or if it stays paused without an
attempt. Does not decide what follows for the chunks (``policy``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from enrich_dist.events import Notice
from enrich_dist.farm.active_attempts import ActiveAttempt
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.messages import Abandon, AttemptId, Notify, RestartWorker
from enrich_dist.farm.policy import FarmPolicy
from enrich_dist.farm.worker_monitor import WorkerMonitor

# A worker that stays paused this long without an attempt does not recover without a restart.
_PAUSED_RESTART_SECONDS = 30.0

Decision = Abandon | Notify | RestartWorker


class WorkerRecovery:
    """Recovery of the workers of one farm. ``active`` is the farm's own mapping, up to date at any time."""

    def __init__(self, policy: FarmPolicy, monitor: WorkerMonitor, active: Mapping[AttemptId, ActiveAttempt]) -> None:
        self.ending: set[str] = set()
        """Addresses of the workers that are being restarted or retired."""
        self.excluded: set[str] = set()
        """Addresses of the workers that get no further task."""
        self._policy = policy
        self._monitor = monitor
        self._active = active
        # Finished chunks when the worker of this name was last restarted because it stayed paused.
        self._paused_restarts: dict[str, int] = {}

    def forget_absent(self) -> None:
        """Forget the workers that are gone."""
        self.ending &= self._monitor.present
        self.excluded &= self._monitor.present

    def end(self, address: str) -> None:
        """Note that the worker is being restarted or retired."""
        self.ending.add(address)
        self.excluded.add(address)

    def overdue(self, now: float) -> tuple[AttemptId, ...]:
        """Return the attempts that have waited or run for longer than the timeout."""
        return tuple(
            attempt
            for attempt, entry in self._active.items()
            if now - (entry.queued_since if entry.started is None else entry.started) > self._policy.timeout_seconds
        )

    def recover_overdue(self, worker_of: Mapping[AttemptId, str | None], now: float) -> Iterator[Decision]:
        """End overdue attempts with their workers; ``worker_of``: where the scheduler has those that were located."""
        busy, ending = self._busy(), frozenset(self.ending)
        for attempt in [attempt for attempt in self.overdue(now) if attempt in worker_of]:
            entry, address = self._active[attempt], worker_of[attempt]
            # Without a nanny the worker is not restarted, and attempts that are queued on it would wait forever.
            if entry.started is None and address in ending:
                yield Abandon(attempt, FailureKind.NOT_STARTED, f"worker {address}, where it was queued, hangs")
            # It has just finished, or waits for a worker or behind another chunk: its time has not begun.
            elif address is None or (entry.started is None and address in busy | self.ending):
                entry.queued_since = now
            else:
                reason = f"it ran over timeout_seconds ({self._policy.timeout_seconds:g} s)"
                yield Abandon(attempt, FailureKind.HANG, reason)
                yield self._restart(address)

    def recover_silent(self) -> Iterator[Decision]:
        """Restart the workers that send no heartbeat."""
        limit_seconds = self._policy.heartbeat_timeout_seconds
        for address in sorted(self._monitor.present - self.ending):
            if self._monitor.silent_seconds(address) <= limit_seconds:
                continue
            reason = f"has sent no heartbeat for {limit_seconds:g} s"
            yield Notify(Notice(f"Worker {address} {reason} and is restarted.", warning=True))
            for attempt in [attempt for attempt, entry in self._active.items() if entry.worker == address]:
                yield Abandon(attempt, FailureKind.HANG, f"its worker {address} {reason}")
            yield self._restart(address)

    def recover_paused(self, finished_chunks: int) -> Iterator[Decision]:
        """Restart the workers that stay paused without an attempt."""
        for address, seconds in self._monitor.paused().items():
            worker = self._monitor.last_observed(address)
            if seconds < _PAUSED_RESTART_SECONDS or address in self._busy() | self.ending or worker is None:
                continue
            # Again only after a chunk has finished: otherwise the worker's memory is too small for any chunk.
            if self._paused_restarts.get(worker.status.name) == finished_chunks:
                continue
            self._paused_restarts[worker.status.name] = finished_chunks
            yield Notify(Notice(f"Worker {address} stays paused without a task and is restarted.", warning=True))
            yield self._restart(address)

    def _restart(self, address: str) -> RestartWorker:
        self.end(address)
        return RestartWorker(address)

    def _busy(self) -> set[str | None]:
        return {entry.worker for entry in self._active.values()}
