"""Resources of the job: the settings and the Dask cluster."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import dagster as dg
from distributed import Client
from pydantic import Field, PrivateAttr

from enrich_dist.cluster.client import ClusterStart
from enrich_dist.events import Event, Notice, listening
from enrich_dist.matching.warm import warm_up
from enrich_dist.monitoring.prometheus.run_monitor import RunMonitor
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.preflight.readiness_file import require_ready
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.settings import LoadedSettings, flatten, load_settings
from enrich_dist.store.lock import locked
from enrich_dist.store.status import all_chunks_finished


def _run_id(context: dg.InitResourceContext) -> str:
    return context.run.run_id if context.run else f"process {os.getpid()}"


def _log_warnings(context: dg.InitResourceContext) -> AbstractContextManager[None]:
    """Log notices while no step is active, which would log them."""

    def listener(event: Event) -> None:
        if isinstance(event, Notice) and context.log is not None:
            context.log.warning(event.message)

    return listening(listener)


@contextmanager
def _monitored(context: dg.InitResourceContext, pipeline: Pipeline) -> Iterator[None]:
    monitoring = RunMonitor(pipeline.directory, pipeline.settings, pipeline.run_id)
    with _log_warnings(context):
        monitoring.start()
    try:
        yield
    finally:
        with _log_warnings(context):
            monitoring.stop()


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
        run_id = _run_id(context)
        # The run keeps these settings if the file changes meanwhile.
        self._of_run = loaded = self.load()
        pipeline = self.pipeline(run_id)
        try:
            require_ready(loaded.settings)
            with locked(pipeline.directory.root, run_id=run_id, what="a Dagster run"), _monitored(context, pipeline):
                pipeline.directory.clear_leftovers()
                settings = flatten(loaded.settings.model_dump(mode="json"))
                pipeline.directory.record_settings(run_id, settings, loaded.origins)
                if context.log is not None:
                    for item in loaded.overrides():
                        context.log.info(item.line)
                yield self
                with _log_warnings(context):
                    finish_run(pipeline, began_seconds=self.began_seconds or None)
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

    def client(self) -> Client:
        """Return the client once the cluster has started."""
        if self._start is None:
            raise dg.DagsterInvariantViolationError("the cluster exists only during a run")
        return self._start.client()
