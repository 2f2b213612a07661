"""Asset checks: the verdict's own checks, shown in the UI. Blocking ones keep downstream assets from running.

A blocking check holds within one run only; that nothing unjudged gets out is kept by ``enrich_dist.result.publish``.
"""

from collections.abc import Iterator

import dagster as dg

from dagster_defs.assets import enriched_awards
from dagster_defs.resources import EnrichSettings
from enrich_dist.result.quality import judged_by

BLOCKED = "published_awards is blocked: "


_SPECS = [
    dg.AssetCheckSpec(
        "match_rate",
        asset=enriched_awards,
        description="Awards with an accepted match over all valid awards.",
        blocking=True,
    ),
    dg.AssetCheckSpec(
        "reconciliation", asset=enriched_awards, description="Every row read is accounted for.", blocking=True
    ),
    dg.AssetCheckSpec("completeness", asset=enriched_awards, description="Every planned chunk is in the result."),
]


# One op for all: were each check a step of its own, the first to fail would keep the others from being seen.
@dg.multi_asset_check(specs=_SPECS, name="verdict", can_subset=True)
def verdict_checks(context: dg.AssetCheckExecutionContext, settings: EnrichSettings) -> Iterator[dg.AssetCheckResult]:
    """The checks of the verdict that lies in the latest result."""
    verdict = settings.pipeline(context.run.run_id).verdict()
    selected = context.op_execution_context.selected_asset_check_keys
    for spec in (spec for spec in _SPECS if spec.key in selected):
        found = judged_by(verdict, spec.name)
        blocks = spec.blocking and not found["passed"]
        if blocks:
            # Dagster only says that a check failed; an operator wants to read what it means.
            context.log.error(BLOCKED + found["reason"])
        yield dg.AssetCheckResult(
            check_name=spec.name,
            asset_key=spec.asset_key,
            passed=found["passed"],
            severity=dg.AssetCheckSeverity.ERROR,
            description=BLOCKED + found["reason"] if blocks else found["reason"],
            metadata={spec.name: found["value"], "threshold": found["threshold"]},
        )


CHECKS = [verdict_checks]
