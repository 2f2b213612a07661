"""Asset checks of the performance limits, evaluated by each asset itself, so that they do not wait for later steps.

They never block. The limits are in ``runs.limits``.
"""

from __future__ import annotations

from typing import Any, Final

import dagster as dg

from enrich_dist.events import Notice, Step, emit
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.runs.growth import Severity
from enrich_dist.runs.limits import Limit, run_limits, step_limits, worst
from enrich_dist.store.run_directory import STEPS, StepReport

RUN_CHECK: Final = "run_limits"
LIMIT_CHECKS: Final = frozenset({RUN_CHECK, *(f"{step}_limits" for step in STEPS)})


def limit_specs(step: Step) -> list[dg.AssetCheckSpec]:
    """Return the checks of an asset; the one that is judged also has that of the run."""
    text = f"Time and memory, at most performance.assets.{step}."
    found = [dg.AssetCheckSpec(f"{step}_limits", asset=str(step), description=text)]
    if step is Step.ENRICHED_AWARDS:
        text = "The run up to the verdict, at most performance.run; memory of the driver, at most driver_memory_mb."
        found.append(dg.AssetCheckSpec(RUN_CHECK, asset=str(step), description=text))
    return found


def limit_results(pipeline: Pipeline, report: StepReport) -> list[dg.AssetCheckResult]:
    """Return the results of the checks of an asset, and report exceeded limits in log and terminal."""
    settings = pipeline.settings.performance
    found = [_result(f"{report.step}_limits", step_limits(report, settings))]
    if report.step is Step.ENRICHED_AWARDS:
        reports = pipeline.directory.reports_of(pipeline.run_id)
        budget_mb = pipeline.settings.driver_memory_mb
        found.append(_result(RUN_CHECK, run_limits(reports, pipeline.run_id, settings, driver_memory_mb=budget_mb)))
    return found


def _result(name: str, limits: tuple[Limit, ...]) -> dg.AssetCheckResult:
    exceeded = [limit for limit in limits if limit.severity.is_flagged]
    for limit in exceeded:
        emit(Notice(f"A limit is exceeded: {limit.text}.", warning=True))
    severity = worst(limits)
    text = "; ".join(limit.text for limit in exceeded) or ("within the limits" if limits else "no limit is set")
    metadata: dict[str, Any] = {"compared": bool(limits), "severity": str(severity)}
    for limit in limits:
        metadata |= {limit.name: limit.limit, f"{limit.name}_value": limit.value, f"{limit.name}_ratio": limit.ratio}
    return dg.AssetCheckResult(
        check_name=name,
        passed=not exceeded,
        severity=dg.AssetCheckSeverity.ERROR if severity is Severity.ERROR else dg.AssetCheckSeverity.WARN,
        description=text,
        metadata=metadata,
    )
