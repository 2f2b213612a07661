"""The steps of a run as functions over files, one method per Dagster asset.

Every step finds its input through the record of the previous step, writes its output under a name that is the digest of
everything it depends on, and leaves a record. A valid output is reused. Does not cover the order of the steps nor their
checks (``dagster_defs``).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from enrich_dist.core.files import directory_name, document_digest, write_json
from enrich_dist.core.matcher import Matcher
from enrich_dist.core.step_progress import StageMeter, StepMeter
from enrich_dist.events import Notice, Step, emit, listening
from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.farm.logs import ChunkLog, WorkerLog
from enrich_dist.farm.metrics import FarmOutcome, farm_numbers, memory_numbers
from enrich_dist.farm.policy import FarmPolicy
from enrich_dist.farm.resume import explain_resume
from enrich_dist.farm.worker_memory import WorkerMemory, WorkerSamples, memory_per_worker, memory_table
from enrich_dist.matching import weights
from enrich_dist.matching.config import ENGINE_VERSION as MATCHING_VERSION
from enrich_dist.matching.index import build_index
from enrich_dist.matching.matcher import OrganisationMatcher
from enrich_dist.pipeline.result_inputs import read_result_inputs
from enrich_dist.pipeline.tasks import fit_tasks_to_memory, plan_tasks, randomize_order
from enrich_dist.progress.tracker import create_tracker
from enrich_dist.results import reduce, report
from enrich_dist.results.build import STAGES, build_result
from enrich_dist.results.method_table import method_table
from enrich_dist.results.publish import publish, published_bytes
from enrich_dist.results.quality import Gate
from enrich_dist.settings import Settings
from enrich_dist.sources import ENGINE_VERSION as SOURCES_VERSION
from enrich_dist.sources import chunks, column_statistics, companies
from enrich_dist.sources.awards import read_awards
from enrich_dist.sources.column_statistics import ColumnTally
from enrich_dist.sources.columns import AWARD_LAYOUT, RECIPIENT_LAYOUT, Layout
from enrich_dist.sources.former_names import add_names
from enrich_dist.sources.inputs import check_inputs, check_recipient_inputs, name_history
from enrich_dist.sources.protocol import ReadOptions
from enrich_dist.sources.recipients import read_recipients
from enrich_dist.store.artifacts import Artifact, get_or_build, open_unverified, open_verified
from enrich_dist.store.checkpoints import CheckpointRecord, CheckpointStore, drop_copies
from enrich_dist.store.run_directory import Number, Output, RunDirectory, StepReport

if TYPE_CHECKING:
    from distributed import Client

_FAULTS_ARE_ON = (
    "testing.fault_probability is {:g}: attempts fail and workers are killed on purpose. The result is the same, but "
    "the run takes longer; set it to 0 in production."
)


_JOINED = 0.8  # share of the time after which companies are joined, for the progress only; measured on the sample


class Pipeline:
    """The steps of one run with its settings; ``run_id`` is the run's name in records."""

    def __init__(self, settings: Settings, run_id: str) -> None:
        self.settings = settings
        self.run_id = run_id
        self.directory = RunDirectory(settings.paths.work_dir)
        self.checkpoint_location = self.directory.location(settings.paths.checkpoints)

    def ingest_awards(self) -> StepReport:
        """Read the awards; check both inputs first, so that a bad one ends the run early."""
        with self.directory.recording(Step.SBIR_AWARDS, self.run_id) as done:
            source, _ = check_inputs(self.settings.inputs, self.directory.scratch)
            self._check_checkpoints()
            column_map = self.settings.inputs.award_columns
            digest = source.digest()
            key = directory_name("awards", SOURCES_VERSION, digest, document_digest(column_map))

            def build(directory: Path) -> dict[str, Any]:
                table = read_awards(source, column_map)
                pq.write_table(table.awards, directory / "awards.parquet", compression="zstd")
                pq.write_table(table.rejects, directory / "rejects.parquet", compression="zstd")
                write_json(directory / column_statistics.FILE, table.columns.document())
                return {
                    "rows": len(table.awards),
                    "rows_read": table.rows_read,
                    "rows_rejected": table.rows_rejected,
                    "cells_repaired": table.cells_repaired,
                    "bytes_repaired": table.bytes_repaired,
                }

            stored = get_or_build(self.directory.awards / key, build)
            return done(
                rows=stored.facts["rows"],
                reused=stored.reused,
                paths={"awards": stored.path, "source": str(source)},
                numbers={name: value for name, value in stored.facts.items() if name != "rows"},
                digests={"source": digest},
                tables=_column_table(stored, AWARD_LAYOUT),
            )

    def join_companies(self) -> StepReport:
        """Join awards to companies and build the index."""
        with self.directory.recording(Step.AWARD_COMPANIES, self.run_id) as done:
            awards = open_verified(self.directory.output(Output.AWARDS))
            key = directory_name("companies", companies.ENGINE_VERSION, MATCHING_VERSION, awards.content_digest)
            meter = StageMeter(Step.AWARD_COMPANIES, (_JOINED, 1.0))

            def build(directory: Path) -> dict[str, Any]:
                tables = companies.build_companies(
                    pq.read_table(awards.path / "awards.parquet"), self.directory.scratch
                )
                pq.write_table(tables.companies, directory / "companies.parquet", compression="zstd")
                pq.write_table(tables.award_companies, directory / "award_companies.parquet", compression="zstd")
                pq.write_table(tables.shared_identifiers, directory / companies.SHARED_FILE, compression="zstd")
                return {"rows": len(tables.companies), "names_kept_apart": tables.names_kept_apart}

            stored = get_or_build(self.directory.companies / key, build)
            meter.end_stage(reused=stored.reused)

            def build_files(directory: Path) -> dict[str, Any]:
                build_index(pq.read_table(stored.path / "companies.parquet"), directory)
                return {"companies": stored.facts["rows"]}

            index = get_or_build(
                self.directory.index / directory_name("index", MATCHING_VERSION, stored.content_digest), build_files
            )
            meter.end_stage(reused=index.reused)
            return done(
                rows=stored.facts["rows"],
                reused=stored.reused and index.reused,
                paths={"companies": stored.path, "index": index.path},
                numbers={
                    "names_kept_apart": stored.facts["names_kept_apart"],
                    Number.INDEX_BYTES: sum(entry["bytes"] for entry in index.files.values()),
                },
            )

    def partition_recipients(self) -> StepReport:
        """Split the recipients into chunk files, with one chunk in memory at a time."""
        inputs, scratch, chunk_size = self.settings.inputs, self.directory.scratch, self.settings.chunk_size
        column_map = inputs.recipient_columns
        with (
            self.directory.recording(Step.RECIPIENT_CHUNKS, self.run_id) as done,
            closing(check_recipient_inputs(inputs, scratch)) as source,
        ):
            options = ReadOptions(column_map, chunk_size, scratch)
            history = name_history(inputs)
            digest, names_digest = source.digest(options), history.digest()
            parts = (digest, names_digest, document_digest(column_map), str(chunk_size))
            key = directory_name("chunks", SOURCES_VERSION, chunks.ENGINE_VERSION, *parts)

            def build(directory: Path) -> dict[str, Any]:
                tally = ColumnTally()
                meter = StepMeter(Step.RECIPIENT_CHUNKS, "rows", source.row_count()[0])
                batches = read_recipients(source, column_map, batch_rows=chunk_size, scratch=scratch, tally=tally)
                batches = meter.counted(batches, lambda batch: batch.rows_read)
                with history.open(scratch) if history.files else nullcontext() as names:
                    facts = chunks.write_chunks(add_names(batches, names), directory)
                    facts["name_history"] = names.counts() if names else {}
                write_json(directory / column_statistics.FILE, tally.result(*source.columns(options)).document())
                return facts

            stored = get_or_build(self.directory.chunks / key, build)
            plan = chunks.chunks_of(stored)
            return done(
                rows=stored.facts["rows"],
                reused=stored.reused,
                paths={"chunks": stored.path, "source": source.where},
                numbers={
                    Number.CHUNKS: len(plan),
                    Number.CHUNK_SIZE_ROWS: chunk_size,
                    Number.SOURCE_ROWS: stored.facts["source_rows"],
                    "rows_rejected": stored.facts["rejected_rows"],
                    **({"rows_merged": stored.facts["merged_rows"]} if stored.facts["merged_rows"] else {}),
                    "chunk_bytes": sum(chunk.bytes for chunk in plan),
                    **{f"name_history_{name}": count for name, count in stored.facts["name_history"].items()},
                },
                digests={"source": digest},
                tables=_column_table(stored, RECIPIENT_LAYOUT),
            )

    def farm_chunks(self, client: Callable[[], Client]) -> StepReport:
        """Match the chunks that have no valid checkpoint. ``client`` is called only if there are any."""
        with self.directory.recording(Step.CHUNK_MATCHES, self.run_id) as done:
            self._check_checkpoints()
            tasks = self.tasks()
            store, copies = CheckpointStore(self.checkpoint_location), self.directory.checkpoint_copies
            drop_copies(copies, {task.checkpoint_key for task in tasks})
            finished, damaged = store.find_tables((task.checkpoint_key for task in tasks), copies, refresh=True)
            for message in damaged:
                emit(Notice(f"A checkpoint is not valid and its chunk is computed again: {message}", warning=True))
            waiting = [task for task in tasks if task.checkpoint_key not in finished]
            ledger = AttemptLedger(self.directory.attempts)
            plan, index = (open_unverified(self.directory.output(item)) for item in (Output.CHUNKS, Output.INDEX))
            basis = {"chunks": plan.content_digest, "index": index.content_digest, "matcher": self.matcher().key()}
            before = self.directory.latest_basis()
            for message in explain_resume(tasks, finished, len(damaged), basis, before, ledger):
                emit(Notice(message))
            self.directory.record_farm_plan(
                [(task.chunk_id, task.chunk_rows, task.checkpoint_key) for task in tasks],
                basis,
                self.checkpoint_location,
            )
            if self.settings.testing.fault_probability:
                emit(Notice(_FAULTS_ARE_ON.format(self.settings.testing.fault_probability), warning=True))
            outcome, samples, own = FarmOutcome(), WorkerSamples(), list[CheckpointRecord]()

            def own_workers() -> list[WorkerMemory]:
                """The worker processes of this run."""
                return [*memory_per_worker(own), *samples.without_chunks(own, ledger.failures())] if waiting else []

            def memory_so_far() -> tuple[int, dict[str, float], dict[str, str]]:
                workers = own_workers()
                rows = sum(record.rows_in for record in own)
                return rows, memory_numbers(workers), {"memory per worker": memory_table(workers).markdown()}

            done.so_far = memory_so_far
            if waiting:
                from enrich_dist.farm.driver import Farm  # imports Dask, which a finished run need not do

                waiting = randomize_order(fit_tasks_to_memory(waiting, self.settings))
                cluster = client()
                observer = create_tracker(self.directory, self.settings, tasks, finished, store)
                farm = Farm(cluster, self.matcher(), self._policy(), ledger)

                def finished_one(task: ChunkTask, record: CheckpointRecord) -> None:
                    own.append(record)
                    if record.degradations:
                        emit(Notice(_degraded(task, record), warning=True))
                    observer.chunk_finished(task, record)

                with (
                    WorkerLog(self.directory.worker_log) as workers_log,
                    ChunkLog(self.directory.chunk_log) as chunk_log,
                    listening(workers_log),
                    listening(chunk_log),
                    listening(samples),
                    listening(observer),
                ):
                    outcome = farm.run(waiting, on_chunk=finished_one, on_tick=observer.tick)
            found = {**{key: checkpoint.record for key, checkpoint in finished.items()}, **outcome.records}
            # Of all chunks, including those of earlier runs: operators look at the latest materialization.
            records = [found[task.checkpoint_key] for task in tasks]
            workers = own_workers()
            return done(
                rows=sum(record.rows_in for record in records),
                reused=not waiting,
                paths={"checkpoints": store.location},
                numbers=farm_numbers(
                    records,
                    outcome,
                    computed=len(waiting),
                    damaged=len(damaged),
                    memory_threshold_mb=self.settings.memory_threshold_mb,
                    own_workers=workers,
                ),
                tables={
                    "memory per worker": memory_table(
                        [*memory_per_worker(records), *(item for item in workers if not item.chunks)]
                    ).markdown()
                },
            )

    def enrich_awards(self) -> StepReport:
        """Reduce the checkpoints to one recipient per company, give it to the awards, and judge the result."""
        with self.directory.recording(Step.ENRICHED_AWARDS, self.run_id) as done:
            inputs = read_result_inputs(self.directory, self.tasks(), self.checkpoint_location)
            decision = self.settings.matching.decision()
            gate = Gate.of(self.settings)
            key = directory_name(
                "result",
                reduce.ENGINE_VERSION,
                weights.ENGINE_VERSION,
                inputs.awards.content_digest,
                inputs.company.content_digest,
                inputs.plan.content_digest,
                document_digest(decision.__dict__),
                document_digest(gate.__dict__),
                document_digest(inputs.overrides.to_pylist()),
                *(f"{number}:{digest}" for number, digest in enumerate(inputs.checkpoint_digests)),
            )

            def build(directory: Path) -> dict[str, Any]:
                return build_result(
                    directory,
                    inputs,
                    decision,
                    gate,
                    scratch=self.directory.scratch,
                    driver_memory_mb=self.settings.driver_memory_mb,
                    on_stage=StageMeter(Step.ENRICHED_AWARDS, STAGES).end_stage,
                )

            stored = get_or_build(self.directory.results / key, build)
            metrics, verdict = stored.facts["metrics"], stored.facts["verdict"]
            return done(
                rows=metrics["awards"]["valid"],
                reused=stored.reused,
                paths={
                    "result": stored.path,
                    "report": stored.path / "report.md",
                    "html_report": self.directory.html_report,
                },
                numbers={
                    Number.MATCH_RATE: metrics["match_rate"],
                    "match_rate_by_company": metrics["companies"]["match_rate"],
                    Number.MATCH_RATE_THRESHOLD: gate.match_rate_threshold,
                    "estimated_precision": metrics["accuracy"]["precision"]["estimate"] or 0.0,
                    "estimated_recall": metrics["accuracy"]["recall"]["estimate"] or 0.0,
                    "min_estimated_precision": gate.min_estimated_precision,
                    Number.VERDICT_PASSED: int(verdict["status"] == "passed"),
                    **{f"{kind}_{s}": metrics[kind][s] for kind in ("awards", "companies") for s in reduce.STATUSES},
                    **{f"awards_matched_by_{i['method']}": i["awards"] for i in metrics["by_method"]},
                    **report.plotted_numbers(metrics),
                },
                tables={
                    "verdict": report.check_table(verdict).markdown(),
                    "matches by method": method_table(metrics).markdown(),
                    "match rate by identifier type": report.group_table(metrics, "identifier_type").markdown(),
                    "match rate by agency": report.group_table(metrics, "agency").markdown(),
                    "companies by match probability": report.probability_table(metrics).markdown(),
                },
            )

    def publish_awards(self) -> StepReport:
        """Publish the judged result. Raises ``PublicationBlockedError`` without a passed verdict."""
        with self.directory.recording(Step.PUBLISHED_AWARDS, self.run_id) as done:
            result = self.directory.output(Output.RESULT)
            meter = StepMeter(Step.PUBLISHED_AWARDS, "bytes", published_bytes(result))
            release = publish(result, self.directory.published, Gate.of(self.settings), on_file=meter.add)
            current = self.directory.current
            metrics = release.facts["metrics"]
            return done(
                rows=metrics["awards"]["valid"],
                reused=release.reused,
                paths={
                    "published": current,
                    "report": current / "report.md",
                    "html_report": self.directory.html_report,
                },
                numbers={
                    Number.MATCH_RATE: metrics["match_rate"],
                    "published_bytes": sum(entry["bytes"] for entry in release.files.values()),
                },
            )

    def verdict(self) -> dict[str, Any]:
        """Return the verdict on the latest result."""
        stored = open_verified(self.directory.output(Output.RESULT))
        return dict(stored.facts["verdict"])

    def matcher(self) -> Matcher:
        """Return the matcher; its key is part of every checkpoint key."""
        return OrganisationMatcher(self.settings.matching.candidates())

    def _check_checkpoints(self) -> None:
        """Raise ``StorageError`` where the checkpoint location of the settings cannot be used."""
        if self.settings.paths.checkpoints is not None:
            CheckpointStore(self.checkpoint_location).check()

    def _policy(self) -> FarmPolicy:
        return FarmPolicy(
            timeout_seconds=self.settings.timeout_seconds,
            max_attempts=self.settings.farm.max_attempts,
            min_part_rows=self.settings.farm.min_part_rows,
            no_worker_seconds=self.settings.cluster.start_timeout_seconds,
            heartbeat_timeout_seconds=self.settings.farm.heartbeat_timeout_seconds,
            straggler_factor=self.settings.farm.straggler_factor,
            straggler_min_seconds=self.settings.farm.straggler_min_seconds,
        )

    def tasks(self) -> list[ChunkTask]:
        """Return the chunks of the latest plan against the latest index, in source order."""
        return plan_tasks(self.directory, self.settings, self.matcher(), self.checkpoint_location)


def _column_table(stored: Artifact, layout: Layout) -> dict[str, str]:
    """Return the statistics of the input columns for the step's record, after warning of those that look wrong."""
    columns = column_statistics.read_columns(stored.path)
    for message in columns.warnings(layout):
        emit(Notice(message, warning=True))
    return {"input columns": columns.table().markdown()}


def _degraded(task: ChunkTask, record: CheckpointRecord) -> str:
    limit_bytes = min(limit for limit in (record.memory_limit_bytes, task.memory_limit_bytes) if limit)
    return (
        f"Chunk {task.chunk_id}: worker {record.worker} came near its memory limit ("
        f"{limit_bytes / 1e6:,.0f} MB; peak {record.peak_memory_bytes / 1e6:,.0f}, projected "
        f"{record.projected_peak_memory_bytes / 1e6:,.0f}) and matched {record.batch_rows_least:,} rows at a time "
        f"instead of {record.batch_rows:,}."
    )
