"""Work, speed and choices made up for tests of the cost model."""

from __future__ import annotations

from dataclasses import replace

from enrich_dist.farm.budget import project
from enrich_dist.matching.memory import match_memory
from enrich_dist.planning.model import Cluster, Speed, Workload
from enrich_dist.planning.predicted import Basis, Prediction
from enrich_dist.planning.recommend import Choice

WORK = Workload(
    source_rows=1_000_000,
    recipients=990_000,
    awards=50_000,
    companies=20_000,
    candidates_per_row=0.1,
    chunk_row_bytes=90.0,
    candidate_row_bytes=6.0,
    counts_bytes=40_000.0,
    counts_rows=25_000,
    counts_power=0.5,
    inputs_bytes=25_000_000,
)
SPEED = Speed(
    yardstick_seconds=0.1,
    cores=2,
    contention=1.2,
    disk_bytes_per_second=500e6,
    partition_row_seconds=8e-6,
    match_row_seconds=10e-6,
    chunk_seconds=0.02,
    measured_seconds={},
    scatter=0.1,
)


def prediction(
    work: Workload = WORK, speed: Speed = SPEED, *, chunk_size: int = 50_000, workers: int = 2
) -> Prediction:
    """One that nothing refines."""
    basis = Basis(work, speed, {}, {}, {"recipients": "recipients.parquet", "rows_exact": True}, 0.0)
    return Prediction(basis, Cluster(workers), chunk_size, 300_000_000, 350_000_000, 272_000_000)


def choice(chunk_size: int, workers: int, *, seconds: float = 100.0, index_mb: int = 20) -> Choice:
    """What the budget says of a chunk of such a size, in batches as large as it is."""
    projection = project(
        match_memory(index_mb * 1_000_000), chunk_rows=chunk_size, chunk_bytes=90 * chunk_size, batch_rows=chunk_size
    )
    return Choice(chunk_size, workers, seconds, 1.0, projection)


def larger(work: Workload, rows: int) -> Workload:
    """The same of more rows."""
    return replace(work, source_rows=work.source_rows + rows, recipients=work.recipients + rows)
