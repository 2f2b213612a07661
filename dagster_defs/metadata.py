"""Step reports as Dagster metadata, and run events as Dagster log lines.

Numeric metadata has stable keys, so that the UI plots it over materializations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from dagster_defs.resources import EnrichSettings
from enrich_dist.events import Event, FarmProgress, Notice, Step, listening
from enrich_dist.progress.intervals import ProgressIntervals
from enrich_dist.reporting.run_tables import settings_table
from enrich_dist.store import run_directory
from enrich_dist.store.run_directory import StepReport


def materialize_result(report: StepReport) -> dg.MaterializeResult[None]:
    """Return the materialization of the asset that is named like the step."""
    metadata: dict[str, Any] = {
        "rows": report.rows,
        "seconds": float(report.seconds),
        "peak_memory_mb": round(report.peak_memory_bytes / 1e6, 1),
        "reused": report.reused,
    }
    if not report.reused:  # a reused output has no meaningful rate
        metadata["rows_per_second"] = round(report.rows_per_second, 1)
    metadata |= {title.replace(" ", "_"): dg.MetadataValue.md(table) for title, table in report.tables.items()}
    metadata |= report.numbers
    metadata |= {f"{name}_path": dg.MetadataValue.path(path) for name, path in report.paths.items()}
    return dg.MaterializeResult(metadata=metadata)


def overridden_settings(settings: EnrichSettings) -> dict[str, dg.MetadataValue]:
    """Return the overridden settings of the run, with their origins."""
    overrides = settings.load().overrides()
    text = settings_table(overrides).markdown() if overrides else "All settings have their default values."
    return {"overridden_settings": dg.MetadataValue.md(text)}


@contextmanager
def log_events(context: dg.AssetExecutionContext, settings: EnrichSettings) -> Iterator[None]:
    """Log notices during the body, and progress at the interval of the settings."""
    intervals = ProgressIntervals(settings.load().settings.farm.progress_interval_seconds)

    def listener(event: Event) -> None:
        if isinstance(event, Notice):
            (context.log.warning if event.warning else context.log.info)(event.message)
        elif isinstance(event, FarmProgress) and intervals.due(event):
            context.log.info(event.line())

    with listening(listener):
        yield


def run_totals(reports: Mapping[Step, StepReport], run_id: str) -> dict[str, float]:
    """Return time and peak memory of all steps of a run."""
    totals = run_directory.run_totals(reports, run_id)
    return {
        "run_seconds": float(totals.seconds),
        "run_peak_memory_mb": round(totals.peak_memory_bytes / 1e6, 1),
        "run_steps": totals.steps,
    }
