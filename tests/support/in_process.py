"""Runs without a cluster: this process matches the chunks with the function that workers run."""

from __future__ import annotations

from distributed import Client

from enrich_dist.farm.worker import run_chunk
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings


def _no_cluster() -> Client:
    raise AssertionError("a chunk has no checkpoint")


def run_in_process(settings: Settings, run_id: str = "test") -> Pipeline:
    """Run all steps up to the judged result."""
    pipeline = Pipeline(settings, run_id)
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    for task in pipeline.tasks():
        run_chunk(task, pipeline.matcher())
    pipeline.farm_chunks(_no_cluster)
    pipeline.enrich_awards()
    return pipeline
