"""Read the outcome of a run from Dagster's event log, and notify operators of it.

The run itself uses it at its end, so that no daemon is needed, and the sensor for runs that could not. Does not decide
which incidents are new (``monitoring.incidents``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from dagster_defs.checks import BLOCKED, DRIFT_SPECS
from dagster_defs.limits import LIMIT_CHECKS
from enrich_dist import errors
from enrich_dist.errors import PublicationBlockedError, RunInterruptedError
from enrich_dist.events import Notice, Step, emit
from enrich_dist.monitoring.incidents import START, Incident, IncidentKind, RunOutcome, Severity
from enrich_dist.monitoring.notify import notify
from enrich_dist.settings import Settings, load_settings

_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
_DRIFT = frozenset(spec.name for spec in DRIFT_SPECS)
_KINDS = dict.fromkeys(_DRIFT, IncidentKind.REGRESSION) | dict.fromkeys(LIMIT_CHECKS, IncidentKind.LIMIT)
_BY_CHECK = "DagsterAssetCheckFailedError"  # ends a run that a check blocks; the check itself has the reason
_OUR_ERRORS = frozenset(
    name for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, errors.EnrichError)
)
_STOPPED = frozenset({RunInterruptedError.__name__, "DagsterExecutionInterruptedError", "KeyboardInterrupt"})


def notify_run_outcome(
    instance: dg.DagsterInstance, run_id: str, settings: Settings, *, now_seconds: float | None = None
) -> None:
    """Notify operators of the new incidents of a finished run. Never raises.

    ``now_seconds``: the time, Unix seconds, if Dagster has not recorded the end of the run yet.
    """
    if settings.notifications.urls_file is None:
        return
    try:
        record = instance.get_run_record_by_id(run_id)
        outcome = None if record is None else run_outcome(instance, record, now_seconds=now_seconds)
    except Exception as error:  # noqa: BLE001  # a notification must not fail a run
        emit(Notice(f"Operators could not be notified: {type(error).__name__} in Dagster's event log.", warning=True))
        return
    if outcome is not None:
        notify(settings, outcome)


def settings_of(run: dg.DagsterRun) -> Settings:
    """Return the settings that the run was launched with."""
    config: Any = run.run_config
    for key in ("resources", "settings", "config"):
        config = config.get(key, {})
    path = config.get("config")
    return load_settings(Path(path) if path else None, config.get("overrides", [])).settings


def run_outcome(
    instance: dg.DagsterInstance, record: dg.RunRecord, *, now_seconds: float | None = None
) -> RunOutcome | None:
    """Return the outcome of a run that succeeded or failed; None if it is active or a user stopped it.

    ``now_seconds``: as for ``notify_run_outcome``.
    """
    run = record.dagster_run
    ended_seconds = record.end_time if run.status in _ENDED else now_seconds
    if ended_seconds is None:
        return None
    failed_checks: list[Incident] = []
    failures: list[Incident] = []
    passed: set[str] = set()
    finished: set[str] = set()
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed:
                failed_checks.append(_failed_check(evaluation))
            elif _had_comparison(evaluation):
                passed.add(evaluation.check_name)
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            finished.add(event.asset_key.to_user_string())
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            failures += _failure(event.step_key or START, event.step_failure_data.error)
        elif event.event_type == dg.DagsterEventType.RESOURCE_INIT_FAILURE and not failures:
            failures += _failure(START, event.engine_event_data.error)
        elif event.event_type == dg.DagsterEventType.RUN_FAILURE and not failures:
            failures += _failure(START, event.job_failure_data.error)
    if any(incident.error in _STOPPED for incident in failures):
        return None
    incidents = (*failed_checks, *(incident for incident in failures if incident.error != _BY_CHECK))
    return RunOutcome(run.run_id, ended_seconds, incidents, frozenset(passed), frozenset(finished))


def _failed_check(evaluation: dg.AssetCheckEvaluation) -> Incident:
    reason = (evaluation.description or "failed").removeprefix(BLOCKED)
    kind = _KINDS.get(evaluation.check_name, IncidentKind.BLOCKED)
    if kind is IncidentKind.BLOCKED:
        return Incident(kind, evaluation.check_name, reason)
    severity = Severity.WARN if evaluation.severity is dg.AssetCheckSeverity.WARN else Severity.ERROR
    return Incident(kind, evaluation.check_name, reason, severity)


def _had_comparison(evaluation: dg.AssetCheckEvaluation) -> bool:
    """Return whether the check had something to compare with; else it passes without meaning."""
    compared = evaluation.metadata.get("compared")
    return compared is None or bool(compared.value)


def _failure(where: str, error: object) -> list[Incident]:
    """Return what a step or resource raised: the first error of enrich_dist, else the innermost error."""
    if error is None:
        return []
    while getattr(error, "cls_name", None) not in _OUR_ERRORS and getattr(error, "cause", None) is not None:
        error = error.cause  # type: ignore[attr-defined]
    name = str(getattr(error, "cls_name", None) or "Error")
    text = str(getattr(error, "message", "")).strip().removeprefix(f"{name}: ")
    # Dagster prefixes the class with its module unless it is a builtin.
    first = text.split(": ", 1)
    reason = first[1] if len(first) == 2 and first[0].endswith(f".{name}") else text
    if name == PublicationBlockedError.__name__:
        return [Incident(IncidentKind.BLOCKED, Step.PUBLISHED_AWARDS, reason)]
    return [Incident(IncidentKind.FAILED, where, reason or name, error=name)]
