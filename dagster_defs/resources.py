"""Resources of the job: the settings and the Dask cluster."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from enrich_dist.cluster.client import ClusterStart
from enrich_dist.events import warning_on_error
from enrich_dist.matching.warm import warm_up
from enrich_dist.monitoring.notify import notify_on_failure
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.run_lifecycle import active_run, passing_warnings
from enrich_dist.settings import LoadedSettings, load_settings
from enrich_dist.store.status import all_chunks_finished

if TYPE_CHECKING:
    from distributed import Client


def _run_id(context: dg.InitResourceContext) -> str:
    return context.run.run_id if context.run else f"process {os.getpid()}"


class EnrichSettings(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Settings of a run: a file, and overrides that take precedence over environment and file."""

    config: str = ""
    """Settings file; if empty, $ENRICH_DIST_CONFIG or config/base.yaml."""
    overrides: list[str] = Field(default=[])
    """``key=value`` texts, as for ``--set`` on the command line."""
    began_seconds: float = 0.0
    """Unix time when the command that runs the job began; 0 if Dagster launched the run."""
    _of_run: LoadedSettings | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["EnrichSettings"]:
        """Lock the work directory during the run.

        Raises ``ReadinessError`` in production without a readiness file, before the cluster starts.
        """
        # They import the assets, which import this module.
        from dagster_defs.killed_runs import close_killed_runs
        from dagster_defs.run_outcome import notify_run_outcome

        # A settings file that is edited during the run applies to the next run.
        self._of_run = loaded = self.load()
        pipeline = self.pipeline(_run_id(context))

        def warn(message: str) -> None:
            if context.log is not None:
                context.log.warning(message)

        is_active = False
        try:
            with (
                notify_on_failure(loaded.settings, unless=lambda: is_active),
                active_run(pipeline, loaded, began_seconds=self.began_seconds or None, warn=warn) as killed,
            ):
                is_active = True
                if context.log is not None:
                    for item in loaded.overrides():
                        context.log.info(item.line)
                if context.instance is not None:
                    with passing_warnings(warn), warning_on_error("The earlier run could not be closed"):
                        for run_id in close_killed_runs(context.instance, loaded.settings, pipeline.run_id, killed):
                            warn(f"Run {run_id} was killed. It is marked as failed.")
                yield self
            if context.instance is not None:
                with passing_warnings(warn):
                    notify_run_outcome(context.instance, pipeline.run_id, loaded.settings, now_seconds=time.time())
        finally:
            self._of_run = None

    def load(self) -> LoadedSettings:
        """Return the merged settings with the origin of each value; in a run, those of its start."""
        return self._of_run or load_settings(Path(self.config) if self.config else None, self.overrides)

    def pipeline(self, run_id: str) -> Pipeline:
        """Return the steps of a run with these settings."""
        return Pipeline(self.load().settings, run_id)


class DaskCluster(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The Dask cluster of the settings, created by ``dagster_dask.dask_resource``.

    It starts in the background with the run. If all chunks of the latest plan are finished, it starts only on demand,
    as this run probably needs no worker.
    """

    settings: EnrichSettings
    _start: ClusterStart | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["DaskCluster"]:
        """Start the cluster, and close it at the end of the run."""
        pipeline = self.settings.pipeline(_run_id(context))
        directory = pipeline.directory
        with ClusterStart(pipeline.settings, directory.scratch / "dask", directory.root, prepare=warm_up) as start:
            if not all_chunks_finished(directory):
                start.begin()
            self._start = start
            yield self

    def client(self) -> "Client":
        """Return the client once the cluster has started."""
        if self._start is None:
            raise dg.DagsterInvariantViolationError("the cluster exists only during a run")
        return self._start.client()
