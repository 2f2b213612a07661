"""Limits of time and memory: from the first run on, with a severity that follows the ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.core.database import connect
from enrich_dist.events import Step
from enrich_dist.results import build
from enrich_dist.runs.growth import Severity
from enrich_dist.runs.limits import Limit, all_limits, run_limits, step_limits, worst
from enrich_dist.settings import Settings
from enrich_dist.settings.performance import PerformanceSettings
from enrich_dist.store.run_directory import Number, Output, StepReport
from tests.support import known_case
from tests.support.in_process import run_in_process

ASSETS = [str(step) for step in Step]


def report(
    step: Step, *, seconds: float = 10.0, memory_mb: int = 100, rows: int = 1_000, **numbers: float
) -> StepReport:
    return StepReport(step, "one", rows, seconds, memory_mb * 1_000_000, False, {}, dict(numbers))


def performance(**values: object) -> PerformanceSettings:
    return Settings(performance=values).performance


def of_run(seconds: float, recipients: int = 1_000, **run: object) -> tuple[Limit, ...]:
    reports = {Step.RECIPIENT_CHUNKS: report(Step.RECIPIENT_CHUNKS, seconds=seconds, rows=recipients)}
    return run_limits(reports, "one", performance(run=run))


@pytest.mark.parametrize(
    ("seconds", "severity"),
    [(9.9, Severity.PASSED), (10.0, Severity.PASSED), (10.1, Severity.WARN), (15.0, Severity.WARN),
     (15.1, Severity.ERROR)],
)  # fmt: skip
def test_severity_follows_the_ratio(seconds: float, severity: Severity) -> None:
    [limit] = step_limits(
        report(Step.CHUNK_MATCHES, seconds=seconds), performance(assets={"chunk_matches": {"max_seconds": 10}})
    )

    assert limit.severity is severity
    assert f"{seconds:.1f} s, {seconds / 10:.2f} times the limit of 10.0 s" in limit.text
    assert "performance.assets.chunk_matches.max_seconds" in limit.text


@pytest.mark.setting("performance.error_ratio")
def test_error_ratio_separates_warning_and_error() -> None:
    settings = {"assets": {"chunk_matches": {"max_seconds": 10}}}
    found = [
        step_limits(report(Step.CHUNK_MATCHES, seconds=18), performance(error_ratio=ratio, **settings))[0].severity
        for ratio in (1.5, 2.0)
    ]

    assert found == [Severity.ERROR, Severity.WARN]


@pytest.mark.setting("performance.run.max_seconds")
def test_limit_of_run_seconds() -> None:
    assert worst(of_run(11, max_seconds=10)) is Severity.WARN
    assert worst(of_run(11, max_seconds=12)) is Severity.PASSED


@pytest.mark.setting("performance.run.max_memory_mb")
def test_limit_of_run_memory_counts_workers() -> None:
    reports = {
        Step.SBIR_AWARDS: report(Step.SBIR_AWARDS, memory_mb=400),
        Step.CHUNK_MATCHES: report(Step.CHUNK_MATCHES, **{Number.RUN_WORKER_PEAK_MEMORY_MB: 900.0}),
    }

    found = {limit.name: limit for limit in run_limits(reports, "one", performance(run={"max_memory_mb": 500}))}

    assert found["max_memory_mb"].value == 900
    assert found["max_memory_mb"].severity is Severity.ERROR


@pytest.mark.setting("performance.run.max_seconds_per_million_recipients")
def test_limit_per_million_recipients() -> None:
    def found(seconds: float, recipients: int, limit: float | None) -> Severity:
        return worst(of_run(seconds, recipients, max_seconds_per_million_recipients=limit))

    assert found(500, 3_000_000, 120) is Severity.WARN
    assert found(300, 3_000_000, 120) is Severity.PASSED
    assert found(100, 10, 120) is Severity.PASSED  # a small run counts as a million
    assert found(500, 3_000_000, None) is Severity.UNKNOWN
    assert worst(of_run(500, 3_000_000)) is Severity.WARN  # by default


@pytest.mark.parametrize("asset", ASSETS)
@pytest.mark.setting(
    "performance.assets.sbir_awards.max_seconds", "performance.assets.award_companies.max_seconds",
    "performance.assets.recipient_chunks.max_seconds", "performance.assets.chunk_matches.max_seconds",
    "performance.assets.enriched_awards.max_seconds", "performance.assets.published_awards.max_seconds",
)  # fmt: skip
def test_limit_of_asset_seconds(asset: str) -> None:
    assert _of_asset(asset, "max_seconds", 9) == {asset: Severity.WARN}
    assert _of_asset(asset, "max_seconds", 11) == {asset: Severity.PASSED}


@pytest.mark.parametrize("asset", ASSETS)
@pytest.mark.setting(
    "performance.assets.sbir_awards.max_memory_mb", "performance.assets.award_companies.max_memory_mb",
    "performance.assets.recipient_chunks.max_memory_mb", "performance.assets.chunk_matches.max_memory_mb",
    "performance.assets.enriched_awards.max_memory_mb", "performance.assets.published_awards.max_memory_mb",
)  # fmt: skip
def test_limit_of_asset_memory(asset: str) -> None:
    assert _of_asset(asset, "max_memory_mb", 50) == {asset: Severity.ERROR}
    assert _of_asset(asset, "max_memory_mb", 100) == {asset: Severity.PASSED}


def _of_asset(asset: str, name: str, limit: float) -> dict[str, Severity]:
    """Return the severity by scope where every step takes 10 s and 100 MB."""
    settings = performance(assets={asset: {name: limit}}, run={"max_seconds_per_million_recipients": None})
    reports = {step: report(step) for step in Step}
    return {item.scope: item.severity for item in all_limits(reports, "one", settings)}


def test_absolute_limits_are_not_set_by_default() -> None:
    found = all_limits({step: report(step) for step in Step}, "one", PerformanceSettings())

    assert [limit.setting for limit in found] == ["performance.run.max_seconds_per_million_recipients"]


def test_steps_of_another_run_do_not_count() -> None:
    reports = {step: report(step) for step in Step}

    assert run_limits(reports, "another", performance(run={"max_seconds": 1}))[0].value == 0


@pytest.mark.setting("driver_memory_mb")
def test_driver_budget_bounds_duckdb_and_keeps_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []

    def spy(*args: Any, memory_mb: int, **others: Any) -> Any:
        given.append(memory_mb)
        return connect(*args, memory_mb=memory_mb, **others)

    monkeypatch.setattr(build, "connect", spy)
    results = [
        run_in_process(known_case.settings(tmp_path / str(budget), driver_memory_mb=budget)).directory.output(
            Output.RESULT
        )
        for budget in (512, 4_000)
    ]

    assert given == [256, 2_000]
    first, other = (Path(result, "enriched_awards.parquet").read_bytes() for result in results)
    assert first == other


def test_driver_budget_is_compared_with_the_peak() -> None:
    reports = {Step.ENRICHED_AWARDS: report(Step.ENRICHED_AWARDS, memory_mb=900)}

    def found(budget_mb: float) -> Limit:
        return run_limits(reports, "one", PerformanceSettings(), driver_memory_mb=budget_mb)[0]

    assert (found(1_000).setting, found(1_000).severity) == ("driver_memory_mb", Severity.PASSED)
    assert found(800).severity is Severity.WARN
    assert found(500).severity is Severity.ERROR
    assert "driver: peak memory of the process 900 MB, 1.12 times the limit of 800 MB" in found(800).text


@given(st.floats(0.01, 1e6), st.floats(0.01, 1e6))
def test_severity_is_monotonic(one: float, other: float) -> None:
    less, more = (Limit("run", "max_seconds", 10.0, value, 1.5).severity.rank for value in sorted((one, other)))

    assert less <= more
