"""The job that materializes all assets."""

import dagster as dg

# One process for all steps: each step process would import Dagster again and start a cluster of its own.
enrich = dg.define_asset_job(
    "enrich",
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    description="Match awards with recipients, check the quality of the result, and publish it.",
)
