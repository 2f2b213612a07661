"""Measure what rows cost on this machine: cut, match and checkpoint a few chunks of the sample as a run does.

The trial runs in this process, one chunk after the other, so that seconds are those of one core alone, in a scratch
directory that it removes. Memory is not measured: this process holds more than a worker.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow.parquet as pq

from enrich_dist.core.files import file_digest, text_digest
from enrich_dist.core.matcher import Matcher
from enrich_dist.core.owned_files import remove_created, temporary_name
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.worker import run_chunk
from enrich_dist.sources.chunks import write_chunks
from enrich_dist.sources.protocol import Source
from enrich_dist.sources.recipients import read_recipients
from enrich_dist.store.artifacts import Artifact
from enrich_dist.store.checkpoints import CheckpointRecord

_ROWS: Final = 25_000
_CHUNKS: Final = 4


@dataclass(frozen=True)
class Trial:
    """Means over the trial's chunks: seconds and bytes per source row, and bytes of the counts per chunk. ``spread``:
    standard deviation of the matching seconds per row between chunks, relative to their median."""

    partition_row_seconds: float
    match_row_seconds: float
    spread: float
    candidates_per_row: float
    chunk_row_bytes: float
    candidate_row_bytes: float
    counts_bytes: float


def run_trial(
    sample: Source,
    column_map: Mapping[str, str | None],
    *,
    sample_rows: int,
    chunk_size: int,
    index: Artifact,
    matcher: Matcher,
    scratch: Path,
) -> Trial:
    """Cut and match chunks of at most ``chunk_size`` rows from the first ``sample_rows`` rows of ``sample``."""
    directory = scratch / temporary_name()
    chunks = directory / "chunks"
    chunks.mkdir(parents=True)
    rows = max(1, min(chunk_size, _ROWS, -(-sample_rows // _CHUNKS)))
    try:
        with closing(read_recipients(sample, column_map, batch_rows=rows, scratch=directory)) as batches:
            first = next(batches)  # opens the source, which a run does once
            started = time.perf_counter()
            facts = write_chunks(itertools.chain([first], itertools.islice(batches, _CHUNKS - 1)), chunks)
            partition_seconds = time.perf_counter() - started
        files = sorted(chunks.glob("[0-9]*.parquet"))
        _match(files[0], index, matcher, directory)  # loads the kernels, which a worker does once
        records = [_match(path, index, matcher, directory) for path in files]
        chunk_bytes = sum(path.stat().st_size for path in files)
    finally:
        remove_created(directory)
    source_rows = int(facts["source_rows"])
    row_seconds = [record.seconds / max(1, record.rows_in) for record in records]
    return Trial(
        partition_row_seconds=partition_seconds / source_rows,
        match_row_seconds=sum(record.seconds for record in records) / source_rows,
        spread=statistics.stdev(row_seconds) / statistics.median(row_seconds) if len(records) > 1 else 0.0,
        candidates_per_row=sum(record.candidates for record in records) / source_rows,
        chunk_row_bytes=chunk_bytes / source_rows,
        candidate_row_bytes=sum(record.bytes for record in records) / source_rows,
        counts_bytes=statistics.fmean(record.counts_bytes for record in records),
    )


def _match(path: Path, index: Artifact, matcher: Matcher, directory: Path) -> CheckpointRecord:
    task = ChunkTask(
        chunk_id=int(path.stem),
        chunk_path=path,
        chunk_rows=int(pq.read_metadata(path).num_rows),
        chunk_digest=file_digest(path),
        index_path=index.path,
        index_digest=index.content_digest,
        checkpoint_location=str(directory / "checkpoints"),
        checkpoint_key=text_digest("plan", str(path), str(time.monotonic_ns())),
        ledger_directory=directory / "attempts",
    )
    return run_chunk(task, matcher)
