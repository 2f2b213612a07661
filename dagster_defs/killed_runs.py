"""Close the runs that Dagster lists as active although their process has died, and notify operators of them.

The run that finds them holds the lock of the work directory, so no other run is active there.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import dagster as dg
from dagster._core.events import JobFailureData, RunFailureReason
from dagster._utils.error import SerializableErrorInfo  # type: ignore[attr-defined]

from dagster_defs.run_outcome import notify_run_outcome, settings_of
from enrich_dist.errors import EnrichError, RunKilledError
from enrich_dist.monitoring.incidents import START, Incident, IncidentKind, RunOutcome
from enrich_dist.monitoring.notify import notify
from enrich_dist.runs.ended_runs import EndedRun
from enrich_dist.settings import Settings

_ACTIVE: Final = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
_NAME: Final = RunKilledError.__name__
_REASON: Final = "The process of the run ended before its first step without an error: it was killed."


def close_killed_runs(
    instance: dg.DagsterInstance, settings: Settings, run_id: str, killed: EndedRun | None
) -> list[str]:
    """Mark the other active runs of this work directory as failed; return their ids.

    ``run_id``: the present run; ``killed``: what the work directory knows of the earlier run, if it did not end.
    Operators are notified of each, also of one that is in no history or that Dagster closed itself.
    """
    closed = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_ACTIVE)):
        if run.run_id == run_id or not _is_in(settings.paths.work_dir, run):
            continue
        reason = killed.reason if killed is not None and killed.run_id == run.run_id else _REASON
        error = SerializableErrorInfo(f"{_NAME}: {reason}", [], _NAME)
        failure = JobFailureData(error, RunFailureReason.UNEXPECTED_TERMINATION)
        instance.report_run_failed(run, f"{_NAME}: {reason}", failure)
        notify_run_outcome(instance, run.run_id, settings)
        closed.append(run.run_id)
    if killed is not None and killed.run_id not in closed:
        incident = Incident(IncidentKind.FAILED, START, killed.reason, error=_NAME)
        notify(settings, RunOutcome(killed.run_id, time.time(), (incident,)))
    return closed


def _is_in(work_dir: Path, run: dg.DagsterRun) -> bool:
    try:
        return settings_of(run).paths.work_dir.absolute() == work_dir.absolute()
    except (EnrichError, AttributeError, TypeError):  # of another project, or with settings of another version
        return False
