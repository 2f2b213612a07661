"""The definitions that Dagster loads."""

import dagster as dg

from dagster_defs.assets import ASSETS, enrich
from dagster_defs.automation import nightly, notify_operators
from dagster_defs.checks import run_checks
from dagster_defs.resources import DaskCluster, EnrichSettings

_settings = EnrichSettings.configure_at_launch()

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=[run_checks],
    jobs=[enrich],
    schedules=[nightly],
    sensors=[notify_operators],
    resources={"settings": _settings, "cluster": DaskCluster(settings=_settings)},
    executor=dg.in_process_executor,
)
