"""The metrics of run records: names, units, limits, and which direction is worse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from enrich_dist.events import Step
from enrich_dist.runs.records import RunRecord
from enrich_dist.store.run_directory import STEPS, Number

TIME_LIMIT, MEMORY_LIMIT = 1.10, 1.20  # ratios to the baseline from which a time or memory peak is a regression
SECONDS, BYTES, CALIBRATION_UNITS = "seconds", "bytes", "calibration units"


@dataclass(frozen=True)
class Metric:
    """One metric of a run.

    ``unit``: ``SECONDS``, ``BYTES``, ``CALIBRATION_UNITS``, ``records/s`` or ``share``; ``value``: None where the
    record has none; ``limit``: ratio to the baseline from which it is a regression, None where it is only displayed;
    ``headline``: an inconclusive result for it makes the whole comparison inconclusive; ``is_part``: it is a part of
    the run time, which is not judged where it is small.
    """

    name: str
    title: str
    unit: str
    value: Callable[[RunRecord], float | None]
    larger_is_worse: bool = True
    limit: float | None = None
    headline: bool = False
    is_part: bool = False

    def text(self, value: float) -> str:
        """Return the value as text: seconds, MB (1,000,000 bytes), records per second or percent."""
        if self.unit == BYTES:
            return f"{value / 1e6:,.0f} MB"
        if self.unit == SECONDS:
            return f"{value:,.2f} s"
        if self.unit == CALIBRATION_UNITS:
            return f"{value:,.1f}"
        return f"{value:,.0f}/s" if self.unit == "records/s" else f"{100 * value:.2f}%"


def total_seconds(record: RunRecord) -> float:
    """Return the wall seconds of all steps."""
    return sum(stage.seconds for stage in record.own_steps.values())


def stage_seconds(step: Step, record: RunRecord) -> float | None:
    """Return the wall seconds of a step; None where the run did not do it."""
    return record.own_steps[step].seconds if step in record.own_steps else None


def worker_peak_bytes(record: RunRecord) -> float | None:
    """Return the peak resident memory of any worker; None where no worker is known."""
    return max((float(worker.peak_memory_bytes) for worker in record.workers), default=None)


def driver_peak_bytes(record: RunRecord) -> float | None:
    """Return the peak resident memory of the driver during any step."""
    return max((float(stage.peak_memory_bytes) for stage in record.own_steps.values()), default=None)


def cpu_calibration_units(record: RunRecord) -> float | None:
    """Return the CPU time of the command over that of the calibration workload; None where not measured."""
    if not record.cpu_seconds or not record.calibration_cpu_seconds:
        return None
    return record.cpu_seconds / record.calibration_cpu_seconds


def _own_matching(number: Number, record: RunRecord) -> float | None:
    """Return a number of the matching step; None where the run matched nothing itself."""
    return (record.matching(number) or None) if Step.CHUNK_MATCHES in record.own_steps else None


_time = partial(Metric, unit=SECONDS, limit=TIME_LIMIT)
_memory = partial(Metric, unit=BYTES, limit=MEMORY_LIMIT, headline=True)
METRICS: Final = (
    _time("wall_seconds", "whole command", value=lambda record: record.wall_seconds, headline=True),
    _time("total_seconds", "all steps", value=total_seconds, headline=True),
    # Not a headline metric, as it is measured on Linux only.
    Metric(
        "cpu_calibration_units",
        "CPU time, in calibration units",
        CALIBRATION_UNITS,
        cpu_calibration_units,
        limit=TIME_LIMIT,
    ),
    *(
        _time(f"{step}_seconds", step.replace("_", " "), value=partial(stage_seconds, step), is_part=True)
        for step in STEPS
    ),
    _time(
        "farm_seconds",
        "matching, without cluster start",
        value=partial(_own_matching, Number.FARM_SECONDS),
        is_part=True,
    ),
    _memory("worker_peak_memory_bytes", "peak per worker", value=worker_peak_bytes),
    _memory("driver_peak_memory_bytes", "peak of the driver", value=driver_peak_bytes),
    Metric(
        "records_per_second",
        "matching rate",
        "records/s",
        partial(_own_matching, Number.FARM_RECORDS_PER_SECOND),
        larger_is_worse=False,
    ),
    Metric("match_rate", "match rate", "share", lambda record: record.match_rate, larger_is_worse=False),
)


def metric(name: str) -> Metric | None:
    """Return the metric of this name, or None."""
    return next((item for item in METRICS if item.name == name), None)
