"""What was predicted of a run beside what happened: by stage, of a worker's memory, and on disk.

Covers the figures, and the file ``steps/prediction_compared.json`` that the end of a run leaves. The prediction is told
for the settings that the run had, and for the steps that it had to do. A run without a plan is not compared: to predict
takes a sample, which a run should not wait for. Does not show anything (``observe.predicted``).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from enrich_dist.core.files import read_json, write_json
from enrich_dist.errors import CorruptionError, EnrichError, StateError
from enrich_dist.events import Notice, Step, emit
from enrich_dist.planning.model import Cluster
from enrich_dist.planning.predicted import Prediction, expected_peak, read
from enrich_dist.settings import Settings
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import Number, Output, RunDirectory, StepReport


class _Command:
    """The command that this process is, where it is one: when it began, by the system's clock."""

    began_seconds: float | None = None


@dataclass(frozen=True)
class Compared:
    """One figure: predicted, with its interval where it has one, and actual, None where it is not known."""

    name: str
    predicted: float
    low: float | None
    high: float | None
    actual: float | None
    reused: bool = False
    """A step whose output was there already."""

    @property
    def error(self) -> float | None:
        """(predicted - actual) / actual; None where nothing is to be compared."""
        return None if self.reused or not self.actual else (self.predicted - self.actual) / self.actual


@dataclass(frozen=True)
class Comparison:
    """A run beside its prediction. ``stages`` in seconds; ``wall``: their sum over those whose seconds are known;
    ``memory`` and ``disk`` in bytes; ``note``: what makes it less than exact, empty where nothing does."""

    run_id: str
    stages: tuple[Compared, ...]
    wall: Compared
    memory: Compared
    disk: tuple[Compared, ...]
    note: str


def command_began() -> None:
    """This process is a command that does one run: its time counts from its beginning, imports included."""
    _Command.began_seconds = psutil.Process().create_time()


def compared_file(directory: RunDirectory) -> Path:
    """Where the comparison lies."""
    return directory.steps / "prediction_compared.json"


def compare_run(directory: RunDirectory, settings: Settings, run_id: str) -> None:
    """Compare the run that ends, where there is a prediction of it. Never raises: the run is done."""
    compared_file(directory).unlink(missing_ok=True)
    try:
        prediction = read(directory)
    except StateError:
        return
    except EnrichError as error:
        emit(Notice(f"The run is not compared with its plan: {error.message}", warning=True))
        return
    try:
        steps = {name: step for name, step in directory.all_latest().items() if step.run_id == run_id}
        if not {Step.RECIPIENT_CHUNKS, Step.CHUNK_MATCHES, Step.ENRICHED_AWARDS} <= steps.keys():
            return
        outside = _outside_seconds(steps)
        keep(directory, compare(directory, prediction, settings, steps, outside_seconds=outside))
    except Exception as error:  # see above  # noqa: BLE001
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        emit(Notice(f"The run could not be compared with its plan ({problem}).", warning=True))


def command_ends(directory: RunDirectory) -> None:
    """The command is about to end: what the report took is known now. Never raises."""
    with suppress(Exception):
        comparison = read_comparison(directory)
        known = sum(stage.actual for stage in comparison.stages if stage.actual is not None)
        if _Command.began_seconds is None:
            return
        rest = max(0.0, time.time() - _Command.began_seconds - known)
        stages = tuple(replace(s, actual=rest) if s.name == "report" else s for s in comparison.stages)
        keep(directory, replace(comparison, stages=stages, wall=_wall(stages)))


def compare(
    directory: RunDirectory,
    prediction: Prediction,
    settings: Settings,
    steps: Mapping[Step, StepReport],
    *,
    outside_seconds: float | None,
) -> Comparison:
    """Hold the steps of a run against the prediction for its settings; ``outside_seconds``: of the run so far, outside
    of its steps, None where nobody can tell."""
    farm = steps[Step.CHUNK_MATCHES]
    workers = int(farm.numbers[Number.WORKERS]) or prediction.cluster.workers
    asked = replace(
        prediction,
        chunk_size=int(steps[Step.RECIPIENT_CHUNKS].numbers[Number.CHUNK_SIZE_ROWS]),
        cluster=Cluster(workers, local=settings.cluster.kind == "local"),
    )
    reused = {name for name, step in steps.items() if step.reused}
    seconds = {str(name): step.seconds for name, step in steps.items()}
    stages = []
    for stage in asked.stages(reused):
        actual = seconds.get(stage.stage, outside_seconds if stage.stage == "start_up" else None)
        stages.append(
            Compared(
                stage.stage, stage.seconds, stage.low_seconds, stage.high_seconds, actual, reused=stage.stage in reused
            )
        )
    peak = float(farm.numbers[Number.WORKER_PEAK_MEMORY_MB]) * 1e6
    projected = float(farm.numbers[Number.WORKER_PROJECTED_PEAK_MEMORY_MB]) * 1e6
    # For the chunks as they were cut; as planned where the plan was for the same size.
    same = asked.chunk_size == prediction.chunk_size
    expected = prediction.expected_peak_bytes if same else expected_peak(round(projected), prediction.process_bytes)
    return Comparison(
        run_id=farm.run_id,
        stages=tuple(stages),
        wall=_wall(stages),
        memory=Compared("worker_peak_memory_bytes", expected, None, None, None if farm.reused else peak),
        disk=_disk(directory, asked, steps),
        note=_note(prediction, asked, steps),
    )


