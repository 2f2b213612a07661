"""Memory model of matching in a worker, fitted to measured peaks on generated data (``scripts/measure_memory.py``).

The projection is above nearly all measured peaks (docs/explanation/memory.md). ``min_name_overlap`` and
``max_candidates_per_name`` have no measurable effect. Texts far longer than real ones need more memory, to which the
worker adapts (``farm.budget.AdaptiveBatcher``).
"""

from __future__ import annotations

from typing import Final

from enrich_dist.core.matcher import MatchMemory

# Python, Dask, Arrow and the compiled kernels (about 305 MB), and memory that the allocators retain after matching.
PROCESS_BYTES: Final = 376_000_000
# The mapped files and the hash tables of their texts.
INDEX_FACTOR: Final = 1.5
BATCH_ROW_BYTES: Final = 900.0
# About one in ten rows of a chunk has a candidate.
OUTPUT_ROW_BYTES: Final = 20.0


def match_memory(index_bytes: int) -> MatchMemory:
    """Return the memory of matching against an index whose files have ``index_bytes``."""
    return MatchMemory(
        process_bytes=PROCESS_BYTES,
        index_bytes=round(INDEX_FACTOR * index_bytes),
        batch_row_bytes=BATCH_ROW_BYTES,
        output_row_bytes=OUTPUT_ROW_BYTES,
    )
