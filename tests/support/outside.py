"""Resident memory of processes as an outsider sees it: sampled from the kernel, without the product's own meter.

On a busy machine samples are rare. So each has the size now, which a peak reaches at least, and the kernel's high-water
mark, which a peak does not exceed if a sample follows it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_SAMPLE_SECONDS, _LIST_SECONDS = 0.02, 0.2


@dataclass
class Outside:
    """Samples (Unix seconds, resident bytes, highest resident bytes) by process number."""

    samples: dict[int, list[tuple[float, int, int]]] = field(default_factory=dict)
    children: list[int] = field(default_factory=list)
    """Process numbers of those that this one started itself during the body, in their order."""

    def peak_bytes(self, pid: int, begin: float = 0.0, end: float = float("inf")) -> int:
        """Return the largest sample of a process in an interval of Unix seconds; 0 if there is none."""
        return self.bounds_bytes(pid, begin, end)[0]

    def bounds_bytes(self, pid: int, begin: float = 0.0, end: float = float("inf")) -> tuple[int, int]:
        """Return the bounds of a peak in an interval of Unix seconds; zeros if there is no sample."""
        found = [(size, highest) for at, size, highest in self.samples[pid] if begin <= at <= end]
        return max((size for size, _ in found), default=0), max((highest for _, highest in found), default=0)


@contextmanager
def watching() -> Iterator[Outside]:
    """Sample all descendants of this process during the body."""
    found, me, done = Outside(), psutil.Process(), threading.Event()
    before = {process.pid for process in me.children()}

    def sample() -> None:
        processes: list[psutil.Process] = []
        listed = 0.0
        while not done.wait(_SAMPLE_SECONDS):
            if time.monotonic() - listed > _LIST_SECONDS:
                listed = time.monotonic()
                processes = me.children(recursive=True)
                direct = [process.pid for process in me.children() if process.pid not in before]
                found.children += [pid for pid in direct if pid not in found.children]
            for process in processes:
                with suppress(OSError, KeyError):  # it has ended
                    found.samples.setdefault(process.pid, []).append((time.time(), *_resident(process.pid)))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()


def _resident(pid: int) -> tuple[int, int]:
    """Return the resident bytes of a process, now and at most since it last reset the mark."""
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    kilobytes = {name: text.split()[0] for name, _, text in (line.partition(":") for line in lines) if text.split()}
    return 1024 * int(kilobytes["VmRSS"]), 1024 * int(kilobytes["VmHWM"])
