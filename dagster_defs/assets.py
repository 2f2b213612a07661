"""The assets, in the order of the flow. Each runs one step and hands its report over as metadata."""

import dagster as dg

from dagster_defs.metadata import logged, materialized, overrides_told, run_totals
from dagster_defs.resources import DaskCluster, EnrichSettings

GROUP = "enrichment"


@dg.asset(group_name=GROUP, kinds={"csv", "parquet"})
def sbir_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Awards, cleaned and typed.

    Read from the SBIR.gov bulk file; rejected rows are kept beside them with number and reason.
    """
    with logged(context, settings):
        return materialized(settings.pipeline(context.run.run_id).ingest_awards())


@dg.asset(group_name=GROUP, kinds={"parquet"}, deps=[sbir_awards])
def award_companies(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Companies and their index.

    Awards joined by a shared UEI, DUNS, or name and state; the index is what every worker opens.
    """
    with logged(context, settings):
        return materialized(settings.pipeline(context.run.run_id).join_companies())


@dg.asset(group_name=GROUP, kinds={"parquet"})
def recipient_chunks(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Recipients in Parquet chunks.

    At most ``chunk_size`` rows each, with a manifest of rows, bytes and digests.
    """
    with logged(context, settings):
        return materialized(settings.pipeline(context.run.run_id).partition_recipients())


@dg.asset(group_name=GROUP, kinds={"dask", "parquet"}, deps=[award_companies, recipient_chunks])
def chunk_matches(
    context: dg.AssetExecutionContext, settings: EnrichSettings, cluster: DaskCluster
) -> dg.MaterializeResult[None]:
    """Candidates of every chunk.

    Computed by the workers of the Dask cluster and kept as checkpoints; finished chunks are not computed again.
    """
    with logged(context, settings):
        return materialized(settings.pipeline(context.run.run_id).farm_chunks(cluster.client))


@dg.asset(group_name=GROUP, kinds={"duckdb", "parquet"}, deps=[chunk_matches])
def enriched_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Best match per award, judged.

    The reduce of all checkpoints, with metrics and verdict; not yet published.
    """
    with logged(context, settings):
        result = materialized(settings.pipeline(context.run.run_id).enrich_awards())
    return dg.MaterializeResult(metadata={**(result.metadata or {}), **overrides_told(settings)})


@dg.asset(group_name=GROUP, kinds={"duckdb", "parquet"}, deps=[enriched_awards])
def published_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> dg.MaterializeResult[None]:
    """Published result.

    The judged result, swapped in atomically; refused without a passed verdict, however it is launched.
    """
    pipeline = settings.pipeline(context.run.run_id)
    with logged(context, settings):
        result = materialized(pipeline.publish_awards())
    totals = run_totals(pipeline.directory.all_latest(), context.run.run_id)
    return dg.MaterializeResult(metadata={**(result.metadata or {}), **totals})


ASSETS = [sbir_awards, award_companies, recipient_chunks, chunk_matches, enriched_awards, published_awards]
