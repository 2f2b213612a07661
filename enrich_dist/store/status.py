"""The state of a run, read from files alone, during the run and afterwards."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from enrich_dist.core.files import read_json
from enrich_dist.errors import CorruptionError
from enrich_dist.events import Step
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import Output, RunDirectory, StepReport


@dataclass(frozen=True)
class RunStatus:
    """``steps``: the latest report of each step. Chunks and records are those of the latest farm plan."""

    steps: dict[Step, StepReport]
    chunks_total: int
    chunks_done: int
    records_total: int
    records_done: int
    verdict: dict[str, Any] | None
    published: str | None


def read_status(directory: RunDirectory) -> RunStatus:
    """Read the state of the run directory, without verifying or changing anything."""
    steps = directory.all_latest()
    chunks, done = _chunks(directory)
    verdict = None
    if enriched := steps.get(Step.ENRICHED_AWARDS):
        with suppress(FileNotFoundError, CorruptionError):
            verdict = read_json(enriched.path(Output.RESULT) / "verdict.json")
    current = directory.current
    return RunStatus(
        steps=steps,
        chunks_total=len(chunks),
        chunks_done=len(done),
        records_total=sum(item["rows"] for item in chunks),
        records_done=sum(item["rows"] for item in done),
        verdict=verdict,
        published=str(current.resolve()) if current.exists() else None,
    )


def all_chunks_finished(directory: RunDirectory) -> bool:
    """Return whether each chunk of the farm plan has a checkpoint record, which is not verified."""
    try:
        chunks, done = _chunks(directory)
    except CorruptionError:  # the next farm rewrites the plan
        return False
    return bool(chunks) and len(done) == len(chunks)


def _chunks(directory: RunDirectory) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the chunks of the latest farm plan, and those with a checkpoint record."""
    chunks, location = directory.latest_farm()
    recorded = CheckpointStore(location).recorded() if chunks else set()
    return chunks, [chunk for chunk in chunks if chunk["checkpoint_key"] in recorded]
