"""Fault injection: lose workers, raise errors and delay attempts at random, to show that the result stays the same.

Seed, chunk and attempt alone decide which fault an attempt meets: a run with the same seed meets the same faults, and
each retry is drawn again. Covers faults within a worker process that matches. Does not cover faults from outside
(``scripts/soak.py``) or of the driver.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from enrich_dist.core.files import text_digest

_MAX_DELAY_SECONDS = 0.5
_EXIT_CODE = 3


class InjectedFaultError(Exception):
    """An injected error of the matcher. The message names the attempt, so that no two are equal and the farm does not
    search for rows that cause it."""


class FaultKind(StrEnum):
    """What an attempt may meet."""

    KILL = "kill"
    """The worker process kills itself (SIGKILL)."""
    EXIT = "exit"
    """The worker process exits."""
    RAISE = "raise"
    MEMORY_ERROR = "memory error"
    """``MemoryError``, without any allocation."""
    READ_ERROR = "read error"
    """``OSError``, as from a disk that cannot be read."""
    DELAY = "delay"
    """Up to half a second; then the attempt continues."""


@dataclass(frozen=True)
class InjectedFault:
    """One fault. ``late``: after the chunk is matched, not before."""

    kind: FaultKind
    late: bool
    delay_seconds: float


@dataclass(frozen=True)
class FaultInjection:
    """Inject a fault into a share of all attempts: ``probability`` (0 to 1) of each, drawn from ``seed``."""

    probability: float
    seed: int

    def fault(self, key: str, attempt: int) -> InjectedFault | None:
        """Return the fault of attempt ``attempt`` at the chunk of checkpoint ``key``, or None."""
        generator = random.Random(text_digest("fault", str(self.seed), key, str(attempt)))
        if generator.random() >= self.probability:
            return None
        kind = generator.choice(list(FaultKind))
        return InjectedFault(kind, generator.random() < 0.5, generator.uniform(0, _MAX_DELAY_SECONDS))

    @contextmanager
    def around(self, key: str, attempt: int) -> Iterator[None]:
        """Inject the fault of this attempt before or after the body, which matches the chunk."""
        fault = self.fault(key, attempt)
        if fault and not fault.late:
            _inject(fault, attempt)
        yield
        if fault and fault.late:
            _inject(fault, attempt)


def _inject(fault: InjectedFault, attempt: int) -> None:
    message = f"injected into attempt {attempt}"
    match fault.kind:
        case FaultKind.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case FaultKind.EXIT:
            os._exit(_EXIT_CODE)
        case FaultKind.RAISE:
            raise InjectedFaultError(message)
        case FaultKind.MEMORY_ERROR:
            raise MemoryError(message)
        case FaultKind.READ_ERROR:
            raise OSError(errno.EIO, message)
        case FaultKind.DELAY:
            time.sleep(fault.delay_seconds)
