"""What is kept of a run: inputs with their digests, settings with their origin, steps, and the key of its result.

The one record of a run in its work directory: ``enrich-dist runs``, the report and its trend read it, and no figure in
it is computed anew, as all are those of the steps' own reports. Covers the record and its JSON document. Does not cover
the file it lies in (``journal``), nor the record of a run's speed, which leaves the machine (``history.records``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from enrich_dist.core.files import read_json
from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.events import Step
from enrich_dist.remedies import RUN_AGAIN, RUN_FIRST
from enrich_dist.results.publish import CURRENT
from enrich_dist.runs.revision import this_code
from enrich_dist.settings import UsedSetting, used_settings
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.run_directory import Number, Output, RunDirectory, StepReport, run_totals

SHORT = 8  # characters of a run's id that are shown
_QUALITY = (
    "match_rate",
    "match_rate_by_company",
    "estimated_precision",
    "estimated_recall",
    "awards_matched",
    "awards_review",
    "awards_unmatched",
)
_FARM = ("chunks_computed", "farm_seconds", "worker_peak_memory_mb", "failed_attempts", "degradations")
_FILES = ((Step.SBIR_AWARDS, "awards as read"), (Step.RECIPIENT_CHUNKS, "chunk files"))
_METHOD = "awards_matched_by_"
_MEMORY_TABLE = "memory per worker"


@dataclass(frozen=True)
class InputFile:
    """One of the two inputs: its path, rows read and rows that were valid, and the digest of its bytes (``b3sum``);
    the digest is empty where an older version read it."""

    path: str
    rows: int
    valid_rows: int
    blake3: str


@dataclass(frozen=True)
class RunEntry:
    """A run of a work directory that got as far as a judged result.

    ``finished_seconds``: since 1970, when it was judged; ``status``: what had become of the result when this was
    written, "published", "passed" or "blocked"; ``code``: label of the code's revision; ``result`` and ``release``:
    names of the result's directory and of the published one that holds the same; ``settings``: empty where the run did
    not record them; ``steps``: the latest of each, by name, also those that the run took over from an earlier one.
    """

    run_id: str
    finished_seconds: float
    status: str
    code: str
    result: str
    release: str
    awards: InputFile
    recipients: InputFile
    settings: tuple[UsedSetting, ...]
    steps: Mapping[Step, StepReport]

    @property
    def key(self) -> tuple[str, str]:
        """What tells one reported run from another."""
        return self.run_id, self.result

    @property
    def short_id(self) -> str:
        """The id as it is shown."""
        return self.run_id[:SHORT]

    @property
    def own_steps(self) -> dict[Step, StepReport]:
        """The steps that this very run did."""
        return {name: step for name, step in self.steps.items() if step.run_id == self.run_id}

    @property
    def numbers(self) -> dict[str, float]:
        """The figures by which runs are compared, by their names in the steps' reports."""
        judged = self.steps[Step.ENRICHED_AWARDS].numbers
        numbers: dict[str, float] = {name: judged[name] for name in _QUALITY if name in judged}
        # A run that only judged anew has no farm of its own: another's figures are not its.
        if Step.CHUNK_MATCHES in self.own_steps:
            farmed = self.steps[Step.CHUNK_MATCHES].numbers
            numbers |= {name: farmed[name] for name in _FARM if name in farmed}
        totals = run_totals(self.steps, self.run_id)
        return numbers | {
            "run_seconds": totals.seconds,
            "run_peak_memory_mb": round(totals.peak_memory_bytes / 1e6, 1),
        }

    @property
    def matched_by_method(self) -> dict[str, int]:
        """Awards with an accepted match, by method."""
        judged = self.steps[Step.ENRICHED_AWARDS].numbers
        return {name.removeprefix(_METHOD): int(count) for name, count in judged.items() if name.startswith(_METHOD)}

    @property
    def changed_settings(self) -> tuple[UsedSetting, ...]:
        """The settings that were overridden (``settings.audit``)."""
        return tuple(item for item in self.settings if item.is_override)

    @property
    def memory_table(self) -> str | None:
        """Memory per worker as Markdown; of the farm whose chunks the result is made from."""
        farmed = self.steps.get(Step.CHUNK_MATCHES)
        return None if farmed is None else farmed.tables.get(_MEMORY_TABLE)

    @property
    def reused(self) -> str:
        """What was there already and was not made again, in a few words; empty where all was made."""
        own = self.own_steps
        if Step.CHUNK_MATCHES not in own:
            return "all chunks (judged anew)"
        numbers = own[Step.CHUNK_MATCHES].numbers
        resumed, chunks = int(numbers.get(Number.CHUNKS_RESUMED, 0)), int(numbers.get(Number.CHUNKS, 0))
        if resumed and resumed == chunks:
            return "all chunks" + (" and the result" if own[Step.ENRICHED_AWARDS].reused else "")
        if resumed:
            return f"{resumed:,} of {chunks:,} chunks"
        files = [name for step, name in _FILES if step in own and own[step].reused]
        return " and ".join(files)


