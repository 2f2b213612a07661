"""Compare a run with its plan: seconds per stage, peak memory of a worker, and disk.

A run that was planned stores the comparison in ``steps/prediction_compared.json`` when it ends. The prediction is
evaluated for the settings that the run had and for the steps that it computed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from enrich_dist.core.json_documents import JsonCodec
from enrich_dist.core.owned_files import remove_file
from enrich_dist.errors import StateError
from enrich_dist.events import Step, warning_on_error
from enrich_dist.planning.estimate import Cluster
from enrich_dist.planning.prediction import Prediction, expected_peak, prediction_path, read_prediction
from enrich_dist.settings import Settings
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import Number, Output, RunDirectory, StepReport


@dataclass(frozen=True)
class Compared:
    """A predicted figure with its interval, if any, and the actual one, if known. ``reused``: no step computed it."""

    name: str
    predicted: float
    low: float | None
    high: float | None
    actual: float | None
    reused: bool = False

    @property
    def error(self) -> float | None:
        """(predicted - actual) / actual; None where there is nothing to compare."""
        return None if self.reused or not self.actual else (self.predicted - self.actual) / self.actual


@dataclass(frozen=True)
class Comparison:
    """Plan and actual figures of a run. ``stages`` and ``wall`` in seconds, the latter the sum of the stages whose
    actual seconds are known; ``memory`` and ``disk`` in bytes; ``note``: what limits the comparison, or empty."""

    run_id: str
    stages: tuple[Compared, ...]
    wall: Compared
    memory: Compared
    disk: tuple[Compared, ...]
    note: str


_CODEC: Final = JsonCodec(Comparison, kind="comparison", remedy="Delete it, plan and run again.")


def comparison_path(directory: RunDirectory) -> Path:
    """Return the path of the comparison."""
    return directory.steps / "prediction_compared.json"


def compare_with_plan(
    directory: RunDirectory, settings: Settings, run_id: str, *, began_seconds: float | None = None
) -> None:
    """Compare the run that ends with its prediction, if there is one. Never raises: the run is done. ``began_seconds``:
    Unix time at which the command began; None where no command ran the job."""
    with warning_on_error("The run could not be compared with its plan"):
        remove_file(comparison_path(directory))
        if not prediction_path(directory).exists():
            return
        prediction = read_prediction(directory)
        steps = {name: step for name, step in directory.all_latest().items() if step.run_id == run_id}
        if not {Step.RECIPIENT_CHUNKS, Step.CHUNK_MATCHES, Step.ENRICHED_AWARDS} <= steps.keys():
            return
        in_steps = sum(step.seconds for step in steps.values())
        outside = None if began_seconds is None else max(0.0, time.time() - began_seconds - in_steps)
        comparison = _compare(directory, prediction, settings, steps, outside)
        _CODEC.write(comparison_path(directory), comparison)


def add_report_seconds(directory: RunDirectory, began_seconds: float) -> None:
    """Add the seconds that the report took, when the command is about to end. Never raises."""
    with suppress(Exception):
        comparison = read_comparison(directory)
        known = sum(stage.actual for stage in comparison.stages if stage.actual is not None)
        rest = max(0.0, time.time() - began_seconds - known)
        stages = tuple(replace(s, actual=rest) if s.name == "report" else s for s in comparison.stages)
        _CODEC.write(comparison_path(directory), replace(comparison, stages=stages, wall=_wall(stages)))


def read_comparison(directory: RunDirectory) -> Comparison:
    """Return the latest run's comparison. Raises ``StateError`` for none, ``CorruptionError`` for a damaged one."""
    try:
        return _CODEC.read(comparison_path(directory))
    except FileNotFoundError as error:
        raise StateError(
            f"{directory.root} has no run with a plan.",
            remedy="Run `enrich-dist plan`, then `enrich-dist run` with the same settings.",
        ) from error


