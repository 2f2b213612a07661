"""Output of ``doctor`` and ``checkpoints``: the state of a run directory, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from rich.table import Table as RichTable

from enrich_dist.core.console import PlainConsole
from enrich_dist.core.tables import Table, make_table, megabytes
from enrich_dist.farm.attempts import FailedAttempt
from enrich_dist.farm.diagnosis import REMEDIES, ChunkFinding, ChunkState, Findings
from enrich_dist.farm.logs import WorkerHistory
from enrich_dist.remedies import RESUME
from enrich_dist.reporting.terminal import rich_table, shown_path
from enrich_dist.store.checkpoints import CheckpointRecord

_MAX_CHUNKS = 20
_MAX_WORKERS = 40


def print_findings(console: PlainConsole, findings: Findings) -> None:
    """Print the active run, chunks by state, failed chunks with advice, workers, and the next step."""
    _print(console, f"Run directory {shown_path(findings.root)}")
    if holder := findings.holder:
        process = f"process {holder['pid']} on {holder['host']}, since {holder['since']}"
        _print(console, f"In use by {holder['what']} ({process})")
    else:
        _print(console, "No run is active.")
    if not findings.chunks:
        _print(console, "No chunks are planned. To start a run: enrich-dist run")
        return
    counts = [f"{count:,} {state}" for state in ChunkState if (count := findings.count(state))]
    _print(console, f"{len(findings.chunks):,} chunks: {', '.join(counts)}")
    failed = [chunk for chunk in findings.chunks if chunk.state in (ChunkState.FAILED, ChunkState.DAMAGED)]
    if failed:
        console.print(rich_table(_failed_table(failed[:_MAX_CHUNKS])))
        if len(failed) > _MAX_CHUNKS:
            _print(console, f"… and {len(failed) - _MAX_CHUNKS:,} more")
        _print(console, f"All details of a chunk: enrich-dist doctor {failed[0].chunk_id}")
    if findings.workers:
        console.print(rich_table(_workers_table(findings.workers)))
    if findings.holder is None and findings.count(ChunkState.FINISHED) < len(findings.chunks):
        _print(console, RESUME)


def print_chunk(console: PlainConsole, chunk: ChunkFinding) -> None:
    """Print the state of a chunk, its checkpoint, and every failed attempt with traceback and advice."""
    _print(console, f"Chunk {chunk.chunk_id}: {chunk.state}, {chunk.rows:,} rows", f"Checkpoint {chunk.checkpoint_key}")
    if chunk.record is not None:
        _print(console, *_record_lines(chunk.record))
    if chunk.problem is not None:
        _print(console, f"Not valid: {chunk.problem}")
    if (marker := chunk.marker) is not None and chunk.record is None:
        where = f"worker {marker.worker} (process {marker.pid} on {marker.host})"
        _print(console, f"Attempt {marker.attempt} started at {_time(marker.started_seconds)} on {where}")
    for failure in chunk.failures:
        _print(console, *_failure_lines(failure))
    if chunk.record is None and not chunk.failures and chunk.problem is None and chunk.marker is None:
        _print(console, "Not started.")


def _print(console: PlainConsole, *lines: str) -> None:
    console.print(*lines, sep="\n", soft_wrap=True)


def _record_lines(record: CheckpointRecord) -> Iterator[str]:
    limit = f" of {megabytes(record.memory_limit_bytes)}" if record.memory_limit_bytes else ""
    parts = f", in {record.parts} parts" if record.parts > 1 else ""
    yield (
        f"Computed by worker {record.worker} on {record.host} in {record.seconds:.1f} s, attempt {record.attempt}, "
        f"peak {megabytes(record.peak_memory_bytes)}{limit} MB (projected "
        f"{megabytes(record.projected_peak_memory_bytes)}){parts}"
    )
    if record.degradations:
        yield (
            f"The worker came near its memory limit and reduced the batch size from {record.batch_rows:,} to "
            f"{record.batch_rows_least:,} rows."
        )
    for row in record.quarantined:
        yield f"Quarantined row {row['source_row']}: {row['reason']}"


def _failure_lines(failure: FailedAttempt) -> Iterator[str]:
    what = f"{failure.kind}, {'counted' if failure.counted else 'not counted'}"
    yield ""
    yield f"Attempt {failure.attempt} failed at {_time(failure.failed_seconds)} ({what}): {failure.message}"
    if failure.memory_bytes is not None:
        yield f"Last sampled memory of the worker: {megabytes(failure.memory_bytes)} MB"
    if failure.traceback:
        yield from failure.traceback.rstrip().splitlines()
    yield failure.next_step
    yield f"Remedy: {REMEDIES[failure.kind]}"


def checkpoints_table(findings: Findings) -> RichTable:
    """Return every chunk with its checkpoint."""
    rows = [(str(chunk.chunk_id), chunk.state, chunk.rows, *_record_cells(chunk.record)) for chunk in findings.chunks]
    head = ("chunk", "state", "rows", "candidates", "seconds", "peak MB", "attempt", "quarantined", "worker")
    return rich_table(make_table(head, rows))


def _record_cells(record: CheckpointRecord | None) -> tuple[object, ...]:
    if record is None:
        return ("",) * 6
    peak, quarantined = megabytes(record.peak_memory_bytes), str(record.rows_quarantined or "")
    return record.candidates, f"{record.seconds:.1f}", peak, str(record.attempt), quarantined, record.worker


def _failed_table(chunks: list[ChunkFinding]) -> Table:
    rows = []
    for chunk in chunks:
        last = chunk.failures[-1] if chunk.failures else None
        reason = chunk.problem or (f"{last.kind}: {last.message}" if last else "")
        remedy = "Run again: it is recomputed." if chunk.problem or last is None else REMEDIES[last.kind]
        rows.append((str(chunk.chunk_id), chunk.state, len(chunk.failures), reason, remedy))
    return make_table(("chunk", "state", "failures", "reason", "remedy"), rows)


def _workers_table(workers: list[WorkerHistory]) -> Table:
    rows = [
        (
            worker.worker,
            megabytes(worker.samples[-1][1]),
            megabytes(worker.peak_memory_bytes),
            megabytes(worker.memory_limit_bytes) if worker.memory_limit_bytes else "none",
            str(worker.restarts or ""),
            "paused" if worker.paused else "",
        )
        for worker in workers[:_MAX_WORKERS]
    ]
    if len(workers) > _MAX_WORKERS:
        rows.append((f"… and {len(workers) - _MAX_WORKERS:,} more", "", "", "", "", ""))
    return make_table(("worker", "last MB", "peak MB", "limit MB", "restarts", "state"), rows)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds")
