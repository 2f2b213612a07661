"""Start and finish a run: what happens before its first step and after its last.

It is the same for every run, whether the command line, Dagster or Python launched it, and also where a check blocked
the result. The steps themselves (``pipeline``) do not depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from enrich_dist.events import Event, Notice, Step, listening, warning_on_error
from enrich_dist.monitoring.prometheus.run_monitor import RunMonitor
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.planning.plan_vs_actual import compare_with_plan
from enrich_dist.preflight.checks.file_system import check_file_systems
from enrich_dist.preflight.readiness_file import require_ready
from enrich_dist.reporting.html import write_run_report
from enrich_dist.runs import retention
from enrich_dist.runs.archive import archive_path, write_record
from enrich_dist.runs.ended_runs import EndedRun, RunMarker, record_end, record_killed_run
from enrich_dist.runs.journal import append_to_journal
from enrich_dist.runs.performance import record_performance
from enrich_dist.runs.records import latest_record
from enrich_dist.settings import LoadedSettings
from enrich_dist.store.lock import locked


@contextmanager
def active_run(
    pipeline: Pipeline, loaded: LoadedSettings, *, began_seconds: float | None, warn: Callable[[str], None]
) -> Iterator[EndedRun | None]:
    """Lock and monitor the work directory while the body runs the steps; finish the run after the body.

    Yields the earlier run whose process died, if this is the first run after it. ``began_seconds``: as for
    ``finish_run``; ``warn``: gets the warnings before the first and after the last step.
    Raises ``ReadinessError`` in production without a valid readiness file, ``SettingsError`` where the file system
    cannot hold a run.
    """
    require_ready(loaded.settings)
    check_file_systems(loaded.settings)
    directory, run_id = pipeline.directory, pipeline.run_id
    killed: EndedRun | None = None
    with locked(directory.root, run_id=run_id, what="a Dagster run"):
        monitor = RunMonitor(directory, pipeline.settings, run_id)
        with passing_warnings(warn):
            monitor.start()
        try:
            directory.clear_leftovers()
            with passing_warnings(warn), warning_on_error("The end of the earlier run could not be recorded"):
                killed = record_killed_run(directory)
            directory.record_settings(run_id, loaded.settings.flat(), loaded.origins)
            with listening(RunMarker(directory, run_id)):
                yield killed
            with passing_warnings(warn):
                finish_run(pipeline, began_seconds=began_seconds)
        finally:
            with passing_warnings(warn):
                monitor.stop()


def finish_run(pipeline: Pipeline, *, began_seconds: float | None = None) -> None:
    """Record the metrics of the run and how it ended, compare it with its plan if it has one, write its report, and
    remove what only runs before ``retention.keep_runs`` need. Never raises.

    ``began_seconds``: Unix time at which the command began; None where no command ran the job.
    """
    compare_with_plan(pipeline.directory, pipeline.settings, pipeline.run_id, began_seconds=began_seconds)
    with warning_on_error("Time and memory of the run could not be judged"):
        record_performance(pipeline.directory, pipeline.settings, pipeline.run_id)
    report_run(pipeline, archive=True)
    with warning_on_error("The end of the run could not be recorded"):
        record_end(pipeline.directory, pipeline.run_id)
    if keep := pipeline.settings.retention.keep_runs:
        with warning_on_error("Files of older runs could not be removed"):
            retention.prune(pipeline.directory, keep)


def report_run(pipeline: Pipeline, *, archive: bool = False) -> None:
    """Record the run and write its report, if it judged or published a result. Never raises.

    ``archive``: add the record of a judged result to the benchmark archive, too.
    """
    directory = pipeline.directory
    own = {step for step, report in directory.all_latest().items() if report.run_id == pipeline.run_id}
    if not own & {Step.ENRICHED_AWARDS, Step.PUBLISHED_AWARDS}:
        return
    with warning_on_error("The run could not be recorded"):
        judged = Step.ENRICHED_AWARDS in own
        record = latest_record(directory, pipeline.settings if judged else None)
        with warning_on_error(f"The run could not be added to {directory.run_history.name}"):
            append_to_journal(directory, record)
        if archive and judged:
            with warning_on_error("The benchmark record of the run could not be written"):
                write_record(archive_path(pipeline.settings), record)
    write_run_report(directory)


def passing_warnings(warn: Callable[[str], None]) -> AbstractContextManager[None]:
    """Call ``warn`` with the message of every notice of the body."""

    def listener(event: Event) -> None:
        if isinstance(event, Notice):
            warn(event.message)

    return listening(listener)
