"""Asset checks: those of the verdict block publication; drift checks compare the run with recent ones and do not.

A blocking check acts within one run only, so ``results.publish`` also verifies the verdict. The checks themselves are
in ``results.quality`` and ``runs.drift``.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import dagster as dg

from dagster_defs.assets import chunk_matches, enriched_awards, published_awards
from dagster_defs.resources import EnrichSettings
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.plain_text import printable
from enrich_dist.results.quality import get_check
from enrich_dist.runs.drift import drift_of_latest
from enrich_dist.runs.growth import Severity

BLOCKED: Final = "published_awards is blocked: "

_VERDICT: Final = {
    "match_rate": "Share of valid awards with an accepted match, at least match_rate_threshold.",
    "estimated_precision": "Precision estimated from the match probabilities, at least min_estimated_precision.",
    "reconciliation": "Every row read is accounted for.",
    "quarantined_share": "Share of recipients whose matching raises an error, at most max_quarantined_share.",
    "completeness": "Every planned chunk is in the result.",
}
_DRIFT: Final = {
    "run_seconds": (enriched_awards, "Time up to the verdict, compared with the median of recent runs."),
    "match_rate_drift": (enriched_awards, "Match rate, compared with the median of recent runs."),
    "worker_peak_memory": (chunk_matches, "Highest peak memory of a worker, compared with the median of recent runs."),
    "records_per_second": (chunk_matches, "Recipients matched per second, compared with the median of recent runs."),
}
VERDICT_SPECS: Final = [
    dg.AssetCheckSpec(name, asset=enriched_awards, description=text, blocking=True) for name, text in _VERDICT.items()
]
DRIFT_SPECS: Final = [dg.AssetCheckSpec(name, asset=asset, description=text) for name, (asset, text) in _DRIFT.items()]


# One op for all checks: with a step per check, the first failure would hide the others.
@dg.multi_asset_check(specs=[*DRIFT_SPECS, *VERDICT_SPECS], name="checks", can_subset=True)
def run_checks(context: dg.AssetCheckExecutionContext, settings: EnrichSettings) -> Iterator[dg.AssetCheckResult]:
    """Evaluate the selected checks of the latest judged run."""
    pipeline = settings.pipeline(context.run.run_id)
    selected = context.op_execution_context.selected_asset_check_keys
    drift_specs = [spec for spec in DRIFT_SPECS if spec.key in selected]
    if drift_specs:
        yield from _drift_results(context, pipeline, drift_specs)
    verdict = pipeline.verdict()
    results = [_verdict_result(spec, get_check(verdict, spec.name)) for spec in VERDICT_SPECS if spec.key in selected]
    reasons = [str(result.description).removeprefix(BLOCKED) for result in results if not result.passed]
    if reasons:  # in the log, and on the page of the asset that is blocked
        text = "; ".join(reasons)
        context.log.error(BLOCKED + text)
        context.op_execution_context.log_event(
            dg.AssetObservation(published_awards.key, description=BLOCKED + text, metadata={"blocked_because": text})
        )
    yield from results


def _verdict_result(spec: dg.AssetCheckSpec, check: dict[str, Any]) -> dg.AssetCheckResult:
    passed, reason = bool(check["passed"]), str(check["reason"])
    metadata = {spec.name: check["value"], "threshold": check["threshold"]}
    return _check_result(spec, passed, reason if passed else BLOCKED + reason, metadata)


def _drift_results(
    context: dg.AssetCheckExecutionContext, pipeline: Pipeline, specs: list[dg.AssetCheckSpec]
) -> Iterator[dg.AssetCheckResult]:
    try:
        found = {drift.name: drift for drift in drift_of_latest(pipeline.directory, pipeline.settings, pipeline.run_id)}
    except Exception as error:  # noqa: BLE001  # a comparison must not fail the run
        problem = printable(f"{type(error).__name__}: {error}".splitlines()[0])
        context.log.warning(f"The run could not be compared with recent runs ({problem}).")
        for spec in specs:
            yield _check_result(spec, True, f"could not be compared ({problem})", {"compared": False})
        return
    for spec in specs:
        drift = found[spec.name]
        is_warning = drift.severity is Severity.WARN
        if drift.severity is Severity.ERROR:
            context.log.error(drift.reason)
        elif drift.severity is not Severity.PASSED:
            (context.log.warning if is_warning else context.log.info)(drift.reason)
        numbers = {
            "recent_runs": drift.runs,
            f"warn_from_{drift.unit}": drift.warn_from,
            f"fail_from_{drift.unit}": drift.fail_from,
            drift.metric.name: drift.value,
            "reference": drift.reference,
            f"worse_by_{drift.unit}": drift.worse_by,
        }
        if drift.growth is not None:
            numbers |= {
                "without_machine_share": drift.growth.adjusted,
                "machine_slower_share": drift.growth.machine,
                "noise_share": drift.growth.visible,
            }
        metadata: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
        metadata |= {"compared": drift.severity is not Severity.UNKNOWN, "severity": str(drift.severity)}
        if drift.growth is not None:
            metadata["distinguishable_from_noise"] = drift.growth.is_distinguishable
        severity = dg.AssetCheckSeverity.WARN if is_warning else dg.AssetCheckSeverity.ERROR
        yield _check_result(spec, not drift.severity.is_flagged, drift.reason, metadata, severity)


def _check_result(
    spec: dg.AssetCheckSpec,
    passed: bool,
    description: str,
    metadata: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=spec.name,
        asset_key=spec.asset_key,
        passed=passed,
        severity=severity,
        description=description,
        metadata=metadata,
    )
