"""Outcomes of checks, and the report of a preflight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any

from pydantic import computed_field

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


passed = partial(Outcome, Status.PASSED)
warning = partial(Outcome, Status.WARNING)
failed = partial(Outcome, Status.FAILED)
unknown = partial(Outcome, Status.UNKNOWN)


@dataclass(frozen=True)
class CheckResult:
    """One check with its outcome. ``remedy``: None where nothing is to be done."""

    id: str
    title: str
    critical: bool
    status: Status
    summary: str
    facts: dict[str, Fact]
    remedy: str | None
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether runs may start as far as this check is concerned."""
        return not self.critical or self.status.holds


@dataclass(frozen=True)
class Report:
    """All results. ``timestamp``: start of the preflight, ISO 8601, UTC; ``settings``: by dotted key."""

    environment: str
    revision: str
    version: str
    source_digest: str
    timestamp: str
    settings_digest: str
    settings: dict[str, Any]
    items: tuple[CheckResult, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ready(self) -> bool:
        """Whether all critical checks hold."""
        return bool(self.items) and not self.failed

    @property
    def failed(self) -> list[CheckResult]:
        """Critical checks that do not hold."""
        return [result for result in self.items if not result.holds]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> str:
        """The verdict as one sentence."""
        statuses = [result.status for result in self.items]
        counts = ", ".join(f"{statuses.count(status)} {status}" for status in Status if status in statuses)
        if self.ready:
            return f"Ready for {self.environment}: all critical checks hold ({counts})."
        return f"Not ready for {self.environment}: {', '.join(result.id for result in self.failed)} ({counts})."
