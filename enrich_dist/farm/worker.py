"""What runs on a Dask worker: open the index once, match one chunk, meter it, checkpoint it.

Receives the matching function and knows nothing of names or identifiers. A worker may join at any time: the task
itself opens and verifies the index if this process has not yet. A task says how carefully to go about its chunk: how
many rows to match at a time, and whether rows that raise errors are to be found and set aside; near its memory limit
the worker takes fewer rows by itself (``budget.AdaptiveBatcher``). Does not cover failures of a task (``driver``).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from distributed import get_worker

from enrich_dist.core.files import file_digest
from enrich_dist.core.matcher import Matcher
from enrich_dist.core.resource_usage import Meter, release_unused_memory, resident_bytes
from enrich_dist.errors import CorruptionError, EnrichError, IndexMismatchError
from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.farm.budget import AdaptiveBatcher, BatchMemoryEstimator
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.remedies import CHUNKS_REBUILT_BY_RUN
from enrich_dist.store.artifacts import open_verified
from enrich_dist.store.checkpoints import CheckpointRecord, CheckpointStore

# Rows of one chunk that may be set aside. More are no poison among good rows: the fault lies elsewhere.
MAX_QUARANTINED_ROWS = 1_000
_REASON_CHARACTERS = 300


_open_indexes: dict[str, Any] = {}
_batch_costs: dict[str, BatchMemoryEstimator] = {}  # by index


def run_chunk(task: ChunkTask, matcher: Matcher) -> CheckpointRecord:
    """Match the chunk and write its checkpoint; a valid one that is there already is taken as it is.

    Raises ``IndexMismatchError`` when the index here is not the driver's, ``CorruptionError`` when the chunk file is
    not what the manifest says.
    """
    store = CheckpointStore(task.checkpoint_location)
    # Dask may run a task again that is done: when its result was lost, or its worker left.
    with suppress(FileNotFoundError, CorruptionError):
        return store.read_record(task.checkpoint_key)
    if task.faults is not None:
        matcher = task.faults.wrap(matcher, task.checkpoint_key, task.attempt)
    worker = _worker_facts()
    ledger = AttemptLedger(task.ledger_directory)
    with ledger.attempt(task.checkpoint_key, task.attempt, _worker_address()), Meter() as meter:
        index_comes = task.index_digest not in _open_indexes
        index = _index(task, matcher)
        _require_planned(task)
        pace = _pace(task)
        batch_rows = pace.rows
        results: list[tuple[pa.Table, pa.Table]] = []
        quarantined: list[dict[str, Any]] = []
        rows = 0
        for recipients in _batches(task, pace, meter, index_comes=index_comes):
            rows += len(recipients)
            if task.isolate:
                results += _match_isolating(matcher, index, recipients, quarantined)
            else:
                results.append(_match(matcher, index, recipients))
            del recipients
        if rows != task.chunk_rows:
            raise CorruptionError(f"{task.chunk_path} holds {rows} rows, planned were {task.chunk_rows}.")
        candidates, counts = results[0] if len(results) == 1 else matcher.join(results)
        del results
        with_candidates = int(np.unique(candidates["source_row"].to_numpy()).size)
        record = store.write(
            task.checkpoint_key,
            candidates,
            counts,
            lambda: {
                "rows_in": rows,
                "rows_with_candidates": with_candidates,
                "rows_without_candidates": rows - with_candidates - len(quarantined),
                "rows_quarantined": len(quarantined),
                "quarantined": sorted(quarantined, key=lambda row: int(row["source_row"])),
                "seconds": meter.seconds,
                "peak_memory_bytes": meter.peak_memory_bytes,
                "projected_peak_memory_bytes": task.projected_peak_bytes,
                "memory_method": meter.memory_method,
                **worker,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "attempt": task.attempt,
                "parts": task.parts,
                "batch_rows": batch_rows,
                "batch_rows_least": pace.rows,
                "degradations": pace.degradations,
            },
        )
        del candidates, counts
        pace.finish()
        return record


async def run_aside(function: Callable[[], None]) -> None:
    """Run the function in a thread: a worker that imports for seconds must answer the scheduler meanwhile."""
    await asyncio.to_thread(function)


def _require_planned(task: ChunkTask) -> None:
    """Raise ``CorruptionError`` where the chunk's file is gone or another."""
    try:
        found = file_digest(task.chunk_path)
    except FileNotFoundError:
        found = "missing"
    if found != task.chunk_digest:
        what = "is missing" if found == "missing" else "is not the file that was planned"
        raise CorruptionError(f"{task.chunk_path} {what}.", remedy=CHUNKS_REBUILT_BY_RUN)


