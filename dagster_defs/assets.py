"""The assets in their order, and the job of all of them. Each runs one step and reports it as metadata."""

from collections.abc import Callable

import dagster as dg

from dagster_defs.metadata import log_events, materialize_result, overridden_settings, run_totals
from dagster_defs.resources import DaskCluster, EnrichSettings
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.store.run_directory import StepReport

GROUP = "enrichment"


def _run_step(
    context: dg.AssetExecutionContext, settings: EnrichSettings, step: Callable[[Pipeline], StepReport]
) -> dg.MaterializeResult[None]:
    with log_events(context, settings):
        return materialize_result(step(settings.pipeline(context.run.run_id)))


@dg.asset(group_name=GROUP, kinds={"csv", "parquet"})
def sbir_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Awards, cleaned and typed.

    Read from the SBIR.gov bulk file. Rejected rows are stored with their number and reason.
    """
    return _run_step(context, settings, Pipeline.ingest_awards)


@dg.asset(group_name=GROUP, kinds={"parquet"}, deps=[sbir_awards])
def award_companies(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Companies and their index.

    A company is the awards that share a UEI, a DUNS, or a name and state. Every worker opens the index.
    """
    return _run_step(context, settings, Pipeline.join_companies)


@dg.asset(group_name=GROUP, kinds={"parquet"})
def recipient_chunks(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Recipients in Parquet chunks.

    At most ``chunk_size`` rows per chunk, with a manifest of rows, bytes and digests.
    """
    return _run_step(context, settings, Pipeline.partition_recipients)


@dg.asset(group_name=GROUP, kinds={"dask", "parquet"}, deps=[award_companies, recipient_chunks])
def chunk_matches(
    context: dg.AssetExecutionContext, settings: EnrichSettings, cluster: DaskCluster
) -> dg.MaterializeResult[None]:
    """Candidate pairs of every chunk.

    Computed by Dask workers and stored as checkpoints. Finished chunks are not computed again.
    """
    return _run_step(context, settings, lambda pipeline: pipeline.farm_chunks(cluster.client))


@dg.asset(group_name=GROUP, kinds={"duckdb", "parquet"}, deps=[chunk_matches])
def enriched_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Best match per award, with metrics and verdict.

    Reduced from all checkpoints. Not published yet.
    """
    result = _run_step(context, settings, Pipeline.enrich_awards)
    return dg.MaterializeResult(metadata={**(result.metadata or {}), **overridden_settings(settings)})


@dg.asset(group_name=GROUP, kinds={"duckdb", "parquet"}, deps=[enriched_awards])
def published_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Published result.

    Replaces the previous one atomically. Fails unless the verdict is passed, however it is launched.
    """
    result = _run_step(context, settings, Pipeline.publish_awards)
    totals = run_totals(settings.pipeline(context.run.run_id).directory.all_latest(), context.run.run_id)
    return dg.MaterializeResult(metadata={**(result.metadata or {}), **totals})


ASSETS = [sbir_awards, award_companies, recipient_chunks, chunk_matches, enriched_awards, published_awards]

# One process for all steps: each step process would import Dagster again and start a cluster of its own.
enrich = dg.define_asset_job(
    "enrich",
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    description="Match awards with recipients, check the quality of the result, and publish it.",
)
