"""What a run's time and memory were judged by: its limits, and the comparison with earlier runs, in one document.

``steps/performance.json`` is of the latest run, however it ended; reports and the terminal show it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from enrich_dist.core.json_documents import JsonCodec
from enrich_dist.errors import CorruptionError
from enrich_dist.events import Notice, Step, emit
from enrich_dist.runs.drift import Drift, drift_of_latest
from enrich_dist.runs.growth import Severity
from enrich_dist.runs.limits import DRIVER, RUN, Limit, all_limits
from enrich_dist.settings import Settings
from enrich_dist.store.run_directory import RunDirectory

_FILE: Final = "performance.json"


@dataclass(frozen=True)
class Finding:
    """One judged number, as text: ``limit`` is a limit or the value to compare with, ``ratio`` the value over it."""

    title: str
    value: str
    limit: str
    ratio: str
    severity: Severity
    reason: str


@dataclass(frozen=True)
class Performance:
    """The findings of a run."""

    run_id: str
    findings: tuple[Finding, ...]


_CODEC: Final = JsonCodec(Performance, kind="performance of a run", remedy=None)


def findings_of(limits: Iterable[Limit], drift: Iterable[Drift]) -> tuple[Finding, ...]:
    """Return the limits and comparisons of a run as text; comparisons without an earlier run are left out."""
    found = [
        Finding(
            limit.title,
            limit.number(limit.value),
            limit.number(limit.limit),
            f"{100 * limit.ratio:.0f}%",
            limit.severity,
            limit.setting,
        )
        for limit in limits
    ]
    for item in drift:
        if item.reference is not None and item.value is not None and item.reference:
            ratio = f"{100 * item.value / item.reference:.0f}%"
            texts = item.metric.text(item.value), item.metric.text(item.reference)
            found.append(Finding(f"{item.metric.title}, compared", *texts, ratio, item.severity, item.reason))
    return tuple(found)


def record_performance(directory: RunDirectory, settings: Settings, run_id: str) -> tuple[Finding, ...]:
    """Judge a run that has ended, however it ended, and record its findings; a run without steps has none.

    Reports exceeded limits of the run that no asset check could report, because the run ended before it.
    """
    reports = directory.reports_of(run_id)
    if not reports:
        return ()
    limits = all_limits(reports, run_id, settings.performance, driver_memory_mb=settings.driver_memory_mb)
    drift: tuple[Drift, ...] = ()
    if Step.ENRICHED_AWARDS in reports and directory.failure(run_id) is None:
        drift = drift_of_latest(directory, settings, run_id)
    else:
        for limit in limits:
            if limit.scope in (RUN, DRIVER) and limit.severity.is_flagged:
                emit(Notice(f"A limit is exceeded: {limit.text}.", warning=True))
    findings = findings_of(limits, drift)
    _CODEC.write(directory.steps / _FILE, Performance(run_id, findings))
    return findings


def read_performance(directory: RunDirectory, run_id: str) -> tuple[Finding, ...]:
    """Return the findings of a run; none where the latest ones are of another run, or cannot be read."""
    try:
        performance = _CODEC.read(directory.steps / _FILE)
    except (FileNotFoundError, CorruptionError):
        return ()
    return performance.findings if performance.run_id == run_id else ()
