"""The figures of a farm that has ended: what its step reports, and Dagster plots."""

from __future__ import annotations

from collections.abc import Sequence

from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.driver import FarmOutcome
from enrich_dist.farm.worker_memory import memory_per_worker
from enrich_dist.store.checkpoints import CheckpointRecord


def farm_numbers(
    records: Sequence[CheckpointRecord], outcome: FarmOutcome, *, computed: int, damaged: int, memory_threshold_mb: int
) -> dict[str, float]:
    """By name. ``records``: of every chunk in the result; ``outcome``: of those that were ``computed`` now;
    ``damaged``: checkpoints that were found and not valid."""
    workers = memory_per_worker(records)
    rows_now = sum(record.rows_in for record in outcome.records.values())
    batch_rows = max(record.batch_rows for record in records)
    return {
        "chunks": len(records),
        "chunks_resumed": len(records) - computed,
        "chunks_computed": computed,
        "checkpoints_damaged": damaged,
        "failed_attempts": outcome.failures.total(),
        **{f"failed_attempts_{kind.name.lower()}": outcome.failures[kind] for kind in FailureKind},
        "chunks_doubled": outcome.doubled,
        "worker_restarts": sum(outcome.restarts.values()),
        "chunks_in_parts": sum(record.parts > 1 for record in records),
        "chunks_degraded": sum(record.degradations > 0 for record in records),
        "degradations": sum(record.degradations for record in records),
        "batch_rows": batch_rows,
        "batch_rows_least": min(
            (record.batch_rows_least for record in records if record.degradations), default=batch_rows
        ),
        "rows_quarantined": sum(record.rows_quarantined for record in records),
        "candidates": sum(record.candidates for record in records),
        "workers": len(memory_per_worker(outcome.records.values())),
        "farm_seconds": round(outcome.seconds, 3),
        "farm_records_per_second": round(rows_now / outcome.seconds, 1) if outcome.seconds > 0 else 0.0,
        "worker_peak_memory_mb": round(max((i.peak_memory_bytes for i in workers), default=0) / 1e6, 1),
        "worker_projected_peak_memory_mb": round(
            max((i.projected_peak_memory_bytes for i in workers), default=0) / 1e6, 1
        ),
        "worker_memory_threshold_mb": memory_threshold_mb,
    }
