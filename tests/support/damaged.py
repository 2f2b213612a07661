"""The known case with a matcher that injects faults and counts its calls, prepared up to the farm."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from enrich_dist.core.matcher import Matcher
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointStore
from tests.support.known_case import settings
from tests.support.matchers import Harmful

CHUNK_STARTS = ("1", "11", "21", "31", "41", "51")
"""First source row of each chunk of the known case: 55 recipients in chunks of 10."""
VICTIM = "21"
"""First source row of the chunk with the fault."""
LEDGER = "ledger"


class HarmedPipeline(Pipeline):
    """A pipeline whose matcher injects faults in the chunk ``VICTIM`` and counts its calls in the folder ``ledger``."""

    def __init__(self, run: Settings, ledger: Path, **harm: Any) -> None:
        super().__init__(run, "harmed")
        ledger.mkdir(exist_ok=True)
        self._harm = {"harm": "none", "victim_row": 25, "ledger": ledger, **harm}

    def matcher(self) -> Matcher:
        return Harmful(super().matcher(), **self._harm)


def planned(folder: Path, harm: str = "none", *, times: int = 1, pause_seconds: float = 0.0, **values: Any) -> Pipeline:
    """A pipeline up to the farm; ``values`` are settings."""
    pipeline = HarmedPipeline(
        settings(folder, **values), folder / LEDGER, harm=harm, times=times, pause_seconds=pause_seconds
    )
    pipeline.ingest_awards()
    pipeline.join_companies()
    pipeline.partition_recipients()
    return pipeline


def finish(pipeline: Pipeline) -> None:
    """What follows the farm."""
    pipeline.enrich_awards()
    pipeline.publish_awards()


def calls(folder: Path) -> dict[str, int]:
    """Calls of the matcher by first source row of the chunk."""
    counted = Counter(path.name.split("-")[0] for path in (folder / LEDGER).iterdir())
    return {start: counted[start] for start in CHUNK_STARTS}


def each_once(**other: int) -> dict[str, int]:
    """Calls by chunk where each was matched once, but for those of ``row_<start>``."""
    return {start: other.get(f"row_{start}", 1) for start in CHUNK_STARTS}


def finished_chunks(pipeline: Pipeline) -> set[int]:
    """Chunks with a valid checkpoint."""
    store = CheckpointStore(pipeline.directory.checkpoints)
    valid, _ = store.find(task.checkpoint_key for task in pipeline.tasks())
    return {task.chunk_id for task in pipeline.tasks() if task.checkpoint_key in valid}
