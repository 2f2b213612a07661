"""What rows cost here and now: a few chunks of the sample are cut, matched and checkpointed as a run does it.

In this process, one after the other, so that seconds are those of a core alone; in a scratch directory that is removed.
Covers seconds and bytes per row and per chunk. Memory is not measured: this process holds more than a worker.
"""

from __future__ import annotations

import itertools
import math
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from enrich_dist.core.files import file_digest, text_digest
from enrich_dist.core.matcher import Matcher
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.worker import run_chunk
from enrich_dist.sources.chunks import write_chunks
from enrich_dist.sources.protocol import Source
from enrich_dist.sources.recipients import RecipientBatch, read_recipients
from enrich_dist.store.artifacts import Artifact
from enrich_dist.store.checkpoints import CheckpointRecord

_LARGE_ROWS: Final = 25_000
_LARGE_CHUNKS: Final = 4
_SMALL_ROWS: Final = 500
_SMALL_CHUNKS: Final = 5
_NOTHING: Final = 1e-9  # seconds: no row and no chunk is for free


@dataclass(frozen=True)
class Trial:
    """What the chunks of the trial took. Per-row figures are means over source rows.

    ``row_scatter``: how far the seconds per row of its chunks lie from each other, relative to their median.
    """

    partition_row_seconds: float
    match_row_seconds: float
    chunk_seconds: float
    row_scatter: float
    candidates_per_row: float
    chunk_row_bytes: float
    chunk_file_bytes: float
    candidate_row_bytes: float
    candidates_file_bytes: float
    counts_bytes: float
    counts_rows: int
    counts_power: float


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
    """Cut and match some chunks of the first ``sample_rows`` of ``sample``, of at most ``chunk_size`` rows each."""
    directory = scratch / "plan-trial"
    shutil.rmtree(directory, ignore_errors=True)
    try:
        return _run(sample, column_map, sample_rows, chunk_size, index, matcher, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _run(
    sample: Source,
    column_map: Mapping[str, str | None],
    sample_rows: int,
    chunk_size: int,
    index: Artifact,
    matcher: Matcher,
    directory: Path,
) -> Trial:
    rows = max(1, min(chunk_size, _LARGE_ROWS, -(-sample_rows // _LARGE_CHUNKS)))
    large_files, small_files = directory / "large", directory / "small"
    for folder in (large_files, small_files):
        folder.mkdir(parents=True)
    started = time.perf_counter()
    cut = write_chunks(_batches(sample, column_map, rows, _LARGE_CHUNKS, directory), large_files)
    partition_seconds = time.perf_counter() - started
    small_rows = max(1, min(_SMALL_ROWS, rows // 2))
    write_chunks(_batches(sample, column_map, small_rows, _SMALL_CHUNKS, directory), small_files)
    small = _match(small_files, index, matcher, directory)[1:] or _match(small_files, index, matcher, directory)
    large = _match(large_files, index, matcher, directory)
    source_rows = int(cut["source_rows"])
    # Means, not medians: on a busy machine the slow ones are part of a farm, too.
    large_seconds = statistics.fmean(record.seconds / max(1, record.rows_in) for record in large)
    small_seconds = statistics.fmean(record.seconds for record in small)
    small_mean_rows = statistics.fmean(record.rows_in for record in small)
    large_mean_rows = statistics.fmean(record.rows_in for record in large)
    row_seconds, each_seconds = _line(small_mean_rows, small_seconds, large_mean_rows, large_seconds * large_mean_rows)
    valid = sum(record.rows_in for record in large) / source_rows
    chunk_row_bytes, chunk_file_bytes = _line(
        small_mean_rows, _mean_size(small_files), large_mean_rows, _mean_size(large_files)
    )
    candidate_row_bytes, candidates_file_bytes = _line(
        small_mean_rows,
        statistics.fmean(record.bytes for record in small),
        large_mean_rows,
        statistics.fmean(record.bytes for record in large),
    )
    counts = statistics.fmean(record.counts_bytes for record in large)
    small_counts = statistics.fmean(record.counts_bytes for record in small)
    return Trial(
        partition_row_seconds=partition_seconds / source_rows,
        match_row_seconds=row_seconds * valid,
        chunk_seconds=each_seconds,
        row_scatter=_scatter([record.seconds / max(1, record.rows_in) for record in large]),
        candidates_per_row=sum(record.candidates for record in large) / source_rows,
        chunk_row_bytes=chunk_row_bytes * valid,
        chunk_file_bytes=chunk_file_bytes,
        candidate_row_bytes=candidate_row_bytes * valid,
        candidates_file_bytes=candidates_file_bytes,
        counts_bytes=counts,
        counts_rows=max(1, round(large_mean_rows)),
        counts_power=_power(small_mean_rows, small_counts, large_mean_rows, counts),
    )


def _mean_size(chunks: Path) -> float:
    return statistics.fmean(path.stat().st_size for path in chunks.glob("[0-9]*.parquet"))


def _batches(
    sample: Source, column_map: Mapping[str, str | None], rows: int, count: int, scratch: Path
) -> Iterator[RecipientBatch]:
    with closing(read_recipients(sample, column_map, batch_rows=rows, scratch=scratch)) as batches:
        yield from itertools.islice(batches, count)


def _match(chunks: Path, index: Artifact, matcher: Matcher, directory: Path) -> list[CheckpointRecord]:
    """Match the chunk files as a worker does."""
    import pyarrow.parquet as pq

    records = []
    for number, path in enumerate(sorted(chunks.glob("[0-9]*.parquet"))):
        task = ChunkTask(
            chunk_id=number,
            chunk_path=path,
            chunk_rows=int(pq.read_metadata(path).num_rows),
            chunk_digest=file_digest(path),
            index_path=index.path,
            index_digest=index.content_digest,
            checkpoint_location=str(directory / "checkpoints"),
            checkpoint_key=text_digest("plan", str(path), str(time.monotonic_ns())),
            ledger_directory=directory / "attempts",
        )
        records.append(run_chunk(task, matcher))
    return records


def _line(small_rows: float, small_seconds: float, rows: float, seconds: float) -> tuple[float, float]:
    """(per row, per chunk) of the line through both, of seconds or bytes; neither is negative."""
    if rows <= small_rows:  # the sample is a handful of rows: all of it is taken for what a chunk costs
        return _NOTHING, max(_NOTHING, small_seconds)
    row = max(_NOTHING, (seconds - small_seconds) / (rows - small_rows))
    each = small_seconds - row * small_rows
    return (row, each) if each > 0 else (max(_NOTHING, seconds / rows), _NOTHING)


def _power(small_rows: float, small: float, rows: float, large: float) -> float:
    """How the bytes of counts grow with the rows of a chunk: words come again, so by less than the rows."""
    if rows <= small_rows or min(small_rows, small, large) <= 0:
        return 0.0
    return min(1.0, max(0.0, math.log(large / small) / math.log(rows / small_rows)))


def _scatter(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    return statistics.stdev(values) / statistics.median(values)
