"""The assets in their order, and the job of all of them. Each runs one step.

The report of the step becomes metadata, with stable keys, so that the UI plots the numbers over materializations. Run
events become log lines.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg

from dagster_defs.limits import limit_results, limit_specs
from dagster_defs.resources import DaskCluster, EnrichSettings
from enrich_dist.events import Event, FarmProgress, Notice, Step, StepProgress, listening, warning_on_error
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.progress.intervals import ProgressIntervals
from enrich_dist.reporting.run_tables import settings_table
from enrich_dist.store.run_directory import StepReport
from enrich_dist.store.run_totals import run_totals, step_numbers

GROUP = "enrichment"

if TYPE_CHECKING:
    Materialized = dg.MaterializeResult[None]
else:  # Dagster recognises the result of an asset with checks by this class only
    Materialized = dg.MaterializeResult


@contextmanager
def log_events(context: dg.AssetExecutionContext, settings: EnrichSettings) -> Iterator[None]:
    """Log notices during the body, and progress at the interval of the settings."""
    intervals = ProgressIntervals(settings.load().settings.farm.progress_interval_seconds)

    def listener(event: Event) -> None:
        if isinstance(event, Notice):
            (context.log.warning if event.warning else context.log.info)(event.message)
        elif isinstance(event, FarmProgress | StepProgress) and intervals.due(event):
            context.log.info(event.line())

    with listening(listener):
        yield


def _run_step(
    context: dg.AssetExecutionContext,
    settings: EnrichSettings,
    step: Callable[[Pipeline], StepReport],
    more: Callable[[Pipeline], dict[str, Any]] = lambda _: {},
) -> Materialized:
    """Run a step; return its report and ``more`` as metadata, and the checks of its limits.

    If it fails, the asset gets the totals of the failed run.
    """
    pipeline = settings.pipeline(context.run.run_id)
    try:
        with log_events(context, settings):
            report = step(pipeline)
            checks = limit_results(pipeline, report)
    except BaseException:
        with warning_on_error("The totals of the failed run could not be added to the asset"):
            context.log_event(dg.AssetObservation(context.asset_key, metadata=_failure(pipeline)))
        raise
    metadata: dict[str, Any] = dict(step_numbers(report)) | _tables(report)
    metadata |= {f"{name}_path": dg.MetadataValue.path(path) for name, path in report.paths.items()}
    return dg.MaterializeResult(metadata=metadata | more(pipeline), check_results=checks)


def _tables(report: StepReport) -> dict[str, Any]:
    return {title.replace(" ", "_"): dg.MetadataValue.md(table) for title, table in report.tables.items()}


def _failure(pipeline: Pipeline) -> dict[str, Any]:
    """Return why the run failed, and its totals until then."""
    totals = _totals(pipeline, failed=True)
    failed = pipeline.directory.failure(pipeline.run_id)
    return totals if failed is None else totals | {"failed_because": failed.reason} | _tables(failed.report)


def _totals(pipeline: Pipeline, *, failed: bool = False) -> dict[str, Any]:
    """Return the totals of the run so far."""
    return dict(run_totals(pipeline.directory.reports_of(pipeline.run_id), pipeline.run_id).numbers(failed=failed))


@dg.asset(group_name=GROUP, kinds={"csv", "parquet"}, check_specs=limit_specs(Step.SBIR_AWARDS))
def sbir_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> Materialized:
    """Awards, cleaned and typed.

    Read from the SBIR.gov bulk file. Rejected rows are stored with their number and reason.
    """
    return _run_step(context, settings, Pipeline.ingest_awards)


@dg.asset(group_name=GROUP, kinds={"parquet"}, deps=[sbir_awards], check_specs=limit_specs(Step.AWARD_COMPANIES))
def award_companies(context: dg.AssetExecutionContext, settings: EnrichSettings) -> Materialized:
    """Companies and their index.

    A company is the awards that share a UEI, a DUNS, or a name and state. Every worker opens the index.
    """
    return _run_step(context, settings, Pipeline.join_companies)


@dg.asset(group_name=GROUP, kinds={"parquet"}, check_specs=limit_specs(Step.RECIPIENT_CHUNKS))
def recipient_chunks(context: dg.AssetExecutionContext, settings: EnrichSettings) -> Materialized:
    """Recipients in Parquet chunks.

    At most ``chunk_size`` rows per chunk, with a manifest of rows, bytes and digests.
    """
    return _run_step(context, settings, Pipeline.partition_recipients)


@dg.asset(
    group_name=GROUP,
    kinds={"dask", "parquet"},
    deps=[award_companies, recipient_chunks],
    check_specs=limit_specs(Step.CHUNK_MATCHES),
)
def chunk_matches(context: dg.AssetExecutionContext, settings: EnrichSettings, cluster: DaskCluster) -> Materialized:
    """Candidate pairs of every chunk.

    Computed by Dask workers and stored as checkpoints. Finished chunks are not computed again.
    """
    return _run_step(context, settings, lambda pipeline: pipeline.farm_chunks(cluster.client))


@dg.asset(
    group_name=GROUP, kinds={"duckdb", "parquet"}, deps=[chunk_matches], check_specs=limit_specs(Step.ENRICHED_AWARDS)
)
def enriched_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> Materialized:
    """Best match per award, with metrics and verdict.

    Reduced from all checkpoints. Not published yet.
    """
    overrides = settings.load().overrides()
    text = settings_table(overrides).markdown() if overrides else "All settings have their default values."
    # The totals also here, as a check may block what follows.
    return _run_step(
        context,
        settings,
        Pipeline.enrich_awards,
        lambda pipeline: {"overridden_settings": dg.MetadataValue.md(text)} | _totals(pipeline),
    )


@dg.asset(
    group_name=GROUP,
    kinds={"duckdb", "parquet"},
    deps=[enriched_awards],
    check_specs=limit_specs(Step.PUBLISHED_AWARDS),
)
def published_awards(context: dg.AssetExecutionContext, settings: EnrichSettings) -> Materialized:
    """Published result.

    Replaces the previous one atomically. Fails unless the verdict is passed, however it is launched.
    """
    return _run_step(context, settings, Pipeline.publish_awards, _totals)


ASSETS = [sbir_awards, award_companies, recipient_chunks, chunk_matches, enriched_awards, published_awards]

# One process for all steps: each step process would import Dagster again and start a cluster of its own.
enrich = dg.define_asset_job(
    "enrich",
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    description="Match awards with recipients, check the quality of the result, and publish it.",
)
