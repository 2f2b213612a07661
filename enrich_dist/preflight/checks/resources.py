"""Whether disk space, memory and time are sufficient for the run."""

from __future__ import annotations

import shutil
import statistics
from itertools import islice
from pathlib import Path
from typing import Final

from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.owned_files import remove_file
from enrich_dist.errors import CorruptionError
from enrich_dist.preflight.checks.file_system import has_hard_links
from enrich_dist.preflight.context import Fact, Outcome, PreflightContext, failed, passed, warning

_GB: Final = 1_000_000_000
_MAX_COMPARABLE_RUNS: Final = 5
_MAX_RECORDS_READ: Final = 500
_MAX_SIZE_RATIO: Final = 2.0  # of the recipients of this run and a comparable one, in either direction


def storage(context: PreflightContext) -> Outcome:
    """Write and read a file in the work directory, and compare the free space with the minimum."""
    root = context.directory.root
    probe = context.directory.readiness / "probe.json"
    written = {"written_by": "enrich-dist preflight"}
    try:
        write_json(probe, written)
        unchanged = read_json(probe) == written
        remove_file(probe)
    except (OSError, CorruptionError) as error:
        return failed(f"{root} is not writable: {error}.")
    if not unchanged:
        return failed(f"A file in {root} has other content than was written.")
    places = {"work_dir": root}
    location = context.settings.paths.checkpoints
    if location is not None and "://" not in location:
        places["checkpoints"] = Path(location).absolute()
    min_gb = context.settings.readiness.min_free_gb
    free_gb = {name: round(shutil.disk_usage(path).free / _GB, 1) for name, path in places.items()}
    facts: dict[str, Fact] = {"min_free_gb": min_gb, **{f"{name}_free_gb": free for name, free in free_gb.items()}}
    shown = f"{', '.join(f'{name} has {free:,.1f} GB free' for name, free in free_gb.items())} (minimum {min_gb:g} GB)"
    if short := [name for name, free in free_gb.items() if free < min_gb]:
        return failed(f"Not enough free space for {' and '.join(short)}: {shown}.", facts)
    if not has_hard_links(context.directory.readiness):
        return warning(
            f"The file system of {root} has no hard links, so every release is a copy of its result: {shown}.",
            facts,
            remedy="Leave space for the copies, or set paths.work_dir to a file system with hard links.",
        )
    return passed(f"All locations are writable: {shown}.", facts)


def memory_fits(context: PreflightContext) -> Outcome:
    """Compare the projected peak memory of a worker with ``memory_threshold_mb``."""
    plan, _ = context.planned()
    projection = plan.projection
    threshold_mb, batch_rows = context.settings.memory_threshold_mb, context.settings.matching.batch_rows
    facts: dict[str, Fact] = {
        "projected_peak_mb": round(projection.peak_bytes / 1e6),
        "memory_threshold_mb": threshold_mb,
        "least_threshold_mb": projection.min_threshold_mb,
        "batch_rows": projection.batch_rows,
    }
    shown = f"A worker needs {projection.arithmetic()}; memory_threshold_mb is {threshold_mb:,}"
    if not projection.fits(threshold_mb):
        return failed(f"{shown}, and the minimum is {projection.min_threshold_mb:,}.", facts)
    if projection.batch_rows < min(batch_rows, plan.prediction.chunk_size, plan.work.source_rows):
        return warning(f"{shown}. It fits only in batches smaller than matching.batch_rows ({batch_rows:,}).", facts)
    return passed(f"{shown}.", facts)


def time_fits(context: PreflightContext) -> Outcome:
    """Compare the median time of comparable runs, or else the plan's prediction, with ``readiness.max_hours``."""
    limit = context.settings.readiness.max_hours
    if limit is None:
        return warning(
            "Not judged: readiness.max_hours is not set.", remedy="Set readiness.max_hours to the time a run may take."
        )
    plan, _ = context.planned()
    seconds = _comparable_seconds(context, plan.work.source_rows)
    if seconds:
        hours, basis = statistics.median(seconds) / 3600, f"by the median of {len(seconds)} comparable runs"
    else:
        hours = sum(stage.seconds for stage in plan.prediction.stages()) / 3600
        basis = "by the plan's prediction; no comparable run is recorded"
    facts: dict[str, Fact] = {"projected_hours": round(hours, 4), "max_hours": limit, "comparable_runs": len(seconds)}
    summary = f"About {hours:,.2f} hours ({basis}); readiness.max_hours is {limit:g}."
    return failed(summary, facts) if hours > limit else passed(summary, facts)


def _comparable_seconds(context: PreflightContext, recipients: int) -> list[float]:
    """Wall seconds of the latest runs that computed everything on an equal machine with the same settings, scaled."""
    from enrich_dist.runs.archive import archive_path, newest_first
    from enrich_dist.runs.environment import this_machine
    from enrich_dist.runs.metrics import total_seconds
    from enrich_dist.runs.records import workload_settings

    machine, settings = this_machine().digest, workload_settings(context.settings)
    comparable = (
        total_seconds(record) * recipients / record.recipients.valid_rows
        for record in islice(newest_first(archive_path(context.settings)), _MAX_RECORDS_READ)
        if record.computed_everything
        and record.machine.digest == machine
        and record.workload_settings == settings
        and record.recipients.valid_rows
        and 1 / _MAX_SIZE_RATIO <= recipients / record.recipients.valid_rows <= _MAX_SIZE_RATIO
    )
    return list(islice(comparable, _MAX_COMPARABLE_RUNS))
