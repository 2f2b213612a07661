"""The ledger of attempts: files that record which attempts run, and why attempts failed.

A worker writes a marker when it starts an attempt, and removes it when the attempt returns or raises. If the worker is
lost, the marker shows that the attempt had started. Failures are kept until the next farm starts. Files are not synced:
the ledger must survive processes, not the machine. Does not classify failures (``policy``).
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from enrich_dist.core.owned_files import remove_created, remove_file, remove_files, replace, temporary_name, write_new

T = TypeVar("T")
_OURS: Final = re.compile(r"[^.]+\.\d+\.(running|failed)\.json")


class FailureKind(StrEnum):
    """Why an attempt failed."""

    DATA = "data"
    """The task raised an error. If it raises the same error again, rows of the chunk are the cause."""
    OUT_OF_MEMORY = "out of memory"
    CRASH = "crash"
    """The worker was killed, preempted or crashed while it ran the attempt."""
    NOT_STARTED = "not started"
    """The worker was lost before it started the attempt."""
    HANG = "hang"
    """The attempt ran over its timeout, or its worker sent no heartbeat."""
    SCHEDULER = "scheduler lost"
    """The connection to the scheduler was lost."""
    CORRUPTION = "corruption"
    ENVIRONMENT = "environment"
    """The disk is full or not writable."""
    CONFIGURATION = "configuration"


@dataclass(frozen=True)
class Marker:
    """An attempt that has started. ``worker``: address; ``started_seconds``: since 1970, by the worker's clock."""

    checkpoint_key: str
    attempt: int
    worker: str
    host: str
    pid: int
    started_seconds: float


@dataclass(frozen=True)
class FailedAttempt:
    """An attempt that failed. ``counted``: towards ``max_attempts``; ``marker``: None if it had not started;
    ``memory_bytes``: of the worker, last observed; ``failed_seconds``: since 1970, by the driver's clock."""

    checkpoint_key: str
    chunk_id: int
    attempt: int
    kind: FailureKind
    counted: bool
    message: str
    next_step: str
    traceback: str
    marker: Marker | None
    memory_bytes: int | None
    failed_seconds: float = 0.0


class AttemptLedger:
    """The ledger in one directory that driver and workers share."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def attempt(self, key: str, attempt: int, worker: str) -> Iterator[None]:
        """Keep the marker while the body runs, on a worker."""
        path = self._marker_path(key, attempt)
        marker = Marker(key, attempt, worker, socket.gethostname(), os.getpid(), time.time())
        _write(path, asdict(marker))
        try:
            yield
        finally:
            # Dask may have moved the attempt to another worker, whose marker must stay.
            if (found := self.marker(key, attempt)) is None or (found.host, found.pid) == (marker.host, marker.pid):
                remove_file(path)

    def marker(self, key: str, attempt: int) -> Marker | None:
        """Return the marker of an attempt, or None."""
        return _read(self._marker_path(key, attempt), Marker)

    def started(self) -> set[tuple[str, int]]:
        """Return key and attempt of each marker, from one listing of the directory; ignore other files."""
        parts = (path.name.split(".") for path in self.directory.glob("*.*.running.json"))
        return {(key, int(attempt)) for key, attempt, *_ in parts if attempt.isdecimal()}

    def markers(self) -> list[Marker]:
        """Return all markers, including those of lost workers."""
        return [marker for path in self.directory.glob("*.running.json") if (marker := _read(path, Marker))]

    def clear_marker(self, key: str, attempt: int) -> None:
        """Remove the marker of a lost worker."""
        remove_file(self._marker_path(key, attempt))

    def add(self, failure: FailedAttempt) -> None:
        """Record a failure."""
        _write(self.directory / f"{failure.checkpoint_key}.{failure.attempt}.failed.json", asdict(failure))

    def failures(self) -> list[FailedAttempt]:
        """Return all failures, ordered by chunk and attempt."""
        found = [failure for path in self.directory.glob("*.failed.json") if (failure := _read(path, _failed))]
        return sorted(found, key=lambda failure: (failure.chunk_id, failure.attempt))

    def clear(self) -> None:
        """Remove everything: a farm starts."""
        remove_files(self.directory, lambda name: _OURS.fullmatch(name) is not None)

    def _marker_path(self, key: str, attempt: int) -> Path:
        return self.directory / f"{key}.{attempt}.running.json"


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / temporary_name()
    try:
        write_new(temporary, (json.dumps(document, indent=2, sort_keys=True) + "\n").encode("utf-8"))
        replace(temporary, path)
    finally:
        remove_created(temporary)


def _read(path: Path, kind: Callable[..., T]) -> T | None:
    # Ignore a file that has just been removed, or that another program or version wrote.
    with suppress(OSError, ValueError, TypeError):
        return kind(**json.loads(path.read_text("utf-8")))
    return None


def _failed(*, kind: str, marker: dict[str, Any] | None, **document: Any) -> FailedAttempt:
    return FailedAttempt(kind=FailureKind(kind), marker=Marker(**marker) if marker else None, **document)
