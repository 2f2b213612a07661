"""The prediction of a run: what the model says for its settings, and the file in which it waits for the run.

The file, ``steps/prediction.json`` of the run directory, holds what the prediction was made from (work, speed,
factors), so that it can be told for any number of workers and any chunk size, also after the run. Does not compare
(``compare``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import document_digest, read_json, write_json
from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.events import Step
from enrich_dist.planning.constants import constants
from enrich_dist.planning.model import Cluster, Disk, Speed, StageTime, Workload, disk, stage_times
from enrich_dist.store.run_directory import RunDirectory

FORMAT: Final = 1
MADE_BY_PLAN: Final = frozenset({Step.SBIR_AWARDS, Step.AWARD_COMPANIES})
"""Stages that the plan itself does: the run that follows finds their output."""


@dataclass(frozen=True)
class Basis:
    """What a prediction is made from. ``inputs``: where the recipients are, and whether their number is exact;
    ``factors``: what earlier runs make of a stage's seconds, and ``refined_by``: of how many runs that comes."""

    work: Workload
    speed: Speed
    factors: dict[str, float]
    refined_by: dict[str, int]
    inputs: dict[str, Any]
    made_seconds: float
    """Since 1970."""


@dataclass(frozen=True)
class Prediction:
    """For one choice of settings. ``expected_peak_bytes``: of a worker; ``projected_peak_bytes``: what the budget plans
    with, which is made to be safe."""

    basis: Basis
    cluster: Cluster
    chunk_size: int
    expected_peak_bytes: int
    projected_peak_bytes: int
    process_bytes: int
    """Of that for the worker itself."""

    @property
    def chunks(self) -> int:
        """Chunks of the run."""
        return self.basis.work.chunks(self.chunk_size)

    def stages(self, reused: Collection[str] = ()) -> tuple[StageTime, ...]:
        """Seconds of all stages; those in ``reused`` find their output there."""
        return stage_times(
            self.basis.work,
            self.basis.speed,
            constants(),
            self.cluster,
            self.chunk_size,
            reused=reused,
            factors=self.basis.factors,
        )

    def disk(self) -> Disk:
        """Bytes on disk."""
        return disk(self.basis.work, constants(), self.chunk_size)


def expected_peak(projected_bytes: int, process_bytes: int) -> int:
    """A worker's peak as it is measured, from one that the budget projects, ``process_bytes`` of it for the worker
    itself: projections are made to lie above what is measured."""
    k = constants()
    return round(k["peak_process"].value * process_bytes + k["peak_rest"].value * (projected_bytes - process_bytes))


def prediction_file(directory: RunDirectory) -> Path:
    """Where the prediction lies."""
    return directory.steps / "prediction.json"


def keep(directory: RunDirectory, prediction: Prediction) -> None:
    """Write the prediction; it replaces the one before."""
    document = {"format": FORMAT, **asdict(prediction)}
    write_json(prediction_file(directory), {**document, "prediction_blake3": document_digest(document)})


def read(directory: RunDirectory) -> Prediction:
    """The prediction of the run directory.

    Raises ``StateError`` when there is none, ``CorruptionError`` when the file is not what was written.
    """
    path = prediction_file(directory)
    try:
        document = read_json(path)
    except FileNotFoundError as error:
        raise StateError(
            f"{directory.root} holds no prediction.", remedy="Run `enrich-dist plan` before the run."
        ) from error
    content: Mapping[str, Any] = {name: value for name, value in document.items() if name != "prediction_blake3"}
    damaged = CorruptionError(f"{path} is not a prediction.", remedy="Run `enrich-dist plan` again.")
    if content.get("format") != FORMAT or document.get("prediction_blake3") != document_digest(dict(content)):
        raise damaged
    with suppress(KeyError, TypeError):
        basis = dict(content["basis"])
        basis["work"], basis["speed"] = Workload(**basis["work"]), Speed(**basis["speed"])
        return Prediction(
            basis=Basis(**basis),
            cluster=Cluster(**content["cluster"]),
            chunk_size=int(content["chunk_size"]),
            expected_peak_bytes=int(content["expected_peak_bytes"]),
            projected_peak_bytes=int(content["projected_peak_bytes"]),
            process_bytes=int(content["process_bytes"]),
        )
    raise damaged
