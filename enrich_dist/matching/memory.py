"""What matching takes of a worker's memory: figures fitted to measured peaks (``scripts/measure_memory.py``).

Covers names and places as real ones are; a chunk of far longer names takes more. Does not cover what Dask, the chunk
or its checkpoint take (``budget``).
"""

from __future__ import annotations

from enrich_dist.budget import MatchMemory
from enrich_dist.matching.config import CandidateConfig

PROCESS_BYTES = 303_000_000
INDEX_FACTOR = 2.0
BATCH_ROW_BYTES = 1_000.0
OUTPUT_ROW_BYTES = 20.0


def match_memory(index_bytes: int, config: CandidateConfig) -> MatchMemory:
    """Memory of matching against an index whose files have ``index_bytes``."""
    del config
    return MatchMemory(
        process_bytes=PROCESS_BYTES,
        index_bytes=round(INDEX_FACTOR * index_bytes),
        batch_row_bytes=BATCH_ROW_BYTES,
        output_row_bytes=OUTPUT_ROW_BYTES,
    )