def _pace(task: ChunkTask) -> AdaptiveBatcher:
    """How this worker goes through the chunk."""
    rows = max(1, -(-min(task.batch_rows, task.chunk_rows) // task.parts))  # of a chunk all of whose rows were rejected
    return AdaptiveBatcher(
        rows=rows,
        min_rows=min(rows, task.min_batch_rows),
        limit_bytes=_usable_limit_bytes(task),
        cost=_batch_costs.setdefault(task.index_digest, BatchMemoryEstimator(task.memory.batch_row_bytes)),
        resident=resident_bytes,
        release=release_unused_memory,
    )


def _batches(task: ChunkTask, pace: AdaptiveBatcher, meter: Meter, *, index_comes: bool) -> Iterator[pa.Table]:
    """The rows of the chunk, in tables of as many rows as the pace allows; each is read when it is asked for.

    ``index_comes``: whether this process has not matched against the index before.
    """
    # With the first batch of a process come the index and, unless it was warmed up, what matching imports.
    further_bytes = task.memory.index_bytes + max(0, task.memory.process_bytes - resident_bytes()) if index_comes else 0
    with pq.ParquetFile(task.chunk_path) as file:
        for batch in file.iter_batches(batch_size=pace.rows):
            table = pa.Table.from_batches([batch])
            start = 0
            while start < len(table):
                rows = pace.next_rows(len(table) - start, further_bytes=further_bytes)
                meter.lap()
                yield table.slice(start, rows)
                pace.matched(rows, meter.lap())
                start += rows
                further_bytes = 0


def _match(matcher: Matcher, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
    try:
        return matcher.match(index, recipients)
    except SystemExit as error:  # would end the worker, and look as if somebody had ended it
        raise RuntimeError(f"the matcher asked to exit ({error.code})") from error


def _match_isolating(
    matcher: Matcher, index: Any, recipients: pa.Table, quarantined: list[dict[str, Any]]
) -> list[tuple[pa.Table, pa.Table]]:
    """Match the rows; halve what raises an error until the rows that do are alone, and set these aside.

    A result does not depend on a row's neighbours, so that the others get what they would have got. What says nothing
    about a row is raised: a lack of memory, a file that cannot be read, an error of our own, and the error of the row
    that is one too many.
    """
    try:
        return [_match(matcher, index, recipients)]
    except (MemoryError, OSError, EnrichError):
        raise
    except Exception as error:
        if len(recipients) > 1:
            half = len(recipients) // 2
            return [
                *_match_isolating(matcher, index, recipients.slice(0, half), quarantined),
                *_match_isolating(matcher, index, recipients.slice(half), quarantined),
            ]
        if not len(recipients) or len(quarantined) >= MAX_QUARANTINED_ROWS:
            raise
        reason = f"{type(error).__name__}: {error}"[:_REASON_CHARACTERS]
        quarantined.append({"source_row": recipients["source_row"][0].as_py(), "reason": reason})
        return []


def _index(task: ChunkTask, matcher: Matcher) -> Any:
    if task.index_digest not in _open_indexes:
        try:
            found = open_verified(task.index_path).content_digest
        except (CorruptionError, OSError) as error:
            raise IndexMismatchError(
                f"The index at {task.index_path} cannot be used on {socket.gethostname()}: {error}",
                remedy="Check that every worker sees paths.work_dir under the same path.",
                worker=_worker_address(),
            ) from error
        if found != task.index_digest:
            raise IndexMismatchError(
                f"The index at {task.index_path} on {socket.gethostname()} is another one ({found[:12]}) than the "
                f"driver's ({task.index_digest[:12]}).",
                remedy="Check that every worker sees the driver's paths.work_dir.",
                worker=_worker_address(),
            )
        _batch_costs.clear()
        _open_indexes.clear()  # a worker that serves many runs keeps the index of the latest
        _open_indexes[task.index_digest] = matcher.open_index(task.index_path)
    return _open_indexes[task.index_digest]


def _worker_address() -> str:
    try:
        return str(get_worker().address)
    except ValueError:  # not on a Dask worker
        return "driver"


def _worker_facts() -> dict[str, str | int]:
    try:
        worker = get_worker()
    except ValueError:  # not on a Dask worker
        return {"worker": "driver", "memory_limit_bytes": 0}
    return {"worker": str(worker.name), "memory_limit_bytes": int(worker.memory_manager.memory_limit or 0)}


def _usable_limit_bytes(task: ChunkTask) -> int:
    """The memory limit that this process works under; 0 outside a worker, where the process is not ours to judge."""
    try:
        own = int(get_worker().memory_manager.memory_limit or 0)
    except ValueError:
        return 0
    return min((limit for limit in (own, task.memory_limit_bytes) if limit), default=0)
