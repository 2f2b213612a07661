"""Print a plan, or return it as a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from enrich_dist.core.console import PlainConsole
from enrich_dist.core.tables import counted, make_table, megabytes, percent
from enrich_dist.matching.blocks import Block
from enrich_dist.planning.estimate import StageTime, total
from enrich_dist.planning.prediction import MADE_BY_PLAN
from enrich_dist.planning.run_plan import RunPlan
from enrich_dist.reporting.plan_vs_actual import FORMAT, NAMES
from enrich_dist.reporting.terminal import rich_table
from enrich_dist.sources.columns import AWARD_LAYOUT, RECIPIENT_LAYOUT


def print_plan(console: PlainConsole, plan: RunPlan) -> None:
    """Print candidates, run time, memory, disk, recommended settings and the largest blocks."""
    about = "" if plan.source_rows_exact else "about "
    sample, work, advice = plan.sample, plan.work, plan.advice
    if plan.is_whole:
        matched = ", all matched."
    elif sample.places > 1:
        matched = f"; {sample.rows:,} from {sample.places} parts of the file were matched."
    else:
        matched = f"; the first {sample.rows:,} were matched."
    console.print(
        f"{work.awards:,} awards of {work.companies:,} companies with {plan.distinct_names:,} distinct names of "
        f"{plan.distinct_words:,} words."
    )
    console.print(f"{about}{work.source_rows:,} recipient rows".capitalize() + matched)
    console.print("", _counts(plan), "", sep="\n")
    console.print(*_time_sentences(plan), sep="\n")
    console.print("", _stages(plan), _basis_sentence(plan), "", sep="\n")
    console.print(_memory_sentence(plan), _disk_sentence(plan), "", sep="\n")
    recommended = ["Recommended:", *(f"    {flag}" for flag in advice.flags())] if advice.fits else []
    console.print(*recommended, *advice.reasons, "", sep="\n")
    for name, columns, layout in (
        ("awards", plan.award_columns, AWARD_LAYOUT),
        ("sampled recipients", plan.recipient_columns, RECIPIENT_LAYOUT),
    ):
        rows = columns.mapped[0].rows if columns.mapped else 0
        console.print(f"Columns of the {rows:,} {name} (lost: given, but not understood):", "")
        console.print(rich_table(columns.short_table()), "")
        if columns.unmapped:
            console.print(f"Not mapped: {', '.join(columns.unmapped)}", "")
        console.print(*columns.warnings(layout), sep="\n")
    console.print("Blocks with the most pairs. Pairs whose names are similar enough become candidate pairs.")
    words = [(block.text, block.state, *_block_cells(block, plan)) for block in sample.words]
    names = [(block.text, *_block_cells(block, plan)) for block in sample.names]
    console.print("", _blocks(("word", "where", "names with it", "lookups", "pairs", ""), words), sep="\n")
    console.print("", _blocks(("name", "companies", "recipients", "pairs", ""), names), "", sep="\n")
    console.print(_left_out_sentence(plan))


def plan_document(plan: RunPlan) -> dict[str, Any]:
    """Return the plan as a JSON object; times in seconds."""
    prediction, sample, work = plan.prediction, plan.sample, plan.work
    disk = prediction.disk()
    return {
        "format": FORMAT,
        "awards": work.awards,
        "companies": work.companies,
        "source_rows": work.source_rows,
        "source_rows_exact": plan.source_rows_exact,
        "sampled_rows": sample.rows,
        "sample_places": sample.places,
        "chunk_size": prediction.chunk_size,
        "chunks": plan.chunks,
        "workers": prediction.cluster.workers,
        "workers_on_this_machine": prediction.cluster.local,
        "recipients": work.recipients,
        "candidates": plan.scaled(sample.pairs),
        "largest_blocks": {
            "words": list(map(asdict, sample.words)),
            "names": list(map(asdict, sample.names)),
            "left_out": sample.large_blocks,
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
            "matching_bottleneck": prediction.matching().limit,
        },
        "disk_bytes": {**asdict(disk), "total_bytes": disk.total_bytes},
        "columns": {"awards": plan.award_columns.document(), "recipients": plan.recipient_columns.document()},
        "recommended": {**asdict(plan.advice), "flags": list(plan.advice.flags())},
        "corrections": {stage: asdict(item) for stage, item in prediction.basis.corrections.items()},
        "work": asdict(work),
        "rates": asdict(prediction.basis.rates),
    }


def _seconds(stages: tuple[StageTime, ...]) -> dict[str, Any]:
    return {
        item.stage: {"seconds": item.seconds, "low": item.low_seconds, "high": item.high_seconds}
        for item in (*stages, total(stages))
    }


def _counts(plan: RunPlan) -> Table:
    sample, companies, pairs = plan.sample, plan.work.companies, plan.scaled(plan.sample.pairs)
    rows = [
        ("valid recipients", sample.recipients, plan.work.recipients),
        ("recipients with a candidate", sample.with_candidate, plan.scaled(sample.with_candidate)),
        ("candidate pairs", sample.pairs, pairs),
        ("share with a candidate", percent(sample.with_candidate / sample.recipients), ""),
        ("candidates per company", f"{sample.pairs / companies:,.2f}", f"{pairs / companies:,.2f}"),
    ]
    first = "" if sample.places > 1 else "first "
    head = ("", "all rows") if plan.is_whole else ("", f"{first}{sample.rows:,}", "all, expected")
    return rich_table(make_table(head, [row[: len(head)] for row in rows]))


def _time_sentences(plan: RunPlan) -> tuple[str, str]:
    prediction, cluster, matching = plan.prediction, plan.prediction.cluster, plan.prediction.matching()
    seconds = plan.sample.seconds * min(prediction.chunk_size, plan.work.source_rows) / plan.sample.rows
    each = f"{1000 * seconds:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"
    where = "on this machine" if cluster.local else "on cores like those of this machine"
    return (
        f"{counted(plan.chunks, 'chunk')} of {prediction.chunk_size:,} rows (chunk_size). One core of this machine "
        f"matches one in about {each}.",
        f"{counted(cluster.workers, 'worker')} {where}: matching takes about {matching.seconds:,.1f} s. Bottleneck: "
        f"{matching.limit}.",
    )


def _stages(plan: RunPlan) -> Table:
    following, fresh = plan.prediction.stages(MADE_BY_PLAN), plan.prediction.stages()
    rows = [
        (
            "Wall time" if stage.stage == "total" else NAMES[stage.stage],
            f"{stage.seconds:,.1f}",
            "done by the plan"
            if stage.stage in MADE_BY_PLAN
            else f"{stage.low_seconds:,.1f} – {stage.high_seconds:,.1f}",
            f"{whole.seconds:,.1f}",
        )
        for stage, whole in [*zip(following, fresh, strict=True), (total(following), total(fresh))]
    ]
    return rich_table(make_table(("stage", "next run (s)", "interval", "from scratch (s)"), rows))


def _basis_sentence(plan: RunPlan) -> str:
    used = plan.prediction.basis.corrections
    if not used:
        return "No earlier run of this size on this machine: start, reduce and report are rough estimates."
    stages = ", ".join(f"{NAMES[stage].lower()} ({item.runs})" for stage, item in used.items())
    return f"Corrected by earlier runs of this size on this machine: {stages}."


def _memory_sentence(plan: RunPlan) -> str:
    projection, threshold = plan.projection, f"memory_threshold_mb ({plan.memory_threshold_mb:,})"
    minimum = f"{projection.min_threshold_mb:,}"
    if projection.fits(plan.memory_threshold_mb):
        verdict = f"That fits {threshold}; the minimum is {minimum}."
    else:
        verdict = f"That does not fit {threshold}: a run is refused. Raise it to {minimum} or more."
    return f"A worker needs {projection.arithmetic()}. {verdict}"


def _disk_sentence(plan: RunPlan) -> str:
    disk = plan.prediction.disk()
    return (
        f"Disk: {megabytes(disk.total_bytes)} MB ({megabytes(disk.chunks_bytes)} chunks, "
        f"{megabytes(disk.checkpoints_bytes)} checkpoints, {megabytes(disk.results_bytes)} result, "
        f"{megabytes(disk.inputs_bytes)} awards, companies and index)."
    )


def _blocks(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Table:
    return rich_table(make_table(head, rows or [("none", *[""] * (len(head) - 1))]))


def _block_cells(block: Block, plan: RunPlan) -> tuple[object, ...]:
    is_left_out = block.capped and block.size > plan.max_block_size
    return block.size, block.lookups, block.pairs, "left out" if is_left_out else ""


def _left_out_sentence(plan: RunPlan) -> str:
    sample, limit = plan.sample, f"matching.max_block_size ({plan.max_block_size:,})"
    if not sample.large_blocks:
        return f"No block is larger than {limit}: nothing is left out."
    whole = "" if plan.is_whole else f", about {plan.scaled(sample.pairs_left_out):,} in all rows"
    are = "is" if sample.large_blocks == 1 else "are"
    return (
        f"{counted(sample.large_blocks, 'block')} {are} larger than {limit} and "
        f"left out: {sample.lookups_left_out:,} lookups of {sample.pairs_left_out:,} pairs in the matched rows{whole}. "
        "Another word, name or identifier may still find such a pair."
    )
