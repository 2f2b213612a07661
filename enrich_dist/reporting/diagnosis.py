"""``doctor`` and ``checkpoints`` in the terminal: what was found in a run directory, and what to do next."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from enrich_dist.farm.attempts import FailedAttempt
from enrich_dist.farm.diagnosis import ADVICE, ChunkFinding, ChunkState, Findings
from enrich_dist.farm.worker_log import WorkerHistory
from enrich_dist.reporting.terminal import shown_path

_MAX_CHUNKS = 20
_MAX_WORKERS = 40
_MB = 1e6


def print_findings(console: Console, findings: Findings) -> None:
    """Who works there, how many chunks are in which state, those that failed, and what to do next."""
    console.print(f"Run directory {escape(shown_path(findings.root))}", soft_wrap=True, highlight=False)
    if findings.holder:
        holder = findings.holder
        console.print(
            f"In use by {escape(holder['what'])} (process {holder['pid']} on {escape(holder['host'])}, since "
            f"{holder['since']})",
            highlight=False,
        )
    else:
        console.print("Nobody works in it now.", highlight=False)
    if not findings.chunks:
        console.print("No chunks are planned yet. Start with: enrich-dist run", highlight=False)
        return
    states = [(state, findings.count(state)) for state in ChunkState]
    told = ", ".join(f"{count:,} {state}" for state, count in states if count)
    console.print(f"{len(findings.chunks):,} chunks: {told}", highlight=False)
    troubled = [chunk for chunk in findings.chunks if chunk.state in (ChunkState.FAILED, ChunkState.DAMAGED)]
    if troubled:
        console.print(_troubled_table(troubled[:_MAX_CHUNKS]))
        if len(troubled) > _MAX_CHUNKS:
            console.print(f"… and {len(troubled) - _MAX_CHUNKS:,} more", highlight=False)
        console.print(f"The whole story of a chunk: enrich-dist doctor {troubled[0].chunk_id}", highlight=False)
    if findings.workers:
        console.print(_workers_table(findings.workers))
    if findings.holder is None and findings.count(ChunkState.FINISHED) < len(findings.chunks):
        console.print("To go on, run the same `enrich-dist run` again: what is finished is kept.", highlight=False)


def print_chunk(console: Console, chunk: ChunkFinding) -> None:
    """The whole story of a chunk: its state, its checkpoint, every failed attempt with its traceback and advice."""
    console.print(f"Chunk {chunk.chunk_id}: {chunk.state}, {chunk.rows:,} rows", highlight=False)
    console.print(f"Checkpoint {chunk.checkpoint_key}", soft_wrap=True, highlight=False)
    if chunk.record is not None:
        record = chunk.record
        limit = f" of {record.memory_limit_bytes / _MB:,.0f}" if record.memory_limit_bytes else ""
        console.print(
            f"Computed by worker {escape(record.worker)} on {escape(record.host)} in {record.seconds:.1f} s, attempt "
            f"{record.attempt}, peak {record.peak_memory_bytes / _MB:,.0f}{limit} MB (projected "
            f"{record.projected_peak_memory_bytes / _MB:,.0f})"
            + (f", in {record.parts} parts" if record.parts > 1 else ""),
            highlight=False,
        )
        if record.degradations:
            console.print(
                f"Its worker came near its memory limit and matched {record.batch_rows_least:,} rows at a time instead "
                f"of {record.batch_rows:,}.",
                highlight=False,
            )
        for row in record.quarantined:
            console.print(f"Set aside: row {row['source_row']}: {escape(row['reason'])}", highlight=False)
    if chunk.problem is not None:
        console.print(f"Not valid: {escape(chunk.problem)}", highlight=False)
    if chunk.marker is not None and chunk.record is None:
        console.print(
            f"Attempt {chunk.marker.attempt} on worker {escape(chunk.marker.worker)} (process {chunk.marker.pid} on "
            f"{escape(chunk.marker.host)}) began at {_time(chunk.marker.started_seconds)}",
            highlight=False,
        )
    for failure in chunk.failures:
        _print_failure(console, failure)
    if chunk.record is None and not chunk.failures and chunk.problem is None and chunk.marker is None:
        console.print("Nobody has begun with it yet.", highlight=False)


def _print_failure(console: Console, failure: FailedAttempt) -> None:
    cost = "counted" if failure.counted else "not counted"
    console.print(
        f"\nAttempt {failure.attempt} failed at {_time(failure.failed_seconds)} ({failure.kind}, {cost}): "
        f"{escape(failure.message)}",
        highlight=False,
    )
    if failure.memory_bytes is not None:
        console.print(f"The worker held {failure.memory_bytes / _MB:,.0f} MB when last seen.", highlight=False)
    if failure.traceback:
        console.print(escape(failure.traceback.rstrip()), style="dim", soft_wrap=True, highlight=False)
    console.print(escape(failure.next_step), highlight=False)
    console.print(f"What helps: {ADVICE[failure.kind]}", highlight=False)


def checkpoints_table(findings: Findings) -> Table:
    """Every chunk with its checkpoint."""
    table = Table("chunk", "state", box=None, pad_edge=False)
    for column in ("rows", "candidates", "seconds", "peak MB", "attempt", "set aside"):
        table.add_column(column, justify="right")
    table.add_column("worker")
    for chunk in findings.chunks:
        record = chunk.record
        facts = (
            ("",) * 6
            if record is None
            else (
                f"{record.candidates:,}",
                f"{record.seconds:.1f}",
                f"{record.peak_memory_bytes / _MB:,.0f}",
                str(record.attempt),
                str(record.rows_quarantined or ""),
                escape(record.worker),
            )
        )
        table.add_row(str(chunk.chunk_id), chunk.state, f"{chunk.rows:,}", *facts)
    return table


def _troubled_table(chunks: list[ChunkFinding]) -> Table:
    table = Table("chunk", "state", box=None, pad_edge=False)
    table.add_column("attempts", justify="right")
    table.add_column("why", overflow="fold")
    table.add_column("what helps", overflow="fold")
    for chunk in chunks:
        last = chunk.failures[-1] if chunk.failures else None
        why = chunk.problem or (f"{last.kind}: {last.message}" if last else "")
        helps = "Run again: it is computed anew." if chunk.problem or last is None else ADVICE[last.kind]
        table.add_row(str(chunk.chunk_id), chunk.state, str(len(chunk.failures)), escape(why), helps)
    return table


def _workers_table(workers: list[WorkerHistory]) -> Table:
    table = Table("worker", box=None, pad_edge=False)
    for column in ("last MB", "most MB seen", "limit MB", "restarts"):
        table.add_column(column, justify="right")
    table.add_column("")
    for worker in workers[:_MAX_WORKERS]:
        table.add_row(
            escape(worker.worker),
            f"{worker.samples[-1][1] / _MB:,.0f}",
            f"{worker.peak_memory_bytes / _MB:,.0f}",
            f"{worker.memory_limit_bytes / _MB:,.0f}" if worker.memory_limit_bytes else "none",
            str(worker.restarts or ""),
            "paused" if worker.paused else "",
        )
    if len(workers) > _MAX_WORKERS:
        table.add_row(f"… and {len(workers) - _MAX_WORKERS:,} more")
    return table


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds")
