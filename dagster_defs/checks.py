"""Asset checks: the verdict's own, which block, and the run beside the recent ones, which does not.

A blocking check holds within one run only; that nothing unjudged gets out is kept by ``enrich_dist.results.publish``.
What is judged, and how, stands in ``result.quality`` and ``history.drift``.
"""

from collections.abc import Iterator
from typing import Any, Final

import dagster as dg

from dagster_defs.assets import chunk_matches, enriched_awards, published_awards
from dagster_defs.resources import EnrichSettings
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.results.quality import get_check
from enrich_dist.runs.drift import Drift, Severity, drift_of_latest

BLOCKED: Final = "published_awards is blocked: "

_VERDICT: Final = {
    "match_rate": "Awards with an accepted match over all valid awards.",
    "estimated_precision": "Accepted matches that are right by their own probabilities.",
    "reconciliation": "Every row read is accounted for.",
    "quarantined_share": "Recipients set aside because matching them raised an error.",
    "completeness": "Every planned chunk is in the result.",
}
_DRIFT: Final = {
    "run_seconds": (enriched_awards, "Seconds up to the verdict, beside the median of the recent runs."),
    "match_rate_drift": (enriched_awards, "Match rate, beside the median of the recent runs."),
    "worker_peak_memory": (chunk_matches, "Peak memory of any worker, beside the median of the recent runs."),
    "records_per_second": (chunk_matches, "Recipients matched per second, beside the median of the recent runs."),
}
VERDICT_SPECS: Final = [
    dg.AssetCheckSpec(name, asset=enriched_awards, description=text, blocking=True) for name, text in _VERDICT.items()
]
DRIFT_SPECS: Final = [dg.AssetCheckSpec(name, asset=asset, description=text) for name, (asset, text) in _DRIFT.items()]


# One op for all: were each check a step of its own, the first to fail would keep the others from being seen.
@dg.multi_asset_check(specs=[*DRIFT_SPECS, *VERDICT_SPECS], name="checks", can_subset=True)
def run_checks(context: dg.AssetCheckExecutionContext, settings: EnrichSettings) -> Iterator[dg.AssetCheckResult]:
    """All checks of the latest judged run: those of its verdict, and how it stands beside the recent runs."""
    pipeline = settings.pipeline(context.run.run_id)
    selected = context.op_execution_context.selected_asset_check_keys
    drift_specs = [spec for spec in DRIFT_SPECS if spec.key in selected]
    if drift_specs:
        yield from _drift_results(context, pipeline, drift_specs)
    verdict = pipeline.verdict()
    results = [_verdict_result(spec, get_check(verdict, spec.name)) for spec in VERDICT_SPECS if spec.key in selected]
    reasons = [str(result.description).removeprefix(BLOCKED) for result in results if not result.passed]
    if reasons:
        _tell_blocked(context, "; ".join(reasons))
    yield from results


def _verdict_result(spec: dg.AssetCheckSpec, found: dict[str, Any]) -> dg.AssetCheckResult:
    passed, reason = bool(found["passed"]), str(found["reason"])
    return dg.AssetCheckResult(
        check_name=spec.name,
        asset_key=spec.asset_key,
        passed=passed,
        severity=dg.AssetCheckSeverity.ERROR,
        description=reason if passed else BLOCKED + reason,
        metadata={spec.name: found["value"], "threshold": found["threshold"]},
    )


def _tell_blocked(context: dg.AssetCheckExecutionContext, reasons: str) -> None:
    """Say what the failed checks mean where an operator looks: in the log, and on the page of the asset that waits."""
    context.log.error(BLOCKED + reasons)
    observation = dg.AssetObservation(
        published_awards.key, description=BLOCKED + reasons, metadata={"blocked_because": reasons}
    )
    context.op_execution_context.log_event(observation)


def _drift_results(
    context: dg.AssetCheckExecutionContext, pipeline: Pipeline, specs: list[dg.AssetCheckSpec]
) -> Iterator[dg.AssetCheckResult]:
    try:
        found = {drift.name: drift for drift in drift_of_latest(pipeline.directory, pipeline.settings)}
    except Exception as error:  # noqa: BLE001  # a comparison is worth less than the run
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        context.log.warning(f"The run could not be held against the recent ones ({problem}).")
        for spec in specs:
            yield _drift_result(spec, None, f"could not be judged ({problem})")
        return
    for spec in specs:
        drift = found[spec.name]
        if drift.severity is Severity.WARN:
            context.log.warning(drift.reason)
        elif drift.severity is Severity.ERROR:
            context.log.error(drift.reason)
        yield _drift_result(spec, drift, drift.reason)


def _drift_result(spec: dg.AssetCheckSpec, drift: Drift | None, reason: str) -> dg.AssetCheckResult:
    severity = Severity.UNKNOWN if drift is None else drift.severity
    metadata: dict[str, bool | int | float] = {"compared": severity is not Severity.UNKNOWN}
    if drift is not None:
        metadata["recent_runs"] = drift.runs
        metadata |= {f"warn_from_{drift.unit}": drift.warn_from, f"fail_from_{drift.unit}": drift.fail_from}
        numbers = {
            drift.metric.name: drift.value,
            "recent_median": drift.reference,
            f"worse_by_{drift.unit}": drift.worse_by,
        }
        metadata |= {name: value for name, value in numbers.items() if value is not None}
    return dg.AssetCheckResult(
        check_name=spec.name,
        asset_key=spec.asset_key,
        passed=severity not in (Severity.WARN, Severity.ERROR),
        severity=dg.AssetCheckSeverity.WARN if severity is Severity.WARN else dg.AssetCheckSeverity.ERROR,
        description=reason,
        metadata=metadata,
    )


CHECKS = [run_checks]
