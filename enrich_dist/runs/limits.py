"""Performance limits: did a run, or one of its steps, take more time or memory than the settings allow?

They hold from the first run on, also for a failed run. Does not cover comparisons with other runs (``drift``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from enrich_dist.events import Step
from enrich_dist.runs.growth import Severity
from enrich_dist.settings.performance import AssetLimits, PerformanceSettings
from enrich_dist.store.run_directory import StepReport
from enrich_dist.store.run_totals import RunTotals, run_totals

RUN: Final = "run"
DRIVER: Final = "driver"
_MILLION: Final = 1_000_000
_UNITS: Final = {
    "max_seconds": "s",
    "max_memory_mb": "MB",
    "driver_memory_mb": "MB",
    "max_seconds_per_million_recipients": "s",
}
_TITLES: Final = {
    "max_seconds": "time",
    "max_memory_mb": "peak memory of a process",
    "driver_memory_mb": "peak memory of the process",
    "max_seconds_per_million_recipients": "time per million recipients",
}


@dataclass(frozen=True)
class Limit:
    """A limit with its value. ``scope``: a step, ``RUN`` or ``DRIVER``; ``name``: of the setting; ``limit`` and
    ``value``: seconds or MB (1,000,000 bytes)."""

    scope: str
    name: str
    limit: float
    value: float
    error_ratio: float

    @property
    def ratio(self) -> float:
        """Value over limit; above 1 the limit is exceeded."""
        return self.value / self.limit

    @property
    def severity(self) -> Severity:
        """Passed, a warning up to ``error_ratio``, or an error beyond."""
        if self.ratio <= 1:
            return Severity.PASSED
        return Severity.WARN if self.ratio <= self.error_ratio else Severity.ERROR

    @property
    def setting(self) -> str:
        """Key of the setting."""
        if self.scope == DRIVER:
            return self.name
        return f"performance.{'' if self.scope == RUN else 'assets.'}{self.scope}.{self.name}"

    @property
    def title(self) -> str:
        """What is limited."""
        return f"{self.scope.replace('_', ' ')}: {_TITLES[self.name]}"

    def number(self, value: float) -> str:
        """Return a value with its unit."""
        return f"{value:,.0f} MB" if _UNITS[self.name] == "MB" else f"{value:,.1f} s"

    @property
    def text(self) -> str:
        """Value, limit and ratio in a sentence."""
        return (
            f"{self.title} {self.number(self.value)}, {self.ratio:.2f} times the limit of {self.number(self.limit)} "
            f"({self.setting})"
        )


def step_limits(report: StepReport, settings: PerformanceSettings) -> tuple[Limit, ...]:
    """Return the limits of a step that are set, with their values."""
    limits: AssetLimits = getattr(settings.assets, report.step)
    return _limits(str(report.step), limits, run_totals({report.step: report}, report.run_id), settings.error_ratio)


def run_limits(
    reports: Mapping[Step, StepReport],
    run_id: str,
    settings: PerformanceSettings,
    *,
    driver_memory_mb: float | None = None,
) -> tuple[Limit, ...]:
    """Return the limits of a run that are set, with their values over the steps that it has reached.

    ``driver_memory_mb``: budget of the driver. Fixed costs dominate small runs, so at least a million recipients count.
    """
    totals = run_totals(reports, run_id)
    found = _limits(RUN, settings.run, totals, settings.error_ratio)
    if driver_memory_mb is not None:
        peak_mb = totals.peak_memory_bytes / 1e6
        found += (Limit(DRIVER, "driver_memory_mb", driver_memory_mb, peak_mb, settings.error_ratio),)
    limit = settings.run.max_seconds_per_million_recipients
    if limit is not None and Step.RECIPIENT_CHUNKS in reports:
        value = totals.seconds / max(1.0, reports[Step.RECIPIENT_CHUNKS].rows / _MILLION)
        found += (Limit(RUN, "max_seconds_per_million_recipients", limit, value, settings.error_ratio),)
    return found


def all_limits(
    reports: Mapping[Step, StepReport],
    run_id: str,
    settings: PerformanceSettings,
    *,
    driver_memory_mb: float | None = None,
) -> tuple[Limit, ...]:
    """Return the limits of the run and of all steps that it has reached; as for ``run_limits``."""
    own = [report for report in reports.values() if report.run_id == run_id]
    of_steps = [limit for report in own for limit in step_limits(report, settings)]
    return (*run_limits(reports, run_id, settings, driver_memory_mb=driver_memory_mb), *of_steps)


def worst(limits: Sequence[Limit]) -> Severity:
    """Return the highest severity; unknown where no limit is set."""
    return max((limit.severity for limit in limits), key=lambda it: it.rank, default=Severity.UNKNOWN)


def _limits(scope: str, limits: AssetLimits, totals: RunTotals, error_ratio: float) -> tuple[Limit, ...]:
    peak_bytes = max(totals.peak_memory_bytes, totals.worker_peak_memory_bytes)
    values = {"max_seconds": totals.seconds, "max_memory_mb": peak_bytes / 1e6}
    return tuple(
        Limit(scope, name, limit, value, error_ratio)
        for name, value in values.items()
        if (limit := getattr(limits, name)) is not None
    )
