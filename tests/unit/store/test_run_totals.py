"""Totals of a run over its steps, and which numbers of a step are plotted."""

from __future__ import annotations

import pytest

from enrich_dist.events import Step
from enrich_dist.store.run_directory import Number, StepReport
from enrich_dist.store.run_totals import run_totals, step_numbers


def report(
    step: Step, *, run_id: str = "one", seconds: float = 2.0, peak: int = 100, reused: bool = False, **numbers: float
) -> StepReport:
    return StepReport(step, run_id, 10, seconds, peak * 1_000_000, reused, {}, dict(numbers))


def test_totals_of_a_whole_run() -> None:
    memory = {Number.RUN_WORKER_PEAK_MEMORY_MB: 300.0, Number.WORKERS_MEMORY_SUM_MB: 550.0}
    reports = {
        Step.SBIR_AWARDS: report(Step.SBIR_AWARDS, peak=400),
        Step.CHUNK_MATCHES: report(Step.CHUNK_MATCHES, seconds=5.5, **memory),
        Step.ENRICHED_AWARDS: report(Step.ENRICHED_AWARDS, run_id="another", peak=900, seconds=99),
    }

    assert run_totals(reports, "one").numbers() == {
        "run_seconds": 7.5, "run_rows": 20, "run_driver_peak_memory_mb": 400.0, "run_worker_peak_memory_mb": 300.0,
        "run_memory_sum_mb": 950.0, "run_steps": 2,
    }  # fmt: skip


@pytest.mark.parametrize("partial", [{"reused": True}, {Number.CHUNKS_RESUMED: 3}])
def test_reused_work_has_series_of_its_own(partial: dict[str, float]) -> None:
    step = report(Step.CHUNK_MATCHES, **{Number.FARM_SECONDS: 1.0, "candidates": 5}, **partial)  # type: ignore[arg-type]
    plotted = {name for name, value in step_numbers(step).items() if not isinstance(value, str | bool)}

    assert plotted == {"rows", "candidates"} | (partial.keys() - {"reused"})
    assert {name.partition("_")[0] for name in run_totals({step.step: step}, "one").numbers()} == {"resumed"}
