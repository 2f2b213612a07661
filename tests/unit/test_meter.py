"""Time and memory of a stretch of work in this process."""

from __future__ import annotations

import time

import numpy as np
import pytest

from enrich_dist import meter
from enrich_dist.meter import Meter, resident_bytes


def test_a_peak_that_is_gone_again_is_seen() -> None:
    before = resident_bytes()
    with Meter() as measured:
        np.ones(25_000_000).sum()  # 200 MB

    assert measured.peak_memory_bytes > before + 150_000_000


def test_a_peak_from_before_does_not_count() -> None:
    np.ones(50_000_000).sum()  # 400 MB
    before = resident_bytes()
    with Meter() as measured:
        time.sleep(0.01)

    assert measured.memory_method == "vmhwm"
    assert measured.peak_memory_bytes < before + 100_000_000


def test_without_the_kernel_the_size_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "_reset_high_water_mark", lambda: False)
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
