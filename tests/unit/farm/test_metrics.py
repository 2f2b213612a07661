"""Numbers of a farm, each against a value counted by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.metrics import FarmOutcome, farm_numbers
from enrich_dist.store.run_directory import Number
from tests.support.farm_case import checkpoint_record, chunk_task


def test_numbers_of_a_resumed_farm() -> None:
    first, second = (replace(checkpoint_record(chunk_task(n), worker=str(n), seconds=1.0), pid=n) for n in (1, 2))
    whole = replace(first, batch_rows=900, peak_memory_bytes=111_110_000, projected_peak_memory_bytes=200_000_000)
    degraded = replace(
        second, parts=2, degradations=3, batch_rows=800, batch_rows_least=100, peak_memory_bytes=222_260_000,
        projected_peak_memory_bytes=150_000_000,
    )  # fmt: skip
    outcome = FarmOutcome({"b": degraded}, Counter({FailureKind.CRASH: 2}), restarts={"2": 1, "3": 4}, seconds=0.81254)

    numbers = farm_numbers(
        [whole, degraded], outcome, computed=1, damaged=5, memory_threshold_mb=700, own_workers=[]
    )  # fmt: skip

    assert (numbers[Number.CHUNKS], numbers[Number.CHUNKS_RESUMED], numbers[Number.CHUNKS_COMPUTED]) == (2, 1, 1)
    assert (numbers["checkpoints_damaged"], numbers[Number.FAILED_ATTEMPTS]) == (5, 2)
    assert (numbers["failed_attempts_crash"], numbers["chunks_doubled"], numbers[Number.WORKER_RESTARTS]) == (2, 0, 5)
    assert (numbers["chunks_in_parts"], numbers["chunks_degraded"], numbers["degradations"]) == (1, 1, 3)
    assert (numbers["batch_rows"], numbers["batch_rows_least"]) == (900, 100)
    assert numbers[Number.FARM_SECONDS] == 0.813
    assert numbers[Number.FARM_RECORDS_PER_SECOND] == pytest.approx(degraded.rows_in / 0.81254, abs=0.06)
    assert numbers[Number.WORKER_PEAK_MEMORY_MB] == 222.3
    assert numbers[Number.WORKER_PROJECTED_PEAK_MEMORY_MB] == 200.0
    assert numbers["worker_memory_threshold_mb"] == 700
