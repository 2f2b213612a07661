"""Memory per worker process: from the records of its chunks, and for one that finished none from samples of Dask.

Does not import Dask: commands that only read use it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from enrich_dist.core.tables import Table, make_table
from enrich_dist.events import Event, WorkersSeen
from enrich_dist.farm.attempts import FailedAttempt
from enrich_dist.store.checkpoints import CheckpointRecord

SAMPLED: Final = "sampled"


@dataclass(frozen=True)
class WorkerMemory:
    """The chunks of one worker process, and its peak memory; ``pid``: None where it is not known."""

    worker: str
    host: str
    pid: int | None
    chunks: int
    records: int
    busy_seconds: float
    peak_memory_bytes: int
    projected_peak_memory_bytes: int
    memory_method: str
    memory_limit_bytes: int


def memory_per_worker(records: Iterable[CheckpointRecord]) -> list[WorkerMemory]:
    """Aggregate chunk records by worker process, ordered by host, name and process number."""
    groups: dict[tuple[str, str, int], list[CheckpointRecord]] = {}
    for record in records:
        groups.setdefault((record.host, record.worker, record.pid), []).append(record)
    return [
        WorkerMemory(
            worker=worker,
            host=host,
            pid=pid,
            chunks=len(items),
            records=sum(item.rows_in for item in items),
            busy_seconds=sum(item.seconds for item in items),
            peak_memory_bytes=max(item.peak_memory_bytes for item in items),
            projected_peak_memory_bytes=max(item.projected_peak_memory_bytes for item in items),
            memory_method=items[0].memory_method,
            memory_limit_bytes=items[0].memory_limit_bytes,
        )
        for (host, worker, pid), items in sorted(groups.items())
    ]


class WorkerSamples:
    """Listener that keeps the highest sample of each worker process of one farm, by its address."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[str, int, int]] = {}  # name, peak and limit in bytes

    def __call__(self, event: Event) -> None:
        """Take the samples of the event into account."""
        if isinstance(event, WorkersSeen):
            for sample in event.workers:
                _, peak_bytes, _ = self._seen.get(sample.address, ("", 0, 0))
                highest = max(peak_bytes, sample.memory_bytes)
                self._seen[sample.address] = (sample.worker, highest, sample.memory_limit_bytes)

    def without_chunks(
        self, records: Collection[CheckpointRecord], failures: Iterable[FailedAttempt]
    ) -> list[WorkerMemory]:
        """Return the processes that finished no chunk: lost before their first one, or without work.

        ``records``, ``failures``: of this farm. A failed attempt adds process number and host, and the last memory
        that the driver knew; it also shows a process that was lost before its first sample.
        """
        seen = dict(self._seen)
        markers = {}
        for failure in failures:
            if (marker := failure.marker) is not None:
                markers[marker.worker] = marker
                name, peak_bytes, limit_bytes = seen.get(marker.worker, (marker.worker, 0, 0))
                seen[marker.worker] = (name, max(peak_bytes, failure.memory_bytes or 0), limit_bytes)
        for address in {record.address for record in records}:
            seen.pop(address, None)
        found = []
        for address, (name, peak_bytes, limit_bytes) in seen.items():
            marker = markers.get(address)
            host, pid = (marker.host, marker.pid) if marker else (_host_of(name, records), None)
            found.append(WorkerMemory(name, host, pid, 0, 0, 0.0, peak_bytes, 0, SAMPLED, limit_bytes))
        return sorted(found, key=lambda item: (item.host, item.worker, item.pid or 0))


def _host_of(name: str, records: Iterable[CheckpointRecord]) -> str:
    return next((record.host for record in records if record.worker == name), "")


def memory_sum_bytes(workers: Iterable[WorkerMemory]) -> int:
    """Return the sum of the peaks of all workers; of a worker that was restarted, only the highest one."""
    peaks: dict[str, int] = {}
    for item in workers:
        peaks[item.worker] = max(peaks.get(item.worker, 0), item.peak_memory_bytes)
    return sum(peaks.values())


def memory_table(workers: Sequence[WorkerMemory]) -> Table:
    """Return a row per worker process; hosts are named where there are several."""
    several_hosts = len({item.host for item in workers}) > 1
    rows = [
        (
            item.worker,
            *([item.host] if several_hosts else []),
            "unknown" if item.pid is None else str(item.pid),
            item.chunks,
            item.records,
            f"{item.busy_seconds:.1f}",
            f"{item.projected_peak_memory_bytes / 1e6:,.0f}",
            f"{item.peak_memory_bytes / 1e6:,.0f}",
            f"{item.memory_limit_bytes / 1e6:,.0f}" if item.memory_limit_bytes else "none",
        )
        for item in workers
    ]
    hosts = ["host"] if several_hosts else []
    return make_table(
        ("worker", *hosts, "process", "chunks", "records", "busy seconds", "projected MB", "peak MB", "limit MB"),
        rows,
        "Memory per worker process",
    )
