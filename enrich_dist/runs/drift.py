"""Drift: is one run worse than earlier ones in time, memory, matching rate or match rate?

Two verdicts side by side. The plain growth over the reference has a warning and an error limit; the reference is the
baseline of the workload or the median of the recent comparable runs, whichever shows more. And the growth is
distinguishable from noise or not (``growth``). Noise lowers the severity by one step: a small growth is a note, a large
one still a warning. So does a machine that was slower by its calibration workload.

The repeats of one ``bench run`` session count as one run. A match rate has no noise, so it is compared with all runs of
the same size class.

Does not cover repeated runs against a baseline, which detect smaller changes (``baseline``).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Final

import numpy as np

from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.runs.archive import archive_path, baseline_for, newest_first
from enrich_dist.runs.calibration import record_calibration
from enrich_dist.runs.growth import Growth, Sample, Severity, growth_over, severity_of
from enrich_dist.runs.metrics import BYTES, METRICS, SECONDS, Metric, stage_seconds
from enrich_dist.runs.records import RunRecord, latest_record
from enrich_dist.settings import Settings
from enrich_dist.settings.tree import CheckSettings
from enrich_dist.store.run_directory import STEPS, RunDirectory

_SHARE, _POINTS = "share", "points"
_MAX_RECORDS = 500
_NOTHING = "not compared yet, because there is no comparable earlier run"
JUDGED_STEPS: Final = STEPS[:-1]  # of every judged run, published or blocked


@dataclass(frozen=True)
class Drift:
    """One metric of the run compared with earlier runs.

    ``name``: of the asset check; ``runs``: recent runs, where a session counts as one; ``value`` in the metric's unit,
    None where it cannot be compared; ``reference``: of the baseline, or the median of the recent runs. ``worse_by`` is
    negative where the run is better; it and the limits of a warning and an error have ``unit``: ``share`` of the
    reference (0.1: 10%), or percentage ``points``. ``growth``: of a time or a memory, with the noise. ``reference`` and
    ``worse_by`` are None without an earlier run.
    """

    name: str
    metric: Metric
    unit: str
    warn_from: float
    fail_from: float
    runs: int
    value: float | None
    severity: Severity = Severity.UNKNOWN
    reason: str = ""
    reference: float | None = None
    worse_by: float | None = None
    growth: Growth | None = None


def judge_drift(
    current: RunRecord, past: Iterable[RunRecord], limits: CheckSettings, baseline: Sequence[RunRecord] = ()
) -> tuple[Drift, ...]:
    """Compare the run with earlier runs (``past``: newest first; runs that are not comparable are ignored), and with
    the baseline of its workload, if any."""
    others = [record for record in islice(past, _MAX_RECORDS) if record.id != current.id]
    equal = [item for item in others if item.computed_everything and item.trend_key == current.trend_key]
    alike = [item for item in others if item.size_class == current.size_class]
    slower = limits.warn_slower_share, limits.fail_slower_share
    memory = limits.warn_memory_share, limits.fail_memory_share
    points = limits.warn_match_rate_points, limits.fail_match_rate_points
    runs = _Earlier(equal, [item for item in baseline if item.id != current.id], limits.recent_runs)
    seconds = _growth(current, runs, "run_seconds", _JUDGED_SECONDS, slower)
    return (
        _with_step(seconds, current, equal, limits.recent_runs),
        _growth(current, runs, "worker_peak_memory", _BY_NAME["worker_peak_memory_bytes"], memory),
        _growth(current, runs, "records_per_second", _BY_NAME["records_per_second"], slower),
        _match_rate(current, alike, limits.recent_runs, points),
    )


def drift_of_latest(directory: RunDirectory, settings: Settings, run_id: str | None = None) -> tuple[Drift, ...]:
    """Compare the latest judged run of the directory with the baseline and the earlier runs in the archive.

    ``run_id``: the active run; if it judged the result, the speed of the machine is measured now. Raises ``StateError``
    when nothing was judged there yet, and what reading the run directory raises.
    """
    record = latest_record(directory, settings)
    archive = archive_path(settings)
    if record.run_id == run_id and record.computed_everything and record.calibration_seconds is None:
        record = replace(record, calibration_seconds=record_calibration(directory, run_id))
    baseline: tuple[RunRecord, ...] = ()
    with suppress(StateError, CorruptionError):  # none, or damaged: bench compare reports it
        baseline = baseline_for(archive, [record], newest_first(archive))
    return judge_drift(record, newest_first(archive), settings.checks, baseline)


def judged_seconds(record: RunRecord) -> float:
    """Return the wall seconds of all steps up to the verdict."""
    return sum(step.seconds for name, step in record.own_steps.items() if name in JUDGED_STEPS)


_BY_NAME = {item.name: item for item in METRICS}
_JUDGED_SECONDS = Metric("judged_seconds", "all steps up to the verdict", SECONDS, judged_seconds)


@dataclass(frozen=True)
class _Earlier:
    """Comparable runs, the newest first; runs of the baseline; and how many recent ones count."""

    recent: Sequence[RunRecord]
    baseline: Sequence[RunRecord]
    max_runs: int


def _growth(current: RunRecord, earlier: _Earlier, name: str, item: Metric, limits: tuple[float, float]) -> Drift:
    """Judge a metric by the ratio to its reference; for a rate, by the inverse ratio."""
    value = item.value(current) if current.computed_everything else None
    recent, baseline = (_samples(runs, item, earlier.max_runs) for runs in (earlier.recent, earlier.baseline))
    drift = Drift(name, item, _SHARE, *limits, len(recent), value)
    if not value:
        why = "the run reused or repeated work" if item.value(current) else "the run has no value"
        return replace(drift, reason=f"{item.title}: not compared, because {why}")
    [now] = _samples([current], item, 1)
    found = [
        _judged(drift, growth_over(now, reference, recent), words)
        for reference, words in (
            (recent, f"the median of the last {len(recent)} comparable runs"),
            (baseline, f"the baseline of {len(earlier.baseline)} runs"),
        )
        if reference
    ]
    if not found:
        return replace(drift, reason=f"{item.title} {item.text(value)}: {_NOTHING}")
    return max(found, key=lambda judged: (judged.severity.rank, judged.worse_by or 0.0))


def _judged(drift: Drift, growth: Growth, words: str) -> Drift:
    item, value, limits = drift.metric, drift.value or 0.0, (drift.warn_from, drift.fail_from)
    ratio = 1 + growth.plain if item.larger_is_worse else 1 / (1 + growth.plain)
    more, less = ("longer", "shorter") if item.unit == SECONDS else ("more", "less")
    severity, reference = growth.severity(limits), value / ratio
    text = (
        f"{item.title} {item.text(value)}, {100 * abs(ratio - 1):.1f}% {more if ratio >= 1 else less} than {words} "
        f"({item.text(reference)}){_limit_text(severity, *(f'{100 * limit:g}%' for limit in limits))}; {growth.text()}"
    )
    return replace(drift, severity=severity, reason=text, reference=reference, worse_by=growth.plain, growth=growth)


def _samples(runs: Sequence[RunRecord], item: Metric, max_runs: int) -> list[Sample]:
    """Return value and calibration workload of the newest runs that have the metric; the medians of each session."""

    def badness(record: RunRecord) -> float | None:
        found = item.value(record)
        return None if not found else found if item.larger_is_worse else 1 / found

    def calibration(record: RunRecord) -> float | None:
        return None if badness(record) is None else record.calibration_seconds or 0.0

    values, units = (_recent(runs, value, max_runs) for value in (badness, calibration))
    has_unit = item.unit != BYTES  # the speed of the machine changes times only
    return [Sample(value, unit if has_unit and unit else None) for value, unit in zip(values, units, strict=True)]


def _match_rate(current: RunRecord, past: Sequence[RunRecord], recent: int, limits: tuple[float, float]) -> Drift:
    item = _BY_NAME["match_rate"]
    value = current.match_rate
    values = _recent(past, item.value, recent)
    drift = Drift("match_rate_drift", item, _POINTS, *limits, len(values), value)
    text = f"match rate {item.text(value)}"
    if not values:
        return replace(drift, reason=f"{text}: {_NOTHING}")
    reference = float(np.median(values))
    points = round(100 * (reference - value), 6)
    severity = severity_of(points, limits)
    if points:
        way, median = "lower" if points > 0 else "higher", item.text(reference)
        text += f", {abs(points):.2f} points {way} than the median of the last {len(values)} runs ({median})"
    else:
        text += f", the same as in the last {len(values)} runs"
    text += _limit_text(severity, *(f"{limit:g} points" for limit in limits))
    return replace(drift, severity=severity, reason=text, reference=reference, worse_by=points)


def _with_step(drift: Drift, current: RunRecord, past: Sequence[RunRecord], recent: int) -> Drift:
    """Name the step that slowed down most, where the run is too slow."""
    if not drift.severity.is_flagged:
        return drift
    growths = {
        step: current.own_steps[step].seconds - statistics.median(before)
        for step in JUDGED_STEPS
        if (before := _recent(past, partial(stage_seconds, step), recent))
    }
    if not growths:
        return drift
    worst = max(growths, key=growths.__getitem__)
    return replace(drift, reason=f"{drift.reason}; mostly in {worst} ({growths[worst]:+.2f} s)")


def _recent(past: Sequence[RunRecord], value: Callable[[RunRecord], float | None], max_runs: int) -> list[float]:
    """Return the values of the newest runs that have one; the median of each session."""
    sessions: dict[str, list[float]] = {}
    for record in past:
        found = value(record)
        if found is not None:
            sessions.setdefault(record.session or record.id, []).append(found)
    return [statistics.median(values) for values in islice(sessions.values(), max_runs)]


def _limit_text(severity: Severity, warn: str, fail: str) -> str:
    if severity is Severity.PASSED:
        return ""
    return f"; {fail} or more is an error" if severity is Severity.ERROR else f"; {warn} or more is a warning"
