"""Resources of the job: the settings, and the Dask cluster that the farm works on."""

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
    return context.run.run_id if context.run else f"process {os.getpid()}"  # outside a run there is none


def _warned(context: dg.InitResourceContext) -> AbstractContextManager[None]:
    """Have warnings in the log of the run: no step is under way that would see to it."""
    return listening(lambda event: _warn(context, event))


def _warn(context: dg.InitResourceContext, event: Event) -> None:
    if isinstance(event, Notice) and context.log is not None:
        context.log.warning(event.message)


@contextmanager
def _monitored(context: dg.InitResourceContext, pipeline: Pipeline) -> Iterator[None]:
    monitoring = RunMonitor(pipeline.directory, pipeline.settings, pipeline.run_id)
    with _warned(context):
        monitoring.start()
    try:
        yield
    finally:
        with _warned(context):
            monitoring.stop()


class EnrichSettings(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Settings of a run: a file, and overrides that rank above environment and file."""

    config: str = ""
    """Settings file; empty for $ENRICH_DIST_CONFIG, else config/base.yaml."""
    overrides: list[str] = Field(default=[])
    """``key=value`` texts, as after ``--set`` on the command line."""
    began_seconds: float = 0.0
    """Unix time at which the command began that runs the job; 0 where Dagster launched the run."""
    _of_run: LoadedSettings | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["EnrichSettings"]:
        """Hold the work directory while the run is executed.

        Raises ``ReadinessError`` in production without a readiness file: before anything else, the cluster among it.
        """
        run_id = _run_id(context)
        # A run is of one piece: a file that is edited meanwhile is for the next.
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
                # All steps are over, whoever launched the run.
                with _warned(context):
                    finish_run(pipeline, began_seconds=self.began_seconds or None)
        finally:
            self._of_run = None

    def load(self) -> LoadedSettings:
        """The merged settings with the origin of each value: of a run, as they were when it began."""
        return self._of_run or load_settings(Path(self.config) if self.config else None, self.overrides)

    def pipeline(self, run_id: str) -> Pipeline:
        """The steps of a run with these settings."""
        return Pipeline(self.load().settings, run_id)


class DaskCluster(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The Dask cluster of the settings, made by ``dagster_dask.dask_resource``.

    It starts in the background when the run starts, so that it is there when the plan is made; only where all chunks
    of the latest plan are finished, and so most likely those of this run, it waits to be asked for.
    """

    settings: EnrichSettings
    _start: ClusterStart | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["DaskCluster"]:
        """Start the cluster, and close it when the run ends."""
        pipeline = self.settings.pipeline(_run_id(context))
        directory = pipeline.directory
        with ClusterStart(pipeline.settings, directory.scratch / "dask", directory.root, prepare=warm_up) as start:
            if not all_chunks_finished(directory):
                start.begin()
            self._start = start
            yield self

    def client(self) -> Client:
        """The cluster's client, as soon as it is there."""
        if self._start is None:
            raise dg.DagsterInvariantViolationError("the cluster exists only while a run is executed")
        return self._start.client()
