"""What a run did, from Dagster's event log, in the terms of ``enrich_dist.monitoring.incidents``; and telling it.

One way for both who tell: the command line at the end of a run, and the sensor. Does not decide what is worth telling.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg

from dagster_defs.checks import BLOCKED, DRIFT_SPECS
from enrich_dist import errors
from enrich_dist.errors import PublicationBlockedError, RunInterruptedError
from enrich_dist.events import Notice, emit
from enrich_dist.monitoring.incidents import PUBLISHED, START, Cause, Kind, RunOutcome, Severity
from enrich_dist.monitoring.notify import tell
from enrich_dist.settings import Settings, load_settings

_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE)
_DRIFT = frozenset(spec.name for spec in DRIFT_SPECS)
_BY_CHECK = "DagsterAssetCheckFailedError"  # a check that blocks ends its run so; the check itself tells why
_OURS = frozenset(
    name for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, errors.EnrichError)
)
_STOPPED = frozenset({RunInterruptedError.__name__, "DagsterExecutionInterruptedError", "KeyboardInterrupt"})


def notify_run_outcome(instance: dg.DagsterInstance, run_id: str, settings: Settings) -> None:
    """Tell what is new in the run, once it has ended; never raises."""
    if settings.notifications.urls_file is None:
        return
    try:
        record = instance.get_run_record_by_id(run_id)
        story = None if record is None else run_outcome(instance, record)
    except Exception as error:  # noqa: BLE001  # see above
        emit(Notice(f"Nobody could be notified: {type(error).__name__} in the history of runs.", warning=True))
        return
    if story is not None:
        tell(settings, story)


def settings_of(run: dg.DagsterRun) -> Settings:
    """The settings that the run was launched with."""
    config: Any = run.run_config
    for key in ("resources", "settings", "config"):
        config = config.get(key, {})
    named = config.get("config")
    return load_settings(Path(named) if named else None, config.get("overrides", [])).settings


def run_outcome(instance: dg.DagsterInstance, record: dg.RunRecord) -> RunOutcome | None:
    """The story of a run that succeeded or failed; None of one that goes on, or that somebody stopped."""
    run = record.dagster_run
    if run.status not in _ENDED or record.end_time is None:
        return None
    causes: list[Cause] = []
    passed: set[str] = set()
    finished: set[str] = set()
    failures: list[Cause] = []
    for entry in instance.all_logs(run.run_id):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed:
                causes.append(_failed_check(evaluation))
            elif _was_made(evaluation):
                passed.add(evaluation.check_name)
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key is not None:
            finished.add(event.asset_key.to_user_string())
        elif event.event_type == dg.DagsterEventType.STEP_FAILURE:
            failures += _failure(event.step_key or START, event.step_failure_data.error)
        elif event.event_type == dg.DagsterEventType.RUN_FAILURE and not failures:
            failures += _failure(START, event.job_failure_data.error)
    if any(cause.error in _STOPPED for cause in failures):
        return None
    causes += [cause for cause in failures if cause.error != _BY_CHECK]
    return RunOutcome(run.run_id, record.end_time, tuple(causes), frozenset(passed), frozenset(finished))


def _failed_check(evaluation: dg.AssetCheckEvaluation) -> Cause:
    reason = (evaluation.description or "failed").removeprefix(BLOCKED)
    if evaluation.check_name not in _DRIFT:
        return Cause(Kind.BLOCKED, evaluation.check_name, reason)
    grade = Severity.WARN if evaluation.severity is dg.AssetCheckSeverity.WARN else Severity.ERROR
    return Cause(Kind.REGRESSION, evaluation.check_name, reason, grade)


def _was_made(evaluation: dg.AssetCheckEvaluation) -> bool:
    """Whether the check had something to compare: else that it passed says nothing."""
    compared = evaluation.metadata.get("compared")
    return compared is None or bool(compared.value)


def _failure(where: str, error: object) -> list[Cause]:
    """What a step or a resource raised: the first error of ours, as it says what helps, else the innermost one."""
    if error is None:
        return []
    while getattr(error, "cls_name", None) not in _OURS and getattr(error, "cause", None) is not None:
        error = error.cause  # type: ignore[attr-defined]
    name = str(getattr(error, "cls_name", None) or "Error")
    text = str(getattr(error, "message", "")).strip().removeprefix(f"{name}: ")
    # The class comes with its module where it is not a builtin one.
    first = text.split(": ", 1)
    reason = first[1] if len(first) == 2 and first[0].endswith(f".{name}") else text
    if name == PublicationBlockedError.__name__:
        return [Cause(Kind.BLOCKED, PUBLISHED, reason)]
    return [Cause(Kind.FAILED, where, reason or name, error=name)]
