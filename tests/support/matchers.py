"""A matcher that injects faults before it matches, in a module that workers can import."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.support.delegating import DelegatingMatcher


@dataclass(frozen=True)
class Harmful(DelegatingMatcher):
    """Delegates to ``inner``; injects ``harm`` in the first ``times`` calls on the chunk that contains ``victim_row``.

    "poison" raises while that row is among the rows to match, "greed" allocates memory while there are more than
    ``greedy_rows`` rows, "none" injects nothing. Every call takes ``pause_seconds`` longer, so that faults can occur
    meanwhile. To count calls, each leaves a file in ``ledger``, named by the chunk's first source row.
    """

    ledger: Path
    victim_row: int
    harm: str
    times: int = 1
    greedy_rows: int = 0
    pause_seconds: float = 0

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Harm, then match."""
        rows = recipients["source_row"].to_pylist()
        calls = len(list(self.ledger.glob(f"{rows[0]}-*")))
        (self.ledger / f"{rows[0]}-{calls}-{time.monotonic_ns()}").touch()
        if self.victim_row in rows and calls < self.times:
            match self.harm:
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "exit":
                    os._exit(3)
                case "raise":
                    raise RuntimeError("harm done")
                case "hang":
                    time.sleep(600)
                case "segfault":
                    ctypes.string_at(0)
                case "sys.exit":
                    sys.exit(3)
                case "terminate":
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(600)
                case "stop":
                    os.kill(os.getpid(), signal.SIGSTOP)
            match self.harm:
                case "poison":
                    raise ValueError(f"row {self.victim_row} is poison")
                case "full disk":
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.ledger))
                case "greed" if len(rows) > self.greedy_rows:
                    held = []
                    while True:
                        held.append(bytearray(b"x" * 40_000_000))
                        time.sleep(0.02)
        select.select([], [], [], self.pause_seconds)  # time.sleep fails under a clock that is made to jump
        return self.inner.match(index, recipients)
