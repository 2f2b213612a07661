"""Baseline comparison: planted changes are detected, noise is not, and unclear cases are inconclusive."""

from __future__ import annotations

import math
import random as shuffling
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from enrich_dist.errors import StateError
from enrich_dist.events import Step
from enrich_dist.runs.baseline import FALSE_ALARM, Verdict, _arrangements, compare, min_repeats, shift
from enrich_dist.runs.records import RunRecord
from enrich_dist.runs.session import DEFAULT_REPEATS
from tests.support.histories import RESUMED, RETRIED, a_run, a_session, vary, with_step

SESSIONS = 20
QUIET = (0.005, 0.01, 0.02, 0.03)  # variation of the repeats on an idle machine
samples = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=9)


@pytest.mark.parametrize("noise", QUIET)
def test_same_code_is_no_regression(noise: float) -> None:
    random = np.random.default_rng(int(noise * 1_000))
    baseline = a_session(random, noise)

    verdicts = [compare(baseline, a_session(random, noise)).verdict for _ in range(SESSIONS)]

    assert verdicts == [Verdict.NO_REGRESSION] * SESSIONS


@pytest.mark.parametrize("noise", QUIET)
def test_slowdown_of_15_percent_is_detected(noise: float) -> None:
    random = np.random.default_rng(int(noise * 1_000) + 1)

    found = [compare(a_session(random, noise), a_session(random, noise, slower=1.15)) for _ in range(SESSIONS)]

    assert [item.verdict for item in found] == [Verdict.REGRESSION] * SESSIONS
    assert all("more than 10%" in item.reasons[0] for item in found)


@pytest.mark.parametrize("noise", [*QUIET, 0.3])
def test_memory_growth_is_detected(noise: float) -> None:
    """Memory varies little, however noisy the times are."""
    random = np.random.default_rng(int(noise * 1_000) + 2)

    for _ in range(SESSIONS):
        found = compare(a_session(random, noise), a_session(random, noise, memory=1.25))

        assert found.verdict is Verdict.REGRESSION
        judged = {item.metric.name: item.verdict for item in found.metrics}
        assert judged["worker_peak_memory_bytes"] is Verdict.REGRESSION
        assert judged["driver_peak_memory_bytes"] is Verdict.REGRESSION
        assert judged["wall_seconds"] is not Verdict.REGRESSION


@pytest.mark.parametrize("noise", [0.05, 0.1, 0.15, 0.2])
def test_noisy_machine_gives_no_false_alarm(noise: float) -> None:
    random = np.random.default_rng(int(noise * 1_000) + 13)

    verdicts = {compare(a_session(random, noise), a_session(random, noise)).verdict for _ in range(SESSIONS)}

    assert Verdict.INCONCLUSIVE in verdicts
    assert Verdict.REGRESSION not in verdicts


@pytest.mark.parametrize("noise", [0.3, 0.6])
def test_large_noise_is_inconclusive(noise: float) -> None:
    random = np.random.default_rng(int(noise * 1_000) + 3)

    for _ in range(SESSIONS):
        found = compare(a_session(random, noise), a_session(random, noise))

        assert found.verdict is Verdict.INCONCLUSIVE
        wall = next(item for item in found.metrics if item.metric.name == "wall_seconds")
        assert wall.shift.smallest_visible > 0.10
        visible = f"a change of {100 * wall.shift.smallest_visible:.1f}% or more would be detected"
        assert any(visible in reason for reason in found.reasons)


def test_slower_step_is_named() -> None:
    random = np.random.default_rng(4)
    slower = [with_step(run, Step.AWARD_COMPANIES, seconds=1.4) for run in a_session(random, 0.01)]

    found = compare(a_session(random, 0.01), slower)

    # 0.6 of 13 seconds is invisible in the whole command, but the step is a tenth of the steps and is judged.
    assert [reason.split(":")[0] for reason in found.reasons] == ["award companies"]


def test_small_step_is_not_judged() -> None:
    random = np.random.default_rng(5)
    slower = [with_step(run, Step.PUBLISHED_AWARDS, seconds=0.2) for run in a_session(random, 0.01)]

    found = compare(a_session(random, 0.01), slower)

    assert found.verdict is Verdict.NO_REGRESSION
    assert next(i for i in found.metrics if i.metric.name == "published_awards_seconds").verdict is None


def test_slower_machine_is_inconclusive() -> None:
    random = np.random.default_rng(6)
    baseline = a_session(random, 0.02)

    by_machine = compare(baseline, a_session(random, 0.02, machine_slower=1.2))
    by_both = compare(baseline, a_session(random, 0.02, machine_slower=1.2, slower=1.3))

    assert by_machine.verdict is Verdict.INCONCLUSIVE
    assert "the machine was" in by_machine.reasons[0]
    assert by_both.verdict is Verdict.REGRESSION


