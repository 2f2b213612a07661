"""A schedule, and the sensor that notifies operators. ``dagster dev`` or ``dagster-daemon`` runs both."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from dagster_defs.assets import ASSETS, enrich
from dagster_defs.run_outcome import notify_run_outcome, settings_of
from enrich_dist.errors import EnrichError
from enrich_dist.run_lifecycle import passing_warnings

_MAX_RUNS = 50  # per evaluation; the next one takes the rest
_ASSET_KEYS = frozenset(key for asset in ASSETS for key in asset.keys)

nightly = dg.ScheduleDefinition(
    name="nightly",
    job=enrich,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Runs the job at 03:00 UTC. An example: it is stopped until it is started in the UI.",
)


@dg.sensor(
    name="notify_operators",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notifies operators (notifications.urls_file) once per incident: a blocked result, a failed run or a "
    "regression.",
)
def notify_operators(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Notify operators of runs that ended since the last evaluation, in their order.

    One sensor handles successes and failures, as new incidents depend on the order of the runs.
    """
    if not context.cursor:
        context.update_cursor(datetime.now(UTC).isoformat())
        return dg.SkipReason("The sensor handles runs that end from now on.")
    records = context.instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
            updated_after=datetime.fromisoformat(context.cursor),
        ),
        limit=_MAX_RUNS,
        order_by="update_timestamp",
        ascending=True,
    )

    with passing_warnings(context.log.warning):
        for record in sorted(records, key=lambda record: record.end_time or 0.0):
            run = record.dagster_run
            if run.job_name != enrich.name and _ASSET_KEYS.isdisjoint(run.asset_selection or ()):
                continue  # of another project that shares the instance
            try:
                notify_run_outcome(context.instance, run.run_id, settings_of(run))
            except EnrichError as error:
                context.log.warning(f"Run {run.run_id}: operators could not be notified: {error}")
    if records:
        context.update_cursor(max(record.update_timestamp for record in records).isoformat())
    return dg.SkipReason(f"{len(records)} runs ended since the last evaluation.")