def latest_entry(directory: RunDirectory) -> RunEntry:
    """The run whose result is the latest in the work directory.

    Raises ``StateError`` when nothing was judged there yet, or the result is gone.
    """
    steps = directory.all_latest()
    if Step.ENRICHED_AWARDS not in steps:
        raise StateError(f"{directory.root} holds no judged result.", remedy=RUN_FIRST)
    judged = steps[Step.ENRICHED_AWARDS]
    result = judged.path(Output.RESULT)
    try:
        content = open_unverified(result).content_digest
    except CorruptionError as error:
        raise StateError(f"{result} is not there any more.", remedy=RUN_AGAIN) from error
    release = content[:24]
    passed = bool(judged.numbers[Number.VERDICT_PASSED])
    status = "published" if published_release(directory) == release else "passed" if passed else "blocked"
    return RunEntry(
        run_id=judged.run_id,
        finished_seconds=(directory.steps / "enriched_awards.json").stat().st_mtime,
        status=status,
        code=_code_label(),
        result=result.name,
        release=release,
        awards=_input(steps[Step.SBIR_AWARDS], "rows_read"),
        recipients=_input(steps[Step.RECIPIENT_CHUNKS], "source_rows"),
        settings=_settings(directory, judged.run_id),
        # Of the tables only one is not made of the numbers, or of what lies in the result.
        steps={
            name: replace(step, tables={title: text for title, text in step.tables.items() if title == _MEMORY_TABLE})
            for name, step in steps.items()
        },
    )


def published_release(directory: RunDirectory) -> str | None:
    """Name of the published directory; None where nothing is."""
    current = directory.published / CURRENT
    return current.resolve().name if current.exists() else None


def to_document(entry: RunEntry) -> dict[str, Any]:
    """The entry as a JSON object."""
    return asdict(entry)


def from_document(document: Mapping[str, Any]) -> RunEntry:
    """The entry that a JSON object holds.

    Raises ``TypeError``, ``KeyError`` or ``ValueError`` when it is none.
    """
    fields = dict(document)
    fields["awards"], fields["recipients"] = InputFile(**fields["awards"]), InputFile(**fields["recipients"])
    fields["settings"] = tuple(UsedSetting(**item) for item in fields["settings"])
    fields["steps"] = {str(name): StepReport(**step) for name, step in fields["steps"].items()}
    entry = RunEntry(**fields)
    _ = entry.numbers  # what cannot be compared is no entry
    return replace(entry, finished_seconds=float(entry.finished_seconds))


def _input(step: StepReport, rows: str) -> InputFile:
    return InputFile(
        path=step.source,
        rows=int(step.numbers[rows]),
        valid_rows=step.rows,
        blake3=step.digests.get("source", ""),
    )


def _settings(directory: RunDirectory, run_id: str) -> tuple[UsedSetting, ...]:
    try:
        document = read_json(directory.used_settings)
        if document["run_id"] != run_id:
            return ()
        kept = document["settings"].items()
        return used_settings(
            {key: item["value"] for key, item in kept}, {key: str(item["origin"]) for key, item in kept}
        )
    except (FileNotFoundError, CorruptionError, KeyError, TypeError):
        return ()


@cache
def _code_label() -> str:
    return this_code().label
