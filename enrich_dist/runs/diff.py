"""The difference of two runs of a work directory: code, inputs, settings, numbers and matches of the awards.

The matches need both results on disk; everything else comes from the journal.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from enrich_dist.errors import StateError
from enrich_dist.runs.award_changes import AwardChanges, compare_awards
from enrich_dist.runs.records import InputFile, RunRecord
from enrich_dist.store.run_directory import RunDirectory

_ENRICHED = "enriched_awards.parquet"


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
        older, newer = (enriched_awards(directory, run) for run in (before, now))
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
        setting_changes(before, now),
        found,
    )


def setting_changes(before: RunRecord, now: RunRecord) -> tuple[SettingChange, ...]:
    """Return the settings whose value differs, by key; origins do not count."""
    old, new = ({item.key: item for item in run.settings} for run in (before, now))
    found = []
    for key in sorted(old.keys() | new.keys()):
        first, second = old.get(key), new.get(key)
        if (first and first.value) != (second and second.value):
            found.append(
                SettingChange(
                    key,
                    first.value if first else "",
                    first.origin if first else "",
                    second.value if second else "",
                    second.origin if second else "",
                )
            )
    return tuple(found)


def enriched_awards(directory: RunDirectory, run: RunRecord) -> Path:
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
