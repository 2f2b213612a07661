"""What a run would have to compare, and what it will take, told before it starts.

Told from the companies and a sample of the recipients. Covers candidate counts, the blocks that bring most pairs, what
``max_block_size`` leaves out, the memory that a worker will need, wall time and disk (``planning``), and which settings
would be best. Awards, companies and index are made as a run makes them, and kept for it. The sample is from all over a
Parquet file, and from the beginning of any other: one in the order of names or states then tells less than its size
suggests.
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

from enrich_dist.cluster.forkserver import as_started
from enrich_dist.errors import SettingsError, SourceError
from enrich_dist.farm.budget import MB, Projection, fitted, project
from enrich_dist.matching.blocking import Pairs, Prepared, candidate_pairs, prepare
from enrich_dist.matching.blocks import Block, BlockCounts
from enrich_dist.matching.compare import compare
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.index import CompanyIndex, open_index
from enrich_dist.matching.matcher import OrganisationMatcher
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.planning import refine
from enrich_dist.planning.constants import constants
from enrich_dist.planning.machine import MachineSpeed, measure_machine
from enrich_dist.planning.model import Cluster, Speed, Workload, chunk_seconds, stage_times, total
from enrich_dist.planning.predicted import Basis, Prediction, expected_peak, keep
from enrich_dist.planning.recommend import DRIVER_BYTES, MACHINE_SHARE, Advice, Choice, recommend
from enrich_dist.planning.sample import sampled
from enrich_dist.planning.trial import Trial, run_trial
from enrich_dist.runs.archive import archive_path, read_archive
from enrich_dist.runs.machine import this_machine, usable_cores
from enrich_dist.runs.records import SETTINGS_THAT_MATTER
from enrich_dist.settings import Settings, flatten
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
    """What was found. The fields from ``sampled_rows`` on are of the sample; ``scaled`` makes them those of the file.

    ``sampled_rows`` were read, ``recipients`` of them are valid; ``pairs`` are to be compared; ``seconds``: matching
    all of them on one core. ``words`` and ``names``: the blocks that bring most pairs. ``large_blocks`` have more than
    ``max_block_size`` members; lookups into them, and the pairs these would bring, are left out. ``projection``: a
    worker's peak, in the batches that a run would be done in. ``sample_places``: parts of the file that the sample
    comes from, 1 where it is the beginning.
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


def make_plan(
    settings: Settings,
    sample_rows: int = SAMPLE_ROWS,
    *,
    workers: int | None = None,
    machine: MachineSpeed | None = None,
) -> RunPlan:
    """Read the awards, join companies, build the index, and match ``sample_rows`` recipients against it; leave the
    prediction in the run directory.

    ``workers``: a wished-for number; more than this machine has cores are taken to be on others like it. ``machine``:
    how fast this one is; None: it is measured.

    Raises ``SettingsError`` and ``SourceError`` as a run does.
    """
    if sample_rows < 1:
        raise SettingsError("sample_rows must be 1 or more.", remedy="A plan is made from recipients that are matched.")
    pipeline = Pipeline(settings, run_id="plan")
    scratch = pipeline.directory.scratch
    _, source = check_inputs(settings.inputs, scratch)
    awards = pipeline.ingest_awards()
    companies = pipeline.join_companies()
    index = open_index(companies.path(Output.INDEX))
    config = settings.matching.candidates()
    found = _Found(index, config)
    with closing(source), sampled(source, sample_rows, scratch) as sample:
        for batch in _sample(sample.source, settings, sample_rows, scratch):
            found.add(batch)
        if not found.recipients:
            raise SourceError(
                "holds no valid recipient in the sample.", path=source.where, remedy="Check inputs.recipients."
            )
        trial = run_trial(
            sample.source,
            settings.inputs.recipient_columns,
            sample_rows=found.rows,
            chunk_size=settings.chunk_size,
            index=open_unverified(companies.path(Output.INDEX)),
            matcher=pipeline.matcher(),
            scratch=scratch,
        )
        whole = found.rows < sample_rows and not sample.spread
        rows, exact = (found.rows, True) if whole else source.row_count()
    rows = max(rows, found.rows)
    large, lookups, pairs_left_out = found.blocks.left_out(config.max_block_size)
    sizes = _Sizes(settings, found.row_bytes, int(companies.numbers[Number.INDEX_BYTES]), rows)
    speed = machine or measure_machine(scratch)
    basis = _basis(settings, found, trial, awards, companies, speed, (source.where, rows, exact))
    prediction = _prediction(basis, _cluster(settings, workers), settings.chunk_size, sizes)
    keep(pipeline.directory, prediction)
    return RunPlan(
        awards=awards.rows,
        companies=companies.rows,
        distinct_names=len(index.names.texts),
        distinct_words=int(index.vocabulary.borne.sum()),
        source_rows=rows,
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
        projection=sizes.projection(settings.chunk_size, settings.memory_threshold_mb),
        memory_threshold_mb=settings.memory_threshold_mb,
        sample_places=sample.places,
        prediction=prediction,
        advice=_advice(settings, basis, sizes, workers),
    )


