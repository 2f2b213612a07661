"""Run events and their listeners.

Steps and farm emit; a listener is a function of one event. A listener that fails is logged once and dropped: it
never harms the run. Listeners belong to the process. Does not cover how an event is shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

logger = logging.getLogger(__name__)


class Step(StrEnum):
    """The steps of a run, in order. The values name Dagster's assets and the files of the step records."""

    SBIR_AWARDS = "sbir_awards"
    AWARD_COMPANIES = "award_companies"
    RECIPIENT_CHUNKS = "recipient_chunks"
    CHUNK_MATCHES = "chunk_matches"
    ENRICHED_AWARDS = "enriched_awards"
    PUBLISHED_AWARDS = "published_awards"


@dataclass(frozen=True)
class StepStarted:
    """A step of the run begins."""

    step: Step


@dataclass(frozen=True)
class StepFinished:
    """A step of the run has its output."""

    step: Step
    rows: int
    """Rows of the step's output."""
    seconds: float
    reused: bool
    """True when the output of an earlier run was found valid and nothing was computed."""


@dataclass(frozen=True)
class FarmProgress:
    """Where the farm stands, after each chunk and at intervals."""

    chunks_total: int
    chunks_done: int
    chunks_resumed: int
    """Of those done, chunks whose checkpoint was there before this run."""
    records_total: int
    records_done: int
    awards_total: int
    awards_matched: int
    """Awards whose company has, in a finished chunk, a candidate that would be accepted as it stands."""
    records_per_second: float
    """As it goes now, with the workers there are; 0 before the first chunk of this run."""
    remaining_seconds: float | None
    """Estimate for what is left, with the workers there are now; None before the first chunk of this run, and while
    there is no worker."""
    workers: int
    """Worker threads."""
    failed_attempts: int = 0
    """Of this run."""
    chunks_degraded: int = 0
    """Chunks of this run whose worker came near its memory limit and took smaller batches."""
    projected_match_rate: float | None = None
    """Share of the valid awards that will have an accepted match if the chunks that are left are like those that are
    finished (``result.projection``); None until a tenth of the work is done, and when all of it is."""
    projected_match_rate_low: float | None = None
    """Lower end of its 95% interval."""
    projected_match_rate_high: float | None = None
    """Upper end."""
    match_rate_threshold: float | None = None
    """What the result needs to be published."""

    def line(self) -> str:
        """Return the progress as one line of plain text."""
        share = 100 * self.records_done / self.records_total if self.records_total else 100.0
        rate = f"{self.records_per_second:,.0f} records/s" if self.records_per_second else "rate unknown yet"
        remaining = "" if self.remaining_seconds is None else f", {format_duration(self.remaining_seconds)} left"
        return (
            f"{self.records_done:,} of {self.records_total:,} recipients ({share:.1f}%), "
            f"chunk {self.chunks_done} of {self.chunks_total}, {rate}{remaining}, "
            f"{self.awards_matched:,} of {self.awards_total:,} awards matched so far, {self.projected()}"
            + ", ".join([f"{self.workers} workers", *self.problems()])
        )

    def projected(self) -> str:
        """Return the projected match rate with a trailing comma; empty if there is none yet."""
        rate, low, high = self.projected_match_rate, self.projected_match_rate_low, self.projected_match_rate_high
        if rate is None or low is None or high is None:
            return ""
        return f"projected match rate {100 * rate:.1f}% ({100 * low:.1f}% to {100 * high:.1f}%), "

    def problems(self) -> list[str]:
        """Return the problems that the run recovered from, each with its count."""
        found = []
        if count := self.failed_attempts:
            found.append(f"{count:,} failed {'attempt' if count == 1 else 'attempts'}")
        if count := self.chunks_degraded:
            found.append(f"{count:,} {'chunk' if count == 1 else 'chunks'} in smaller batches")
        return found


@dataclass(frozen=True)
class WorkerSample:
    """A worker at one moment."""

    worker: str
    """Its name, which a worker that is started again keeps."""
    address: str
    memory_bytes: int
    """Resident memory of the process."""
    memory_limit_bytes: int
    """0 where it has none."""
    paused: bool
    restarts: int
    """How often it was started again during this farm."""


@dataclass(frozen=True)
class WorkersSeen:
    """The workers that are there, about twice a second while chunks are farmed out."""

    workers: tuple[WorkerSample, ...]
    metrics_addresses: tuple[str, ...] = ()
    """Where Dask's scheduler and workers tell their own metrics, as ``host:port``."""


@dataclass(frozen=True)
class AttemptTimes:
    """An attempt at a chunk that has ended: when it did what, in seconds of the driver's monotonic clock."""

    chunk_id: int
    attempt: int
    outcome: str
    """"finished", or the kind of its failure."""
    worker: str | None
    """Name of the worker; None where it never began on one."""
    submitted_seconds: float
    started_seconds: float | None
    """Of a finished attempt: its end less what the worker measured. Of a failed one: when the driver saw it begun."""
    finished_seconds: float
    """When word of its end came to the driver."""
    received_seconds: float
    """When the driver took it up."""
    peak_memory_bytes: int | None = None
    """Most resident memory of the worker during a finished attempt, as it measured; None of any other."""


@dataclass(frozen=True)
class Notice:
    """Something an operator should know: a damaged checkpoint, a retry, an override."""

    message: str
    warning: bool = False


Event = StepStarted | StepFinished | FarmProgress | WorkersSeen | AttemptTimes | Notice
Listener = Callable[[Event], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have ``listener`` called with every event of the body."""
    _listeners.append(listener)
    try:
        yield
    finally:
        if listener in _listeners:
            _listeners.remove(listener)


def emit(event: Event) -> None:
    """Tell all listeners."""
    for listener in list(_listeners):
        try:
            listener(event)
        except Exception:  # whatever a listener does, the run goes on
            logger.exception("a listener failed and is not called again")
            _listeners.remove(listener)


def format_duration(seconds: float) -> str:
    """``M:SS`` or ``H:MM:SS``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
