"""The record of a run: what it worked on, with which code, machine and settings, and what each step took.

Covers making one from a finished run directory, and its JSON document. A document bears a digest of itself, as figures
that a decision rests on must be those that were measured. Does not cover where records lie (``archive``) nor what they
say together (``compare``, ``trend``).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from enrich_dist.core.files import document_digest, file_digest, text_digest
from enrich_dist.errors import CorruptionError
from enrich_dist.events import Step
from enrich_dist.farm.worker_memory import memory_per_worker
from enrich_dist.runs.machine import Machine, this_machine
from enrich_dist.runs.revision import Code, this_code
from enrich_dist.settings import Settings, flatten
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import STEPS, Number, RunDirectory, StepReport

FORMAT: Final = 1
_SELF = "record_blake3"  # in the document: the digest of all else in it

# What a run's time and memory depend on besides data, code and machine. Left out is what only decides when something is
# given up or told, what decides about the result and not about the work, and all that could name a host or a path.
SETTINGS_THAT_MATTER: Final = (
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

Measure = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class Dataset:
    """The two inputs of a run."""

    awards: Count
    """Valid awards."""
    recipients: Count
    """Valid recipients."""
    awards_blake3: str
    """Digest of the input file's bytes, as ``b3sum`` prints it."""
    recipients_blake3: str

    @property
    def size_class(self) -> str:
        """Both counts to one significant digit: a table that is fetched anew every month mostly stays in its class."""
        return f"{_one_digit(self.recipients):,} recipients x {_one_digit(self.awards):,} awards"


@dataclass(frozen=True)
class Stage:
    """One step of the run (``rundir.STEPS``)."""

    seconds: Measure
    """Wall time."""
    rows: Count
    """Rows of its output."""
    peak_memory_bytes: Count
    """Most resident memory of the driver during the step."""
    reused: bool
    """Whether a valid output was there already, so that the seconds tell nothing of the work."""


@dataclass(frozen=True)
class Worker:
    """One worker process. It has no name here: those of remote workers hold addresses."""

    chunks: Count
    records: Count
    busy_seconds: Measure
    """Sum over its chunks."""
    peak_memory_bytes: Count
    """Most resident memory during any of its chunks."""
    memory_method: str
    """How it was measured (``meter``)."""


@dataclass(frozen=True)
class RunRecord:
    """What one run took."""

    id: str
    """Start of the run's id; unique in an archive."""
    timestamp: str
    """When the run had ended: ISO 8601, UTC, whole seconds."""
    session: str | None
    """Name that the repeats of one ``bench run`` share; None for a run of its own."""
    code: Code
    machine: Machine
    dataset: Dataset
    settings: dict[str, str | int | float | bool | None]
    """``SETTINGS_THAT_MATTER`` by their dotted keys."""
    outcome: str
    """``published``, or ``blocked`` where the result was judged and nothing more."""
    stages: dict[str, Stage]
    """The steps of this very run, by name."""
    farm_seconds: Measure
    """Wall seconds in which chunks were out, without the wait for the cluster."""
    records_per_second: Measure
    """Recipients matched per second of ``farm_seconds``; 0 where none was."""
    match_rate: Annotated[float, Field(ge=0, le=1)]
    """Awards with an accepted match over valid awards."""
    chunks: Count
    chunks_resumed: Count
    """Chunks whose checkpoint was there before the run."""
    failed_attempts: Count
    """Attempts at chunks that failed and were made again."""
    worker_restarts: Count
    workers: tuple[Worker, ...]
    """Of all chunks in the result, also of those that an earlier run computed."""
    wall_seconds: Measure | None = None
    """The whole command, from before its first import to its end; only ``bench run`` sees it."""
    yardstick_seconds: Measure | None = None
    """How fast the machine was just before the run (``yardstick``); only from ``bench run``."""
    cpu_seconds: Measure | None = None
    """Of all processes of the whole command (``tree``); only from ``bench run``."""
    yardstick_cpu_seconds: Measure | None = None
    """CPU seconds of ``yardstick.CalibrationWorkload``, mean of before and after the run; only from ``bench run``."""

    @property
    def computed_everything(self) -> bool:
        """Whether the figures are those of the whole work, done once: nothing was reused, resumed, or made again."""
        return (
            all(step in self.stages for step in STEPS[:-1])
            and not any(stage.reused for stage in self.stages.values())
            and not self.chunks_resumed
            and not self.failed_attempts
            and not self.worker_restarts
            and not self.settings.get("testing.fault_probability")
        )

    @property
    def settings_digest(self) -> str:
        """Of ``settings``."""
        return document_digest(self.settings)[:12]

    @property
    def workload(self) -> str:
        """Name of all runs that do the same work: the same bytes of input, by the same settings that matter."""
        return text_digest(self.dataset.awards_blake3, self.dataset.recipients_blake3, self.settings_digest)[:12]

    @property
    def comparable_key(self) -> str:
        """Name of all runs whose times may be held against each other: the same work on an equal machine."""
        return f"{self.machine.digest}-{self.workload}"

    @property
    def trend_key(self) -> str:
        """Name of all runs that make one history: an equal machine, about as much data, the same settings."""
        return f"{self.machine.digest}-{self.dataset.size_class}-{self.settings_digest}"


