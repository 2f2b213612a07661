"""Refuse a ``memory_threshold_mb`` that is too small for any worker, before anything is read.

Covers the minimum for any chunk and index. ``fit_tasks_to_memory`` checks the chunks and the index of a run.
"""

from __future__ import annotations

from enrich_dist.cluster.forkserver import memory_as_forked
from enrich_dist.farm.budget import project, require_fit
from enrich_dist.matching.memory import match_memory
from enrich_dist.settings import Settings


def require_min_memory(settings: Settings) -> None:
    """Raise ``BudgetError``, with the arithmetic, where not even the smallest batch fits without an index."""
    rows = min(settings.chunk_size, settings.farm.min_part_rows)
    memory = memory_as_forked(match_memory(index_bytes=0), local=settings.cluster.kind == "local")
    least = project(memory, chunk_rows=rows, chunk_bytes=0, batch_rows=rows)
    require_fit(least, settings.memory_threshold_mb)