def test_too_few_repeats_are_inconclusive() -> None:
    random = np.random.default_rng(7)

    found = compare(a_session(random, 0.01, repeats=2), a_session(random, 0.01, repeats=2, slower=1.5))

    assert found.verdict is Verdict.INCONCLUSIVE
    assert "too few repeats" in found.reasons[0]


def test_default_repeats_suffice() -> None:
    assert min_repeats(FALSE_ALARM / 10) <= DEFAULT_REPEATS


@settings(max_examples=40)
@given(st.integers(1, DEFAULT_REPEATS), st.floats(0, 1), st.integers(0, 1_000))
def test_set_compared_with_itself_passes(repeats: int, noise: float, seed: int) -> None:
    runs = a_session(np.random.default_rng(seed), noise, repeats=repeats)

    assert compare(runs, runs).verdict is not Verdict.REGRESSION


@settings(max_examples=40)
@given(st.integers(0, 1_000), st.sampled_from([1.0, 1.1, 1.3]))
def test_repeat_order_does_not_matter(seed: int, slower: float) -> None:
    random = np.random.default_rng(seed)
    before, after = a_session(random, 0.05), a_session(random, 0.05, slower=slower)

    def shuffled(runs: list[RunRecord]) -> list[RunRecord]:
        return shuffling.Random(seed).sample(runs, len(runs))

    assert compare(before, after).metrics == compare(shuffled(before), shuffled(after)).metrics


@given(samples, samples, st.floats(0.5, 2.0))
def test_interval_is_independent_of_unit(before: list[float], after: list[float], unit: float) -> None:
    found = shift(before, after, 0.05)
    other = shift([value * unit for value in before], [value * unit for value in after], 0.05)

    assert found.low <= found.high
    assert other.ratio == pytest.approx(found.ratio)
    assert other.low == pytest.approx(found.low)


@given(samples, samples)
def test_swapped_sides_invert_the_interval(before: list[float], after: list[float]) -> None:
    there, back = shift(before, after, 0.05), shift(after, before, 0.05)

    assert there.low == pytest.approx(1 / back.high if back.high else math.inf)


def test_interval_inverts_mann_whitney_test() -> None:
    random = np.random.default_rng(8)
    for baseline, candidate in [(1, 1), (3, 5), (7, 7), (4, 9)]:
        before, after = random.random(baseline), random.random(candidate)
        expected = stats.mannwhitneyu(after, before, alternative="less", method="exact")
        arrangements = _arrangements(baseline, candidate)

        assert arrangements.sum() == math.comb(baseline + candidate, baseline)
        at_most = arrangements[: int(expected.statistic) + 1].sum() / arrangements.sum()
        assert at_most == pytest.approx(expected.pvalue)


def test_false_alarms_stay_within_limit() -> None:
    random = np.random.default_rng(9)
    trials = 4_000

    alarms = sum(
        shift(random.lognormal(0, 0.1, 7), random.lognormal(0, 0.1, 7), FALSE_ALARM).low > 1 for _ in range(trials)
    )

    assert alarms <= 1.5 * FALSE_ALARM * trials


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.2])
def test_smallest_visible_change_is_detected(noise: float) -> None:
    random = np.random.default_rng(10)
    trials = 400
    level = FALSE_ALARM / 8
    calm = [
        shift(random.lognormal(0, noise, 7), random.lognormal(0, noise, 7), level).smallest_visible
        for _ in range(trials)
    ]
    planted = 1 + float(np.median(calm))

    seen = sum(
        shift(random.lognormal(0, noise, 7), planted * random.lognormal(0, noise, 7), level).low > 1
        for _ in range(trials)
    )

    assert seen >= 0.85 * trials


def test_outlier_does_not_hide_slowdown() -> None:
    random = np.random.default_rng(11)
    before, after = a_session(random, 0.01), a_session(random, 0.01, slower=1.15)
    before[0] = replace(a_run("wild", slower=0.5), session=before[0].session)

    assert compare(before, after).verdict is Verdict.REGRESSION


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"chunk_size": 5}}, "did not do the same work"),
        ({"numbers": RESUMED}, "reused or repeated work"),
        ({"numbers": RETRIED}, "reused or repeated work"),
    ],
)
def test_incomparable_runs_are_refused(change: dict[str, object], message: str) -> None:
    runs = a_session(np.random.default_rng(12), 0.01)

    with pytest.raises(StateError, match=message):
        compare(runs, [*runs[:-1], vary(runs[-1], **change)])  # type: ignore[arg-type]
