"""Print a plan: candidates, run time, memory, disk, recommended settings and the largest blocks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from enrich_dist.core.tables import percent
from enrich_dist.matching.blocks import Block
from enrich_dist.planning.run_plan import RunPlan
from enrich_dist.reporting.plan_document import (
    advice_lines,
    basis_sentence,
    disk_sentence,
    matching_sentence,
    stages_table,
)

_WORD_COLUMNS = ("word", "where", "names with it", "lookups", "pairs")
_NAME_COLUMNS = ("name", "companies", "recipients", "pairs")
_TEXT_COLUMNS = ("word", "name", "where")


def print_plan(console: Console, plan: RunPlan) -> None:
    """Print the whole plan."""
    about = "" if plan.source_rows_exact else "about "
    whole = plan.sampled_rows >= plan.source_rows
    console.print(
        f"{plan.awards:,} awards of {plan.companies:,} companies with {plan.distinct_names:,} distinct names of "
        f"{plan.distinct_words:,} words."
    )
    console.print(
        f"{about}{plan.source_rows:,} recipient rows".capitalize()
        + (
            ", all matched."
            if whole
            else f"; {plan.sampled_rows:,} from {plan.sample_places} parts of the file were matched."
            if plan.sample_places > 1
            else f"; the first {plan.sampled_rows:,} were matched."
        )
    )
    console.print()
    console.print(_counts(plan, whole=whole))
    console.print()
    seconds = plan.seconds_per_chunk
    console.print(
        f"{plan.chunks:,} {'chunk' if plan.chunks == 1 else 'chunks'} of {plan.chunk_size:,} rows (chunk_size). "
        f"One core of this machine matches one in about {seconds:.1f} s."
    )
    console.print(matching_sentence(plan.prediction))
    console.print()
    console.print(stages_table(plan))
    console.print(basis_sentence(plan.prediction))
    console.print()
    console.print(memory_sentence(plan))
    console.print(disk_sentence(plan.prediction))
    console.print()
    for line in advice_lines(plan):
        console.print(line)
    console.print()
    console.print("Blocks with the most pairs. Pairs whose names are similar enough become candidate pairs.")
    console.print()
    console.print(_blocks(_WORD_COLUMNS, plan.words, plan.max_block_size))
    console.print()
    console.print(_blocks(_NAME_COLUMNS, plan.names, plan.max_block_size))
    console.print()
    console.print(left_out_sentence(plan))


def memory_sentence(plan: RunPlan) -> str:
    """Describe the memory that a worker needs, and whether it fits."""
    projection, threshold = plan.projection, f"memory_threshold_mb ({plan.memory_threshold_mb:,})"
    minimum = f"{projection.min_threshold_mb:,}"
    if projection.fits(plan.memory_threshold_mb):
        verdict = f"That fits {threshold}; the minimum is {minimum}."
    else:
        verdict = f"That does not fit {threshold}: a run is refused. Raise it to {minimum} or more."
    return f"A worker needs {projection.arithmetic()}. {verdict}"


def left_out_sentence(plan: RunPlan) -> str:
    """Describe what ``max_block_size`` leaves out."""
    limit = f"matching.max_block_size ({plan.max_block_size:,})"
    if not plan.large_blocks:
        return f"No block is larger than {limit}: nothing is left out."
    many = "1 block is" if plan.large_blocks == 1 else f"{plan.large_blocks:,} blocks are"
    whole = "" if plan.sampled_rows >= plan.source_rows else f", about {plan.scaled(plan.pairs_left_out):,} in all rows"
    return (
        f"{many} larger than {limit} and left out: {plan.lookups_left_out:,} lookups of {plan.pairs_left_out:,} pairs "
        f"in the matched rows{whole}. Another word, name or identifier may still find such a pair."
    )


def _counts(plan: RunPlan, *, whole: bool) -> Table:
    table = Table("", box=None, pad_edge=False)
    for title in ["all rows"] if whole else [_sample_title(plan), "all, expected"]:
        table.add_column(title, justify="right", no_wrap=True)
    for label, count in (
        ("valid recipients", plan.recipients),
        ("recipients with a candidate", plan.with_candidate),
        ("candidate pairs", plan.pairs),
    ):
        table.add_row(label, f"{count:,}", *([] if whole else [f"{plan.scaled(count):,}"]))
    table.add_row("share with a candidate", percent(plan.with_candidate / plan.recipients))
    table.add_row("candidates per company", f"{plan.pairs / plan.companies:,.2f}", *_per_company(plan, whole=whole))
    return table


def _sample_title(plan: RunPlan) -> str:
    return f"{plan.sampled_rows:,}" if plan.sample_places > 1 else f"first {plan.sampled_rows:,}"


def _per_company(plan: RunPlan, *, whole: bool) -> list[str]:
    return [] if whole else [f"{plan.scaled(plan.pairs) / plan.companies:,.2f}"]


def _blocks(head: Sequence[str], blocks: Sequence[Block], limit: int) -> Table:
    """Return the blocks as a table; those above the limit are marked."""
    table = Table(box=None, pad_edge=False)
    for title in head:
        text = title in _TEXT_COLUMNS
        table.add_column(title, justify="left" if text else "right", no_wrap=not text, overflow="fold")
    table.add_column("")
    for block in blocks:
        numbers = (f"{block.size:,}", f"{block.lookups:,}", f"{block.pairs:,}")
        where = [Text(block.state)] if "where" in head else []
        table.add_row(Text(block.text), *where, *numbers, "left out" if block.capped and block.size > limit else "")
    if not blocks:
        table.add_row("none")
    return table
