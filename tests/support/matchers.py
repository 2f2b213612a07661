"""A matcher that works, but first does harm: it runs on real workers, so it lives in a module they can import."""

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

from enrich_dist.farm.fault_injection import DelegatingMatcher


@dataclass(frozen=True)
class Harmful(DelegatingMatcher):
    """Delegates to ``inner``; does ``harm`` in the first ``times`` calls on the chunk that holds ``victim_row``.

    "poison" raises for as long as that row is among those to match, "greed" takes memory for as long as more than
    ``greedy_rows`` rows are, "none" does none. Every call takes ``pause_seconds`` longer than it would, so that
    something can happen meanwhile, and leaves a file in ``ledger``, named by the chunk's first source row: so calls are
    counted.
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
