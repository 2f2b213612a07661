"""What a run would have to compare, told before it starts: from the companies and a sample of the recipients.

Covers candidate counts, the blocks that bring most pairs, what ``max_block_size`` leaves out, the time that matching
takes on this machine, and the memory that a worker will need. Awards, companies and index are made as a run makes
them, and kept for it. Does not predict the time of a whole run on a cluster; and the sample is the beginning of the
file, so that a file in the order of names or states tells less than its size suggests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from enrich_dist.chunks import file_bytes
from enrich_dist.cluster.forkserver import as_started
from enrich_dist.errors import SourceError
from enrich_dist.farm.budget import Projection, fitted, project
from enrich_dist.matching.blocking import Pairs, Prepared, candidate_pairs, prepare
from enrich_dist.matching.blocks import Block, BlockCounts
from enrich_dist.matching.compare import compare
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.index import CompanyIndex, open_index
from enrich_dist.matching.matcher import OrganisationMatcher
from enrich_dist.pipeline import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.sources.inputs import check_inputs
from enrich_dist.sources.raw import Source
from enrich_dist.sources.recipients import RecipientBatch, read_recipients

SAMPLE_ROWS = 100_000
_SHOWN_BLOCKS = 10


@dataclass(frozen=True)
class RunPlan:
    """What was found. The fields from ``sampled_rows`` on are of the sample; ``scaled`` makes them those of the file.

    ``sampled_rows`` were read, ``recipients`` of them are valid; ``pairs`` are to be compared; ``seconds``: matching
    all of them on one core. ``words`` and ``names``: the blocks that bring most pairs. ``large_blocks`` have more than
    ``max_block_size`` members; lookups into them, and the pairs these would bring, are left out. ``projection``: a
    worker's peak, in the batches that a run would be done in.
    """

    awards: int
    companies: int
    distinct_names: int
    distinct_words: int
    source_rows: int
    source_rows_exact: bool
    chunk_size: int
    max_block_size: int
    sampled_rows: int
    recipients: int
    with_candidate: int
    pairs: int
    seconds: float
    words: tuple[Block, ...]
    names: tuple[Block, ...]
    large_blocks: int
    lookups_left_out: int
    pairs_left_out: int
    projection: Projection
    memory_threshold_mb: int

    def scaled(self, count: int) -> int:
        """A count of the sample, for the whole file."""
        return round(count * self.source_rows / self.sampled_rows)

    @property
    def chunks(self) -> int:
        """Chunks of the whole file."""
        return -(-self.source_rows // self.chunk_size)

    @property
    def seconds_per_chunk(self) -> float:
        """Seconds that one core of this machine takes to match a whole chunk."""
        return self.seconds * min(self.chunk_size, self.source_rows) / self.sampled_rows


def make_plan(settings: Settings, sample_rows: int = SAMPLE_ROWS) -> RunPlan:
    """Read the awards, join companies, build the index, and match the first ``sample_rows`` recipients against it.

    Raises ``SettingsError`` and ``SourceError`` as a run does.
    """
    pipeline = Pipeline(settings, run_id="plan")
    scratch = pipeline.directory.scratch
    _, source = check_inputs(settings.inputs, scratch)
    awards = pipeline.ingest_awards()
    companies = pipeline.join_companies()
    index = open_index(Path(companies.paths["index"]))
    config = settings.matching.candidates()
    found = _Found(index, config)
    with closing(source):
        for batch in _sample(source, settings, sample_rows, scratch):
            found.add(batch)
        rows, exact = (found.rows, True) if found.rows < sample_rows else source.row_count()
    if not found.recipients:
        raise SourceError(
            "holds no valid recipient in the sample.", path=source.where, remedy="Check inputs.recipients."
        )
    large, lookups, pairs_left_out = found.blocks.left_out(config.max_block_size)
    return RunPlan(
        awards=awards.rows,
        companies=companies.rows,
        distinct_names=len(index.names.texts),
        distinct_words=int(index.vocabulary.borne.sum()),
        source_rows=max(rows, found.rows),
        source_rows_exact=exact,
        chunk_size=settings.chunk_size,
        max_block_size=config.max_block_size,
        sampled_rows=found.rows,
        recipients=found.recipients,
        with_candidate=found.with_candidate,
        pairs=found.pairs,
        seconds=found.seconds,
        words=tuple(found.blocks.words(_SHOWN_BLOCKS)),
        names=tuple(found.blocks.names(_SHOWN_BLOCKS)),
        large_blocks=large,
        lookups_left_out=lookups,
        pairs_left_out=pairs_left_out,
        projection=_projection(
            settings,
            chunk_rows=min(settings.chunk_size, max(rows, found.rows)),
            row_bytes=found.row_bytes,
            index_bytes=int(companies.numbers["index_bytes"]),
        ),
        memory_threshold_mb=settings.memory_threshold_mb,
    )


def _projection(settings: Settings, *, chunk_rows: int, row_bytes: float, index_bytes: int) -> Projection:
    """A worker's peak, in the batches that a run would be done in."""
    matcher = OrganisationMatcher(settings.matching.candidates())
    memory = as_started(matcher.memory(index_bytes), local=settings.cluster.kind == "local")

    def in_batches(batch_rows: int) -> Projection:
        chunk_bytes = round(chunk_rows * row_bytes)
        return project(memory, chunk_rows=chunk_rows, chunk_bytes=chunk_bytes, batch_rows=batch_rows)

    return fitted(
        in_batches,
        batch_rows=min(chunk_rows, settings.matching.batch_rows),
        least_rows=settings.farm.min_part_rows,
        threshold_mb=settings.memory_threshold_mb,
    )


class _Found:
    """What the batches of the sample add up to."""

    def __init__(self, index: CompanyIndex, config: CandidateConfig) -> None:
        self._index = index
        self._config = config
        self.blocks = BlockCounts(index, config)
        self.rows, self.recipients, self.with_candidate, self.pairs = 0, 0, 0, 0
        self.seconds = 0.0
        self.row_bytes = 0.0  # of a chunk's file

    def add(self, batch: RecipientBatch) -> None:
        """Match a batch and count."""
        if not self.recipients:
            self._match(batch.recipients.slice(0, 1))  # loads what is compiled, which is not the time of a chunk
            self.row_bytes = file_bytes(batch.recipients) / max(1, len(batch.recipients))
        start = time.perf_counter()
        prepared, pairs = self._match(batch.recipients)
        self.seconds += time.perf_counter() - start
        self.blocks.add(prepared)
        self.rows += batch.rows_read - batch.rows_merged
        self.recipients += len(batch.recipients)
        self.with_candidate += int(np.unique(pairs.rows).size)
        self.pairs += len(pairs.rows)

    def _match(self, recipients: pa.Table) -> tuple[Prepared, Pairs]:
        prepared = prepare(self._index, recipients)
        pairs = candidate_pairs(self._index, prepared, self._config)
        compare(self._index, prepared, pairs)
        return prepared, pairs


def _sample(source: Source, settings: Settings, sample_rows: int, scratch: Path) -> Iterator[RecipientBatch]:
    """The first rows of the source, in even batches of at most ``matching.batch_rows``."""
    parts = -(-sample_rows // settings.matching.batch_rows)
    batch_rows = -(-sample_rows // parts)
    columns = settings.inputs.recipient_columns
    with closing(read_recipients(source, columns, batch_rows=batch_rows, scratch=scratch)) as batches:
        for _, batch in zip(range(parts), batches, strict=False):
            yield batch
