"""What happens by itself: a schedule, and the sensor that has operators notified. Both run in ``dagster dev`` or the
``dagster-daemon``."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from dagster_defs.assets import ASSETS
from dagster_defs.job import enrich
from dagster_defs.run_outcome import notify_run_outcome, settings_of
from enrich_dist.errors import EnrichError
from enrich_dist.events import Event, Notice, listening

_AT_ONCE = 50  # runs looked at in one evaluation; the rest comes with the next
_OURS = frozenset(key for asset in ASSETS for key in asset.keys)

nightly = dg.ScheduleDefinition(
    name="nightly",
    job=enrich,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="The whole job at 03:00 UTC. An example, stopped until it is switched on in the UI.",
)


@dg.sensor(
    name="notify_operators",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Tells a blocked result, a failed run and a regression to notifications.urls_file, each cause once.",
)
def notify_operators(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Look at the runs that ended since the last evaluation, in their order.

    One sensor for runs that succeeded and that failed: two would come to one run before the other in no order, and what
    is told depends on it.
    """
    if not context.cursor:
        context.update_cursor(datetime.now(UTC).isoformat())  # earlier runs are no news
        return dg.SkipReason("Begins with the runs that end from now on.")
    records = context.instance.get_run_records(
        dg.RunsFilter(
            statuses=[dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE],
            updated_after=datetime.fromisoformat(context.cursor),
        ),
        limit=_AT_ONCE,
        order_by="update_timestamp",
        ascending=True,
    )

    def listener(event: Event) -> None:
        if isinstance(event, Notice):
            context.log.warning(event.message)

    with listening(listener):
        for record in sorted(records, key=lambda record: record.end_time or 0.0):
            if _is_ours(record.dagster_run):
                try:
                    notify_run_outcome(context.instance, record.dagster_run.run_id, settings_of(record.dagster_run))
                except EnrichError as error:
                    context.log.warning(f"Run {record.dagster_run.run_id}: operators could not be notified: {error}")
    if records:
        context.update_cursor(max(record.update_timestamp for record in records).isoformat())
    return dg.SkipReason(f"Runs that have ended since the last look: {len(records)}.")


def _is_ours(run: dg.DagsterRun) -> bool:
    """Whether it is a run of these assets: other projects may share the instance."""
    selected = run.asset_selection or frozenset()
    return run.job_name == enrich.name or bool(selected & _OURS)


SCHEDULES = [nightly]
SENSORS = [notify_operators]
