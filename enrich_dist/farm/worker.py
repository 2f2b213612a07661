"""The task that runs on a Dask worker: open the index, match one chunk in batches, write its checkpoint.

A worker may join at any time, so the task itself opens and verifies the index, once per process. Near its memory limit
the worker uses smaller batches (``budget.AdaptiveBatcher``). Does not cover retries (``state``), nor what is matched.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from typing import Any, NamedTuple

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

# If more rows of a chunk raise errors, single rows are not the cause.
MAX_QUARANTINED_ROWS = 1_000
_REASON_CHARACTERS = 300

_open_indexes: dict[str, Any] = {}
_batch_costs: dict[str, BatchMemoryEstimator] = {}  # by index


def run_chunk(task: ChunkTask, matcher: Matcher) -> CheckpointRecord:
    """Match the chunk and write its checkpoint, unless there is a valid one; return its record.

    Raises ``IndexMismatchError`` if the index differs from the driver's, ``CorruptionError`` if the chunk file differs
    from the plan.
    """
    store = CheckpointStore(task.checkpoint_location)
    # Dask runs a task again if its result was lost with its worker.
    with suppress(FileNotFoundError, CorruptionError):
        return store.read_record(task.checkpoint_key)
    worker = _this_worker()
    ledger = AttemptLedger(task.ledger_directory)
    with ledger.attempt(task.checkpoint_key, task.attempt, worker.address), Meter() as meter:
        opens_index = task.index_digest not in _open_indexes
        index = _index(task, matcher)
        _require_planned(task)
        batcher = _batcher(task)
        batch_rows = batcher.rows
        results: list[tuple[pa.Table, pa.Table]] = []
        quarantined: list[dict[str, Any]] = []
        rows = 0
        with task.faults.around(task.checkpoint_key, task.attempt) if task.faults else nullcontext():
            for recipients in _batches(task, batcher, meter, opens_index=opens_index):
                rows += len(recipients)
                if task.isolate:
                    results += _match_isolating(matcher, index, recipients, quarantined)
                else:
                    results.append(_match(matcher, index, recipients))
                del recipients
        if rows != task.chunk_rows:
            raise CorruptionError(f"{task.chunk_path} has {rows} rows instead of {task.chunk_rows}.")
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
                "worker": worker.name,
                "address": worker.address,
                "memory_limit_bytes": worker.memory_limit_bytes,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "attempt": task.attempt,
                "parts": task.parts,
                "batch_rows": batch_rows,
                "batch_rows_least": batcher.rows,
                "degradations": batcher.degradations,
            },
        )
        del candidates, counts
        batcher.finish()
        return record


def _require_planned(task: ChunkTask) -> None:
    """Raise ``CorruptionError`` if the chunk's file is missing or differs from the plan."""
    try:
        problem = None if file_digest(task.chunk_path) == task.chunk_digest else "is not the file that was planned"
    except FileNotFoundError:
        problem = "is missing"
    if problem is not None:
        raise CorruptionError(f"{task.chunk_path} {problem}.", remedy=CHUNKS_REBUILT_BY_RUN)


def _batcher(task: ChunkTask) -> AdaptiveBatcher:
    # At least 1: a chunk may be empty.
    rows = max(1, -(-min(task.batch_rows, task.chunk_rows) // task.parts))
    worker = _this_worker()
    limits = (worker.memory_limit_bytes, task.memory_limit_bytes) if worker is not _DRIVER else ()
    return AdaptiveBatcher(
        rows=rows,
        min_rows=min(rows, task.min_batch_rows),
        limit_bytes=min((limit for limit in limits if limit), default=0),
        cost=_batch_costs.setdefault(task.index_digest, BatchMemoryEstimator(task.memory.batch_row_bytes)),
        resident=resident_bytes,
        release=release_unused_memory,
    )


def _batches(task: ChunkTask, batcher: AdaptiveBatcher, meter: Meter, *, opens_index: bool) -> Iterator[pa.Table]:
    """Yield the chunk in batches, as large as memory allows, and report the peak memory of each to the batcher.

    ``opens_index``: whether this process uses the index for the first time.
    """
    # The first batch also loads the index and, unless the process is warmed up, the modules that matching imports.
    further_bytes = task.memory.index_bytes + max(0, task.memory.process_bytes - resident_bytes()) if opens_index else 0
    with pq.ParquetFile(task.chunk_path) as file:
        for batch in file.iter_batches(batch_size=batcher.rows):
            table = pa.Table.from_batches([batch])
            start = 0
            while start < len(table):
                rows = batcher.next_rows(len(table) - start, further_bytes=further_bytes)
                meter.lap()
                yield table.slice(start, rows)
                batcher.matched(rows, meter.lap())
                start += rows
                further_bytes = 0


def _match(matcher: Matcher, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
    try:
        return matcher.match(index, recipients)
    except SystemExit as error:  # would end the worker and look like a crash
        raise RuntimeError(f"the matcher asked to exit ({error.code})") from error


def _match_isolating(
    matcher: Matcher, index: Any, recipients: pa.Table, quarantined: list[dict[str, Any]]
) -> list[tuple[pa.Table, pa.Table]]:
    """Match the rows; bisect batches that raise an error, and quarantine the single rows that raise it.

    A result does not depend on other rows, so those of the remaining rows are unchanged. Raises errors that no row
    causes (memory, files, errors of this project), and the error of the first row over the limit.
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
            problem = f"its digest is {found[:12]}, the driver's {task.index_digest[:12]}"
        except (CorruptionError, OSError) as error:
            found, problem = None, str(error)
        if found != task.index_digest:
            raise IndexMismatchError(
                f"The index at {task.index_path} cannot be used on {socket.gethostname()}: {problem}",
                remedy="Check that every worker sees the driver's paths.work_dir under the same path.",
                worker=_this_worker().address,
            )
        _batch_costs.clear()
        _open_indexes.clear()  # a worker that serves many runs keeps the latest index only
        _open_indexes[task.index_digest] = matcher.open_index(task.index_path)
    return _open_indexes[task.index_digest]


class _ThisWorker(NamedTuple):
    """The Dask worker that runs the task. ``memory_limit_bytes``: 0 if there is none."""

    name: str
    address: str
    memory_limit_bytes: int


_DRIVER = _ThisWorker("driver", "driver", 0)


def _this_worker() -> _ThisWorker:
    """Return the worker, ``_DRIVER`` outside one."""
    try:
        worker = get_worker()
    except ValueError:
        return _DRIVER
    return _ThisWorker(str(worker.name), str(worker.address), int(worker.memory_manager.memory_limit or 0))
