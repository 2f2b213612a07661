"""The finished run of a work directory, for commands that act on its checkpoints and compute no chunk.

Covers finding what the reduce reads, and refusing a run that is not finished or settings that would change its chunks.
Does not cover what is done with it (``rejudge``, ``review``).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from pathlib import Path

from enrich_dist.errors import EnrichError, StateError
from enrich_dist.events import Step
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.results.build import ResultInputs
from enrich_dist.settings import LoadedSettings, flatten
from enrich_dist.sources.inputs import recipient_source
from enrich_dist.sources.source_file import as_file
from enrich_dist.store.run_directory import Number, RunDirectory

_REMEDY = "Run `enrich-dist run`: chunks that are finished are kept."
_COMMAND_LINE = "command line"
_CANDIDATE_KEYS = {f"matching.{name}" for name in CandidateConfig.result_settings()}


def read_completed_run(pipeline: Pipeline, loaded: LoadedSettings) -> ResultInputs:
    """What the reduce of the finished run reads.

    Raises ``StateError`` when the command line names a setting that would change chunks, when the chunks were matched
    with other settings, and when some have no valid checkpoint.
    """
    given = [key for key, origin in loaded.origins.items() if origin == _COMMAND_LINE]
    changed = _changed_inputs(pipeline.directory, loaded, given)
    same_candidates = {task.checkpoint_key for task in pipeline.tasks()} == _matched_keys(pipeline.directory)
    if not same_candidates:
        changed += [key for key in given if key in _CANDIDATE_KEYS]
    if changed:
        raise StateError(
            f"{_listed(changed)} would change chunks, and a finished run's chunks are kept as they are.",
            remedy="Leave it out, or run `enrich-dist run` with it: what it changes is computed anew.",
        )
    if not same_candidates:
        set_elsewhere = [
            f"{key} ({loaded.origins[key]})" for key in _CANDIDATE_KEYS if loaded.origins[key] != "default"
        ]
        hint = f" of {_listed(set_elsewhere)}" if set_elsewhere else ""
        raise StateError(
            "The chunks that were matched last are not those of the latest plan and the settings of now: the run is "
            "not finished, or its settings were others.",
            remedy=f"Use the run's own values{hint}, or finish it with `enrich-dist run`.",
        )
    _, location = pipeline.directory.latest_farm()
    if pipeline.checkpoint_location != location:
        raise StateError(
            f"The run's checkpoints lie in {location}, and paths.checkpoints names {pipeline.checkpoint_location}.",
            remedy=f"Add --set {shlex.quote(f'paths.checkpoints={location}')}."
            if location != str(pipeline.directory.checkpoints)
            else "Leave paths.checkpoints out.",
        )
    inputs = pipeline.result_inputs()
    missing = inputs.chunks_planned - len(inputs.checkpoints)
    if missing:
        raise StateError(
            f"The run is not finished: {missing:,} of {inputs.chunks_planned:,} chunks have no valid checkpoint.",
            remedy=_REMEDY,
        )
    return inputs


def _matched_keys(directory: RunDirectory) -> set[str]:
    """Keys of the checkpoints that the latest farm was to make.

    Raises ``StateError`` when nothing was farmed out yet.
    """
    chunks, _ = directory.latest_farm()
    if not chunks:
        raise StateError(f"The run in {directory.root} is not finished: no chunk is matched.", remedy=_REMEDY)
    return {chunk["checkpoint_key"] for chunk in chunks}


def _changed_inputs(directory: RunDirectory, loaded: LoadedSettings, given: Iterable[str]) -> list[str]:
    """Which of the settings given are of inputs or chunks, and not known to be the run's own values."""
    values = flatten(loaded.settings.model_dump())
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
            same = key == "chunk_size" and values[key] == chunks.numbers[Number.CHUNK_SIZE_ROWS]
        if (key == "chunk_size" or key.startswith("inputs.")) and not same:
            found.append(key)
    return found


def _same_source(given: object, source: str, called: Callable[[], str]) -> bool:
    """Whether a setting names the source that the run has read, which would be ``called`` so now."""
    if isinstance(given, str) and "://" not in given:
        return _plain(given) == _plain(source)
    try:
        return called() == source
    except EnrichError:
        return False


def _plain(path: Path | str) -> Path:
    """The path without links and detours: relative ones are relative to the current directory, as in settings."""
    return Path(path).resolve()


def _listed(keys: list[str]) -> str:
    return ", ".join(keys)
