"""What matching takes of a worker's memory: figures fitted to measured peaks (``scripts/measure_memory.py``).

They are of real processes on generated data, and lie above nearly all that was measured: docs/explanation/memory.md
has the table.
Neither ``min_name_overlap`` nor ``max_candidates_per_name`` makes a difference that can be measured. Names and places
far longer than real ones take more: of these a worker learns while it works (``budget.AdaptiveBatcher``).
"""

from __future__ import annotations

from typing import Final

from enrich_dist.core.matcher import MatchMemory

# Python, Dask, Arrow and the compiled kernels (some 305 MB), and what the allocators keep once something was matched.
PROCESS_BYTES: Final = 376_000_000
# The mapped files, and the hash tables over their texts.
INDEX_FACTOR: Final = 1.5
BATCH_ROW_BYTES: Final = 900.0
# Of ten rows of a chunk about one has a candidate.
OUTPUT_ROW_BYTES: Final = 20.0


def match_memory(index_bytes: int) -> MatchMemory:
    """Memory of matching against an index whose files have ``index_bytes``."""
    return MatchMemory(
        process_bytes=PROCESS_BYTES,
        index_bytes=round(INDEX_FACTOR * index_bytes),
        batch_row_bytes=BATCH_ROW_BYTES,
        output_row_bytes=OUTPUT_ROW_BYTES,
    )
