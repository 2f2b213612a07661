"""Finish a run: record it, compare it with its plan, and write its report.

Everything here happens after the last step, whoever launched the run (the command line, Dagster or Python), and also
where a check blocked the result. The steps themselves (``pipeline``) know nothing of it.
"""

from __future__ import annotations

from enrich_dist.events import Step
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.planning.plan_vs_actual import compare_with_plan
from enrich_dist.reporting.html import write_run_report
from enrich_dist.runs.archive import append_to_archive
from enrich_dist.runs.journal import append_to_journal


def finish_run(pipeline: Pipeline, *, began_seconds: float | None = None) -> None:
    """Record the metrics of the run, compare it with its plan if it has one, and write its report. Never raises.

    ``began_seconds``: Unix time at which the command began; None where no command ran the job.
    """
    append_to_archive(pipeline.directory, pipeline.settings, pipeline.run_id)
    compare_with_plan(pipeline.directory, pipeline.settings, pipeline.run_id, began_seconds=began_seconds)
    report_run(pipeline)


def report_run(pipeline: Pipeline) -> None:
    """Record the run and write its report, if it judged or published a result. Never raises."""
    latest = pipeline.directory.all_latest()
    judged = (Step.ENRICHED_AWARDS, Step.PUBLISHED_AWARDS)
    if any(step in latest and latest[step].run_id == pipeline.run_id for step in judged):
        append_to_journal(pipeline.directory)
        write_run_report(pipeline.directory)
