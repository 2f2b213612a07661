"""A prediction for the eye and for other programs, and beside what happened: tables, sentences and JSON documents.

Does not compute any of it (``planning``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from enrich_dist.planning.compare import Comparison
from enrich_dist.planning.constants import constants
from enrich_dist.planning.model import StageTime, farm, total
from enrich_dist.planning.predicted import MADE_BY_PLAN, Prediction
from enrich_dist.planning.run_plan import RunPlan
from enrich_dist.reporting.plan_comparison import HEAD, comparison_rows, name_of

FORMAT: Final = 1


def stages_table(plan: RunPlan) -> Table:
    """Wall time by stage: of the run that follows, and from nothing."""
    table = Table("stage", box=None, pad_edge=False)
    for title in ("next run (s)", "interval", "from nothing (s)"):
        table.add_column(title, justify="right", no_wrap=True)
    following, fresh = plan.prediction.stages(MADE_BY_PLAN), plan.prediction.stages()
    for stage, whole in [*zip(following, fresh, strict=True), (total(following), total(fresh))]:
        made = "made already" if stage.stage in MADE_BY_PLAN else _interval(stage)
        table.add_row(
            "Wall time" if stage.stage == "total" else name_of(stage.stage),
            f"{stage.seconds:,.1f}",
            made,
            f"{whole.seconds:,.1f}",
        )
    return table


def _interval(stage: StageTime) -> str:
    return f"{stage.low_seconds:,.1f} – {stage.high_seconds:,.1f}"


def farm_sentence(prediction: Prediction) -> str:
    """How many workers, where, and what bounds them."""
    basis, cluster = prediction.basis, prediction.cluster
    bounds = farm(basis.work, basis.speed, constants(), cluster, prediction.chunk_size)
    where = "on this machine" if cluster.local else "on cores like those of this machine"
    workers = "1 worker" if cluster.workers == 1 else f"{cluster.workers:,} workers"
    return f"{workers} {where}: matching takes {bounds.seconds:,.1f} s, bounded by: {bounds.limit}."


def disk_sentence(prediction: Prediction) -> str:
    """What a run leaves on the disk."""
    disk = prediction.disk()
    return (
        f"On disk {_mb(disk.total_bytes)} MB: {_mb(disk.chunks_bytes)} of chunks, {_mb(disk.checkpoints_bytes)} of "
        f"checkpoints, {_mb(disk.results_bytes)} of results (twice, as they are published), "
        f"{_mb(disk.inputs_bytes)} of awards, companies and index."
    )


def refined_sentence(prediction: Prediction) -> str | None:
    """Which stages earlier runs have a say in."""
    by = prediction.basis.refined_by
    if not by:
        return None
    stages = ", ".join(f"{name_of(stage).lower()} ({count})" for stage, count in by.items())
    return f"Refined by earlier runs of this size on this kind of machine: {stages}."


def advice_lines(plan: RunPlan) -> list[str]:
    """The settings recommended, as flags, and why."""
    advice = plan.advice
    if not advice.fits:
        return list(advice.reasons)
    return ["Recommended:", *(f"    {flag}" for flag in advice.flags()), *advice.reasons]


def plan_document(plan: RunPlan) -> dict[str, Any]:
    """The plan as a JSON object; times in seconds."""
    prediction = plan.prediction
    following, fresh = prediction.stages(MADE_BY_PLAN), prediction.stages()
    bounds = farm(prediction.basis.work, prediction.basis.speed, constants(), prediction.cluster, prediction.chunk_size)
    return {
        "format": FORMAT,
        "awards": plan.awards,
        "companies": plan.companies,
        "source_rows": plan.source_rows,
        "source_rows_exact": plan.source_rows_exact,
        "sampled_rows": plan.sampled_rows,
        "sample_places": plan.sample_places,
        "chunk_size": plan.chunk_size,
        "chunks": prediction.chunks,
        "workers": prediction.cluster.workers,
        "workers_on_this_machine": prediction.cluster.local,
        "recipients": plan.scaled(plan.recipients),
        "candidates": plan.scaled(plan.pairs),
        "largest_blocks": {
            "words": [asdict(block) for block in plan.words],
            "names": [asdict(block) for block in plan.names],
            "left_out": plan.large_blocks,
        },
        "worker_memory": {
            "expected_peak_bytes": prediction.expected_peak_bytes,
            "projected_peak_bytes": prediction.projected_peak_bytes,
            "fits": plan.projection.fits(plan.memory_threshold_mb),
            "least_memory_threshold_mb": plan.projection.min_threshold_mb,
            "memory_threshold_mb": plan.memory_threshold_mb,
        },
        "seconds": {
            "next_run": _seconds(following),
            "from_nothing": _seconds(fresh),
            "matching_bounded_by": bounds.limit,
        },
        "disk_bytes": {**asdict(prediction.disk()), "total_bytes": prediction.disk().total_bytes},
        "recommended": {
            "chunk_size": plan.advice.chunk_size,
            "workers": plan.advice.workers,
            "memory_threshold_mb": plan.advice.memory_threshold_mb,
            "fits": plan.advice.fits,
            "flags": list(plan.advice.flags()),
            "reasons": list(plan.advice.reasons),
        },
        "refined_by_runs": prediction.basis.refined_by,
        "work": asdict(prediction.basis.work),
        "speed": asdict(prediction.basis.speed),
    }


def _seconds(stages: tuple[StageTime, ...]) -> dict[str, Any]:
    return {
        item.stage: {"seconds": item.seconds, "low": item.low_seconds, "high": item.high_seconds}
        for item in (*stages, total(stages))
    }


def print_comparison(console: Console, comparison: Comparison) -> None:
    """The latest run beside its prediction."""
    console.print(f"Run {comparison.run_id} beside its prediction: seconds, and megabytes.", soft_wrap=True)
    if comparison.note:
        console.print(comparison.note, soft_wrap=True)
    console.print()
    console.print(comparison_table(comparison_rows(comparison)))


def comparison_table(rows: Sequence[tuple[str, ...]]) -> Table:
    """For the terminal."""
    table = Table(HEAD[0], box=None, pad_edge=False)
    for title in HEAD[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """The comparison as a JSON object."""
    figures = (*comparison.stages, comparison.wall, comparison.memory, *comparison.disk)
    return {
        "format": FORMAT,
        "run_id": comparison.run_id,
        "note": comparison.note,
        "figures": [{**asdict(item), "error": item.error} for item in figures],
    }


def _mb(count_bytes: float) -> str:
    return f"{count_bytes / 1e6:,.0f}"
