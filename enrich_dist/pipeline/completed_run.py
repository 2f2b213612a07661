"""Read the completed run of a work directory, for commands that use its checkpoints and compute no chunk.

Refuses a run that is not complete, and settings that would change its chunks. Does not cover what is done with it
(``rejudge``, ``review``).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from enrich_dist.errors import EnrichError, StateError
from enrich_dist.events import Step
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.pipeline.result_inputs import read_result_inputs
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.results.build import ResultInputs
from enrich_dist.settings import LoadedSettings
from enrich_dist.sources.inputs import recipient_source
from enrich_dist.sources.source_file import as_file
from enrich_dist.store.run_directory import Number, RunDirectory

_REMEDY = "Run `enrich-dist run`: finished chunks are kept."
_COMMAND_LINE = "command line"
_CANDIDATE_KEYS = {f"matching.{name}" for name in CandidateConfig.result_settings()}


def read_completed_run(pipeline: Pipeline, loaded: LoadedSettings) -> ResultInputs:
    """Return the inputs of the reduce of the completed run.

    Raises ``StateError`` when the command line has a setting that would change chunks, when the chunks were matched
    with other settings, and when some have no valid checkpoint.
    """
    given = [key for key, origin in loaded.origins.items() if origin == _COMMAND_LINE]
    changed = _changed_inputs(pipeline.directory, loaded, given)
    tasks = pipeline.tasks()
    chunks, location = pipeline.directory.latest_farm()
    if not chunks:
        raise StateError(f"The run in {pipeline.directory.root} is not complete: no chunk is matched.", remedy=_REMEDY)
    same_candidates = {task.checkpoint_key for task in tasks} == {chunk["checkpoint_key"] for chunk in chunks}
    if not same_candidates:
        changed += [key for key in given if key in _CANDIDATE_KEYS]
    if changed:
        raise StateError(
            f"{', '.join(changed)} would change the chunks of the completed run.",
            remedy="Omit it, or run `enrich-dist run` with it to compute the changed chunks.",
        )
    if not same_candidates:
        set_elsewhere = [
            f"{key} ({loaded.origins[key]})" for key in _CANDIDATE_KEYS if loaded.origins[key] != "default"
        ]
        hint = f" of {', '.join(set_elsewhere)}" if set_elsewhere else ""
        raise StateError(
            "The chunks that were matched last are not those of the latest plan and the current settings: the run is "
            "not complete, or it had other settings.",
            remedy=f"Use the run's own values{hint}, or finish it with `enrich-dist run`.",
        )
    if pipeline.checkpoint_location != location:
        raise StateError(
            f"The checkpoints of the run are in {location}, but paths.checkpoints is {pipeline.checkpoint_location}.",
            remedy=f"Add --set {shlex.quote(f'paths.checkpoints={location}')}."
            if location != str(pipeline.directory.checkpoints)
            else "Omit paths.checkpoints.",
        )
    inputs = read_result_inputs(pipeline.directory, tasks, pipeline.checkpoint_location)
    missing = len(tasks) - len(inputs.checkpoints)
    if missing:
        raise StateError(
            f"The run is not complete: {missing:,} of {len(tasks):,} chunks have no valid checkpoint.",
            remedy=_REMEDY,
        )
    return inputs


def _changed_inputs(directory: RunDirectory, loaded: LoadedSettings, given: Iterable[str]) -> list[str]:
    """Return the given settings that would change inputs or chunks of the run."""
    chunks = directory.latest(Step.RECIPIENT_CHUNKS)
    inputs = loaded.settings.inputs
    found = []
    for key in given:
        if key == "inputs.awards":
            source = directory.latest(Step.SBIR_AWARDS).source
            same = _same_source(inputs.awards, source, lambda: str(as_file(inputs.awards or "")))
        elif key == "inputs.recipients":
            same = _same_source(inputs.recipients, chunks.source, lambda: recipient_source(inputs).where)
        else:
            same = key == "chunk_size" and loaded.settings.chunk_size == chunks.numbers[Number.CHUNK_SIZE_ROWS]
        if (key == "chunk_size" or key.startswith("inputs.")) and not same:
            found.append(key)
    return found


def _same_source(given: object, source: str, called: Callable[[], str]) -> bool:
    """Return whether a setting names the source that the run read; ``called()`` names it from the settings."""
    if isinstance(given, str) and "://" not in given:
        return Path(given).resolve() == Path(source).resolve()
    try:
        return called() == source
    except EnrichError:
        return False
