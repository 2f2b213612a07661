"""What checks read, ``PreflightContext``, and what they return, ``Outcome``; and the report of all outcomes.

Several checks share the plan with its index, and the cluster. Both are made when the first check asks for them, and
removed on exit. The plan has its own scratch directory, so a preflight works while a run is active.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import computed_field

from enrich_dist.runs.environment import source_digest, this_code
from enrich_dist.settings import LoadedSettings, Settings
from enrich_dist.store.run_directory import Output, RunDirectory

if TYPE_CHECKING:
    from enrich_dist.cluster.client import OpenCluster
    from enrich_dist.planning.run_plan import RunPlan

Value = TypeVar("Value")
Fact = str | int | float | bool | None
Facts = Mapping[str, Fact]


class Status(StrEnum):
    """Status of a check."""

    PASSED = "passed"
    WARNING = "warning"
    """It holds, with something that operators should know."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """It could not be determined."""


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
        return not self.critical or self.status in (Status.PASSED, Status.WARNING)


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


_SAMPLE_ROWS = 20_000  # recipients to match for the projection of memory: bytes per row settle long before


def _once(make: Callable[[], Value]) -> Callable[[], Value]:
    """Return a function that calls ``make`` once, and returns its value or raises its exception to all callers."""
    made: Future[Value] = Future()

    def get() -> Value:
        if not made.done():
            try:
                made.set_result(make())
            except Exception as error:  # noqa: BLE001  # raised below
                made.set_exception(error)
        return made.result()

    return get


class PreflightContext(ExitStack):
    """On exit it closes the cluster and removes scratch directories."""

    def __init__(
        self,
        loaded: LoadedSettings,
        *,
        repeat_smoke_test: bool = False,
        send_test_notification: bool = False,
        now: datetime | None = None,
    ) -> None:
        """``repeat_smoke_test``: do not reuse a recent result; ``send_test_notification``: try all addresses."""
        super().__init__()
        self.loaded = loaded
        self.settings: Settings = loaded.settings
        self.directory = RunDirectory(loaded.settings.paths.work_dir)
        self.repeat_smoke_test = repeat_smoke_test
        self.send_test_notification = send_test_notification
        self.now = now or datetime.now(UTC)
        self.code = this_code()
        self.source_digest = source_digest()
        self.planned: Callable[[], tuple[RunPlan, Path]] = _once(self._plan)
        """The plan, and the index that it built. Raises what ``make_plan`` raises."""
        self.cluster: Callable[[], OpenCluster] = _once(self._open_cluster)
        """Raises what ``open_cluster`` raises."""

    def scratch(self, prefix: str) -> Path:
        """Make a temporary directory in the work directory; it is removed on exit."""
        self.directory.scratch.mkdir(parents=True, exist_ok=True)
        # Files of workers that run as another user may be undeletable; that must not lose the report.
        made = tempfile.TemporaryDirectory(prefix=prefix, dir=self.directory.scratch, ignore_cleanup_errors=True)
        return Path(self.enter_context(made))

    def _plan(self) -> tuple[RunPlan, Path]:
        from enrich_dist.planning.run_plan import make_plan
        from enrich_dist.runs.archive import archive_path

        work_dir = self.scratch("preflight-")
        work_dir.chmod(0o755)  # the workers of a cluster may run as another user
        own = {"work_dir": work_dir, "checkpoints": None, "benchmarks": archive_path(self.settings)}
        paths = self.settings.paths.model_copy(update=own)
        plan = make_plan(self.settings.model_copy(update={"paths": paths}), _SAMPLE_ROWS)
        return plan, RunDirectory(work_dir).output(Output.INDEX)

    def _open_cluster(self) -> OpenCluster:
        from enrich_dist.cluster.client import open_cluster
        from enrich_dist.settings.tree import AdaptiveSettings

        # One worker shows as much as the many that a run would wait for in a queue.
        one = {"n_workers": 1, "adaptive": AdaptiveSettings()}
        settings = self.settings.model_copy(update={"cluster": self.settings.cluster.model_copy(update=one)})
        return self.enter_context(open_cluster(settings, self.directory.scratch / "dask"))
