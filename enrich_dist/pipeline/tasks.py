"""Create the tasks of the farm: the chunks of the latest plan, in batches that fit the memory of a worker.

Does not run them (``farm``) and does not know which are finished (``store.checkpoints``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from enrich_dist.cluster.forkserver import memory_as_forked
from enrich_dist.core.matcher import Matcher
from enrich_dist.events import Notice, emit
from enrich_dist.farm import budget
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.fault_injection import FaultInjection
from enrich_dist.matching.memory import match_memory
from enrich_dist.settings import Settings
from enrich_dist.sources import chunks
from enrich_dist.store.artifacts import open_unverified, open_verified
from enrich_dist.store.checkpoints import checkpoint_key
from enrich_dist.store.run_directory import Output, RunDirectory


def plan_tasks(
    directory: RunDirectory, settings: Settings, matcher: Matcher, checkpoint_location: str
) -> list[ChunkTask]:
    """Return a task for each chunk of the latest plan, in source order."""
    # Not verified here: workers verify each chunk that they read.
    plan = chunks.chunks_of(open_unverified(directory.output(Output.CHUNKS)))
    index = open_verified(directory.output(Output.INDEX))
    matcher_key = matcher.key()
    memory = memory_as_forked(
        matcher.memory(sum(entry["bytes"] for entry in index.files.values())), local=settings.cluster.kind == "local"
    )
    testing = settings.testing
    faults = FaultInjection(testing.fault_probability, testing.fault_seed) if testing.fault_probability else None
    tasks = [
        ChunkTask(
            chunk_id=chunk.chunk_id,
            chunk_path=chunk.path,
            chunk_rows=chunk.rows,
            chunk_digest=chunk.blake3,
            index_path=index.path,
            index_digest=index.content_digest,
            checkpoint_location=checkpoint_location,
            ledger_directory=directory.attempts,
            faults=faults,
            checkpoint_key=checkpoint_key(
                chunk_digest=chunk.blake3, index_digest=index.content_digest, matcher_key=matcher_key
            ),
            min_batch_rows=settings.farm.min_part_rows,
            chunk_bytes=chunk.bytes,
            memory=memory,
            memory_limit_bytes=settings.memory_threshold_mb * budget.MB,
        )
        for chunk in plan
    ]
    return _in_batches(tasks, settings.matching.batch_rows)


def require_min_memory(settings: Settings) -> None:
    """Raise ``BudgetError``, with the arithmetic, where not even the smallest batch fits without an index.

    Covers any chunk and index; ``fit_tasks_to_memory`` checks those of a run.
    """
    rows = min(settings.chunk_size, settings.farm.min_part_rows)
    memory = memory_as_forked(match_memory(index_bytes=0), local=settings.cluster.kind == "local")
    smallest = budget.project(memory, chunk_rows=rows, chunk_bytes=0, batch_rows=rows)
    budget.require_fit(smallest, settings.memory_threshold_mb)


def fit_tasks_to_memory(tasks: Sequence[ChunkTask], settings: Settings) -> list[ChunkTask]:
    """Return the tasks with the largest batches that fit ``memory_threshold_mb``, or raise ``BudgetError``."""

    def largest(batch_rows: int) -> budget.Projection:
        return max((_projection(task, batch_rows) for task in tasks), key=lambda item: item.peak_bytes)

    wanted = largest(settings.matching.batch_rows)
    threshold_mb = settings.memory_threshold_mb
    fitted = budget.fitted(
        largest, batch_rows=wanted.batch_rows, min_rows=settings.farm.min_part_rows, threshold_mb=threshold_mb
    )
    budget.require_fit(fitted, threshold_mb)
    if fitted.batch_rows < wanted.batch_rows:
        emit(
            Notice(
                f"Chunks are matched {fitted.batch_rows:,} rows at a time instead of {wanted.batch_rows:,}, to fit "
                f"memory_threshold_mb ({threshold_mb:,}): with the latter a worker would need "
                f"{wanted.arithmetic()}.",
                warning=True,
            )
        )
    return _in_batches(tasks, fitted.batch_rows)


def randomize_order(tasks: Sequence[ChunkTask]) -> list[ChunkTask]:
    """Order the tasks by checkpoint key.

    The keys are digests: the first finished chunks are a random sample of the recipients, and a resumed run continues
    in the same order.
    """
    return sorted(tasks, key=lambda task: task.checkpoint_key)


def _projection(task: ChunkTask, batch_rows: int) -> budget.Projection:
    return budget.project(task.memory, chunk_rows=task.chunk_rows, chunk_bytes=task.chunk_bytes, batch_rows=batch_rows)


def _in_batches(tasks: Sequence[ChunkTask], batch_rows: int) -> list[ChunkTask]:
    """Return the tasks with this batch size and their projected memory."""
    return [
        replace(task, batch_rows=batch_rows, projected_peak_bytes=_projection(task, batch_rows).peak_bytes)
        for task in tasks
    ]
