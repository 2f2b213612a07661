"""Drift: which changes against the recent runs are reported, and how severely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.events import Step
from enrich_dist.runs.archive import newest_first, write_record
from enrich_dist.runs.drift import Drift, judge_drift, judged_seconds
from enrich_dist.runs.growth import Severity
from enrich_dist.runs.records import RunRecord
from enrich_dist.settings.tree import CheckSettings
from tests.support.histories import BEGIN, RESUMED, a_run, match_rate, vary

LIMITS = CheckSettings()
NAMES = ("run_seconds", "worker_peak_memory", "records_per_second", "match_rate_drift")


def past(number: int = 10, noise: float = 0.02, seed: int = 1) -> list[RunRecord]:
    """Return single runs, the newest first, with log-normal noise."""
    random = np.random.default_rng(seed)
    return [
        a_run(
            f"past{place:04d}",
            slower=float(random.lognormal(0, noise)),
            memory=float(random.lognormal(0, noise / 4)),
            session=None,
            at=BEGIN - timedelta(hours=place),
        )
        for place in range(1, number + 1)
    ]


def judged(current: RunRecord, before: Sequence[RunRecord], limits: CheckSettings = LIMITS) -> dict[str, Drift]:
    return {drift.name: drift for drift in judge_drift(current, before, limits)}


def now(**values: object) -> RunRecord:
    return a_run("now", session=None, **values)  # type: ignore[arg-type]


def test_similar_run_passes() -> None:
    found = judged(now(), past())

    assert tuple(found) == NAMES
    assert {drift.severity for drift in found.values()} == {Severity.PASSED}
    assert all(drift.runs == 10 for drift in found.values())
    assert found["run_seconds"].reference == pytest.approx(judged_seconds(now()), rel=0.02)


@pytest.mark.parametrize(
    ("changes", "name", "severity"),
    [
        ({"slower": 1.15}, "run_seconds", Severity.WARN),
        ({"slower": 1.4}, "run_seconds", Severity.ERROR),
        ({"slower": 1.15}, "records_per_second", Severity.WARN),
        ({"slower": 1.4}, "records_per_second", Severity.ERROR),
        ({"memory": 1.25}, "worker_peak_memory", Severity.WARN),
        ({"memory": 1.6}, "worker_peak_memory", Severity.ERROR),
        ({"slower": 0.5}, "run_seconds", Severity.PASSED),
        ({"memory": 0.5}, "worker_peak_memory", Severity.PASSED),
        ({"memory": 1.15}, "worker_peak_memory", Severity.PASSED),
    ],
)
def test_severity_follows_the_limits(changes: dict[str, float], name: str, severity: Severity) -> None:
    drift = judged(now(**changes), past())[name]

    assert drift.severity is severity
    assert drift.worse_by == pytest.approx(next(iter(changes.values())) - 1, abs=0.05)
    assert ("is a warning" in drift.reason, "is an error" in drift.reason) == (
        severity is Severity.WARN,
        severity is Severity.ERROR,
    )


@pytest.mark.parametrize(
    ("rate", "severity", "points"),
    [
        (0.5, Severity.PASSED, 0.0),
        (0.6, Severity.PASSED, -10.0),
        (0.495, Severity.PASSED, 0.5),
        (0.49, Severity.WARN, 1.0),
        (0.45, Severity.ERROR, 5.0),
        (0.0, Severity.ERROR, 50.0),
    ],
)
def test_lower_match_rate_in_points(rate: float, severity: Severity, points: float) -> None:
    drift = judged(vary(now(), numbers=match_rate(rate)), past(1))["match_rate_drift"]

    assert (drift.severity, drift.worse_by) == (severity, pytest.approx(points))


def test_the_limits_are_the_settings() -> None:
    strict = CheckSettings(warn_slower_share=0.05, fail_slower_share=0.06, warn_memory_share=0.02)

    found = judged(now(slower=1.2, memory=1.1), past(noise=0.005), strict)

    assert found["run_seconds"].severity is Severity.ERROR
    assert found["worker_peak_memory"].severity is Severity.WARN
    assert (found["run_seconds"].warn_from, found["run_seconds"].fail_from) == (0.05, 0.06)


def test_warning_limit_above_error_is_refused() -> None:
    with pytest.raises(ValueError, match=r"warn_memory_share 0\.6 is above fail_memory_share 0\.5"):
        CheckSettings(warn_memory_share=0.6)


def test_slowest_step_is_named() -> None:
    drift = judged(now(by_stage={Step.ENRICHED_AWARDS: 2.5}), past())["run_seconds"]

    assert drift.severity is Severity.WARN
    assert "mostly in enriched_awards (+2." in drift.reason


def test_first_run_is_unknown_and_second_is_compared() -> None:
    first = judged(now(slower=9), [])
    assert {drift.severity for drift in first.values()} == {Severity.UNKNOWN}
    assert "no comparable earlier run" in first["run_seconds"].reason

    second = judged(now(slower=1.4, memory=1.7), past(1))
    assert second["run_seconds"].severity is Severity.WARN  # one run says little about noise
    assert second["worker_peak_memory"].severity is Severity.ERROR
    assert judged(now(slower=4.4), past(1))["run_seconds"].severity is Severity.ERROR
    assert judged(now(slower=1.02, memory=1.02), past(1))["run_seconds"].severity is Severity.PASSED
    assert second["match_rate_drift"].severity is Severity.PASSED


def test_only_comparable_runs_count() -> None:
    others = [
        *(vary(run, run_id=f"m{run.id}", machine=replace(run.machine, cores=64)) for run in past()),
        *(vary(run, run_id=f"s{run.id}", settings={"chunk_size": 1}) for run in past()),
        *(vary(run, run_id=f"d{run.id}", recipients=3_000_000) for run in past()),
        *(vary(run, run_id=f"r{run.id}", numbers=RESUMED) for run in past()),
        now(slower=0.1),  # the run itself, as when a check runs again
    ]

    found = judged(now(slower=2.0), others)

    assert {found[name].severity for name in NAMES[:3]} == {Severity.UNKNOWN}
    assert {found[name].runs for name in NAMES[:3]} == {0}
    assert found["match_rate_drift"].runs == 10


def test_resumed_run_compares_match_rate_only() -> None:
    found = judged(vary(now(slower=0.1), numbers={**RESUMED, **match_rate(0.2)}), past())

    assert {found[name].severity for name in NAMES[:3]} == {Severity.UNKNOWN}
    assert "reused or repeated work" in found["run_seconds"].reason
    assert found["match_rate_drift"].severity is Severity.ERROR


def test_session_counts_as_one_run() -> None:
    session = [a_run(f"s{number}", session="one", slower=3.0) for number in range(30)]

    drift = judged(now(slower=1.3), [*session, *past()])["run_seconds"]

    assert drift.runs == 10
    assert drift.severity is not Severity.PASSED


def test_outlier_does_not_move_reference() -> None:
    wild = [replace(a_run("wild", slower=20.0), session=None), *past()]

    assert judged(now(), wild)["run_seconds"].severity is Severity.PASSED
    assert judged(now(slower=1.4), wild)["run_seconds"].severity is Severity.ERROR


def flagged(
    runs: int, *, slower: float = 1.0, machine: float = 0.0, noise: float = 0.0, earlier: int = 10, seed: int = 7
) -> int:
    """Return how many of the runs are flagged for time or memory, each after ``earlier`` unchanged runs.

    ``machine``: scatter of the speed of the machine, which the calibration workload shows up to 0.5%; ``noise``: other
    scatter.
    """
    random = np.random.default_rng(seed)

    def a_draw(name: str, factor: float) -> RunRecord:
        speed = float(random.lognormal(0, machine))
        run = a_run(
            name,
            slower=factor * speed * float(random.lognormal(0, noise)),
            memory=float(random.lognormal(0, 0.01)),
            session=None,
            calibration_seconds=0.1 * speed * float(random.lognormal(0, 0.005)),
        )
        return replace(run, wall_seconds=None)

    count = 0
    for _ in range(runs):
        before = [a_draw(f"past{place:04d}", 1.0) for place in range(earlier)]
        count += any(drift.severity.is_flagged for drift in judged(a_draw("now", slower), before).values())
    return count


@pytest.mark.parametrize("scatter", [0.02, 0.05, 0.10])
def test_12_percent_is_flagged_at_any_scatter_of_the_machine(scatter: float) -> None:
    assert flagged(300, slower=1.12, machine=scatter, noise=0.01) >= 0.9 * 300


@pytest.mark.parametrize("scatter", [0.02, 0.05, 0.10])
@pytest.mark.parametrize("earlier", [2, 3, 6, 10])
def test_unchanged_runs_are_not_flagged(scatter: float, earlier: int) -> None:
    assert flagged(400, machine=scatter, noise=0.01, earlier=earlier) <= 0.02 * 400


@pytest.mark.parametrize("scatter", [0.02, 0.05, 0.10])
def test_unchanged_runs_are_not_flagged_for_scatter_the_machine_does_not_show(scatter: float) -> None:
    assert flagged(400, noise=scatter) <= 0.02 * 400


@pytest.mark.parametrize("earlier", [1, 2, 10])
@pytest.mark.parametrize("scatter", [0.02, 0.10, 0.30, 1.0])
def test_planted_50_percent_is_flagged_at_any_noise(scatter: float, earlier: int) -> None:
    """The median of the earlier runs, and half more: however much they vary."""
    before = past(earlier, noise=scatter)
    reference = float(np.median([judged_seconds(run) for run in before]))
    planted = now(slower=1.5 * reference / judged_seconds(now()))

    drift = judged(planted, before)["run_seconds"]

    assert drift.worse_by == pytest.approx(0.5)
    assert drift.severity.is_flagged


@pytest.mark.parametrize("scatter", [0.02, 0.05, 0.10])
def test_planted_12_percent_is_at_least_noted(scatter: float) -> None:
    before = past(noise=scatter)
    reference = float(np.median([judged_seconds(run) for run in before]))

    drift = judged(now(slower=1.12 * reference / judged_seconds(now())), before)["run_seconds"]

    assert drift.growth is not None
    expected = Severity.WARN if drift.growth.is_distinguishable else Severity.NOTE
    assert drift.severity is expected
    assert "12.0% longer" in drift.reason
    assert "from noise (up to" in drift.reason


def test_slow_hour_is_recognised() -> None:
    """A machine that takes 20% longer is noted, not flagged; the same without a slower machine is flagged."""
    slow_hour = now(slower=1.2, calibration_seconds=0.12)

    found = judged(slow_hour, past())["run_seconds"]

    assert found.severity is Severity.NOTE
    assert found.growth is not None
    assert found.growth.machine == pytest.approx(0.2, abs=0.02)
    assert "the machine was" in found.reason
    assert judged(now(slower=1.2), past())["run_seconds"].severity is Severity.WARN
    assert judged(now(slower=1.5, calibration_seconds=0.15), past())["run_seconds"].severity is Severity.WARN
    fast_hour = judged(now(slower=1.0, calibration_seconds=0.08), past())["run_seconds"]
    assert fast_hour.severity is Severity.WARN  # 25% more work on a machine that is 20% faster


def test_useless_calibration_is_not_used() -> None:
    random = np.random.default_rng(3)
    wild = [replace(run, calibration_seconds=float(random.lognormal(-2, 0.5))) for run in past()]

    found = judged(now(slower=1.2), wild)["run_seconds"]

    assert found.severity is Severity.WARN
    assert found.growth is not None
    assert (found.growth.machine, found.growth.adjusted) == (0.0, found.growth.plain)


def test_baseline_is_a_reference_that_does_not_move() -> None:
    baseline = [a_run(f"base{number}", session="base") for number in range(7)]
    slower = [replace(run, session=None) for run in past(10)]
    crept = [
        replace(run, steps={name: replace(step, seconds=1.3 * step.seconds) for name, step in run.steps.items()})
        for run in slower
    ]

    alone, with_baseline = (
        {drift.name: drift for drift in judge_drift(now(slower=1.3), crept, LIMITS, given)}["run_seconds"]
        for given in ((), baseline)
    )

    assert alone.severity is Severity.PASSED
    assert with_baseline.severity.is_flagged
    assert "than the baseline of 7 runs" in with_baseline.reason


def test_large_change_is_detected() -> None:
    random = np.random.default_rng(8)
    seen = sum(
        judged(now(slower=1.4 * float(random.lognormal(0, 0.03))), past(noise=0.03, seed=seed))[
            "run_seconds"
        ].severity.is_flagged
        for seed in range(200)
    )

    assert seen >= 0.99 * 200


@given(st.floats(0.2, 5), st.floats(0.2, 5))
def test_severity_is_monotonic(one: float, other: float) -> None:
    order = list(Severity)
    less, more = sorted((one, other))
    before = past()

    quick, slow = (order.index(judged(now(slower=factor), before)["run_seconds"].severity) for factor in (less, more))

    assert quick <= slow


def test_newest_readable_records_first(tmp_path: Path) -> None:
    for run in past(3):
        write_record(tmp_path, run)
    (tmp_path / "run-99999999T000000Z-damaged.json").write_text("{}", "utf-8")

    found = newest_first(tmp_path)

    assert [record.id for record in found] == ["past0001", "past0002", "past0003"]
    assert list(newest_first(tmp_path / "nowhere")) == []


def test_reason_has_value_and_reference() -> None:
    drift = judged(now(slower=1.5), past())["records_per_second"]

    assert drift.value is not None
    assert drift.reference is not None
    assert f"{drift.value:,.0f}/s" in drift.reason
    assert f"{drift.reference:,.0f}/s" in drift.reason
    assert "less than the median of the last 10 comparable runs" in drift.reason
    assert not math.isnan(drift.value)
