"""The record of a run: inputs, code, machine, settings, the reports of its steps, and the memory of its workers.

There is one record type with one codec. The journal of the work directory stores the whole record (``journal``); the
benchmark archive stores it without paths, names and tables, as archives are shared (``archive``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from enrich_dist.core.files import document_digest, read_json, text_digest
from enrich_dist.core.json_documents import Count, JsonCodec, Measure
from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.events import Step
from enrich_dist.farm.worker_memory import memory_per_worker
from enrich_dist.remedies import MEASURE_AGAIN, RUN_AGAIN, RUN_FIRST
from enrich_dist.runs.calibration import recorded_calibration
from enrich_dist.runs.environment import Code, Machine, this_code, this_machine
from enrich_dist.settings import Settings, UsedSetting, used_settings
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import (
    RELEASE_NAME_LENGTH,
    STEPS,
    Number,
    Output,
    RunDirectory,
    StepReport,
)
from enrich_dist.store.run_totals import run_totals

# The settings that affect time and memory of a run. Not included are settings that only affect the result, retries or
# notifications, and those that could contain a host name or a path.
WORKLOAD_SETTINGS: Final = (
    "chunk_size",
    "memory_threshold_mb",
    "cluster.kind",
    "cluster.n_workers",
    "cluster.adaptive.minimum",
    "cluster.adaptive.maximum",
    "farm.min_part_rows",
    "farm.straggler_factor",
    "matching.min_name_overlap",
    "matching.max_candidates_per_name",
    "matching.max_block_size",
    "matching.batch_rows",
    "testing.fault_probability",
)
_SHORT_ID, _ARCHIVE_ID = 8, 12  # characters
_FAULTS = "testing.fault_probability"
_QUALITY = (
    "match_rate",
    "match_rate_by_company",
    "estimated_precision",
    "estimated_recall",
    "awards_matched",
    "awards_review",
    "awards_unmatched",
)
_MATCHING = ("chunks_computed", "farm_seconds", "worker_peak_memory_mb", "failed_attempts", "degradations")
_METHOD = "awards_matched_by_"
_MEMORY_TABLE = "memory per worker"


@dataclass(frozen=True)
class InputFile:
    """An input of the run. ``path`` is empty in an archive; ``blake3``: of the bytes, as ``b3sum`` prints it."""

    path: str
    rows: Count
    valid_rows: Count
    blake3: str


@dataclass(frozen=True)
class Worker:
    """One worker process, without its name, which may contain an address.

    ``busy_seconds``: sum over its chunks; ``memory_method``: how the peak was measured (``core.resource_usage``).
    """

    chunks: Count
    records: Count
    busy_seconds: Measure
    peak_memory_bytes: Count
    memory_method: str


@dataclass(frozen=True)
class RunRecord:
    """A run that produced a judged result.

    ``finished_seconds``: Unix time at which the result was judged; ``status``: of the result when this was written;
    ``result``: name of its directory; ``release``: name of the published directory with the same content.
    ``settings``: in an archive ``WORKLOAD_SETTINGS`` only, empty where the run did not record them. ``steps``,
    ``workers``: of the whole result, also those of an earlier run. ``calibration_seconds``: wall time of the
    calibration workload (``calibration``). Only ``bench run`` sets the other fields: ``session``, which its repeats
    share; wall and CPU time of the whole command with all its processes; CPU time of the calibration workload before
    and after the run.
    """

    run_id: str
    finished_seconds: Measure
    status: str
    code: Code
    machine: Machine
    result: str
    release: str
    awards: InputFile
    recipients: InputFile
    settings: tuple[UsedSetting, ...]
    steps: dict[Step, StepReport]
    workers: tuple[Worker, ...]
    session: str | None = None
    wall_seconds: Measure | None = None
    cpu_seconds: Measure | None = None
    calibration_seconds: Measure | None = None
    calibration_cpu_seconds: Measure | None = None

    def __post_init__(self) -> None:
        missing = {Step.SBIR_AWARDS, Step.RECIPIENT_CHUNKS, Step.CHUNK_MATCHES, Step.ENRICHED_AWARDS} - set(self.steps)
        if missing:
            raise ValueError(f"no report of {', '.join(sorted(missing))}")
        if not 0 <= self.steps[Step.ENRICHED_AWARDS].numbers.get(Number.MATCH_RATE, -1) <= 1:
            raise ValueError("match_rate is not between 0 and 1")

    @property
    def id(self) -> str:
        """Start of the run's id without hyphens; unique in an archive."""
        return self.run_id.replace("-", "")[:_ARCHIVE_ID]

    @property
    def short_id(self) -> str:
        """The id as it is displayed."""
        return self.run_id[:_SHORT_ID]

    @property
    def key(self) -> tuple[str, str]:
        """Identifies a run in the journal: a run that is judged again has another result."""
        return self.run_id, self.result

    @property
    def timestamp(self) -> str:
        """When the result was judged: ISO 8601, UTC, whole seconds."""
        return datetime.fromtimestamp(int(self.finished_seconds), UTC).isoformat(timespec="seconds")

    @property
    def own_steps(self) -> dict[Step, StepReport]:
        """The steps that this run did itself."""
        return {name: step for name, step in self.steps.items() if step.run_id == self.run_id}

    @property
    def match_rate(self) -> float:
        """Awards with an accepted match over valid awards."""
        return float(self.steps[Step.ENRICHED_AWARDS].numbers[Number.MATCH_RATE])

    @property
    def chunks(self) -> int:
        """Chunks of the result."""
        return int(self.matching(Number.CHUNKS))

    def matching(self, number: Number) -> float:
        """Return a number of the matching step; 0 where it has none."""
        return float(self.steps[Step.CHUNK_MATCHES].numbers.get(number, 0))

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers by which runs are compared, by their names in the step reports."""
        judged = self.steps[Step.ENRICHED_AWARDS].numbers
        numbers: dict[str, float] = {name: judged[name] for name in _QUALITY if name in judged}
        if Step.CHUNK_MATCHES in self.own_steps:  # a run that only judged again matched nothing
            matched = self.steps[Step.CHUNK_MATCHES].numbers
            numbers |= {name: matched[name] for name in _MATCHING if name in matched}
        totals = run_totals(self.steps, self.run_id)
        peak_memory_mb = round(totals.peak_memory_bytes / 1e6, 1)
        return numbers | {"run_seconds": totals.seconds, "run_peak_memory_mb": peak_memory_mb}

    @property
    def matched_by_method(self) -> dict[str, int]:
        """Awards with an accepted match, by method."""
        judged = self.steps[Step.ENRICHED_AWARDS].numbers
        return {name.removeprefix(_METHOD): int(count) for name, count in judged.items() if name.startswith(_METHOD)}

    @property
    def changed_settings(self) -> tuple[UsedSetting, ...]:
        """The settings that were overridden (``UsedSetting.is_override``)."""
        return tuple(item for item in self.settings if item.is_override)

    @property
    def memory_table(self) -> str | None:
        """Memory per worker as Markdown."""
        return self.steps[Step.CHUNK_MATCHES].tables.get(_MEMORY_TABLE)

    @property
    def reused(self) -> str:
        """What the run reused, in words; empty where it computed everything."""
        own = self.own_steps
        if Step.CHUNK_MATCHES not in own:
            return "all chunks (judged again)"
        if resumed := int(self.matching(Number.CHUNKS_RESUMED)):
            if resumed < self.chunks:
                return f"{resumed:,} of {self.chunks:,} chunks"
            return "all chunks" + (" and the result" if own[Step.ENRICHED_AWARDS].reused else "")
        files = ((Step.SBIR_AWARDS, "awards as read"), (Step.RECIPIENT_CHUNKS, "chunk files"))
        return " and ".join(name for step, name in files if step in own and own[step].reused)

    @property
    def is_undisturbed(self) -> bool:
        """Whether no chunk was resumed or retried, no worker restarted and no fault injected."""
        numbers = (Number.CHUNKS_RESUMED, Number.FAILED_ATTEMPTS, Number.WORKER_RESTARTS)
        return not any(map(self.matching, numbers)) and float(self.workload_settings.get(_FAULTS, "0")) == 0

    @property
    def computed_everything(self) -> bool:
        """Whether the run did the whole work exactly once, so that its times can be compared."""
        own = self.own_steps
        has_reused = any(step.reused for step in own.values())
        return all(step in own for step in STEPS[:-1]) and not has_reused and self.is_undisturbed

    @property
    def size_class(self) -> str:
        """``size_class`` of the inputs."""
        return size_class(self.awards.valid_rows, self.recipients.valid_rows)

    @property
    def workload_settings(self) -> dict[str, str]:
        """``WORKLOAD_SETTINGS`` with their values as text."""
        return {item.key: item.value for item in self.settings if item.key in WORKLOAD_SETTINGS}

    @property
    def settings_digest(self) -> str:
        """Digest of ``workload_settings``."""
        return document_digest(self.workload_settings)[:12]

    @property
    def comparable_key(self) -> str:
        """Identifies runs whose times can be compared: the same inputs and settings on the same kind of machine."""
        workload = text_digest(self.awards.blake3, self.recipients.blake3, self.settings_digest)[:12]
        return f"{self.machine.digest}-{workload}"

    @property
    def trend_key(self) -> str:
        """Identifies runs of one trend: the same kind of machine, size class and settings."""
        return f"{self.machine.digest}-{self.size_class}-{self.settings_digest}"

    def without_local_details(self) -> RunRecord:
        """Return the record for an archive: no path, host name or worker name."""
        return replace(
            self,
            awards=replace(self.awards, path=""),
            recipients=replace(self.recipients, path=""),
            settings=tuple(replace(i, origin="") for i in self.settings if i.key in WORKLOAD_SETTINGS),
            steps={name: replace(step, paths={}, tables={}) for name, step in self.steps.items()},
        )


CODEC: Final = JsonCodec(
    RunRecord,
    kind="run record",
    format_version=2,
    digest_key="record_blake3",
    remedy=f"Move it away. {MEASURE_AGAIN}",
)


def size_class(awards: int, recipients: int) -> str:
    """Return both counts to one significant digit; monthly updates of a table mostly stay in their class."""

    def rounded(count: int) -> int:
        return round(count, 1 - len(str(count))) if count else 0

    return f"{rounded(recipients):,} recipients x {rounded(awards):,} awards"


def workload_settings(settings: Settings) -> dict[str, str]:
    """Return ``WORKLOAD_SETTINGS`` with their values as text."""
    values = settings.flat()
    return {item.key: item.value for item in used_settings({name: values[name] for name in WORKLOAD_SETTINGS}, {})}


def latest_record(directory: RunDirectory, settings: Settings | None = None) -> RunRecord:
    """Return the record of the run whose result is the latest in the work directory.

    ``settings``: those of the run, where the caller knows them; else as the run recorded them.
    Raises ``StateError`` when no result was judged, or it was deleted.
    """
    steps = directory.all_latest()
    if Step.ENRICHED_AWARDS not in steps:
        raise StateError(f"{directory.root} has no judged result.", remedy=RUN_FIRST)
    judged = steps[Step.ENRICHED_AWARDS]
    result = judged.path(Output.RESULT)
    try:
        release = open_unverified(result).content_digest[:RELEASE_NAME_LENGTH]
    except CorruptionError as error:
        raise StateError(f"{result} does not exist or is damaged.", remedy=RUN_AGAIN) from error
    return RunRecord(
        run_id=judged.run_id,
        finished_seconds=(directory.steps / f"{Step.ENRICHED_AWARDS}.json").stat().st_mtime,
        status=result_status(directory, judged, release),
        code=this_code(),
        machine=this_machine(),
        result=result.name,
        release=release,
        awards=_input(steps[Step.SBIR_AWARDS], Number.ROWS_READ),
        recipients=_input(steps[Step.RECIPIENT_CHUNKS], Number.SOURCE_ROWS),
        settings=_settings(directory, judged.run_id, settings),
        # The other tables repeat the numbers and the files of the result.
        steps={
            name: replace(step, tables={title: text for title, text in step.tables.items() if title == _MEMORY_TABLE})
            for name, step in steps.items()
        },
        workers=_workers(directory),
        calibration_seconds=recorded_calibration(directory, judged.run_id),
    )


def result_status(directory: RunDirectory, judged: StepReport, release: str) -> str:
    """Return "published", "passed" or "blocked" for the present state of a judged result."""
    if published_release(directory) == release:
        return "published"
    return "passed" if judged.numbers[Number.VERDICT_PASSED] else "blocked"


def published_release(directory: RunDirectory) -> str | None:
    """Return the name of the published release; None where nothing is published."""
    current = directory.current
    return current.resolve().name[:RELEASE_NAME_LENGTH] if current.exists() else None


def _input(step: StepReport, rows: Number) -> InputFile:
    return InputFile(
        path=step.source,
        rows=int(step.numbers[rows]),
        valid_rows=step.rows,
        blake3=step.digests.get("source", ""),  # a step that an earlier version recorded has none
    )


def _settings(directory: RunDirectory, run_id: str, settings: Settings | None) -> tuple[UsedSetting, ...]:
    values: Mapping[str, object] = {} if settings is None else settings.flat()
    origins: dict[str, str] = {}
    try:
        document = read_json(directory.used_settings)
        if document["run_id"] == run_id:
            recorded = document["settings"]
            values = values or {key: item["value"] for key, item in recorded.items()}
            origins = {key: str(item["origin"]) for key, item in recorded.items()}
    except (FileNotFoundError, CorruptionError, KeyError, TypeError, AttributeError):
        pass
    return used_settings(values, origins)


def _workers(directory: RunDirectory) -> tuple[Worker, ...]:
    chunks, location = directory.latest_farm()
    # The reduce verified the tables; only the records are needed here.
    records, _ = CheckpointStore(location).find((chunk["checkpoint_key"] for chunk in chunks), verify=False)
    return tuple(
        Worker(item.chunks, item.records, round(item.busy_seconds, 3), item.peak_memory_bytes, item.memory_method)
        for item in memory_per_worker(records.values())
    )
