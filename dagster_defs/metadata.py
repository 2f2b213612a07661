"""Step reports as Dagster metadata, and run events as Dagster log lines.

Numeric metadata has stable keys, so that the UI plots it over materializations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from dagster_defs.resources import EnrichSettings
from enrich_dist.core.tables import markdown_table
from enrich_dist.events import Event, FarmProgress, Notice, Step, listening
from enrich_dist.progress.intervals import ProgressIntervals
from enrich_dist.store import run_directory as rundir
from enrich_dist.store.run_directory import StepReport


def materialized(report: StepReport) -> dg.MaterializeResult[None]:
    """The report as the materialization of the asset of the same name."""
    metadata: dict[str, dg.MetadataValue] = {
        "rows": dg.MetadataValue.int(report.rows),
        "seconds": dg.MetadataValue.float(report.seconds),
        "peak_memory_mb": dg.MetadataValue.float(round(report.peak_memory_bytes / 1e6, 1)),
        "reused": dg.MetadataValue.bool(report.reused),
    }
    if not report.reused:  # finding an output is no rate of making it, and would spoil the plot
        metadata["rows_per_second"] = dg.MetadataValue.float(round(report.rows_per_second, 1))
    metadata |= {title.replace(" ", "_"): dg.MetadataValue.md(table) for title, table in report.tables.items()}
    metadata |= {name: _number(value) for name, value in report.numbers.items()}
    metadata |= {f"{name}_path": dg.MetadataValue.path(path) for name, path in report.paths.items()}
    return dg.MaterializeResult(metadata=metadata)


def overrides_told(settings: EnrichSettings) -> dict[str, dg.MetadataValue]:
    """The settings of the run that were overridden, each with its origin."""
    rows = [(item.key, item.value, item.origin) for item in settings.load().overrides()]
    table = markdown_table(("setting", "value", "origin"), rows) if rows else "All settings are at their default."
    return {"overridden_settings": dg.MetadataValue.md(table)}


def _number(value: float) -> dg.MetadataValue:
    return dg.MetadataValue.int(value) if isinstance(value, int) else dg.MetadataValue.float(value)


@contextmanager
def logged(context: dg.AssetExecutionContext, settings: EnrichSettings) -> Iterator[None]:
    """Log notices and, at the set interval, progress during the body."""
    intervals = ProgressIntervals(settings.load().settings.farm.progress_interval_seconds)

    def listener(event: Event) -> None:
        if isinstance(event, Notice):
            (context.log.warning if event.warning else context.log.info)(event.message)
        elif isinstance(event, FarmProgress) and intervals.due(event):
            context.log.info(event.line())

    with listening(listener):
        yield


def run_totals(reports: Mapping[Step, StepReport], run_id: str) -> dict[str, dg.MetadataValue]:
    """Seconds and peak memory of all steps of one run: the pipeline as a whole."""
    totals = rundir.run_totals(reports, run_id)
    return {
        "run_seconds": dg.MetadataValue.float(totals.seconds),
        "run_peak_memory_mb": dg.MetadataValue.float(round(totals.peak_memory_bytes / 1e6, 1)),
        "run_steps": dg.MetadataValue.int(totals.steps),
    }
