"""Plan a run: match a sample of the recipients and estimate candidates, memory, run time and disk.

The plan runs the first two steps (awards, companies and index); the run that follows reuses them. Counts of the sample
are scaled to the whole file: the beginning of a file that is sorted by name or state is less reliable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
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
from enrich_dist.sources.column_statistics import ColumnTally, SourceColumns, read_columns
from enrich_dist.sources.inputs import check_inputs
from enrich_dist.sources.protocol import ReadOptions, Source
from enrich_dist.sources.recipients import RecipientBatch, read_recipients
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.run_directory import Number, Output, StepReport

SAMPLE_ROWS: Final = 100_000
_SHOWN_BLOCKS: Final = 10


@dataclass(frozen=True)
class SampleCounts:
    """Counts of the sample: ``rows`` were read, ``recipients`` of them are valid, ``pairs`` are candidate pairs.

    ``places``: parts of the file that it comes from, 1 for its beginning. ``seconds``: matching it on one core.
    ``row_bytes``: per recipient in a chunk file. ``words`` and ``names``: the blocks with the most pairs.
    ``large_blocks`` exceed ``max_block_size``; lookups into them, and their pairs, are left out.
    """

    rows: int
    places: int
    recipients: int
    with_candidate: int
    pairs: int
    seconds: float
    row_bytes: float
    words: tuple[Block, ...]
    names: tuple[Block, ...]
    large_blocks: int
    lookups_left_out: int
    pairs_left_out: int


@dataclass(frozen=True)
class RunPlan:
    """The plan of a run. ``projection``: peak memory of a worker, with the batches that a run would use.
    ``recipient_columns``: of the sample."""

    sample: SampleCounts
    source_rows_exact: bool
    distinct_names: int
    distinct_words: int
    max_block_size: int
    memory_threshold_mb: int
    projection: Projection
    prediction: Prediction
    advice: Advice
    award_columns: SourceColumns
    recipient_columns: SourceColumns

    @property
    def work(self) -> Workload:
        """Awards, companies and source rows of the run."""
        return self.prediction.basis.work

    @property
    def chunks(self) -> int:
        """Chunks of the whole file."""
        return self.prediction.chunks

    @property
    def is_whole(self) -> bool:
        """Whether the sample is the whole file."""
        return self.sample.rows >= self.work.source_rows

    def scaled(self, count: int) -> int:
        """Scale a count of the sample to the whole file."""
        return round(count * self.work.source_rows / self.sample.rows)


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
    with closing(source), open_sample(source, sample_rows, scratch) as sample:
        tally = ColumnTally()
        batches = _read_sample(sample.source, settings, sample_rows, scratch, tally)
        counts = _count_sample(batches, sample.places, index, config)
        if not counts.recipients:
            problem = "has no valid recipient in the sample."
            raise SourceError(problem, path=source.where, remedy="Check inputs.recipients.")
        trial = run_trial(
            sample.source,
            settings.inputs.recipient_columns,
            sample_rows=counts.rows,
            chunk_size=settings.chunk_size,
            index=open_unverified(companies.path(Output.INDEX)),
            matcher=pipeline.matcher(),
            scratch=scratch,
        )
        options = ReadOptions(settings.inputs.recipient_columns, settings.chunk_size, scratch)
        recipient_columns = tally.result(*source.columns(options))
        whole = counts.rows < sample_rows and sample.places == 1
        rows, exact = (counts.rows, True) if whole else source.row_count()
    rows = max(rows, counts.rows)
    memory = partial(_projection, settings, counts.row_bytes, int(companies.numbers[Number.INDEX_BYTES]), rows)
    planned = {"recipients": source.where, "rows_exact": exact}
    basis = _basis(settings, counts, trial, awards, companies, rows, planned)
    projection = memory(settings.chunk_size, settings.memory_threshold_mb)
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
        sample=counts,
        source_rows_exact=exact,
        distinct_names=len(index.names.texts),
        distinct_words=int(index.vocabulary.in_companies.sum()),
        max_block_size=config.max_block_size,
        memory_threshold_mb=settings.memory_threshold_mb,
        projection=projection,
        prediction=prediction,
        advice=_advice(settings, basis, memory, workers),
        award_columns=read_columns(awards.path(Output.AWARDS)),
        recipient_columns=recipient_columns,
    )


def _projection(
    settings: Settings, row_bytes: float, index_bytes: int, source_rows: int, chunk_size: int, threshold_mb: int
) -> Projection:
    """Return the peak memory of a worker with the largest batches that fit ``threshold_mb``, as a run chooses them."""
    chunk_rows = min(chunk_size, source_rows)
    matcher = OrganisationMatcher(settings.matching.candidates())
    memory = memory_as_forked(matcher.memory(index_bytes), local=settings.cluster.kind == "local")
    with_batches = partial(project, memory, chunk_rows=chunk_rows, chunk_bytes=round(chunk_rows * row_bytes))
    return fitted(
        lambda batch_rows: with_batches(batch_rows=batch_rows),
        batch_rows=min(chunk_rows, settings.matching.batch_rows),
        min_rows=settings.farm.min_part_rows,
        threshold_mb=threshold_mb,
    )


def _basis(
    settings: Settings,
    counts: SampleCounts,
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


def _advice(settings: Settings, basis: Basis, memory: Callable[[int, int], Projection], workers: int | None) -> Advice:
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
        share_mb = int(max(1, min(1_000_000, worker_share_mb(machine_bytes, count))))
        wall = total(Prediction(basis, chosen, chunk_size, 0, 0, 0).stages()).seconds
        each = chunk_seconds(basis.rates, chosen, min(chunk_size, basis.work.source_rows))
        return Choice(chunk_size, count, wall, each, memory(chunk_size, share_mb))

    return recommend(
        choice,
        chunk_size=settings.chunk_size,
        workers=counts,
        current_workers=settings.cluster.n_workers,
        timeout_seconds=settings.timeout_seconds,
        machine_bytes=machine_bytes,
    )


def _count_sample(
    batches: Iterable[RecipientBatch], places: int, index: CompanyIndex, config: CandidateConfig
) -> SampleCounts:
    """Match the batches and count."""
    blocks = BlockCounts(index, config)
    rows = recipients = with_candidate = pair_count = lookups_left_out = pairs_left_out = 0
    seconds = row_bytes = 0.0
    for batch in batches:
        if not recipients:
            _match(index, config, batch.recipients.slice(0, 1))  # loads the kernels, not part of a chunk's time
            row_bytes = file_bytes(batch.recipients) / max(1, len(batch.recipients))
        start = time.perf_counter()
        prepared, pairs = _match(index, config, batch.recipients)
        seconds += time.perf_counter() - start
        blocks.add(prepared)
        rows += batch.rows_read - batch.rows_merged
        recipients += len(batch.recipients)
        with_candidate += int(np.unique(pairs.rows).size)
        pair_count += len(pairs.rows)
        lookups_left_out += pairs.blocks_left_out
        pairs_left_out += pairs.pairs_left_out
    words, names = tuple(blocks.words(_SHOWN_BLOCKS)), tuple(blocks.names(_SHOWN_BLOCKS))
    # A name of too many companies that is similar to that of a recipient is no block of its own.
    large = max(blocks.count_large(config.max_block_size), min(lookups_left_out, 1))
    return SampleCounts(
        rows,
        places,
        recipients,
        with_candidate,
        pair_count,
        seconds,
        row_bytes,
        words,
        names,
        large,
        lookups_left_out,
        pairs_left_out,
    )


def _match(index: CompanyIndex, config: CandidateConfig, recipients: pa.Table) -> tuple[Prepared, Pairs]:
    prepared = prepare(index, recipients)
    pairs = candidate_pairs(index, prepared, config)
    compare(index, prepared, pairs)
    return prepared, pairs


def _read_sample(
    source: Source, settings: Settings, sample_rows: int, scratch: Path, tally: ColumnTally
) -> Iterator[RecipientBatch]:
    """Yield the sample in even batches of at most ``matching.batch_rows``."""
    parts = -(-sample_rows // settings.matching.batch_rows)
    batch_rows = -(-sample_rows // parts)
    columns = settings.inputs.recipient_columns
    with closing(read_recipients(source, columns, batch_rows=batch_rows, scratch=scratch, tally=tally)) as batches:
        yield from islice(batches, parts)
