"""Care for workers that get nowhere: that hang at a chunk, give no sign of life, or stay paused.

Each is restarted, and the attempts it was at are abandoned. Does not decide what follows for their chunks (``driver``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from distributed import Client, Future

from enrich_dist.events import Notice, emit
from enrich_dist.farm.attempts import AttemptLedger, FailureKind
from enrich_dist.farm.in_flight import Flight
from enrich_dist.farm.policy import FarmPolicy
from enrich_dist.farm.worker_monitor import WorkerMonitor
from enrich_dist.farm.worker_retirement import Dismissals

_LOOK_SECONDS = 1.0
# A worker that stays paused with nothing under way there will not get better by itself.
_PAUSED_RESTART_SECONDS = 30.0

Abandon = Callable[[Future[Any], FailureKind, str], None]


class StuckWorkers:
    """Looks after the workers of one farm."""

    def __init__(
        self,
        client: Client,
        policy: FarmPolicy,
        ledger: AttemptLedger,
        watch: WorkerMonitor,
        dismissals: Dismissals,
        in_flight: Mapping[Future[Any], Flight],
        abandon: Abandon,
    ) -> None:
        """``in_flight``: the attempts that are out, as they are at any time; ``abandon`` takes one of them out of it,
        and is told what became of it, and why."""
        self._client = client
        self._policy = policy
        self._ledger = ledger
        self._watch = watch
        self._dismissals = dismissals
        self._in_flight = in_flight
        self._abandon = abandon
        # By name: the chunks that were finished when the worker was restarted as it stayed paused.
        self._paused_restarts: dict[str, int] = {}
        self._looked = float("-inf")

    def restart(self, chunks_finished: int) -> None:
        """Restart workers that hang, are silent, or are paused for good; does nothing a moment after it looked."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        begun = self._ledger.begun()
        for flight in self._in_flight.values():
            attempt = flight.task.checkpoint_key, flight.task.attempt
            if flight.begun is None and attempt in begun and (marker := self._ledger.marker(*attempt)):
                flight.begun, flight.worker = now, marker.worker  # by this clock: those of the workers may differ
        self._restart_overdue(now)
        self._restart_silent()
        self._restart_paused(chunks_finished)

    def _restart_overdue(self, now: float) -> None:
        timeout_seconds = self._policy.timeout_seconds
        overdue = [
            future
            for future, flight in self._in_flight.items()
            if now - (flight.submitted if flight.begun is None else flight.begun) > timeout_seconds
        ]
        if not overdue:
            return
        worker_of: dict[Any, str] = {}
        with suppress(OSError):
            worker_of = {key: address for address, keys in self._client.processing().items() for key in keys}
        busy, ending = self._busy(), frozenset(self._dismissals.ending)
        for future in overdue:
            flight, address = self._in_flight[future], worker_of.get(future.key)
            # Without a nanny a worker that is being restarted stays as it is: what waits there would wait for good.
            if flight.begun is None and address in ending:
                self._abandon(future, FailureKind.NOT_STARTED, f"worker {address}, behind whose chunk it waited, hangs")
                continue
            # Finished just now, waiting for a worker, or behind another chunk on one: its time has not begun.
            if address is None or (flight.begun is None and address in busy | self._dismissals.ending):
                flight.submitted = now
                continue
            self._abandon(future, FailureKind.HANG, f"it ran over timeout_seconds ({timeout_seconds:g} s)")
            self._dismissals.restart(address)

    def _restart_silent(self) -> None:
        limit_seconds = self._policy.heartbeat_timeout_seconds
        for address in sorted(self._watch.present):
            if self._watch.silent_seconds(address) <= limit_seconds or address in self._dismissals.ending:
                continue
            emit(Notice(f"Worker {address} has given no sign of life for {limit_seconds:g} s and is restarted.", True))
            for future in [future for future, flight in self._in_flight.items() if flight.worker == address]:
                self._abandon(
                    future, FailureKind.HANG, f"its worker {address} gave no sign of life for {limit_seconds:g} s"
                )
            self._dismissals.restart(address)

    def _restart_paused(self, chunks_finished: int) -> None:
        busy = self._busy()
        for address, seconds in self._watch.paused_seconds().items():
            if seconds < _PAUSED_RESTART_SECONDS or address in busy | self._dismissals.ending:
                continue
            worker = self._watch.last_seen(address)
            # Once more only after a chunk has been finished: else its memory is too small for any.
            if worker is None or self._paused_restarts.get(worker.name) == chunks_finished:
                continue
            self._paused_restarts[worker.name] = chunks_finished
            emit(Notice(f"Worker {address} stays paused with nothing under way, and is restarted.", warning=True))
            self._dismissals.restart(address)

    def _busy(self) -> set[str | None]:
        return {flight.worker for flight in self._in_flight.values()}
