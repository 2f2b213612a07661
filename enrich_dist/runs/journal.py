"""The judged runs of a work directory, and the difference of two of them.

The journal ``steps/runs.jsonl`` has one run record per line; the last line of a run counts. The difference covers code,
inputs, settings, numbers and matches; the matches need both results on disk.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from enrich_dist.core.json_documents import read_json_lines
from enrich_dist.core.owned_files import append
from enrich_dist.errors import CorruptionError, SettingsError, StateError
from enrich_dist.events import Step
from enrich_dist.remedies import RUN_FIRST
from enrich_dist.runs.award_changes import AwardChanges, compare_awards
from enrich_dist.runs.records import CODEC, InputFile, RunRecord, latest_record, result_status
from enrich_dist.store.run_directory import Output, RunDirectory

logger = logging.getLogger(__name__)

LATEST, PREVIOUS = "latest", "previous"
_ENRICHED = "enriched_awards.parquet"


def append_to_journal(directory: RunDirectory, record: RunRecord) -> None:
    """Append the record of a run whose result was just judged or published."""
    record = _convert_paths(_with_settings(record, read_runs(directory)), directory.relative)
    append(directory.run_history, json.dumps(CODEC.to_document(record), sort_keys=True) + "\n")


def latest_run(directory: RunDirectory) -> RunRecord:
    """Return the run whose result is the latest, with the present state of its result.

    Raises ``StateError`` when no result was judged, or it was deleted.
    """
    runs = read_runs(directory)
    judged = directory.all_latest().get(Step.ENRICHED_AWARDS)
    if judged is not None and (result := judged.path(Output.RESULT)).exists():
        recorded = [run for run in runs if run.key == (judged.run_id, result.name)]
        if recorded:
            return replace(recorded[-1], status=result_status(directory, judged, recorded[-1].release))
    return _with_settings(latest_record(directory), runs)


def read_runs(directory: RunDirectory) -> list[RunRecord]:
    """Return all judged runs, the oldest first. Log and leave out lines that are not run records of this version."""
    found: dict[tuple[str, str], RunRecord] = {}
    problems = []
    for line in read_json_lines(directory.run_history):
        try:
            record = _convert_paths(CODEC.from_document(line, directory.run_history.name), directory.resolve)
        except CorruptionError as error:
            problems.append(error.message)
            continue
        found.pop(record.key, None)
        found[record.key] = record
    if problems:
        logger.warning("%s: %d lines are ignored. %s", directory.run_history, len(problems), problems[0])
    return list(found.values())


def find_run(directory: RunDirectory, name: str) -> RunRecord:
    """Return the run that ``name`` identifies: ``latest``, ``previous`` (the one before), or the start of its id.

    Raises ``StateError`` where there is no such run, ``SettingsError`` where several ids start like that.
    """
    runs = read_runs(directory)
    if not runs:
        raise StateError(f"{directory.root} has no judged run.", remedy=RUN_FIRST)
    if name in (LATEST, PREVIOUS):
        place = 1 if name == LATEST else 2
        if len(runs) < place:
            raise StateError(f"{directory.root} has only one run.", remedy="Run the job again first.")
        return runs[-place]
    found = [run for run in runs if name and run.run_id.startswith(name)]
    ids = list(dict.fromkeys(run.run_id for run in found))
    if len(ids) > 1:
        raise SettingsError(
            f"The ids of {len(ids)} runs start with '{name}': {', '.join(ids)}.", remedy="Give more of the id."
        )
    if not ids:
        raise StateError(
            f"No run id starts with '{name}'.", remedy="List the runs with `enrich-dist runs ls`, or use latest."
        )
    return found[-1]


def _with_settings(record: RunRecord, runs: list[RunRecord]) -> RunRecord:
    """Take the settings from the journal where a later run has replaced the recorded ones."""
    if record.settings:
        return record
    earlier = [run.settings for run in runs if run.key == record.key]
    return replace(record, settings=earlier[-1]) if earlier else record


def _convert_paths(record: RunRecord, convert: Callable[[str], str]) -> RunRecord:
    steps = {
        name: replace(step, paths={key: convert(path) for key, path in step.paths.items()})
        for name, step in record.steps.items()
    }
    awards, recipients = (replace(item, path=convert(item.path)) for item in (record.awards, record.recipients))
    return replace(record, awards=awards, recipients=recipients, steps=steps)


@dataclass(frozen=True)
class InputChange:
    """An input of both runs."""

    name: str
    before: InputFile
    now: InputFile

    @property
    def same_bytes(self) -> bool | None:
        """Whether both runs read the same bytes; None where a run has no digest."""
        if not self.before.blake3 or not self.now.blake3:
            return None
        return self.before.blake3 == self.now.blake3


@dataclass(frozen=True)
class SettingChange:
    """A setting that differs: values and origins as text, empty in a run without the setting."""

    key: str
    before: str
    before_origin: str
    now: str
    now_origin: str


@dataclass(frozen=True)
class RunDifference:
    """Two runs and their differences. ``awards``: a sentence where they cannot be compared."""

    before: RunRecord
    now: RunRecord
    inputs: tuple[InputChange, ...]
    settings: tuple[SettingChange, ...]
    awards: AwardChanges | str


def compare_runs(
    directory: RunDirectory, before: RunRecord, now: RunRecord, *, examples: int = 5, table: Path | None = None
) -> RunDifference:
    """Return what changed from ``before`` to ``now``.

    ``examples``: awards per kind of change; ``table``: file for all changes (``award_changes.compare_awards``).
    Raises ``StateError`` when ``table`` is given and a result is no longer on disk.
    """
    found: AwardChanges | str
    try:
        older, newer = (_enriched_awards(directory, run) for run in (before, now))
        found = compare_awards(older, newer, scratch=directory.scratch, examples=examples, table=table)
    except StateError as error:
        if table is not None:
            raise
        found = str(error)
    return RunDifference(
        before,
        now,
        (
            InputChange("awards", before.awards, now.awards),
            InputChange("recipients", before.recipients, now.recipients),
        ),
        _setting_changes(before, now),
        found,
    )


def _setting_changes(before: RunRecord, now: RunRecord) -> tuple[SettingChange, ...]:
    """Return the settings whose value differs, by key; origins do not count."""
    old, new = ({item.key: (item.value, item.origin) for item in run.settings} for run in (before, now))
    missing = ("", "")
    return tuple(
        SettingChange(key, *old.get(key, missing), *new.get(key, missing))
        for key in sorted(old.keys() | new.keys())
        if old.get(key, missing)[0] != new.get(key, missing)[0]
    )


def _enriched_awards(directory: RunDirectory, run: RunRecord) -> Path:
    """Return the enriched awards of a run, from its result or from the published directory of the same content.

    Raises ``StateError`` when neither exists.
    """
    for place in (directory.results / run.result, directory.published / run.release):
        if (place / _ENRICHED).exists():
            return place / _ENRICHED
    raise StateError(
        f"The result of run {run.short_id} (results/{run.result}) is no longer on disk, so its awards cannot be "
        "compared.",
        remedy="Run again with its inputs and settings (`enrich-dist runs show`).",
    )
