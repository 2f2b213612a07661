"""The definitions that Dagster loads."""

import dagster as dg

from dagster_defs.assets import ASSETS
from dagster_defs.automation import SCHEDULES, SENSORS
from dagster_defs.checks import CHECKS
from dagster_defs.job import enrich
from dagster_defs.resources import DaskCluster, EnrichSettings

_settings = EnrichSettings.configure_at_launch()

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=[enrich],
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources={"settings": _settings, "cluster": DaskCluster(settings=_settings)},
    executor=dg.in_process_executor,
)