@dataclass(frozen=True)
class _Sizes:
    """What the memory of a worker depends on."""

    settings: Settings
    row_bytes: float
    index_bytes: int
    source_rows: int

    def projection(self, chunk_size: int, threshold_mb: int) -> Projection:
        """A worker's peak, in the batches that a run would be done in within ``threshold_mb``."""
        settings, chunk_rows = self.settings, min(chunk_size, self.source_rows)
        matcher = OrganisationMatcher(settings.matching.candidates())
        memory = as_started(matcher.memory(self.index_bytes), local=settings.cluster.kind == "local")

        def in_batches(batch_rows: int) -> Projection:
            chunk_bytes = round(chunk_rows * self.row_bytes)
            return project(memory, chunk_rows=chunk_rows, chunk_bytes=chunk_bytes, batch_rows=batch_rows)

        return fitted(
            in_batches,
            batch_rows=min(chunk_rows, settings.matching.batch_rows),
            min_rows=settings.farm.min_part_rows,
            threshold_mb=threshold_mb,
        )


def _basis(
    settings: Settings,
    found: _Found,
    trial: Trial,
    awards: StepReport,
    companies: StepReport,
    machine: MachineSpeed,
    counted: tuple[str, int, bool],
) -> Basis:
    """What is to be done, and how fast it is done here; ``counted``: the source, its rows, whether that is exact."""
    where, rows, exact = counted
    made = [open_unverified(step.path(output)).files.values() for step, output in (
        (awards, Output.AWARDS), (companies, Output.COMPANIES), (companies, Output.INDEX))]  # fmt: skip
    work = Workload(
        source_rows=rows,
        recipients=round(found.recipients * rows / found.rows),
        awards=awards.rows,
        companies=companies.rows,
        candidates_per_row=trial.candidates_per_row,
        chunk_row_bytes=trial.chunk_row_bytes,
        chunk_file_bytes=trial.chunk_file_bytes,
        candidate_row_bytes=trial.candidate_row_bytes,
        candidates_file_bytes=trial.candidates_file_bytes,
        counts_bytes=trial.counts_bytes,
        counts_rows=trial.counts_rows,
        counts_power=trial.counts_power,
        inputs_bytes=sum(int(entry["bytes"]) for files in made for entry in files),
    )
    speed = Speed(
        yardstick_seconds=machine.yardstick_seconds,
        cores=machine.cores,
        contention=machine.contention,
        disk_bytes_per_second=machine.disk_bytes_per_second,
        partition_row_seconds=trial.partition_row_seconds,
        match_row_seconds=trial.match_row_seconds,
        chunk_seconds=trial.chunk_seconds,
        measured_seconds={step.step: step.seconds for step in (awards, companies) if not step.reused},
        scatter=float(np.hypot(machine.scatter, trial.row_scatter)),
    )
    cluster = Cluster(settings.cluster.n_workers, local=settings.cluster.kind == "local")
    modelled = [
        stage
        for stage in stage_times(work, speed, constants(), cluster, settings.chunk_size)
        if stage.stage not in speed.measured_seconds
    ]
    values = flatten(settings.model_dump(mode="json"))
    alike = refine.alike(read_archive(archive_path(settings)).records, work, this_machine().digest)
    factors = refine.factors(modelled, work, alike, {name: values[name] for name in SETTINGS_THAT_MATTER})
    return Basis(
        work=work,
        speed=speed,
        factors={stage: factor for stage, (factor, _) in factors.items()},
        refined_by={stage: count for stage, (_, count) in factors.items()},
        inputs={"recipients": where, "rows_exact": exact},
        made_seconds=round(time.time(), 3),
    )


def _cluster(settings: Settings, workers: int | None) -> Cluster:
    local = settings.cluster.kind == "local"
    if workers is None:
        return Cluster(settings.cluster.n_workers, local)
    return Cluster(workers, local and workers <= usable_cores())


def _prediction(basis: Basis, cluster: Cluster, chunk_size: int, sizes: _Sizes) -> Prediction:
    projection = sizes.projection(chunk_size, sizes.settings.memory_threshold_mb)
    return Prediction(
        basis,
        cluster,
        chunk_size,
        expected_peak_bytes=expected_peak(projection.peak_bytes, projection.process_bytes),
        projected_peak_bytes=projection.peak_bytes,
        process_bytes=projection.process_bytes,
    )


def _advice(settings: Settings, basis: Basis, sizes: _Sizes, workers: int | None) -> Advice:
    cores = usable_cores()
    cluster = _cluster(settings, workers)
    machine_bytes = psutil.virtual_memory().total if cluster.local else None
    if workers is None and cluster.local:
        counts = sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores})
    else:
        counts = [cluster.workers]

    def choice(chunk_size: int, count: int) -> Choice:
        those = Cluster(count, cluster.local)
        # As a run would be fitted into what the machine has for each worker.
        each_mb = 1_000_000 if machine_bytes is None else (MACHINE_SHARE * machine_bytes - DRIVER_BYTES) / count / MB
        prediction = Prediction(basis, those, chunk_size, 0, 0, 0)
        return Choice(
            chunk_size=chunk_size,
            workers=count,
            wall_seconds=total(prediction.stages()).seconds,
            chunk_seconds=chunk_seconds(basis.speed, those, min(chunk_size, basis.work.source_rows)),
            projection=sizes.projection(chunk_size, int(max(1, each_mb))),
        )

    return recommend(
        choice,
        chunk_size=settings.chunk_size,
        workers=counts,
        workers_now=settings.cluster.n_workers,
        timeout_seconds=settings.timeout_seconds,
        machine_bytes=machine_bytes,
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
    """The first rows of the sample, in even batches of at most ``matching.batch_rows``."""
    parts = -(-sample_rows // settings.matching.batch_rows)
    batch_rows = -(-sample_rows // parts)
    columns = settings.inputs.recipient_columns
    with closing(read_recipients(source, columns, batch_rows=batch_rows, scratch=scratch)) as batches:
        for _, batch in zip(range(parts), batches, strict=False):
            yield batch
