"""The estimates of a plan as sentences and tables for the terminal, and plan and comparison as JSON documents."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from enrich_dist.planning.estimate import MatchingTime, StageTime, matching_time, total
from enrich_dist.planning.plan_vs_actual import Comparison
from enrich_dist.planning.prediction import MADE_BY_PLAN, Prediction
from enrich_dist.planning.run_plan import RunPlan
from enrich_dist.reporting.plan_vs_actual import HEAD, comparison_rows, name_of

FORMAT: Final = 2


def stages_table(plan: RunPlan) -> Table:
    """Return the seconds per stage, for the next run and for a run from scratch."""
    table = Table("stage", box=None, pad_edge=False)
    for title in ("next run (s)", "interval", "from scratch (s)"):
        table.add_column(title, justify="right", no_wrap=True)
    following, fresh = plan.prediction.stages(MADE_BY_PLAN), plan.prediction.stages()
    for stage, whole in [*zip(following, fresh, strict=True), (total(following), total(fresh))]:
        table.add_row(
            "Wall time" if stage.stage == "total" else name_of(stage.stage),
            f"{stage.seconds:,.1f}",
            "done by the plan" if stage.stage in MADE_BY_PLAN else _interval(stage),
            f"{whole.seconds:,.1f}",
        )
    return table


def _interval(stage: StageTime) -> str:
    return f"{stage.low_seconds:,.1f} – {stage.high_seconds:,.1f}"


def _matching(prediction: Prediction) -> MatchingTime:
    basis = prediction.basis
    return matching_time(basis.work, basis.rates, prediction.cluster, prediction.chunk_size)


def matching_sentence(prediction: Prediction) -> str:
    """Describe the workers and the bottleneck of matching."""
    cluster, bound = prediction.cluster, _matching(prediction)
    where = "on this machine" if cluster.local else "on cores like those of this machine"
    workers = "1 worker" if cluster.workers == 1 else f"{cluster.workers:,} workers"
    return f"{workers} {where}: matching takes about {bound.seconds:,.1f} s. Bottleneck: {bound.limit}."


def disk_sentence(prediction: Prediction) -> str:
    """Describe the disk usage of a run."""
    disk = prediction.disk()
    return (
        f"Disk: {_mb(disk.total_bytes)} MB ({_mb(disk.chunks_bytes)} chunks, {_mb(disk.checkpoints_bytes)} "
        f"checkpoints, {_mb(disk.results_bytes)} result, {_mb(disk.inputs_bytes)} awards, companies and index)."
    )


def basis_sentence(prediction: Prediction) -> str:
    """Name the earlier runs that the estimate uses, or say why the interval is wide."""
    used = prediction.basis.corrections
    if not used:
        return "No earlier run of this size on this machine: start, reduce and report are rough estimates."
    stages = ", ".join(f"{name_of(stage).lower()} ({item.runs})" for stage, item in used.items())
    return f"Corrected by earlier runs of this size on this machine: {stages}."


def advice_lines(plan: RunPlan) -> list[str]:
    """Return the recommended settings as options, with the reasons."""
    advice = plan.advice
    if not advice.fits:
        return list(advice.reasons)
    return ["Recommended:", *(f"    {flag}" for flag in advice.flags()), *advice.reasons]


def plan_document(plan: RunPlan) -> dict[str, Any]:
    """Return the plan as a JSON object; times in seconds."""
    prediction = plan.prediction
    disk = prediction.disk()
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
            "min_memory_threshold_mb": plan.projection.min_threshold_mb,
            "memory_threshold_mb": plan.memory_threshold_mb,
        },
        "seconds": {
            "next_run": _seconds(prediction.stages(MADE_BY_PLAN)),
            "from_scratch": _seconds(prediction.stages()),
            "matching_bottleneck": _matching(prediction).limit,
        },
        "disk_bytes": {**asdict(disk), "total_bytes": disk.total_bytes},
        "recommended": {**asdict(plan.advice), "flags": list(plan.advice.flags())},
        "corrections": {stage: asdict(item) for stage, item in prediction.basis.corrections.items()},
        "work": asdict(prediction.basis.work),
        "rates": asdict(prediction.basis.rates),
    }


def _seconds(stages: tuple[StageTime, ...]) -> dict[str, Any]:
    return {
        item.stage: {"seconds": item.seconds, "low": item.low_seconds, "high": item.high_seconds}
        for item in (*stages, total(stages))
    }


def print_comparison(console: Console, comparison: Comparison) -> None:
    """Print plan and actual figures of the latest run."""
    console.print(f"Plan vs actual of run {comparison.run_id}, in seconds and megabytes.", soft_wrap=True)
    if comparison.note:
        console.print(comparison.note, soft_wrap=True)
    console.print()
    table = Table(HEAD[0], box=None, pad_edge=False)
    for title in HEAD[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    for row in comparison_rows(comparison):
        table.add_row(*row)
    console.print(table)


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as a JSON object."""
    figures = (*comparison.stages, comparison.wall, comparison.memory, *comparison.disk)
    return {
        "format": FORMAT,
        "run_id": comparison.run_id,
        "note": comparison.note,
        "figures": [{**asdict(item), "error": item.error} for item in figures],
    }


def _mb(count_bytes: float) -> str:
    return f"{count_bytes / 1e6:,.0f}"
