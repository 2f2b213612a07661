"""Run events, emitted by steps and farm, and their listeners: functions of one event, local to the process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from enrich_dist.plain_text import printable

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
    """A step starts."""

    step: Step


@dataclass(frozen=True)
class StepFinished:
    """A step is finished."""

    step: Step
    rows: int
    """Rows of the step's output."""
    seconds: float
    reused: bool
    """Whether the output of an earlier run was valid and nothing was computed."""


@dataclass(frozen=True)
class FarmProgress:
    """Progress of the farm, after each chunk and at intervals."""

    chunks_total: int
    chunks_done: int
    chunks_resumed: int
    """Chunks done whose checkpoint existed before this run."""
    records_total: int
    records_done: int
    awards_total: int
    awards_matched: int
    """Awards whose company has an acceptable candidate in a finished chunk."""
    records_per_second: float
    """Current rate; 0 before the first chunk of this run."""
    remaining_seconds: float | None
    """For the remaining chunks with the current workers; None before this run's first chunk, and without workers."""
    workers: int
    """Worker threads."""
    failed_attempts: int = 0
    """Failed attempts of this run."""
    chunks_degraded: int = 0
    """Chunks of this run whose worker reduced the batch size near its memory limit."""
    projected_match_rate: float | None = None
    """From the finished chunks (``progress.projection``); None for the first tenth of the work, and at the end."""
    projected_match_rate_low: float | None = None
    """Lower end of its 95% confidence interval."""
    projected_match_rate_high: float | None = None
    """Upper end."""
    projected_at_share: float | None = None
    """Share of the recipients after which it was projected."""
    match_rate_threshold: float | None = None
    """Minimum match rate for publication."""

    @property
    def finished(self) -> bool:
        """Whether all chunks are done."""
        return self.chunks_done == self.chunks_total

    def line(self) -> str:
        """Return the progress as one line of plain text."""
        share = 100 * self.records_done / self.records_total if self.records_total else 100.0
        parts = [
            f"{self.records_done:,} of {self.records_total:,} recipients ({share:.1f}%)",
            f"chunk {self.chunks_done} of {self.chunks_total}",
            f"{self.records_per_second:,.0f} records/s" if self.records_per_second else "rate unknown yet",
        ]
        if self.remaining_seconds is not None:
            parts.append(f"{format_duration(self.remaining_seconds)} left")
        parts.append(f"{self.awards_matched:,} of {self.awards_total:,} awards matched so far")
        rate, low, high = self.projected_match_rate, self.projected_match_rate_low, self.projected_match_rate_high
        if rate is not None and low is not None and high is not None:
            parts.append(f"projected match rate {100 * rate:.1f}% ({100 * low:.1f}% to {100 * high:.1f}%){self.age()}")
        return ", ".join([*parts, f"{self.workers} workers", *self.problems()])

    def age(self) -> str:
        """Return after which share of the recipients the match rate was projected, in words; empty if unknown."""
        return (
            "" if self.projected_at_share is None else f" as of {100 * self.projected_at_share:.1f}% of the recipients"
        )

    def problems(self) -> list[str]:
        """Return the problems that the run recovered from, each with its count."""
        counts = ((self.failed_attempts, "failed attempt", ""), (self.chunks_degraded, "chunk", " in smaller batches"))
        return [f"{count:,} {noun}{'' if count == 1 else 's'}{rest}" for count, noun, rest in counts if count]


@dataclass(frozen=True)
class StepProgress:
    """Progress of a step other than matching (``core.step_progress``)."""

    step: Step
    what: str
    """What is done: rows, stages, bytes, …"""
    done: int
    total: int | None
    """None where it is unknown; an estimate for some sources."""
    elapsed_seconds: float
    remaining_seconds: float | None
    """None where it is unknown."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left."""
        return self.total is not None and self.done >= self.total

    def line(self) -> str:
        """Return the progress as one line of plain text."""
        parts = [f"{self.step.replace('_', ' ')}: {self.done:,} {self.what}"]
        if self.total:
            share = min(100.0, 100 * self.done / self.total)
            parts = [f"{self.step.replace('_', ' ')}: {self.done:,} of {self.total:,} {self.what} ({share:.1f}%)"]
        parts.append(f"{format_duration(self.elapsed_seconds)} elapsed")
        if self.remaining_seconds is not None:
            parts.append(f"{format_duration(self.remaining_seconds)} left")
        return ", ".join(parts)


@dataclass(frozen=True)
class WorkerSample:
    """A worker at one point in time."""

    worker: str
    """Its name, which survives restarts."""
    address: str
    memory_bytes: int
    """Resident memory of the process."""
    memory_limit_bytes: int
    """0 where it has none."""
    paused: bool
    restarts: int
    """Restarts during this farm."""


@dataclass(frozen=True)
class WorkersSeen:
    """The current workers, about twice a second during the farm."""

    workers: tuple[WorkerSample, ...]
    metrics_addresses: tuple[str, ...] = ()
    """Addresses of the metrics of Dask's scheduler and workers, as ``host:port``."""


@dataclass(frozen=True)
class AttemptTimes:
    """An ended attempt at a chunk; times are seconds of the driver's monotonic clock."""

    chunk_id: int
    attempt: int
    outcome: str
    """"finished", or the kind of its failure."""
    worker: str | None
    """Name of the worker; None where the attempt did not start."""
    submitted_seconds: float
    started_seconds: float | None
    """Finished attempt: its end minus the duration measured by the worker. Failed attempt: first seen running."""
    finished_seconds: float
    """When the driver was notified of its end."""
    received_seconds: float
    """When the driver handled it."""
    peak_memory_bytes: int | None = None
    """Peak resident memory of the worker during a finished attempt; None for failed attempts."""


@dataclass(frozen=True)
class Notice:
    """A message for operators, such as a damaged checkpoint or a retry; one line, without control characters."""

    message: str
    warning: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message))


Event = StepStarted | StepFinished | FarmProgress | StepProgress | WorkersSeen | AttemptTimes | Notice
Listener = Callable[[Event], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` with every event of the body."""
    _listeners.append(listener)
    try:
        yield
    finally:
        if listener in _listeners:
            _listeners.remove(listener)


def emit(event: Event) -> None:
    """Call all listeners. One that raises is logged once and removed."""
    for listener in list(_listeners):
        try:
            listener(event)
        except Exception:  # a listener must not stop the run
            logger.exception("a listener failed and was removed")
            _listeners.remove(listener)


@contextmanager
def warning_on_error(problem: str) -> Iterator[None]:
    """Emit a warning that names ``problem`` and the error where the body, which must not fail a run, raises."""
    try:
        yield
    except Exception as error:
        logger.debug("%s", problem, exc_info=True)
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        emit(Notice(f"{problem} ({detail}).", warning=True))


def format_duration(seconds: float) -> str:
    """Return ``M:SS`` or ``H:MM:SS``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
