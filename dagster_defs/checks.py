"""Asset checks: the verdict's own checks, shown in the UI. Blocking ones keep downstream assets from running.

A blocking check holds within one run only; that nothing unjudged gets out is kept by ``enrich_dist.publish``.
"""

import dagster as dg

from dagster_defs.assets import enriched_awards
from dagster_defs.resources import EnrichSettings
from enrich_dist.quality import judged_by

BLOCKED = "published_awards is blocked: "


def _verdict_check(name: str, description: str, *, blocking: bool) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=enriched_awards, name=name, description=description, blocking=blocking)
    def check(context: dg.AssetCheckExecutionContext, settings: EnrichSettings) -> dg.AssetCheckResult:
        found = judged_by(settings.pipeline(context.run.run_id).verdict(), name)
        if blocking and not found["passed"]:
            # Dagster only says that a check failed; an operator wants to read what it means.
            context.log.error(BLOCKED + found["reason"])
        return dg.AssetCheckResult(
            passed=found["passed"],
            severity=dg.AssetCheckSeverity.ERROR,
            description=found["reason"] if found["passed"] or not blocking else BLOCKED + found["reason"],
            metadata={"value": found["value"], "threshold": found["threshold"]},
        )

    return check


CHECKS = [
    _verdict_check("match_rate", "Awards with an accepted match over all valid awards", blocking=True),
    _verdict_check("reconciliation", "Every row read is accounted for", blocking=True),
    _verdict_check("completeness", "Every planned chunk is in the result", blocking=False),
]
