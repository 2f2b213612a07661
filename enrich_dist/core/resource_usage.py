"""Wall time and peak resident memory of a block of code in this process.

On Linux the kernel's high-water mark is reset before and read after the block (method "vmhwm"). Where that is not
possible, a thread samples the resident size ("sampled": short peaks can be missed). Does not cover child processes.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_SAMPLE_SECONDS = 0.05


def resident_bytes() -> int:
    """Return the resident set size of this process."""
    import psutil  # takes 15 ms, which the command line need not spend

    return int(psutil.Process().memory_info().rss)


def release_unused_memory() -> None:
    """Return unused memory to the operating system, as far as the allocators can."""
    gc.collect()
    if "pyarrow" in sys.modules:
        import pyarrow as pa

        pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # only glibc has malloc_trim
        ctypes.CDLL(None).malloc_trim(0)


class Meter:
    """Context manager that measures its body; the numbers can be read during and after it."""

    def __init__(self) -> None:
        self.memory_method = "vmhwm" if _reset_high_water_mark() else "sampled"
        self._stop = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._sampled_peak_bytes = 0
        self._peak_bytes = 0  # of the previous laps; in total after the body
        self._started = time.perf_counter()
        self._seconds: float | None = None

    def __enter__(self) -> Meter:
        if self.memory_method == "sampled":
            self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._peak_bytes = self.peak_memory_bytes
        self._seconds = self.seconds
        self._stop.set()
        if self.memory_method == "sampled":
            self._sampler.join()

    @property
    def seconds(self) -> float:
        """Wall seconds of the body so far, or in total after it."""
        return time.perf_counter() - self._started if self._seconds is None else self._seconds

    @property
    def peak_memory_bytes(self) -> int:
        """Peak resident bytes of the body so far, or in total after it."""
        if self._seconds is not None:
            return self._peak_bytes
        return max(self._peak_bytes, self._lap_peak_bytes())

    def lap(self) -> int:
        """Return the peak resident bytes since the previous lap, and start a new one."""
        peak_bytes = self._lap_peak_bytes()
        self._peak_bytes = max(self._peak_bytes, peak_bytes)
        self._sampled_peak_bytes = 0
        if self.memory_method == "vmhwm":
            _reset_high_water_mark()
        return peak_bytes

    def _lap_peak_bytes(self) -> int:
        if self.memory_method == "vmhwm":
            return _high_water_mark_bytes()
        return max(self._sampled_peak_bytes, resident_bytes())

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_SECONDS):
            self._sampled_peak_bytes = max(self._sampled_peak_bytes, resident_bytes())


def _reset_high_water_mark() -> bool:
    try:
        _CLEAR_REFS.write_text("5")  # proc(5): resets VmHWM to the current VmRSS
    except OSError:
        return False
    return _STATUS.exists()


def _high_water_mark_bytes() -> int:
    for line in _STATUS.read_text("ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resident_bytes()
