"""Numbers of a farm that has ended, from the records of its chunks, which Dagster plots.

Samples during the run are in the worker log (``logs``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.worker_memory import WorkerMemory, memory_per_worker, memory_sum_bytes
from enrich_dist.store.checkpoints import CheckpointRecord
from enrich_dist.store.run_directory import Number


@dataclass
class FarmOutcome:
    """Result of a farm. ``records``: by checkpoint key; ``restarts``: by worker name; ``seconds``: wall time."""

    records: dict[str, CheckpointRecord] = field(default_factory=dict)
    failures: Counter[FailureKind] = field(default_factory=Counter)
    backup_tasks: int = 0
    restarts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


def memory_numbers(workers: Sequence[WorkerMemory]) -> dict[str, float]:
    """Return the memory of the worker processes of one run."""
    return {
        Number.RUN_WORKER_PEAK_MEMORY_MB: round(max((i.peak_memory_bytes for i in workers), default=0) / 1e6, 1),
        Number.WORKERS_MEMORY_SUM_MB: round(memory_sum_bytes(workers) / 1e6, 1),
    }


def farm_numbers(
    records: Sequence[CheckpointRecord],
    outcome: FarmOutcome,
    *,
    computed: int,
    damaged: int,
    memory_threshold_mb: int,
    own_workers: Sequence[WorkerMemory],
) -> dict[str, float]:
    """Return the numbers by name.

    ``records``: of all chunks in the result; ``outcome``: of the ``computed`` chunks of this run; ``damaged``: count of
    checkpoints that were not valid; ``own_workers``: the worker processes of this run.
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
        Number.WORKERS: sum(item.chunks > 0 for item in own_workers),
        **memory_numbers(own_workers),
        Number.FARM_SECONDS: round(outcome.seconds, 3),
        Number.FARM_RECORDS_PER_SECOND: round(rows_now / outcome.seconds, 1) if outcome.seconds > 0 else 0.0,
        Number.WORKER_PEAK_MEMORY_MB: round(max((i.peak_memory_bytes for i in workers), default=0) / 1e6, 1),
        Number.WORKER_PROJECTED_PEAK_MEMORY_MB: round(
            max((i.projected_peak_memory_bytes for i in workers), default=0) / 1e6, 1
        ),
        "worker_memory_threshold_mb": memory_threshold_mb,
    }
