"""Metrics of a farm that has ended, from the records of its chunks: numbers that Dagster plots, and memory per worker.

Samples during the run are in the worker log (``logs``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from enrich_dist.core.tables import Table, make_table
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.driver import FarmOutcome
from enrich_dist.store.checkpoints import CheckpointRecord
from enrich_dist.store.run_directory import Number


def farm_numbers(
    records: Sequence[CheckpointRecord], outcome: FarmOutcome, *, computed: int, damaged: int, memory_threshold_mb: int
) -> dict[str, float]:
    """Return the numbers by name.

    ``records``: of all chunks in the result; ``outcome``: of the ``computed`` chunks of this run; ``damaged``: count of
    checkpoints that were not valid.
    """
    workers = memory_per_worker(records)
    rows_now = sum(record.rows_in for record in outcome.records.values())
    batch_rows = max(record.batch_rows for record in records)
    return {
        Number.CHUNKS: len(records),
        Number.CHUNKS_RESUMED: len(records) - computed,
        Number.CHUNKS_COMPUTED: computed,
        "checkpoints_damaged": damaged,
        Number.FAILED_ATTEMPTS: outcome.failures.total(),
        **{f"failed_attempts_{kind.name.lower()}": outcome.failures[kind] for kind in FailureKind},
        "chunks_doubled": outcome.backup_tasks,
        Number.WORKER_RESTARTS: sum(outcome.restarts.values()),
        "chunks_in_parts": sum(record.parts > 1 for record in records),
        "chunks_degraded": sum(record.degradations > 0 for record in records),
        "degradations": sum(record.degradations for record in records),
        "batch_rows": batch_rows,
        "batch_rows_least": min(
            (record.batch_rows_least for record in records if record.degradations), default=batch_rows
        ),
        "rows_quarantined": sum(record.rows_quarantined for record in records),
        "candidates": sum(record.candidates for record in records),
        Number.WORKERS: len(memory_per_worker(outcome.records.values())),
        Number.FARM_SECONDS: round(outcome.seconds, 3),
        Number.FARM_RECORDS_PER_SECOND: round(rows_now / outcome.seconds, 1) if outcome.seconds > 0 else 0.0,
        Number.WORKER_PEAK_MEMORY_MB: round(max((i.peak_memory_bytes for i in workers), default=0) / 1e6, 1),
        Number.WORKER_PROJECTED_PEAK_MEMORY_MB: round(
            max((i.projected_peak_memory_bytes for i in workers), default=0) / 1e6, 1
        ),
        "worker_memory_threshold_mb": memory_threshold_mb,
    }


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