def _compare(
    directory: RunDirectory,
    prediction: Prediction,
    settings: Settings,
    steps: Mapping[Step, StepReport],
    outside_seconds: float | None,
) -> Comparison:
    """Compare steps with the prediction for their settings. ``outside_seconds``: run time so far, outside the steps."""
    matching = steps[Step.CHUNK_MATCHES]
    workers = int(matching.numbers[Number.WORKERS]) or prediction.cluster.workers
    asked = replace(
        prediction,
        chunk_size=int(steps[Step.RECIPIENT_CHUNKS].numbers[Number.CHUNK_SIZE_ROWS]),
        cluster=Cluster(workers, local=settings.cluster.kind == "local"),
    )
    reused = {name for name, step in steps.items() if step.reused}
    actual = {"start_up": outside_seconds} | {str(name): step.seconds for name, step in steps.items()}
    stages = []
    for item in asked.stages(reused):
        found, is_reused = actual.get(item.stage), item.stage in reused
        stages.append(Compared(item.stage, item.seconds, item.low_seconds, item.high_seconds, found, is_reused))
    peak = float(matching.numbers[Number.WORKER_PEAK_MEMORY_MB]) * 1e6
    expected = prediction.expected_peak_bytes
    if asked.chunk_size != prediction.chunk_size:
        projected = float(matching.numbers[Number.WORKER_PROJECTED_PEAK_MEMORY_MB]) * 1e6
        expected = expected_peak(round(projected), prediction.process_bytes)
    return Comparison(
        run_id=matching.run_id,
        stages=tuple(stages),
        wall=_wall(stages),
        memory=Compared("worker_peak_memory_bytes", expected, None, None, None if matching.reused else peak),
        disk=_disk(directory, asked, steps),
        note=_note(prediction, asked, steps),
    )


def _wall(stages: Sequence[Compared]) -> Compared:
    known = [stage for stage in stages if stage.actual is not None]
    return Compared(
        "wall",
        sum(stage.predicted for stage in known),
        sum(stage.low or 0.0 for stage in known),
        sum(stage.high or stage.predicted for stage in known),
        sum(stage.actual or 0.0 for stage in known),
    )


def _disk(directory: RunDirectory, asked: Prediction, steps: Mapping[Step, StepReport]) -> tuple[Compared, ...]:
    predicted = asked.disk()
    latest = {**directory.all_latest(), **steps}
    chunks, location = directory.latest_farm()
    store = CheckpointStore(location)
    records = [store.read_record(chunk["checkpoint_key"], verify=False) for chunk in chunks]
    inputs = (Output.AWARDS, Output.COMPANIES, Output.INDEX)
    actual = (
        ("inputs", predicted.inputs_bytes, sum(_artifact_bytes(latest, output) for output in inputs)),
        ("chunks", predicted.chunks_bytes, _artifact_bytes(latest, Output.CHUNKS)),
        ("checkpoints", predicted.checkpoints_bytes, sum(record.bytes + record.counts_bytes for record in records)),
        ("results", predicted.results_bytes, _artifact_bytes(latest, Output.RESULT)),
    )
    return tuple(Compared(name, expected, None, None, found) for name, expected, found in actual)


def _artifact_bytes(steps: Mapping[Step, StepReport], output: Output) -> int:
    return sum(int(entry["bytes"]) for entry in open_unverified(steps[output.step].path(output)).files.values())


def _note(prediction: Prediction, asked: Prediction, steps: Mapping[Step, StepReport]) -> str:
    notes = []
    planned = prediction.basis.inputs
    recipients = steps[Step.RECIPIENT_CHUNKS]
    if str(planned.get("recipients")) != recipients.source:
        notes.append("The plan was made for other recipients.")
    elif planned.get("rows_exact") and int(recipients.numbers[Number.SOURCE_ROWS]) != prediction.basis.work.source_rows:
        notes.append(f"The recipients had {prediction.basis.work.source_rows:,} rows when the plan was made.")
    if (asked.chunk_size, asked.cluster) != (prediction.chunk_size, prediction.cluster):
        notes.append(
            f"The plan was made for chunk_size {prediction.chunk_size:,} and {prediction.cluster.workers} workers; the "
            "prediction shown is for the settings of the run."
        )
    if steps[Step.CHUNK_MATCHES].numbers[Number.CHUNKS_RESUMED]:
        notes.append("The run reused chunks of an earlier run, which the prediction does not consider.")
    return " ".join(notes)
