"""The assets, in the order of the flow. Each runs one step and hands its report over as metadata."""

import dagster as dg

from dagster_defs.metadata import logged, materialized, run_totals
from dagster_defs.resources import DaskCluster, EnrichSettings

GROUP = "enrichment"


@dg.asset(group_name=GROUP, kinds={"csv", "parquet"})
def sbir_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """SBIR awards read from the bulk file: cleaned, typed, with rejected rows kept beside them."""
    with logged(context, settings):
        return materialized(settings.pipeline(context.run.run_id).ingest_awards())


@dg.asset(group_name=GROUP, kinds={"parquet"}, deps=[sbir_awards])
def award_companies(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Awards joined to companies, and the index of companies that every worker opens."""
    with logged(context, settings):
        return materialized(settings.pipeline(context.run.run_id).join_companies())


@dg.asset(group_name=GROUP, kinds={"parquet"})
def recipient_chunks(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Recipients cut into Parquet chunks of at most ``chunk_size`` rows."""
    with logged(context, settings):
        return materialized(settings.pipeline(context.run.run_id).partition_recipients())


@dg.asset(group_name=GROUP, kinds={"dask", "parquet"}, deps=[award_companies, recipient_chunks])
def chunk_matches(
    context: dg.AssetExecutionContext, settings: EnrichSettings, cluster: DaskCluster
) -> dg.MaterializeResult[None]:
    """Candidate pairs of every chunk, computed on the Dask cluster and kept as checkpoints."""
    with logged(context, settings):
        return materialized(settings.pipeline(context.run.run_id).farm_chunks(cluster.client))


@dg.asset(group_name=GROUP, kinds={"duckdb", "parquet"}, deps=[chunk_matches])
def enriched_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Awards with the best recipient of their company, measured and judged; not yet published."""
    with logged(context, settings):
        return materialized(settings.pipeline(context.run.run_id).enrich_awards())


@dg.asset(group_name=GROUP, kinds={"duckdb", "parquet"}, deps=[enriched_awards])
def published_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """The judged result, swapped in atomically; refused without a passed verdict, however it is launched."""
    pipeline = settings.pipeline(context.run.run_id)
    with logged(context, settings):
        result = materialized(pipeline.publish_awards())
    totals = run_totals(pipeline.directory.all_latest(), context.run.run_id)
    return dg.MaterializeResult(metadata={**(result.metadata or {}), **totals})


ASSETS = [sbir_awards, award_companies, recipient_chunks, chunk_matches, enriched_awards, published_awards]
