"""Workloads, rates and choices for tests of planning."""

from __future__ import annotations

from enrich_dist.farm.budget import project
from enrich_dist.matching.memory import match_memory
from enrich_dist.planning.estimate import Cluster, Rates, Workload
from enrich_dist.planning.prediction import Basis, Prediction
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
    inputs_bytes=25_000_000,
)
RATES = Rates(
    cores=2,
    partition_row_seconds=8e-6,
    match_row_seconds=10e-6,
    measured_seconds={},
    spread=0.1,
)


def prediction(work: Workload = WORK, *, chunk_size: int = 50_000, workers: int = 2) -> Prediction:
    """Return a prediction without earlier runs."""
    basis = Basis(work, RATES, {}, {"recipients": "recipients.parquet", "rows_exact": True}, 0.0)
    return Prediction(basis, Cluster(workers), chunk_size, 300_000_000, 350_000_000, 272_000_000)


def choice(chunk_size: int, workers: int, *, seconds: float = 100.0, index_mb: int = 20) -> Choice:
    """Return the budget's projection for a chunk size, with batches as large as the chunk."""
    projection = project(
        match_memory(index_mb * 1_000_000), chunk_rows=chunk_size, chunk_bytes=90 * chunk_size, batch_rows=chunk_size
    )
    return Choice(chunk_size, workers, seconds, 1.0, projection)
