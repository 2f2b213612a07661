"""Memory per worker process, from the records of the chunks. Does not import Dask: commands that only read use it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from enrich_dist.core.tables import Table, make_table
from enrich_dist.store.checkpoints import CheckpointRecord


@dataclass(frozen=True)
class WorkerMemory:
    """The chunks of one worker process, and its peak memory."""

    worker: str
    host: str
    pid: int
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


def memory_table(workers: Sequence[WorkerMemory]) -> Table:
    """Return a row per worker process; hosts are named where there are several."""
    several_hosts = len({item.host for item in workers}) > 1
    rows = [
        (
            item.worker,
            *([item.host] if several_hosts else []),
            str(item.pid),
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
