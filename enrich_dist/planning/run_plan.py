"""Plan a run: match a sample of the recipients and estimate candidates, memory, run time and disk.

The plan runs the first two steps (awards, companies and index); the run that follows reuses them. The rows of a sample
are scaled to the whole file: a sample from the beginning of a file that is sorted by name or state is less reliable.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import psutil
import pyarrow as pa

from enrich_dist.cluster.forkserver import memory_as_forked
from enrich_dist.errors import SettingsError, SourceError
from enrich_dist.farm.budget import Projection, fitted, project
from enrich_dist.matching.blocking import Pairs, Prepared, candidate_pairs, prepare
from enrich_dist.matching.blocks import Block, BlockCounts
from enrich_dist.matching.compare import compare
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.index import CompanyIndex, open_index
from enrich_dist.matching.matcher import OrganisationMatcher
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.planning.earlier_runs import comparable_runs, corrections
from enrich_dist.planning.estimate import Cluster, Rates, Workload, chunk_seconds, stage_times, total
from enrich_dist.planning.prediction import Basis, Prediction, expected_peak, write_prediction
from enrich_dist.planning.recommend import Advice, Choice, recommend, worker_share_mb
from enrich_dist.planning.sample import open_sample
from enrich_dist.planning.trial import Trial, run_trial
from enrich_dist.runs.archive import archive_path, read_archive
from enrich_dist.runs.environment import this_machine, usable_cores
from enrich_dist.runs.records import workload_settings
from enrich_dist.settings import Settings
from enrich_dist.sources.chunks import file_bytes
from enrich_dist.sources.inputs import check_inputs
from enrich_dist.sources.protocol import Source
from enrich_dist.sources.recipients import RecipientBatch, read_recipients
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.run_directory import Number, Output, StepReport

SAMPLE_ROWS: Final = 100_000
_SHOWN_BLOCKS: Final = 10


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run. Fields from ``sampled_rows`` to ``pairs_left_out`` count the sample; ``scaled`` converts them
    to the whole file.

    ``sampled_rows`` were read, ``recipients`` of them are valid; ``pairs`` are candidate pairs; ``seconds``: matching
    them on one core. ``words`` and ``names``: the blocks with the most pairs. ``large_blocks`` exceed
    ``max_block_size``; lookups into them, and their pairs, are left out. ``projection``: peak memory of a worker, with
    the batches that a run would use. ``sample_places``: parts of the file that the sample comes from, 1 for its
    beginning.
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
    sample_places: int
    prediction: Prediction
    advice: Advice

    def scaled(self, count: int) -> int:
        """Scale a count of the sample to the whole file."""
        return round(count * self.source_rows / self.sampled_rows)

    @property
    def is_whole(self) -> bool:
        """Whether the sample is the whole file."""
        return self.sampled_rows >= self.source_rows

    @property
    def chunks(self) -> int:
        """Chunks of the whole file."""
        return self.prediction.chunks

    @property
    def seconds_per_chunk(self) -> float:
        """Seconds in which one core of this machine matches a whole chunk."""
        return self.seconds * min(self.chunk_size, self.source_rows) / self.sampled_rows


def make_plan(settings: Settings, sample_rows: int = SAMPLE_ROWS, *, workers: int | None = None) -> RunPlan:
    """Plan a run and store its prediction in the run directory.

    ``sample_rows``: recipients to match; ``workers``: number of workers to plan for (None: the setting); more than this
    machine has cores are taken to run on machines like it. Raises ``SettingsError`` and ``SourceError`` as a run does.
    """
    if sample_rows < 1:
        raise SettingsError("sample_rows must be 1 or more.", remedy="Give the number of recipients to match.")
    pipeline = Pipeline(settings, run_id="plan")
    scratch = pipeline.directory.scratch
    _, source = check_inputs(settings.inputs, scratch)
    awards = pipeline.ingest_awards()
    companies = pipeline.join_companies()
    index = open_index(companies.path(Output.INDEX))
    config = settings.matching.candidates()
    counts = _SampleCounts(index, config)
    with closing(source), open_sample(source, sample_rows, scratch) as sample:
        for batch in _read_sample(sample.source, settings, sample_rows, scratch):
            counts.add(batch)
        if not counts.recipients:
            raise SourceError(
                "has no valid recipient in the sample.", path=source.where, remedy="Check inputs.recipients."
            )
        trial = run_trial(
            sample.source,
            settings.inputs.recipient_columns,
            sample_rows=counts.rows,
            chunk_size=settings.chunk_size,
            index=open_unverified(companies.path(Output.INDEX)),
            matcher=pipeline.matcher(),
            scratch=scratch,
        )
        whole = counts.rows < sample_rows and sample.places == 1
        rows, exact = (counts.rows, True) if whole else source.row_count()
    rows = max(rows, counts.rows)
    large, lookups, pairs_left_out = counts.blocks.left_out(config.max_block_size)
    memory = _WorkerMemory(settings, counts.row_bytes, int(companies.numbers[Number.INDEX_BYTES]), rows)
    planned = {"recipients": source.where, "rows_exact": exact}
    basis = _basis(settings, counts, trial, awards, companies, rows, planned)
    projection = memory.projection(settings.chunk_size, settings.memory_threshold_mb)
    prediction = Prediction(
        basis,
        _cluster(settings, workers),
        settings.chunk_size,
        expected_peak_bytes=expected_peak(projection.peak_bytes, projection.process_bytes),
        projected_peak_bytes=projection.peak_bytes,
        process_bytes=projection.process_bytes,
    )
    write_prediction(pipeline.directory, prediction)
    return RunPlan(
        awards=awards.rows,
        companies=companies.rows,
        distinct_names=len(index.names.texts),
        distinct_words=int(index.vocabulary.in_companies.sum()),
        source_rows=rows,
        source_rows_exact=exact,
        chunk_size=settings.chunk_size,
        max_block_size=config.max_block_size,
        sampled_rows=counts.rows,
        recipients=counts.recipients,
        with_candidate=counts.with_candidate,
        pairs=counts.pairs,
        seconds=counts.seconds,
        words=tuple(counts.blocks.words(_SHOWN_BLOCKS)),
        names=tuple(counts.blocks.names(_SHOWN_BLOCKS)),
        large_blocks=large,
        lookups_left_out=lookups,
        pairs_left_out=pairs_left_out,
        projection=projection,
        memory_threshold_mb=settings.memory_threshold_mb,
        sample_places=sample.places,
        prediction=prediction,
        advice=_advice(settings, basis, memory, workers),
    )


@dataclass(frozen=True)
class _WorkerMemory:
    """Project the peak memory of a worker."""

    settings: Settings
    row_bytes: float
    index_bytes: int
    source_rows: int

    def projection(self, chunk_size: int, threshold_mb: int) -> Projection:
        """Return the peak with the largest batches that fit ``threshold_mb``, as a run chooses them."""
        settings, chunk_rows = self.settings, min(chunk_size, self.source_rows)
        matcher = OrganisationMatcher(settings.matching.candidates())
        memory = memory_as_forked(matcher.memory(self.index_bytes), local=settings.cluster.kind == "local")

        def with_batches(batch_rows: int) -> Projection:
            chunk_bytes = round(chunk_rows * self.row_bytes)
            return project(memory, chunk_rows=chunk_rows, chunk_bytes=chunk_bytes, batch_rows=batch_rows)

        return fitted(
            with_batches,
            batch_rows=min(chunk_rows, settings.matching.batch_rows),
            min_rows=settings.farm.min_part_rows,
            threshold_mb=threshold_mb,
        )


def _basis(
    settings: Settings,
    counts: _SampleCounts,
    trial: Trial,
    awards: StepReport,
    companies: StepReport,
    source_rows: int,
    inputs: dict[str, object],
) -> Basis:
    artifacts = (awards.path(Output.AWARDS), companies.path(Output.COMPANIES), companies.path(Output.INDEX))
    work = Workload(
        source_rows=source_rows,
        recipients=round(counts.recipients * source_rows / counts.rows),
        awards=awards.rows,
        companies=companies.rows,
        candidates_per_row=trial.candidates_per_row,
        chunk_row_bytes=trial.chunk_row_bytes,
        candidate_row_bytes=trial.candidate_row_bytes,
        counts_bytes=trial.counts_bytes,
        inputs_bytes=sum(int(e["bytes"]) for path in artifacts for e in open_unverified(path).files.values()),
    )
    measured = {str(step.step): step.seconds for step in (awards, companies) if not step.reused}
    rates = Rates(usable_cores(), trial.partition_row_seconds, trial.match_row_seconds, measured, trial.spread)
    stages = stage_times(work, rates, _cluster(settings, None), settings.chunk_size)
    earlier = comparable_runs(read_archive(archive_path(settings)).records, work, this_machine().digest)
    estimated = [stage for stage in stages if stage.stage not in measured]
    corrected = corrections(estimated, work, earlier, workload_settings(settings))
    return Basis(work, rates, corrected, inputs, made_seconds=round(time.time(), 3))


def _cluster(settings: Settings, workers: int | None) -> Cluster:
    fits_here = workers is None or workers <= usable_cores()
    return Cluster(workers or settings.cluster.n_workers, local=settings.cluster.kind == "local" and fits_here)


def _advice(settings: Settings, basis: Basis, memory: _WorkerMemory, workers: int | None) -> Advice:
    cores = usable_cores()
    cluster = _cluster(settings, workers)
    machine_bytes = psutil.virtual_memory().total if cluster.local else None
    if workers is None and cluster.local:
        counts = sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores})
    else:
        counts = [cluster.workers]

    def choice(chunk_size: int, count: int) -> Choice:
        chosen = Cluster(count, cluster.local)
        # Each worker gets an equal share of the machine's memory, as a run would choose its batches.
        share_mb = min(1_000_000, worker_share_mb(machine_bytes, count))
        prediction = Prediction(basis, chosen, chunk_size, 0, 0, 0)
        return Choice(
            chunk_size=chunk_size,
            workers=count,
            wall_seconds=total(prediction.stages()).seconds,
            chunk_seconds=chunk_seconds(basis.rates, chosen, min(chunk_size, basis.work.source_rows)),
            projection=memory.projection(chunk_size, int(max(1, share_mb))),
        )

    return recommend(
        choice,
        chunk_size=settings.chunk_size,
        workers=counts,
        current_workers=settings.cluster.n_workers,
        timeout_seconds=settings.timeout_seconds,
        machine_bytes=machine_bytes,
    )


class _SampleCounts:
    """Counts over the batches of the sample."""

    def __init__(self, index: CompanyIndex, config: CandidateConfig) -> None:
        self._index = index
        self._config = config
        self.blocks = BlockCounts(index, config)
        self.rows, self.recipients, self.with_candidate, self.pairs = 0, 0, 0, 0
        self.seconds = 0.0
        self.row_bytes = 0.0  # of a chunk file

    def add(self, batch: RecipientBatch) -> None:
        """Match a batch and add its counts."""
        if not self.recipients:
            self._match(batch.recipients.slice(0, 1))  # loads the kernels, which is not part of a chunk's time
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


def _read_sample(source: Source, settings: Settings, sample_rows: int, scratch: Path) -> Iterator[RecipientBatch]:
    """Yield the sample in even batches of at most ``matching.batch_rows``."""
    parts = -(-sample_rows // settings.matching.batch_rows)
    batch_rows = -(-sample_rows // parts)
    columns = settings.inputs.recipient_columns
    with closing(read_recipients(source, columns, batch_rows=batch_rows, scratch=scratch)) as batches:
        for _, batch in zip(range(parts), batches, strict=False):
            yield batch
