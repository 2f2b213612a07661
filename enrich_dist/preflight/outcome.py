"""The outcome of a check: status, summary, facts and remedy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Fact = str | int | float | bool | None
Facts = Mapping[str, Fact]


class Status(StrEnum):
    """Status of a check. A critical check holds when it is ``passed`` or ``warning``."""

    PASSED = "passed"
    WARNING = "warning"
    """It holds, with something that operators should know."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be determined."""

    @property
    def holds(self) -> bool:
        """Whether a critical check with this status lets runs start."""
        return self in (Status.PASSED, Status.WARNING)


@dataclass(frozen=True)
class Outcome:
    """``summary``: one sentence with its numbers. ``remedy``: overrides the remedy of the check."""

    status: Status
    summary: str
    facts: Facts = field(default_factory=dict)
    remedy: str | None = None


def passed(summary: str, facts: Facts | None = None) -> Outcome:
    """Return a passed outcome."""
    return Outcome(Status.PASSED, summary, facts or {})


def warning(summary: str, facts: Facts | None = None, *, remedy: str | None = None) -> Outcome:
    """Return a warning."""
    return Outcome(Status.WARNING, summary, facts or {}, remedy)


def failed(summary: str, facts: Facts | None = None, *, remedy: str | None = None) -> Outcome:
    """Return a failed outcome."""
    return Outcome(Status.FAILED, summary, facts or {}, remedy)


def unknown(summary: str, facts: Facts | None = None, *, remedy: str | None = None) -> Outcome:
    """Return an unknown outcome."""
    return Outcome(Status.UNKNOWN, summary, facts or {}, remedy)
