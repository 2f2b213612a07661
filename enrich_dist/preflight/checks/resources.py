"""Do space, memory and time suffice for the run?"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from enrich_dist.preflight.context import PreflightContext
from enrich_dist.preflight.outcome import Fact, Outcome, failed, passed, warning
from enrich_dist.preflight.readiness_file import readiness_folder

_GB: Final = 1_000_000_000
_PROBE: Final = "probe.json"


def storage(context: PreflightContext) -> Outcome:
    """Write and read a file in the work directory and in the checkpoint location, and look at the free space."""
    from enrich_dist.core.files import read_json, write_json
    from enrich_dist.core.storage import open_storage
    from enrich_dist.errors import CorruptionError, StorageError

    folder = readiness_folder(context.directory.root)
    try:
        written = {"written_by": "enrich-dist preflight"}
        write_json(folder / _PROBE, written)
        back = read_json(folder / _PROBE)
        (folder / _PROBE).unlink()
    except (OSError, CorruptionError) as error:
        return failed(f"{context.directory.root} cannot be written to: {error}.")
    if back != written:
        return failed(f"{context.directory.root} gives back something else than was written.")
    places = {"work_dir": context.directory.root}
    location = context.settings.paths.checkpoints
    if location is not None:
        try:
            open_storage(context.directory.location(location)).check()
        except StorageError as error:
            return failed(error.message, remedy=error.remedy)
        if "://" not in location:
            places["checkpoints"] = Path(location).absolute()
    min_gb = context.settings.readiness.min_free_gb
    free_gb = {name: round(shutil.disk_usage(path).free / _GB, 1) for name, path in places.items()}
    facts: dict[str, Fact] = {"min_free_gb": min_gb, **{f"{name}_free_gb": free for name, free in free_gb.items()}}
    told = ", ".join(f"{free:,.1f} GB where {name} lies" for name, free in free_gb.items())
    if short := [name for name, free in free_gb.items() if free < min_gb]:
        return failed(f"Too little is free for {' and '.join(short)}: {told}; {min_gb:g} GB is the least.", facts=facts)
    return passed(f"All can be written to, and is free: {told}; {min_gb:g} GB is the least.", facts=facts)


def memory_fits(context: PreflightContext) -> Outcome:
    """Hold the projected peak of a worker against ``memory_threshold_mb``."""
    projection = context.planned().plan.projection
    threshold_mb, wished = context.settings.memory_threshold_mb, context.settings.matching.batch_rows
    facts: dict[str, Fact] = {
        "projected_peak_mb": round(projection.peak_bytes / 1e6),
        "memory_threshold_mb": threshold_mb,
        "least_threshold_mb": projection.min_threshold_mb,
        "batch_rows": projection.batch_rows,
    }
    told = f"A worker needs {projection.arithmetic()}; memory_threshold_mb is {threshold_mb:,}"
    if not projection.fits(threshold_mb):
        return failed(f"{told}, and {projection.min_threshold_mb:,} is the least.", facts=facts)
    if projection.batch_rows < min(wished, context.planned().plan.chunk_size, context.planned().plan.source_rows):
        return warning(f"{told}: it fits in batches smaller than the wished-for {wished:,} rows.", facts=facts)
    return passed(f"{told}.", facts=facts)


def time_fits(context: PreflightContext) -> Outcome:
    """Hold what the run is expected to take against ``readiness.max_hours``."""
    from enrich_dist.preflight.projections import projected_time

    limit = context.settings.readiness.max_hours
    if limit is None:
        return warning(
            "Not judged: readiness.max_hours is not set.", remedy="Set readiness.max_hours to what a run may take."
        )
    expected = projected_time(context)
    hours = expected.seconds / 3600
    facts: dict[str, Fact] = {"projected_hours": round(hours, 4), "max_hours": limit, "comparable_runs": expected.runs}
    told = f"About {hours:,.2f} hours by {expected.basis}; readiness.max_hours is {limit:g}"
    return failed(f"{told}.", facts=facts) if hours > limit else passed(f"{told}.", facts=facts)
