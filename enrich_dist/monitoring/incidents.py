"""Incidents of a finished run, and the message that notifies operators of the new ones.

Operators are notified once per incident: again only if it gets worse, or returns after a run has resolved it. Does not
read runs (``dagster_defs.run_outcome``) or send messages (``notify``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from enrich_dist.events import Step

START: Final = "start"  # stands for a step where the run failed before its first one


class IncidentKind(StrEnum):
    """Kinds of incidents, the most severe first."""

    FAILED = "failed"
    BLOCKED = "blocked"
    LIMIT = "limit exceeded"
    REGRESSION = "regression"


class Severity(IntEnum):
    """Severity of an incident."""

    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Incident:
    """A failed run, a blocked result, an exceeded limit or a regression.

    ``where``: name of the check or step; ``error``: class of the error of a failed run.
    """

    kind: IncidentKind
    where: str
    reason: str
    severity: Severity = Severity.ERROR
    error: str = ""

    @property
    def key(self) -> str:
        """Identify the incident over runs; without the reason, whose numbers change."""
        return "/".join(filter(None, (self.kind, self.where, self.error)))


@dataclass(frozen=True)
class RunOutcome:
    """How a finished run ended.

    ``run_id``: None where the run failed before it had an id; ``ended_seconds``: since 1970; ``passed_checks``: those
    that had something to compare, and passed.
    """

    run_id: str | None
    ended_seconds: float
    incidents: tuple[Incident, ...]
    passed_checks: frozenset[str] = frozenset()
    finished_steps: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Message:
    """A notification in plain text; ``kind`` is None for a test message."""

    kind: IncidentKind | None
    severity: Severity
    title: str
    body: str


def new_incidents(outcome: RunOutcome, active: Mapping[str, int]) -> tuple[tuple[Incident, ...], dict[str, int]]:
    """Return the incidents that are new or worse, and all incidents that are active from now on.

    ``active``, and the second value: severity by key of incidents that were notified and are not resolved.
    """
    new = tuple(incident for incident in outcome.incidents if incident.severity > active.get(incident.key, 0))
    unresolved = {key: severity for key, severity in active.items() if not _is_resolved(key, outcome)}
    return new, unresolved | {incident.key: int(incident.severity) for incident in outcome.incidents}


def _is_resolved(key: str, outcome: RunOutcome) -> bool:
    """Return whether the run shows that an incident is over; a run that got less far does not."""
    kind, where, *_ = key.split("/")
    if kind == IncidentKind.BLOCKED:
        return where in outcome.passed_checks or Step.PUBLISHED_AWARDS in outcome.finished_steps
    if kind in (IncidentKind.REGRESSION, IncidentKind.LIMIT):
        return where in outcome.passed_checks
    # A failure with another error in the same step is another incident.
    failed_here = any(item.kind is IncidentKind.FAILED and item.where == where for item in outcome.incidents)
    return failed_here or where in outcome.finished_steps or (where == START and bool(outcome.finished_steps))


# Summary, and what to do next.
_TEXTS = {
    IncidentKind.FAILED: (
        "The run failed. Finished chunks are kept, and the published result is unchanged.",
        "Fix the error and run the same command again. `enrich-dist doctor` shows why attempts failed.",
    ),
    IncidentKind.BLOCKED: (
        "The quality gate blocked the result. The published result is unchanged.",
        "The report shows which awards have no match and which rows are missing. To try other thresholds on the same "
        "chunks: `enrich-dist rejudge`.",
    ),
    IncidentKind.LIMIT: (
        "The run took more time or memory than its limits allow. This did not stop it.",
        "The report shows limits and steps. Check the load on the machine, or raise the limit under `performance`.",
    ),
    IncidentKind.REGRESSION: (
        "The run was worse than recent runs. This did not stop it.",
        "`enrich-dist bench trend` shows when it began. Check what changed: code, inputs, or load on the machine.",
    ),
}


def compose_message(outcome: RunOutcome, new: tuple[Incident, ...], *, work_dir: str, report: str | None) -> Message:
    """Compose the message on new incidents (at least one); ``report``: path of the report, if the run wrote one."""
    kinds = [kind for kind in IncidentKind if any(incident.kind is kind for incident in new)]
    first = next(incident for incident in new if incident.kind is kinds[0])
    lines: list[str] = []
    for kind in kinds:
        summary, next_step = _TEXTS[kind]
        lines += [summary, *(_line(item) for item in new if item.kind is kind), f"Next: {next_step}", ""]
    known = [incident for incident in outcome.incidents if incident not in new]
    if known:
        lines += ["Notified earlier and not resolved:", *map(_line, known), ""]
    lines += [f"Run: {outcome.run_id}"] if outcome.run_id else []
    lines += [f"Work directory: {work_dir}"]
    lines += [f"Report: {report}"] if report else []
    # Chats and mail programs show little more than the title, so it names the check or step.
    more = f" and {len(new) - 1} more" if len(new) > 1 else ""
    severity = max(incident.severity for incident in new)
    return Message(kinds[0], severity, f"enrich_dist {kinds[0]}: {first.where}{more}", "\n".join(lines))


def _line(incident: Incident) -> str:
    severity = " (warning)" if incident.severity is Severity.WARN else ""
    error = f" {incident.error}:" if incident.error else ""
    return f"- {incident.where}{severity}:{error} {incident.reason}"
