"""The exceptions of the project: one hierarchy, each class with the exit code of the command line.

Covers errors that users can act on. The message says what happened and where, the remedy what to do. Programming errors
stay Python's own exceptions, and end the command with exit code 1.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable
from typing import ClassVar

from enrich_dist.plain_text import printable
from enrich_dist.remedies import PREFLIGHT, RESUME

EXIT_PUBLISHED = 0  # the result is published, or the command did what it was asked to do
EXIT_FAILED = 1  # the command failed; finished chunks are kept, and the same command resumes
EXIT_BAD_INPUT = 2  # an input, a setting or an argument is not usable; no work was started
EXIT_BLOCKED = 3  # the quality gate blocked the result, or `fail_fast` stopped a run that was projected to be blocked
EXIT_REGRESSION = 4  # `enrich-dist bench compare` found the code slower, or larger in memory, than the baseline
EXIT_NOT_READY = 5  # in production: no readiness file that is recent, passed, and of this code and these settings


class EnrichError(Exception):
    """Base class of the project's errors.

    ``remedy`` says what to do next; ``str()`` shows it after the message. ``default_remedy``: for errors without one.
    ``details``: further lines of the message. Names and values from outside appear without control characters.
    """

    exit_code: ClassVar[int] = EXIT_FAILED
    default_remedy: ClassVar[str | None] = None

    def __init__(self, message: str, *, remedy: str | None = None, details: Iterable[str] = ()) -> None:
        self.message = printable(message)
        super().__init__(self.message)
        self.remedy = printable(remedy) if remedy else self.default_remedy
        self.details = tuple(map(printable, details))

    def __str__(self) -> str:
        if self.details:
            return "\n".join([self.message, *(f"  {line}" for line in self.details), self.remedy or ""]).rstrip()
        return f"{self.message} {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from workers to the driver; the default would call __init__ with the message alone.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class SettingsError(EnrichError):
    """A setting is unknown, malformed or out of range. ``parts``: the single errors, or the error itself."""

    exit_code = EXIT_BAD_INPUT

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        details: Iterable[str] = (),
        parts: tuple[SettingsError, ...] = (),
    ) -> None:
        super().__init__(message, remedy=remedy, details=details)
        self.parts = parts or (self,)


class BudgetError(EnrichError):
    """The work does not fit into the memory that the settings allow."""

    exit_code = EXIT_BAD_INPUT


class SourceError(EnrichError):
    """An input is not usable. The message names the file, and the column and row where they are known.

    ``row`` counts as a spreadsheet does for CSV (the header is row 1), and from 1 for all other sources.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(
        self,
        problem: str,
        *,
        path: object,
        column: str | None = None,
        row: int | None = None,
        remedy: str | None = None,
        details: Iterable[str] = (),
    ) -> None:
        in_column = "" if column is None else f", column '{column}'"
        in_row = "" if row is None else f", row {row}"
        super().__init__(f"{path}{in_column}{in_row}: {problem}", remedy=remedy, details=details)
        self.path = str(path)
        self.column = column
        self.row = row


class StateError(EnrichError):
    """The work directory does not contain what the command needs, for example no finished run."""


class CorruptionError(EnrichError):
    """A file of the run directory is torn, altered, or of another schema."""


class StorageError(EnrichError):
    """The checkpoint location is not usable: the bucket or directory is missing, or it is not writable."""

    exit_code = EXIT_BAD_INPUT


class IndexMismatchError(EnrichError):
    """A worker found another index than the driver built; a retry there does not help. ``worker``: its address."""

    def __init__(self, message: str, *, remedy: str | None = None, worker: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.worker = worker


class FarmError(EnrichError):
    """The cluster did not finish the chunks. Finished checkpoints are kept, and a new run resumes from them."""

    default_remedy = RESUME


class EnvironmentFailureError(EnrichError):
    """A disk is full or not writable; a retry does not help until an operator fixes it."""


class BenchmarkError(EnrichError):
    """A measured run failed, or left nothing to measure."""


class BusyError(EnrichError):
    """Another run is active in the same work directory."""


class RunInterruptedError(EnrichError):
    """The user stopped the run."""

    default_remedy = RESUME

    def __init__(self) -> None:
        super().__init__("Interrupted.")


class RunKilledError(EnrichError):
    """The process of an earlier run ended without an error. The next run reports it."""

    default_remedy = RESUME


class ReconciliationError(EnrichError):
    """Rows in do not equal rows accounted for; the run stops before the result is judged."""


class PublicationBlockedError(EnrichError):
    """The result has no passed verdict, or differs from the result that the verdict judged."""

    exit_code = EXIT_BLOCKED


class ProjectedToFailError(PublicationBlockedError):
    """The projected match rate is below the threshold, and ``fail_fast`` stopped the run; there is no result."""


class ReadinessError(EnrichError):
    """With ``environment: production``, no readiness file is recent, passed, and of this code and these settings."""

    exit_code = EXIT_NOT_READY
    default_remedy = PREFLIGHT
