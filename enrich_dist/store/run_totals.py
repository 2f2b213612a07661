"""Totals of one run over its steps, and the numbers of a step that may be compared over runs.

A step that reused its output, or part of it, did less work than one that computed everything. Its time and memory are
text, so that Dagster does not plot them next to those of whole runs. Does not read files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from enrich_dist.core.json_documents import Count, Measure
from enrich_dist.events import Step
from enrich_dist.store.run_directory import Number, StepReport

# What the matching of a run took; of a run that resumed chunks, only the rest of them.
_WORK: Final = (
    Number.FARM_SECONDS,
    Number.FARM_RECORDS_PER_SECOND,
    Number.WORKERS,
    Number.RUN_WORKER_PEAK_MEMORY_MB,
    Number.WORKERS_MEMORY_SUM_MB,
)


@dataclass(frozen=True)
class RunTotals:
    """Totals over the steps of one run, also of a failed one.

    ``seconds``: wall time; ``rows``: of the outputs of its steps; ``peak_memory_bytes``: of the driver;
    ``worker_peak_memory_bytes``: of any worker process that matched or waited in this run, 0 if none did;
    ``memory_sum_bytes``: the driver's peak and the peaks of all workers, an upper bound of what the run used at once;
    ``reused_steps``: steps that reused all or part of their output.
    """

    seconds: Measure
    rows: Count
    peak_memory_bytes: Count
    worker_peak_memory_bytes: Count
    memory_sum_bytes: Count
    steps: Count
    reused_steps: Count

    def numbers(self, *, failed: bool = False) -> dict[str, float]:
        """Return the totals by stable names.

        Whole, resumed and failed runs have series of their own: ``run_``, ``resumed_run_`` and ``failed_run_``.
        """
        prefix = "failed_run" if failed else "resumed_run" if self.reused_steps else "run"
        numbers = {
            f"{prefix}_seconds": float(self.seconds),
            f"{prefix}_rows": self.rows,
            f"{prefix}_driver_peak_memory_mb": _megabytes(self.peak_memory_bytes),
            f"{prefix}_memory_sum_mb": _megabytes(self.memory_sum_bytes),
            f"{prefix}_steps": self.steps,
        }
        if self.worker_peak_memory_bytes:
            numbers[f"{prefix}_worker_peak_memory_mb"] = _megabytes(self.worker_peak_memory_bytes)
        return numbers


def run_totals(reports: Mapping[Step, StepReport], run_id: str) -> RunTotals:
    """Return the totals of a run; reports of other runs do not count."""
    of_run = [report for report in reports.values() if report.run_id == run_id]
    driver_bytes = max((report.peak_memory_bytes for report in of_run), default=0)
    workers_mb = sum(report.numbers.get(Number.WORKERS_MEMORY_SUM_MB, 0.0) for report in of_run)
    worker_mb = max((report.numbers.get(Number.RUN_WORKER_PEAK_MEMORY_MB, 0.0) for report in of_run), default=0.0)
    return RunTotals(
        seconds=round(sum(report.seconds for report in of_run), 3),
        rows=sum(report.rows for report in of_run),
        peak_memory_bytes=driver_bytes,
        worker_peak_memory_bytes=round(worker_mb * 1e6),
        memory_sum_bytes=driver_bytes + round(workers_mb * 1e6),
        steps=len(of_run),
        reused_steps=sum(not computed_everything(report) for report in of_run),
    )


def computed_everything(report: StepReport) -> bool:
    """Return whether the step reused neither its output nor a part of it."""
    return not report.reused and not report.numbers.get(Number.CHUNKS_RESUMED, 0)


def step_numbers(report: StepReport) -> dict[str, int | float | str | bool]:
    """Return what Dagster shows of a step: its numbers, and as text those of a step that reused something."""
    is_whole = computed_everything(report)
    numbers: dict[str, int | float | str | bool] = {"rows": report.rows, "reused": report.reused}
    peak_mb = _megabytes(report.peak_memory_bytes)
    if is_whole:
        rate = round(report.rows_per_second, 1)
        numbers |= {"seconds": float(report.seconds), "peak_memory_mb": peak_mb, "rows_per_second": rate}
    else:
        numbers["took"] = f"{report.seconds:,.1f} s, peak memory {peak_mb:,.0f} MB (not everything was computed)"
    return numbers | {name: value for name, value in report.numbers.items() if is_whole or name not in _WORK}


def _megabytes(count_bytes: int) -> float:
    return round(count_bytes / 1e6, 1)
