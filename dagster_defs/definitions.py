"""What Dagster loads."""

import dagster as dg

from dagster_defs.assets import ASSETS
from dagster_defs.checks import CHECKS
from dagster_defs.resources import DaskCluster, EnrichSettings

# One process runs all steps: each step process would import Dagster anew and start a cluster of its own.
enrich = dg.define_asset_job(
    "enrich",
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    description="The whole run: awards and recipients in, judged and published awards out.",
)

_settings = EnrichSettings.configure_at_launch()

defs = dg.Definitions(
    assets=ASSETS,
    asset_checks=CHECKS,
    jobs=[enrich],
    resources={"settings": _settings, "cluster": DaskCluster(settings=_settings)},
    executor=dg.in_process_executor,
)
