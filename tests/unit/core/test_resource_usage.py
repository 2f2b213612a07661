"""Time and peak memory of a block of code in this process."""

from __future__ import annotations

import time

import numpy as np
import pytest

from enrich_dist.core import resource_usage
from enrich_dist.core.resource_usage import Meter, release_unused_memory, resident_bytes


def test_short_peak_is_measured() -> None:
    before = resident_bytes()
    with Meter() as measured:
        np.ones(25_000_000).sum()  # 200 MB

    assert measured.peak_memory_bytes > before + 150_000_000


def test_earlier_peak_is_ignored() -> None:
    np.ones(50_000_000).sum()  # 400 MB
    before = resident_bytes()
    with Meter() as measured:
        time.sleep(0.01)

    assert measured.memory_method == "vmhwm"
    assert measured.peak_memory_bytes < before + 100_000_000


def test_size_is_sampled_without_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_usage, "_reset_high_water_mark", lambda: False)
    before = resident_bytes()
    with Meter() as measured:
        block = np.ones(25_000_000)
        time.sleep(0.3)
        del block

    assert measured.memory_method == "sampled"
    assert measured.peak_memory_bytes > before + 150_000_000


def test_seconds_stop_at_the_end() -> None:
    with Meter() as measured:
        time.sleep(0.05)
    seconds = measured.seconds
    time.sleep(0.05)

    assert 0.05 <= seconds == measured.seconds


@pytest.mark.parametrize("method", ["vmhwm", "sampled"])
def test_laps_measure_peaks_of_parts(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if method == "sampled":
        monkeypatch.setattr(resource_usage, "_reset_high_water_mark", lambda: False)
    before = resident_bytes()
    with Meter() as measured:
        block = np.ones(25_000_000)  # 200 MB
        time.sleep(0.2)
        del block
        first = measured.lap()
        second = measured.lap()

    assert first > before + 150_000_000
    assert second < before + 100_000_000
    assert measured.peak_memory_bytes == first


def test_unused_memory_is_released() -> None:
    small = [bytes(1_000) for _ in range(200_000)]  # on the heap, not mapped individually
    held = resident_bytes()
    still_used = small[::100]  # spread out, so that the heap cannot shrink
    del small
    before = resident_bytes()
    release_unused_memory()

    assert before > held - 50_000_000
    assert resident_bytes() < held - 100_000_000
    assert len(still_used) == 2_000
