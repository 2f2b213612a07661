"""Resident memory of processes as an outsider sees it: sampled from the kernel, without the product's own meter."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil

_SAMPLE_SECONDS, _LIST_SECONDS = 0.02, 0.2


@dataclass
class Outside:
    """Samples (Unix seconds, resident bytes) by process number."""

    samples: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    children: list[int] = field(default_factory=list)
    """Process numbers of those that this one started itself during the body, in their order."""

    def peak_bytes(self, pid: int, begin: float = 0.0, end: float = float("inf")) -> int:
        """Return the largest sample of a process in an interval of Unix seconds; 0 if there is none."""
        return max((size for at, size in self.samples[pid] if begin <= at <= end), default=0)

    def peaks_bytes(self) -> dict[int, int]:
        """Return the largest sample of every process."""
        return {pid: max(size for _, size in samples) for pid, samples in self.samples.items()}


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
                with suppress(psutil.Error):
                    found.samples.setdefault(process.pid, []).append((time.time(), process.memory_info().rss))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
