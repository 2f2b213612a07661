"""What checks read: settings, code and work directory, and the expensive resources that several of them share.

The plan with its index, and the cluster, are made when the first check asks for them and removed on exit. The plan gets
a scratch directory of its own, so that a preflight works while a run is active in the work directory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from enrich_dist.runs.environment import source_digest, this_code
from enrich_dist.settings import LoadedSettings, Settings
from enrich_dist.store.run_directory import Output, RunDirectory

if TYPE_CHECKING:
    from enrich_dist.cluster.client import OpenCluster
    from enrich_dist.planning.run_plan import RunPlan

Value = TypeVar("Value")
_SAMPLE_ROWS = 20_000  # recipients to match for the projection of memory: bytes per row settle long before


@dataclass(frozen=True)
class PlannedRun:
    """The plan of the run, and the index that it built, where all workers should see it."""

    plan: RunPlan
    index: Path


class _Once(Generic[Value]):
    """Call ``make`` once; return its value, or raise its exception, to all callers."""

    def __init__(self, make: Callable[[], Value]) -> None:
        self._make = make
        self._value: Value | None = None
        self._error: Exception | None = None

    def __call__(self) -> Value:
        if self._error is not None:
            raise self._error
        if self._value is None:
            try:
                self._value = self._make()
            except Exception as error:
                self._error = error
                raise
        return self._value


class PreflightContext:
    """Context manager; on exit it closes the cluster and removes scratch directories."""

    def __init__(
        self,
        loaded: LoadedSettings,
        *,
        repeat_smoke_test: bool = False,
        send_test_notification: bool = False,
        now: datetime | None = None,
    ) -> None:
        """``repeat_smoke_test``: do not reuse a recent result; ``send_test_notification``: try all addresses."""
        self.loaded = loaded
        self.settings: Settings = loaded.settings
        self.directory = RunDirectory(loaded.settings.paths.work_dir)
        self.repeat_smoke_test = repeat_smoke_test
        self.send_test_notification = send_test_notification
        self.now = now or datetime.now(UTC)
        self.code = this_code()
        self.source_digest = source_digest()
        self._stack = ExitStack()
        self.planned: Callable[[], PlannedRun] = _Once(self._plan)
        """Raises what ``make_plan`` raises."""
        self.cluster: Callable[[], OpenCluster] = _Once(self._open_cluster)
        """Raises what ``open_cluster`` raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def scratch(self, prefix: str) -> Path:
        """Make a temporary directory in the work directory; it is removed on exit."""
        self.directory.scratch.mkdir(parents=True, exist_ok=True)
        # Files of workers that run as another user may be undeletable; that must not lose the report.
        made = tempfile.TemporaryDirectory(prefix=prefix, dir=self.directory.scratch, ignore_cleanup_errors=True)
        return Path(self._stack.enter_context(made))

    def _plan(self) -> PlannedRun:
        from enrich_dist.planning.run_plan import make_plan
        from enrich_dist.runs.archive import archive_path

        work_dir = self.scratch("preflight-")
        work_dir.chmod(0o755)  # the workers of a cluster may run as another user
        own = {"work_dir": work_dir, "checkpoints": None, "benchmarks": archive_path(self.settings)}
        paths = self.settings.paths.model_copy(update=own)
        plan = make_plan(self.settings.model_copy(update={"paths": paths}), _SAMPLE_ROWS)
        return PlannedRun(plan, RunDirectory(work_dir).output(Output.INDEX))

    def _open_cluster(self) -> OpenCluster:
        from enrich_dist.cluster.client import open_cluster
        from enrich_dist.settings.tree import AdaptiveSettings

        # One worker shows as much as the many that a run would wait for in a queue.
        one = {"n_workers": 1, "adaptive": AdaptiveSettings()}
        settings = self.settings.model_copy(update={"cluster": self.settings.cluster.model_copy(update=one)})
        return self._stack.enter_context(open_cluster(settings, self.directory.scratch / "dask"))
