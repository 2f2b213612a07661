"""Store the prediction of a run in its directory, and read it when the run ends.

``steps/prediction.json`` has workload, rates and corrections, so that it can be evaluated for any settings later.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.json_documents import JsonCodec
from enrich_dist.errors import StateError
from enrich_dist.events import Step
from enrich_dist.planning import estimate
from enrich_dist.planning.estimate import Cluster, Correction, Disk, MatchingTime, Rates, StageTime, Workload
from enrich_dist.store.run_directory import RunDirectory

MADE_BY_PLAN: Final = frozenset({Step.SBIR_AWARDS, Step.AWARD_COMPANIES})
"""Stages that the plan itself runs: the run that follows reuses their output."""

# Measured peaks of workers over the budget's projection, which is meant to be safe: of the worker process itself, and
# of index, batch, chunk and result (least squares over 16 planned runs and scripts/measure_memory.py; within 13%).
_PROCESS_SHARE: Final = 0.84
_REST_SHARE: Final = 1.14


@dataclass(frozen=True)
class Basis:
    """What a prediction is made from. ``inputs``: path of the recipients, and whether their row count is exact.
    ``made_seconds``: Unix time."""

    work: Workload
    rates: Rates
    corrections: dict[str, Correction]
    inputs: dict[str, Any]
    made_seconds: float


@dataclass(frozen=True)
class Prediction:
    """A prediction for one choice of settings. ``expected_peak_bytes``: of a worker; ``projected_peak_bytes``: the safe
    upper figure that the memory budget uses, ``process_bytes`` of it for the worker process itself."""

    basis: Basis
    cluster: Cluster
    chunk_size: int
    expected_peak_bytes: int
    projected_peak_bytes: int
    process_bytes: int

    @property
    def chunks(self) -> int:
        """Chunks of the run."""
        return self.basis.work.chunks(self.chunk_size)

    def stages(self, reused: Collection[str] = ()) -> tuple[StageTime, ...]:
        """Return the seconds of all stages; the output of those in ``reused`` exists already."""
        work, rates, corrected = self.basis.work, self.basis.rates, self.basis.corrections
        return estimate.stage_times(work, rates, self.cluster, self.chunk_size, reused=reused, corrections=corrected)

    def matching(self) -> MatchingTime:
        """Return the seconds of matching by bottleneck."""
        return estimate.matching_time(self.basis.work, self.basis.rates, self.cluster, self.chunk_size)

    def disk(self) -> Disk:
        """Return the bytes on disk."""
        return estimate.disk(self.basis.work, self.chunk_size)


_CODEC: Final = JsonCodec(
    Prediction,
    kind="prediction",
    remedy="Run `enrich-dist plan` again.",
    format_version=2,
    digest_key="prediction_blake3",
)


def expected_peak(projected_bytes: int, process_bytes: int) -> int:
    """Return the expected peak bytes of a worker, given the budget's projection."""
    return round(_PROCESS_SHARE * process_bytes + _REST_SHARE * (projected_bytes - process_bytes))


def prediction_path(directory: RunDirectory) -> Path:
    """Return the path of the prediction."""
    return directory.steps / "prediction.json"


def write_prediction(directory: RunDirectory, prediction: Prediction) -> None:
    """Write the prediction; it replaces an earlier one."""
    _CODEC.write(prediction_path(directory), prediction)


def read_prediction(directory: RunDirectory) -> Prediction:
    """Return the prediction. Raises ``StateError`` if there is none, ``CorruptionError`` if it is damaged or older."""
    try:
        return _CODEC.read(prediction_path(directory))
    except FileNotFoundError as error:
        message = f"{directory.root} has no prediction."
        raise StateError(message, remedy="Run `enrich-dist plan` before the run.") from error
