"""What a run that has ended means to an operator: causes to tell, each once, and the message that tells them.

Pure: a run's story in, causes and text out. A cause is told when it appears or becomes worse, and not again before a
run has shown that it is gone. Does not cover where a story comes from (``dagster_defs.run_outcome``), nor the sending
(``notify``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from enrich_dist.events import Step

START: Final = "start"
"""In place of a step: the run failed before its first one."""
PUBLISHED: Final = Step.PUBLISHED_AWARDS


class Kind(StrEnum):
    """What became of the run, the gravest first."""

    FAILED = "failed"
    BLOCKED = "blocked"
    REGRESSION = "regression"


class Severity(IntEnum):
    """How grave a cause is."""

    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Cause:
    """One thing that an operator should know of."""

    kind: Kind
    where: str
    """The check, or the step, it is about."""
    reason: str
    """A sentence with its figures."""
    grade: Severity = Severity.ERROR
    error: str = ""
    """Of a failure: the class of the error."""

    @property
    def key(self) -> str:
        """Name by which the same cause is known again; without figures, which change from run to run."""
        return "/".join(filter(None, (self.kind, self.where, self.error)))


@dataclass(frozen=True)
class RunOutcome:
    """What a run that has ended did."""

    run_id: str | None
    """None where it failed before it had one."""
    ended_seconds: float
    """Since 1970."""
    causes: tuple[Cause, ...]
    passed_checks: frozenset[str] = frozenset()
    """Checks that were really made, and passed."""
    finished_steps: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Message:
    """A notification as plain text."""

    kind: Kind | None
    grade: Severity
    title: str
    body: str


def new_incidents(story: RunOutcome, active: Mapping[str, int]) -> tuple[tuple[Cause, ...], dict[str, int]]:
    """Causes of the story that are new or worse than told, and the causes active from now on, with their grades.

    ``active``: by key, the grade of causes that were told and have not gone since.
    """
    fresh = tuple(cause for cause in story.causes if cause.grade > active.get(cause.key, 0))
    still = {key: grade for key, grade in active.items() if not _gone(key, story)}
    return fresh, {**still, **{cause.key: int(cause.grade) for cause in story.causes}}


def _gone(key: str, story: RunOutcome) -> bool:
    """Whether the run shows that the cause is there no more. A run that does not tell leaves it standing."""
    kind, where, *_ = key.split("/")
    if kind == Kind.BLOCKED:
        return where in story.passed_checks or PUBLISHED in story.finished_steps
    if kind == Kind.REGRESSION:
        return where in story.passed_checks
    failed_here = any(
        cause.kind is Kind.FAILED and cause.where == where for cause in story.causes
    )  # with another error
    return failed_here or where in story.finished_steps or (where == START and bool(story.finished_steps))


_WHAT = {
    Kind.FAILED: "The run failed. What is finished is kept, and what was published before stays.",
    Kind.BLOCKED: "The quality gate blocked the result: nothing was published, and what was published before stays.",
    Kind.REGRESSION: "The run was worse than the recent ones. It did not stop for that.",
}
_NEXT = {
    Kind.FAILED: (
        "Mend what the message names and run the same command again; `enrich-dist doctor` tells why attempts failed."
    ),
    Kind.BLOCKED: (
        "The report shows where matches are missing or rows are lost. Other thresholds on the same chunks: "
        "`enrich-dist rejudge`."
    ),
    Kind.REGRESSION: (
        "`enrich-dist bench trend` shows since when. Look at what has changed: code, inputs, or load on the machine."
    ),
}


def compose(story: RunOutcome, fresh: tuple[Cause, ...], *, where: str, report: str | None) -> Message:
    """The message for the new causes (at least one): what happened, why, what to do next, and where.

    ``where``: the work directory; ``report``: path of the report, None where the run made none.
    """
    kinds = [kind for kind in Kind if any(cause.kind is kind for cause in fresh)]
    first = next(cause for cause in fresh if cause.kind is kinds[0])
    lines: list[str] = []
    for kind in kinds:
        lines += [_WHAT[kind], *(_line(cause) for cause in fresh if cause.kind is kind), f"Next: {_NEXT[kind]}", ""]
    known = [cause for cause in story.causes if cause not in fresh]
    if known:
        lines += ["Told before, and still so:", *(_line(cause) for cause in known), ""]
    lines += [f"Run: {story.run_id}"] if story.run_id else []
    lines += [f"Work directory: {where}"]
    lines += [f"Report: {report}"] if report else []
    grade = max(cause.grade for cause in fresh)
    # Where it happened stands in the title, as chats and mail programs show little more.
    shown = f"{kinds[0]}: {first.where}" + (f" and {len(fresh) - 1} more" if len(fresh) > 1 else "")
    return Message(kinds[0], grade, f"enrich_dist {shown}", "\n".join(lines))


def _line(cause: Cause) -> str:
    severity = " (warning)" if cause.grade is Severity.WARN else ""
    error = f" {cause.error}:" if cause.error else ""
    return f"- {cause.where}{severity}:{error} {cause.reason}"
