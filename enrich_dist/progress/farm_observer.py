"""Create the progress tracker of a farm, with the projection of its match rate, from the run directory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow.parquet as pq

from enrich_dist.events import Step
from enrich_dist.farm.chunk_task import ChunkTask
from enrich_dist.progress.early_warning import EarlyWarning
from enrich_dist.progress.partial_results import MatchedAwardCounter, MatchRateProjector
from enrich_dist.progress.tracker import ProgressTracker
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import Checkpoint, CheckpointStore
from enrich_dist.store.run_directory import Output, RunDirectory


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
    decision = settings.matching.decision()
    return ProgressTracker(
        tasks,
        finished,
        lambda key: store.candidates_file(key, directory.checkpoint_copies),
        matched=MatchedAwardCounter(award_counts),
        awards_total=directory.latest(Step.SBIR_AWARDS).rows,
        early=EarlyWarning(
            MatchRateProjector(directory, store, decision, award_counts, chunks_total=len(tasks)),
            threshold=settings.match_rate_threshold,
            chunks_total=len(tasks),
            fail_fast=settings.fail_fast,
        ),
    )
