"""The run's events as metrics: the listener of a run that is monitored.

Covers what is known only while the run works; what a step leaves is read from its record as soon as it is there.
"""

from __future__ import annotations

import time
from typing import Final

from enrich_dist.events import (
    AttemptTimes,
    Event,
    FarmProgress,
    Notice,
    StepFinished,
    StepStarted,
    WorkerSample,
    WorkersSeen,
)
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.monitoring.prometheus.metrics import Figures
from enrich_dist.monitoring.prometheus.records import failure_label, show_step
from enrich_dist.store.run_directory import RunDirectory

_FINISHED: Final = "finished"
_LABELS: Final = {_FINISHED: _FINISHED, **{kind.value: failure_label(kind) for kind in FailureKind}}


class FiguresListener:
    """Keeps the figures as the events of one run say; ``step_under_way`` is the step that began and has not ended."""

    def __init__(self, figures: Figures, directory: RunDirectory) -> None:
        self._figures = figures
        self._directory = directory
        self._chunks_done = -1
        self.step_under_way: str | None = None
        self.dask_addresses: tuple[str, ...] = ()
        """Where Dask's scheduler and workers tell their own metrics, as ``host:port``."""
        for label in _LABELS.values():  # a counter that begins with its first event hides it from increase()
            figures.set("attempts_total", 0, outcome=label)
        figures.set("warnings_total", 0)
        self._progressed()

    def __call__(self, event: Event) -> None:
        """Take an event into account."""
        match event:
            case StepStarted(step):
                self.step_under_way = step
                self._figures.replace("step_active", {step: 1})
                self._progressed()
            case StepFinished(step):
                self.step_under_way = None
                self._figures.replace("step_active", {})
                self._progressed()
                show_step(self._figures, self._directory.latest(step))
            case FarmProgress():
                self._show_progress(event)
            case WorkersSeen():
                self._show_workers(event.workers)
                self.dask_addresses = event.metrics_addresses
            case AttemptTimes():
                self._figures.add("attempts_total", outcome=_LABELS.get(event.outcome, event.outcome))
            case Notice() if event.warning:
                self._figures.add("warnings_total")

    def _progressed(self) -> None:
        self._figures.set("last_progress_timestamp_seconds", time.time())

    def _show_progress(self, event: FarmProgress) -> None:
        if event.chunks_done > self._chunks_done:
            self._progressed()
        self._chunks_done = event.chunks_done
        for name, value in (
            ("progress_chunks", event.chunks_total),
            ("progress_chunks_done", event.chunks_done),
            ("progress_chunks_resumed", event.chunks_resumed),
            ("progress_records", event.records_total),
            ("progress_records_done", event.records_done),
            ("progress_records_per_second", event.records_per_second),
            ("progress_remaining_seconds", event.remaining_seconds),
            ("progress_awards", event.awards_total),
            ("progress_awards_matched", event.awards_matched),
            ("worker_threads", event.workers),
        ):
            self._figures.set(name, value)
        projected = {
            "estimate": event.projected_match_rate,
            "low": event.projected_match_rate_low,
            "high": event.projected_match_rate_high,
        }
        self._figures.replace(
            "progress_projected_match_rate", {bound: rate for bound, rate in projected.items() if rate is not None}
        )
        if event.match_rate_threshold is not None:  # before the first verdict nobody else tells it
            self._figures.set("match_rate_threshold", event.match_rate_threshold)

    def _show_workers(self, workers: tuple[WorkerSample, ...]) -> None:
        for name, values in (
            ("worker_memory_bytes", {worker.worker: worker.memory_bytes for worker in workers}),
            ("worker_memory_limit_bytes", {worker.worker: worker.memory_limit_bytes for worker in workers}),
            ("worker_paused", {worker.worker: worker.paused for worker in workers}),
            ("worker_restarts_total", {worker.worker: worker.restarts for worker in workers}),
        ):
            self._figures.replace(name, values)
