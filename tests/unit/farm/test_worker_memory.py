"""Memory per worker process, also of one that finished no chunk."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from enrich_dist.events import WorkerSample, WorkersSeen
from enrich_dist.farm.attempts import FailedAttempt, FailureKind, Marker
from enrich_dist.farm.worker_memory import WorkerSamples, memory_per_worker, memory_sum_bytes, memory_table
from enrich_dist.store.checkpoints import CheckpointRecord
from tests.support.farm_case import checkpoint_record, chunk_task


def sample(worker: str, address: str, memory: int) -> WorkerSample:
    return WorkerSample(worker, address, memory, 1000, paused=False, restarts=0)


def record(**fields: Any) -> CheckpointRecord:
    return replace(checkpoint_record(chunk_task(0), worker="0", seconds=1.0), **fields)


def failure(address: str, pid: int, memory: int | None) -> FailedAttempt:
    marker = Marker("key", 1, address, "host", pid, 0.0)
    return FailedAttempt("key", 0, 1, FailureKind.CRASH, True, "", "", "", marker, memory)


def test_process_without_a_chunk_has_its_highest_sample() -> None:
    samples = WorkerSamples()
    for memory in (100, 700, 300):
        samples(WorkersSeen((sample("0", "tcp://a", memory), sample("1", "tcp://b", 50))))
    done = record(worker="1", address="tcp://b", peak_memory_bytes=60, pid=7)

    [lost] = samples.without_chunks([done], [])

    assert (lost.worker, lost.pid, lost.chunks, lost.peak_memory_bytes) == ("0", None, 0, 700)
    assert memory_table([lost]).rows[0][1] == "unknown"


def test_failed_attempt_adds_process_and_memory() -> None:
    samples = WorkerSamples()
    samples(WorkersSeen((sample("0", "tcp://a", 100),)))
    lost = samples.without_chunks([], [failure("tcp://a", 11, 900), failure("tcp://never-seen", 12, None)])

    assert [(item.worker, item.pid, item.peak_memory_bytes) for item in lost] == [
        ("0", 11, 900),
        ("tcp://never-seen", 12, 0),
    ]


def test_sum_counts_a_restarted_worker_once() -> None:
    records = [
        record(worker="0", pid=1, peak_memory_bytes=500),
        record(worker="0", pid=2, peak_memory_bytes=300),
        record(worker="1", pid=3, peak_memory_bytes=200),
    ]

    assert memory_sum_bytes(memory_per_worker(records)) == 700
