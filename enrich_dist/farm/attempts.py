"""The ledger of attempts: files that tell who is at which chunk, and what became of attempts that failed.

A worker writes a marker before it begins and removes it when it ends, in success or in an error. A marker that is
still there when its worker is lost says that the chunk was under way; a chunk without one only waited there. Failures
are kept until their chunk is finished, for whoever looks at a run from its files alone. Covers the files. Does not
judge (``failures``). Nothing is synced: the ledger must outlive processes, not the machine.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from enrich_dist.core.files import TEMPORARY_PREFIX

T = TypeVar("T")


class FailureKind(StrEnum):
    """Why an attempt failed."""

    DATA = "data"
    """The task raised an error: rows it cannot take, as long as it raises the same again."""
    OUT_OF_MEMORY = "out of memory"
    CRASH = "crash"
    """The worker was lost while it worked on the chunk: killed, preempted, or crashed."""
    NOT_STARTED = "not started"
    """The worker was lost before it began with the chunk."""
    HANG = "hang"
    """It ran over its time, or its worker gave no sign of life."""
    SCHEDULER = "scheduler lost"
    """The connection to the scheduler was lost, and with it what was under way."""
    CORRUPTION = "corruption"
    ENVIRONMENT = "environment"
    """The disk is full or cannot be written to."""
    CONFIGURATION = "configuration"


@dataclass(frozen=True)
class Marker:
    """An attempt that has begun. ``started_seconds``: since 1970, by the worker's clock."""

    checkpoint_key: str
    attempt: int
    worker: str
    host: str
    pid: int
    started_seconds: float


@dataclass(frozen=True)
class FailedAttempt:
    """An attempt that failed: ``counted`` tells whether it used up one of the chunk's tries; ``memory_bytes`` is what
    the worker held last, where that is known."""

    checkpoint_key: str
    chunk_id: int
    attempt: int
    kind: FailureKind
    counted: bool
    message: str
    next_step: str
    traceback: str
    worker: str | None
    host: str | None
    pid: int | None
    memory_bytes: int | None
    failed_seconds: float = 0.0
    """Seconds since 1970, by the driver's clock."""


class AttemptLedger:
    """The ledger in one directory, which driver and workers share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def attempt(self, key: str, attempt: int, worker: str) -> Iterator[None]:
        """Hold the marker while the body runs. On a worker."""
        path = self._marker_path(key, attempt)
        marker = Marker(key, attempt, worker, socket.gethostname(), os.getpid(), time.time())
        _write(path, asdict(marker))
        try:
            yield
        finally:
            # Dask may have moved the attempt to another worker meanwhile: its marker stays.
            if (found := self.marker(key, attempt)) is None or (found.host, found.pid) == (marker.host, marker.pid):
                path.unlink(missing_ok=True)

    def marker(self, key: str, attempt: int) -> Marker | None:
        """The marker of an attempt, None where there is none."""
        return _read(self._marker_path(key, attempt), Marker)

    def started(self) -> set[tuple[str, int]]:
        """Key and attempt of each marker that is there: one look at the directory, for whoever waits for many."""
        parts = (path.name.split(".") for path in self.directory.glob("*.*.running.json"))
        # Other files tell nothing, as in ``marker``.
        return {(key, int(attempt)) for key, attempt, *_ in parts if attempt.isdecimal()}

    def markers(self) -> list[Marker]:
        """All markers that are there, also those of workers that were lost."""
        found = [_read(path, Marker) for path in self.directory.glob("*.running.json")]
        return [marker for marker in found if marker is not None]

    def clear_marker(self, key: str, attempt: int) -> None:
        """Remove the marker that a lost worker left behind."""
        self._marker_path(key, attempt).unlink(missing_ok=True)

    def add(self, failure: FailedAttempt) -> None:
        """Keep a failure."""
        _write(self.directory / f"{failure.checkpoint_key}.{failure.attempt}.failed.json", asdict(failure))

    def failures(self) -> list[FailedAttempt]:
        """All failures kept, by chunk and attempt."""
        found = [_read(path, _failed) for path in self.directory.glob("*.failed.json")]
        return sorted(
            (failure for failure in found if failure is not None),
            key=lambda failure: (failure.chunk_id, failure.attempt),
        )

    def clear(self) -> None:
        """Forget everything: a farm begins."""
        for path in self.directory.glob("*.json"):
            path.unlink(missing_ok=True)

    def _marker_path(self, key: str, attempt: int) -> Path:
        return self.directory / f"{key}.{attempt}.running.json"


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex[:12]}"
    try:
        temporary.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n", "utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path, kind: Callable[..., T]) -> T | None:
    # A file that vanished meanwhile, or that others or another version wrote, tells nothing.
    with suppress(OSError, ValueError, TypeError):
        return kind(**json.loads(path.read_text("utf-8")))
    return None


def _failed(*, kind: str, **document: Any) -> FailedAttempt:
    return FailedAttempt(kind=FailureKind(kind), **document)
