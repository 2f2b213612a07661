"""Measure what rows cost on this machine: cut, match and checkpoint a few chunks of the sample as a run does.

The trial runs in this process, one chunk after the other, so that seconds are those of one core alone, in a scratch
directory that it removes. Memory is not measured: this process holds more than a worker.
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

import pyarrow.parquet as pq

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
_MIN: Final = 1e-9  # seconds or bytes: no row and no chunk is free


@dataclass(frozen=True)
class Trial:
    """Seconds and bytes of the trial's chunks. Per-row figures are means over source rows.

    ``spread``: standard deviation of the seconds per row between chunks, relative to their median.
    """

    partition_row_seconds: float
    match_row_seconds: float
    chunk_seconds: float
    spread: float
    candidates_per_row: float
    chunk_row_bytes: float
    chunk_file_bytes: float
    candidate_row_bytes: float
    candidates_file_bytes: float
    counts_bytes: float
    counts_rows: int
    counts_power: float


@dataclass(frozen=True)
class _Size:
    """Means over the chunks of one size, and what cutting them took in all."""

    source_rows: int
    partition_seconds: float
    rows: float
    seconds: float
    file_bytes: float
    records: Sequence[CheckpointRecord]

    def mean(self, field: str) -> float:
        return statistics.fmean(getattr(record, field) for record in self.records)


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
    """Cut and match small and large chunks of the first ``sample_rows`` rows of ``sample``.

    Chunks have at most ``chunk_size`` rows. The line through both sizes separates cost per row and per chunk.
    """
    directory = scratch / "plan-trial"
    shutil.rmtree(directory, ignore_errors=True)
    rows = max(1, min(chunk_size, _LARGE_ROWS, -(-sample_rows // _LARGE_CHUNKS)))

    def measure(name: str, chunk_rows: int, count: int) -> _Size:
        chunks = directory / name
        chunks.mkdir(parents=True)
        started = time.perf_counter()
        facts = write_chunks(_batches(sample, column_map, chunk_rows, count, directory), chunks)
        seconds = time.perf_counter() - started
        _match(chunks, index, matcher, directory, limit=1)  # the first chunk loads and warms up
        records = _match(chunks, index, matcher, directory)
        return _Size(
            source_rows=int(facts["source_rows"]),
            partition_seconds=seconds,
            rows=statistics.fmean(record.rows_in for record in records),
            seconds=statistics.fmean(record.seconds for record in records),
            file_bytes=statistics.fmean(path.stat().st_size for path in _files(chunks)),
            records=records,
        )

    try:
        small = measure("small", max(1, min(_SMALL_ROWS, rows // 2)), _SMALL_CHUNKS)
        large = measure("large", rows, _LARGE_CHUNKS)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    valid = large.rows * len(large.records) / large.source_rows
    row_seconds, fixed_seconds = _line(small.rows, small.seconds, large.rows, large.seconds)
    partition_row_seconds, _ = _line(
        small.source_rows, small.partition_seconds, large.source_rows, large.partition_seconds
    )
    chunk_row_bytes, chunk_file_bytes = _line(small.rows, small.file_bytes, large.rows, large.file_bytes)
    candidate_row_bytes, candidates_file_bytes = _line(small.rows, small.mean("bytes"), large.rows, large.mean("bytes"))
    return Trial(
        partition_row_seconds=partition_row_seconds,
        match_row_seconds=row_seconds * valid,
        chunk_seconds=fixed_seconds,
        spread=_spread([record.seconds / max(1, record.rows_in) for record in large.records]),
        candidates_per_row=sum(record.candidates for record in large.records) / large.source_rows,
        chunk_row_bytes=chunk_row_bytes * valid,
        chunk_file_bytes=chunk_file_bytes,
        candidate_row_bytes=candidate_row_bytes * valid,
        candidates_file_bytes=candidates_file_bytes,
        counts_bytes=large.mean("counts_bytes"),
        counts_rows=max(1, round(large.rows)),
        counts_power=_power(small.rows, small.mean("counts_bytes"), large.rows, large.mean("counts_bytes")),
    )


def _files(chunks: Path) -> list[Path]:
    return sorted(chunks.glob("[0-9]*.parquet"))


def _batches(
    sample: Source, column_map: Mapping[str, str | None], rows: int, count: int, scratch: Path
) -> Iterator[RecipientBatch]:
    with closing(read_recipients(sample, column_map, batch_rows=rows, scratch=scratch)) as batches:
        yield from itertools.islice(batches, count)


def _match(
    chunks: Path, index: Artifact, matcher: Matcher, directory: Path, limit: int | None = None
) -> list[CheckpointRecord]:
    """Match the chunk files as a worker does."""
    records = []
    for number, path in enumerate(_files(chunks)[:limit]):
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


def _line(small_rows: float, small: float, rows: float, large: float) -> tuple[float, float]:
    """Return slope and intercept of the line through both points (seconds or bytes); neither is negative."""
    if rows <= small_rows:  # the sample is a handful of rows: all of it counts as fixed cost
        return _MIN, max(_MIN, small)
    slope = max(_MIN, (large - small) / (rows - small_rows))
    intercept = small - slope * small_rows
    return (slope, intercept) if intercept > 0 else (max(_MIN, large / rows), _MIN)


def _power(small_rows: float, small: float, rows: float, large: float) -> float:
    """Return the exponent by which counts grow with the rows of a chunk: words repeat, so it is below 1."""
    if rows <= small_rows or min(small_rows, small, large) <= 0:
        return 0.0
    return min(1.0, max(0.0, math.log(large / small) / math.log(rows / small_rows)))


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) / statistics.median(values) if len(values) > 1 else 0.0
