"""The project's exceptions: one small hierarchy, each with the exit code the CLI ends with.

Covers errors that a user can act on: every message names what is wrong, where, and a remedy. Does not cover
programming errors, which stay what Python raises and end a run with exit code 1 and a traceback.
"""

from __future__ import annotations

EXIT_PUBLISHED = 0  # the result is published, or what was asked for is done
EXIT_FAILED = 1  # something failed; what was finished is kept, and the same command goes on from there
EXIT_BAD_INPUT = 2  # an input, a setting or an argument cannot be used; no work was begun
EXIT_BLOCKED = 3  # the quality gate blocked the result, or `fail_fast` stopped a run that was going to be blocked
EXIT_REGRESSION = 4  # `enrich-dist bench compare` found the code slower, or larger in memory, than the baseline
EXIT_NOT_READY = 5  # in production: no fresh, passed readiness file of this code with these settings


class EnrichError(Exception):
    """Base of every error this project raises.

    ``remedy`` is a sentence that says what to do next; it is shown after the message.
    """

    exit_code = EXIT_FAILED

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Errors travel from workers to the driver; the default would call __init__ with the message alone.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[EnrichError], args: tuple[object, ...], state: dict[str, object]) -> EnrichError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class SettingsError(EnrichError):
    """A setting is unknown, malformed or out of range.

    ``parts`` are the single errors where several things are wrong, else the error itself.
    """

    exit_code = EXIT_BAD_INPUT

    def __init__(self, message: str, *, remedy: str | None = None, parts: tuple[SettingsError, ...] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self._parts = parts

    @property
    def parts(self) -> tuple[SettingsError, ...]:
        """Each thing that is wrong."""
        return self._parts or (self,)


class BudgetError(EnrichError):
    """The work does not fit into the memory that the settings allow."""

    exit_code = EXIT_BAD_INPUT


class SourceError(EnrichError):
    """An input cannot be used; names file, and column and row where they are known.

    ``row`` counts as a spreadsheet does for CSV (the header is row 1) and from 1 for all else.
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
    ) -> None:
        where = f"{path}"
        if column is not None:
            where += f", column '{column}'"
        if row is not None:
            where += f", row {row}"
        super().__init__(f"{where}: {problem}", remedy=remedy)
        self.path = str(path)
        self.column = column
        self.row = row


class StateError(EnrichError):
    """A step found no usable output of the step before it in the work directory."""


class CorruptionError(EnrichError):
    """A file of the run directory is not what was written: torn, altered, or of another schema."""


class StorageError(EnrichError):
    """The place where checkpoints are to lie cannot be used: there is no such bucket, or no right to write there."""

    exit_code = EXIT_BAD_INPUT


class IndexMismatchError(EnrichError):
    """The index a worker finds is not the one the driver built; retrying there cannot help. ``worker``: its address."""

    def __init__(self, message: str, *, remedy: str | None = None, worker: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.worker = worker


class FarmError(EnrichError):
    """The cluster could not finish the chunks; finished checkpoints stay and a re-run resumes from them."""


class EnvironmentFailureError(EnrichError):
    """A disk is full, or cannot be written to: trying again cannot help before somebody mends it."""


class BenchmarkError(EnrichError):
    """A run that was to be measured failed, or left nothing to measure."""


class BusyError(EnrichError):
    """Another run works in the same directory."""


class RunInterruptedError(EnrichError):
    """The user stopped the run."""

    def __init__(self) -> None:
        super().__init__("Interrupted.", remedy="Finished chunks are kept: the same command resumes.")


class ReconciliationError(EnrichError):
    """Rows in do not equal rows accounted for: the run stops before anything is judged."""


class PublicationBlockedError(EnrichError):
    """The result has no passed verdict, or is not the result that the verdict judged."""

    exit_code = EXIT_BLOCKED


class ProjectedToFailError(PublicationBlockedError):
    """The match rate is going to be too low, and ``fail_fast`` stops such a run: there is no result."""


class ReadinessError(EnrichError):
    """With ``environment: production`` there is no readiness file that is fresh, passed, and of this code and these
    settings."""

    exit_code = EXIT_NOT_READY