def _wall(stages: Sequence[Compared]) -> Compared:
    known = [stage for stage in stages if stage.actual is not None]
    predicted = sum(stage.predicted for stage in known)
    low = sum((stage.predicted - (stage.low or stage.predicted)) ** 2 for stage in known) ** 0.5
    high = sum(((stage.high or stage.predicted) - stage.predicted) ** 2 for stage in known) ** 0.5
    actual = sum(stage.actual for stage in known if stage.actual is not None)
    return Compared("wall", predicted, predicted - low, predicted + high, actual)


def _outside_seconds(steps: Mapping[Step, StepReport]) -> float | None:
    """From the beginning of the command until now, less the steps; None where this process is no such command."""
    if _Command.began_seconds is None:
        return None
    return max(0.0, time.time() - _Command.began_seconds - sum(step.seconds for step in steps.values()))


def _disk(directory: RunDirectory, asked: Prediction, steps: Mapping[Step, StepReport]) -> tuple[Compared, ...]:
    predicted = asked.disk()
    latest = {**directory.all_latest(), **steps}
    chunks, location = directory.latest_farm()
    store = CheckpointStore(location)
    records = [store.read_record(chunk["checkpoint_key"], verify=False) for chunk in chunks]
    places = (
        ("inputs", predicted.inputs_bytes, (Output.AWARDS, Output.COMPANIES, Output.INDEX)),
        ("chunks", predicted.chunks_bytes, (Output.CHUNKS,)),
        ("results", predicted.results_bytes, (Output.RESULT, Output.PUBLISHED)),
    )  # fmt: skip
    found = [
        Compared(name, expected, None, None, sum(stored_bytes(latest, output) for output in outputs))
        for name, expected, outputs in places
        # A blocked result has no published copy: half of what was reckoned with.
        if name != "results" or Step.PUBLISHED_AWARDS in steps
    ]
    held = sum(record.bytes + record.counts_bytes for record in records)
    found.insert(2, Compared("checkpoints", predicted.checkpoints_bytes, None, None, held))
    return tuple(found)


def stored_bytes(steps: Mapping[Step, StepReport], output: Output) -> int:
    """Bytes of an output directory, by its manifest."""
    if output.step not in steps:
        return 0
    return sum(int(entry["bytes"]) for entry in open_unverified(steps[output.step].path(output)).files.values())


def _note(prediction: Prediction, asked: Prediction, steps: Mapping[Step, StepReport]) -> str:
    told = []
    planned = prediction.basis.inputs
    recipients = steps[Step.RECIPIENT_CHUNKS]
    if str(planned.get("recipients")) != recipients.source:
        told.append("the plan was for other recipients")
    elif planned.get("rows_exact") and int(recipients.numbers[Number.SOURCE_ROWS]) != prediction.basis.work.source_rows:
        told.append(f"the recipients had {prediction.basis.work.source_rows:,} rows when the plan was made")
    if (asked.chunk_size, asked.cluster) != (prediction.chunk_size, prediction.cluster):
        told.append(
            f"planned was chunk_size {prediction.chunk_size:,} with {prediction.cluster.workers} workers; the "
            "prediction is told for what the run had"
        )
    if steps[Step.CHUNK_MATCHES].numbers[Number.CHUNKS_RESUMED]:
        told.append("chunks of an earlier run were kept, which the prediction knows nothing of")
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def keep(directory: RunDirectory, comparison: Comparison) -> None:
    """Write the comparison."""
    write_json(compared_file(directory), asdict(comparison))


def read_comparison(directory: RunDirectory) -> Comparison:
    """The comparison that the latest run left.

    Raises ``StateError`` when there is none, ``CorruptionError`` when the file is none.
    """
    path = compared_file(directory)
    try:
        document: dict[str, Any] = read_json(path)
        return Comparison(
            run_id=str(document["run_id"]),
            stages=tuple(Compared(**item) for item in document["stages"]),
            wall=Compared(**document["wall"]),
            memory=Compared(**document["memory"]),
            disk=tuple(Compared(**item) for item in document["disk"]),
            note=str(document["note"]),
        )
    except FileNotFoundError as error:
        raise StateError(
            f"{directory.root} holds no run that was planned before.",
            remedy="Run `enrich-dist plan`, then `enrich-dist run` with the same settings.",
        ) from error
    except (KeyError, TypeError) as error:
        raise CorruptionError(f"{path} is not a comparison.", remedy="Delete it, plan and run again.") from error
