"""Track the progress of a farm: records done, rate, time remaining, awards matched, projected match rate.

Chunks that were finished before the run are counted separately, so rate and time remaining (``remaining``) refer to
the work of this run. Does not display anything (listeners do).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.events import AttemptTimes, Event, FarmProgress, Notice, Step, WorkersSeen, emit
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.progress.early_warning import EarlyWarning
from enrich_dist.progress.partial_results import MatchedAwardCounter, MatchRateProjector
from enrich_dist.progress.remaining import RemainingTime
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import Checkpoint, CheckpointRecord, CheckpointStore
from enrich_dist.store.run_directory import Output, RunDirectory


class ProgressTracker:
    """Emits ``FarmProgress`` after every chunk and on every tick of the farm.

    As a listener it measures the speed from ``AttemptTimes`` and ``WorkersSeen``.
    """

    def __init__(
        self,
        tasks: Sequence[ChunkTask],
        finished: Mapping[str, Checkpoint],
        candidates: Callable[[str], Path],
        *,
        matched: MatchedAwardCounter,
        awards_total: int,
        early: EarlyWarning,
    ) -> None:
        """``finished``: checkpoints of earlier runs; ``candidates``: returns the candidates file of a key."""
        self._candidates = candidates
        self._matched = matched
        self._awards_total = awards_total
        self._early = early
        self._rows = {task.chunk_id: task.chunk_rows for task in tasks}
        self._records_total = sum(self._rows.values())
        self._keys = [task.checkpoint_key for task in tasks if task.checkpoint_key in finished]
        self._chunks_resumed = len(self._keys)
        self._records_done = sum(task.chunk_rows for task in tasks if task.checkpoint_key in finished)
        self._remaining = RemainingTime(len(tasks) - len(self._keys), self._records_total - self._records_done)
        self._threads = 0
        self._failed_attempts = 0
        self._chunks_degraded = 0
        matched.add([checkpoint.candidates for checkpoint in finished.values()])
        self._awards_matched = matched.awards()

    def __call__(self, event: Event) -> None:
        """Update the estimate of time remaining."""
        match event:
            case WorkersSeen(workers):
                self._remaining.set_workers({sample.worker for sample in workers}, time.monotonic())
            case AttemptTimes(outcome="finished", worker=str(worker), started_seconds=float(started)):
                self._remaining.record_finished(self._rows[event.chunk_id], worker, started, event.finished_seconds)
            case AttemptTimes():
                self._failed_attempts += 1
                if event.worker is not None:
                    self._remaining.record_failed(event.worker, event.finished_seconds)

    def chunk_finished(self, task: ChunkTask, record: CheckpointRecord) -> None:
        """Count a chunk that this run computed.

        Raises ``ProjectedToFailError`` where the match rate will be too low and ``fail_fast`` is set.
        """
        self._keys.append(task.checkpoint_key)
        self._records_done += task.chunk_rows
        self._chunks_degraded += record.degradations > 0
        try:
            self._matched.add([self._candidates(task.checkpoint_key)])
        except (OSError, pa.ArrowException) as error:  # the reduce reads the file again and verifies it
            emit(Notice(f"The matches of chunk {task.chunk_id} are not in the progress count: {error}", warning=True))
        self._awards_matched = self._matched.awards()
        try:
            self._early.check(self._keys, self._records_done / self._records_total)
        finally:
            self._emit()

    def tick(self, threads: int) -> None:
        """Report the progress with the current number of worker threads."""
        self._threads = threads
        self._emit()

    def _emit(self) -> None:
        # Once all chunks are done, the verdict replaces the projection.
        projection = self._early.projection if len(self._keys) < len(self._rows) else None
        emit(
            FarmProgress(
                chunks_total=len(self._rows),
                chunks_done=len(self._keys),
                chunks_resumed=self._chunks_resumed,
                records_total=self._records_total,
                records_done=self._records_done,
                awards_total=self._awards_total,
                awards_matched=self._awards_matched,
                records_per_second=self._remaining.rows_per_second(self._threads),
                remaining_seconds=self._remaining.estimate_seconds(time.monotonic(), self._threads),
                workers=self._threads,
                failed_attempts=self._failed_attempts,
                chunks_degraded=self._chunks_degraded,
                projected_match_rate=projection.rate if projection else None,
                projected_match_rate_low=projection.low if projection else None,
                projected_match_rate_high=projection.high if projection else None,
                projected_at_share=self._early.projection_share if projection else None,
                match_rate_threshold=self._early.threshold,
            )
        )


def create_tracker(
    directory: RunDirectory,
    settings: Settings,
    tasks: Sequence[ChunkTask],
    finished: Mapping[str, Checkpoint],
    store: CheckpointStore,
) -> ProgressTracker:
    """Create the tracker. ``tasks``: all of the plan; ``finished``: checkpoints of earlier runs, by key."""
    companies = directory.output(Output.COMPANIES) / "companies.parquet"
    table = pq.read_table(companies, columns=["company_id", "award_count"]).sort_by("company_id")
    award_counts = table["award_count"].to_numpy()
    return ProgressTracker(
        tasks,
        finished,
        lambda key: store.candidates_file(key, directory.checkpoint_copies),
        matched=MatchedAwardCounter(award_counts),
        awards_total=directory.latest(Step.SBIR_AWARDS).rows,
        early=EarlyWarning(
            MatchRateProjector(directory, store, settings.matching.decision(), award_counts, chunks_total=len(tasks)),
            threshold=settings.match_rate_threshold,
            chunks_total=len(tasks),
            fail_fast=settings.fail_fast,
        ),
    )
