"""What the checks look at: settings, code, the work directory; and what several of them share and is dear to make.

The plan of the run (with the index that its workers would open) is made in a directory of its own, and the cluster is
started or reached once; both are made when the first check asks for them, and gone when the context is left. No step
record of the work directory is touched, so that a run may be under way there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

from enrich_dist.runs.revision import Code, source_digest, this_code
from enrich_dist.settings import LoadedSettings, Settings
from enrich_dist.store.run_directory import Output, RunDirectory

if TYPE_CHECKING:
    from enrich_dist.cluster.client import OpenCluster
    from enrich_dist.planning.run_plan import RunPlan

Made = TypeVar("Made")
_SAMPLE_ROWS = 20_000  # recipients that are matched to project memory: bytes per row settle long before


@dataclass(frozen=True)
class Planned:
    """The run's plan, and the index that it made, where all workers should see it."""

    plan: RunPlan
    index: Path


class _Once(Generic[Made]):
    """Makes something when it is first asked for; what making it raised is raised to all who ask."""

    def __init__(self, make: Callable[[], Made]) -> None:
        self._make = make
        self._made: Made | None = None
        self._error: Exception | None = None

    def __call__(self) -> Made:
        if self._error is not None:
            raise self._error
        if self._made is None:
            try:
                self._made = self._make()
            except Exception as error:
                self._error = error
                raise
        return self._made


class PreflightContext:
    """A context manager: leaving it closes the cluster and removes what was made."""

    def __init__(
        self,
        loaded: LoadedSettings,
        *,
        smoke_anew: bool = False,
        send_test_notification: bool = False,
        now: datetime | None = None,
    ) -> None:
        """``smoke_anew``: run the smoke test even where it has passed; ``send_test_notification``: try addresses."""
        self.loaded = loaded
        self.settings: Settings = loaded.settings
        self.directory = RunDirectory(loaded.settings.paths.work_dir)
        self.smoke_anew = smoke_anew
        self.send_test_notification = send_test_notification
        self.now = now or datetime.now(UTC)
        self.code: Code = this_code()
        self.source_digest = source_digest()
        self._stack = ExitStack()
        self.planned: Callable[[], Planned] = _Once(self._plan)
        """Raises what ``make_plan`` raises."""
        self.cluster: Callable[[], OpenCluster] = _Once(self._open_cluster)
        """Raises what ``open_cluster`` raises."""

    def __enter__(self) -> PreflightContext:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def scratch(self, prefix: str) -> Path:
        """A new directory where the run would work; removed in the end."""
        self.directory.scratch.mkdir(parents=True, exist_ok=True)
        # What the workers of another user or machine may leave in it must not keep the report from being written.
        made = tempfile.TemporaryDirectory(prefix=prefix, dir=self.directory.scratch, ignore_cleanup_errors=True)
        return Path(self._stack.enter_context(made))

    def _plan(self) -> Planned:
        from enrich_dist.planning.run_plan import make_plan
        from enrich_dist.runs.archive import archive_path

        work_dir = self.scratch("preflight-")
        work_dir.chmod(0o755)  # the workers of a cluster may be another user
        own = {"work_dir": work_dir, "checkpoints": None, "benchmarks": archive_path(self.settings)}
        paths = self.settings.paths.model_copy(update=own)
        plan = make_plan(self.settings.model_copy(update={"paths": paths}), _SAMPLE_ROWS)
        return Planned(plan, RunDirectory(work_dir).output(Output.INDEX))

    def _open_cluster(self) -> OpenCluster:
        from enrich_dist.cluster.client import open_cluster
        from enrich_dist.settings.tree import AdaptiveSettings

        # One worker shows as much as the many that a run would wait for in a queue.
        one = {"n_workers": 1, "adaptive": AdaptiveSettings()}
        settings = self.settings.model_copy(update={"cluster": self.settings.cluster.model_copy(update=one)})
        return self._stack.enter_context(open_cluster(settings, self.directory.scratch / "dask"))
