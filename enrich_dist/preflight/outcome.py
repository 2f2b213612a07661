"""What a check finds: a status, a sentence, the facts it rests on, and what helps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

Fact = str | int | float | bool | None
Facts = Mapping[str, Fact]


class Status(StrEnum):
    """What a check says. A critical item holds when it is ``passed`` or a ``warning``."""

    PASSED = "passed"
    WARNING = "warning"
    """It holds, and there is something that an operator should know."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be told."""

    @property
    def holds(self) -> bool:
        """Whether a critical item with it lets runs begin."""
        return self in (Status.PASSED, Status.WARNING)


@dataclass(frozen=True)
class Outcome:
    """``summary`` is a sentence with its figures. ``remedy``: what helps, where it is not the item's own."""

    status: Status
    summary: str
    facts: Facts = field(default_factory=dict)
    remedy: str | None = None


def passed(summary: str, facts: Facts | None = None) -> Outcome:
    """It holds."""
    return Outcome(Status.PASSED, summary, facts or {})


def warning(summary: str, facts: Facts | None = None, *, remedy: str | None = None) -> Outcome:
    """It holds, but."""
    return Outcome(Status.WARNING, summary, facts or {}, remedy)


def failed(summary: str, facts: Facts | None = None, *, remedy: str | None = None) -> Outcome:
    """It does not hold."""
    return Outcome(Status.FAILED, summary, facts or {}, remedy)


def unknown(summary: str, facts: Facts | None = None, *, remedy: str | None = None) -> Outcome:
    """It could not be told."""
    return Outcome(Status.UNKNOWN, summary, facts or {}, remedy)