_ADAPTER = TypeAdapter(RunRecord)


def record_of_run(directory: RunDirectory, settings: Settings, run_id: str, *, now: datetime) -> RunRecord | None:
    """The record of the run that has just ended in ``directory``; None where it did not get as far as a judged result.

    Raises what reading the run directory and its inputs raises.
    """
    steps = {name: step for name, step in directory.all_latest().items() if step.run_id == run_id}
    if Step.ENRICHED_AWARDS not in steps:
        return None
    # A run may take over steps of an earlier one (Dagster can launch a part of the job); sizes are then those.
    latest = directory.all_latest()
    farm = latest[Step.CHUNK_MATCHES]
    farmed = Step.CHUNK_MATCHES in steps
    return RunRecord(
        id=run_id.replace("-", "")[:12],
        timestamp=now.astimezone(UTC).isoformat(timespec="seconds"),
        session=None,
        code=this_code(),
        machine=this_machine(),
        dataset=_dataset(latest),
        settings=settings_that_matter(settings),
        outcome="published" if Step.PUBLISHED_AWARDS in steps else "blocked",
        stages={
            name: Stage(step.seconds, step.rows, step.peak_memory_bytes, step.reused) for name, step in steps.items()
        },
        farm_seconds=float(farm.numbers[Number.FARM_SECONDS]) if farmed else 0.0,
        records_per_second=float(farm.numbers[Number.FARM_RECORDS_PER_SECOND]) if farmed else 0.0,
        match_rate=float(steps[Step.ENRICHED_AWARDS].numbers[Number.MATCH_RATE]),
        chunks=int(farm.numbers[Number.CHUNKS]),
        chunks_resumed=int(farm.numbers[Number.CHUNKS_RESUMED]),
        failed_attempts=int(farm.numbers[Number.FAILED_ATTEMPTS]),
        worker_restarts=int(farm.numbers[Number.WORKER_RESTARTS]),
        workers=_workers(directory),
    )


def to_document(record: RunRecord) -> dict[str, Any]:
    """The record as a JSON object that bears its own digest."""
    document: dict[str, Any] = {"format": FORMAT, **_ADAPTER.dump_python(record, mode="json")}
    return {**document, _SELF: document_digest(document)}


def from_document(document: Mapping[str, Any], where: str) -> RunRecord:
    """The record that a JSON object holds; ``where`` names it in errors.

    Raises ``CorruptionError`` when it is none, or not what was written.
    """
    content = {name: value for name, value in document.items() if name != _SELF}
    if content.get("format") != FORMAT:
        raise CorruptionError(
            f"{where} is no record of format {FORMAT}, but of {content.get('format')!r}.",
            remedy="Read it with the version that wrote it, or move it away.",
        )
    if document.get(_SELF) != document_digest(content):
        raise CorruptionError(
            f"{where} is not what was written: its digest does not fit.", remedy="Move it away, and measure again."
        )
    try:
        return _ADAPTER.validate_python({name: value for name, value in content.items() if name != "format"})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise CorruptionError(
            f"{where} is not the record of a run: {field}: {first['msg']}.", remedy="Move it away, and measure again."
        ) from error


def _dataset(latest: Mapping[Step, StepReport]) -> Dataset:
    awards, recipients = latest[Step.SBIR_AWARDS], latest[Step.RECIPIENT_CHUNKS]
    return Dataset(
        awards=awards.rows,
        recipients=recipients.rows,
        awards_blake3=_source_digest(awards),
        recipients_blake3=_source_digest(recipients),
    )


def _source_digest(step: StepReport) -> str:
    """As the step found it; a step that an older version recorded did not tell it."""
    return step.digests.get("source") or file_digest(Path(step.source))


def settings_that_matter(settings: Settings) -> dict[str, str | int | float | bool | None]:
    """``SETTINGS_THAT_MATTER`` with their values."""
    values = flatten(settings.model_dump(mode="json"))
    return {name: values[name] for name in SETTINGS_THAT_MATTER}


def _workers(directory: RunDirectory) -> tuple[Worker, ...]:
    chunks, location = directory.latest_farm()
    store = CheckpointStore(location)
    # Their tables were verified when the result was made; only the records are wanted here.
    with ThreadPoolExecutor(store.storage.parallel_reads) as pool:
        records = list(pool.map(lambda chunk: store.read_record(chunk["checkpoint_key"], verify=False), chunks))
    return tuple(
        Worker(item.chunks, item.records, round(item.busy_seconds, 3), item.peak_memory_bytes, item.memory_method)
        for item in memory_per_worker(records)
    )


def _one_digit(count: int) -> int:
    return round(count, 1 - len(str(count))) if count else 0
