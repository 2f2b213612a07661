"""The job that runs the whole."""

import dagster as dg

# One process runs all steps: each step process would import Dagster anew and start a cluster of its own.
enrich = dg.define_asset_job(
    "enrich",
    selection=dg.AssetSelection.all(),
    executor_def=dg.in_process_executor,
    description="The whole run: awards and recipients in, judged and published awards out.",
)
