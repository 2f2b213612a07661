"""Faults on purpose: a run that is told to may lose workers, fail and wait at random, to show that its result stays.

``Faults`` is put around the matcher on the worker, once per attempt. What strikes is drawn from seed, chunk and attempt
alone: the same run meets the same faults, and a retry draws anew. Covers faults within a worker process that matches.
Does not cover what is done from outside (``scripts/soak.py``), nor faults of the driver.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from enrich_dist.core.files import text_digest
from enrich_dist.farm.delegating import DelegatingMatcher

if TYPE_CHECKING:
    from enrich_dist.core.matcher import Matcher

# A worker that waits, waits up to so long.
_LONGEST_WAIT_SECONDS = 0.5
_EXIT_CODE = 3


class InjectedFaultError(Exception):
    """Raised on purpose, as an error of the matcher would be. Names the attempt: no two are the same, so that rows are
    not taken for its cause."""


class FaultKind(StrEnum):
    """What an attempt may meet."""

    KILL = "kill"
    """The worker process kills itself (SIGKILL)."""
    EXIT = "exit"
    """The worker process exits without a word."""
    RAISE = "raise"
    LACK_MEMORY = "lack memory"
    """``MemoryError``, without memory being taken."""
    FAIL_TO_READ = "fail to read"
    """``OSError``, as a disk that cannot be read raises it."""
    WAIT = "wait"
    """Half a second at most; then the attempt goes on."""


@dataclass(frozen=True)
class Strike:
    """One fault: what it is, and whether it comes after the matching rather than before it."""

    kind: FaultKind
    late: bool
    wait_seconds: float


@dataclass(frozen=True)
class Faults:
    """Strikes a share of all attempts: ``probability`` (0 to 1) of each, drawn from ``seed``."""

    probability: float
    seed: int

    def strike(self, key: str, attempt: int) -> Strike | None:
        """What attempt ``attempt`` at the chunk of checkpoint ``key`` meets; None where nothing does."""
        draw = random.Random(text_digest("fault", str(self.seed), key, str(attempt)))
        if draw.random() >= self.probability:
            return None
        return Strike(draw.choice(list(FaultKind)), draw.random() < 0.5, draw.uniform(0, _LONGEST_WAIT_SECONDS))

    def around(self, matcher: Matcher, key: str, attempt: int) -> Matcher:
        """The matcher for one attempt, which does what was drawn for it."""
        strike = self.strike(key, attempt)
        return matcher if strike is None else _StruckMatcher(matcher, [strike], attempt)


@dataclass(frozen=True)
class _StruckMatcher(DelegatingMatcher):
    """Matches as ``inner`` does, and is struck once: before or after its first ``match``."""

    pending: list[Strike]
    attempt: int

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        strike = self.pending.pop() if self.pending else None
        if strike and not strike.late:
            self._suffer(strike)
        found = self.inner.match(index, recipients)
        if strike and strike.late:
            self._suffer(strike)
        return found

    def _suffer(self, strike: Strike) -> None:
        match strike.kind:
            case FaultKind.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case FaultKind.EXIT:
                os._exit(_EXIT_CODE)
            case FaultKind.RAISE:
                raise InjectedFaultError(f"injected into attempt {self.attempt}")
            case FaultKind.LACK_MEMORY:
                raise MemoryError(f"injected into attempt {self.attempt}")
            case FaultKind.FAIL_TO_READ:
                raise OSError(errno.EIO, f"injected into attempt {self.attempt}")
            case FaultKind.WAIT:
                time.sleep(strike.wait_seconds)
