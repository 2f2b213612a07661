"""The CI benchmark: its verdict on synthetic measurements, and on a real planted slowdown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from enrich_dist.errors import EXIT_FAILED, EXIT_REGRESSION, BenchmarkError
from scripts import ci_benchmark
from scripts.ci_benchmark import (
    BASELINE,
    Session,
    Verdict,
    baseline_document,
    compare,
    confirmed,
    exit_code,
    limit_of,
    measure_steps,
    read_baseline,
    reasons,
    verdict_of,
)

FIGURES = {"matching": 5.0, "all steps": 28.0, "whole command": 170.0, "peak per worker": 240e6}


def a_session(random: np.random.Generator, noise: float, **factors: float) -> Session:
    """Return repeats with ``noise``, and half of it common to the session."""

    def values(name: str, value: float) -> list[float]:
        whole = factors.get(name.replace(" ", "_"), 1.0) * float(random.lognormal(0.0, noise / 2))
        return [value * whole * float(random.lognormal(0.0, noise)) for _ in range(2 if "command" in name else 10)]

    return {name: values(name, value) for name, value in FIGURES.items()}


def regressions(sessions: list[Session], baseline: list[Session]) -> set[str]:
    """Return the metrics that the first measurement and its confirmation both report."""
    first, again = (compare(baseline_document(baseline), session) for session in sessions)
    return {name for name, item in confirmed(first, again).items() if item["regression"]}


@pytest.mark.parametrize(
    ("factors", "expected"),
    [
        ({}, set()),
        ({"matching": 1.4}, {"matching"}),
        ({"matching": 1.1, "all_steps": 1.05}, set()),
        ({"all_steps": 1.4}, {"all steps"}),
        ({"peak_per_worker": 1.25}, {"peak per worker"}),
    ],
)
def test_regression_needs_the_limit(factors: dict[str, float], expected: set[str]) -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        baseline = [a_session(random, 0.04) for _ in range(5)]
        # Memory hardly varies.
        noise = 0.01 if "peak_per_worker" in factors else 0.04
        sessions = [a_session(random, noise, **factors) for _ in range(2)]

        assert regressions(sessions, baseline) == expected


@pytest.mark.parametrize(
    ("factors", "noise", "verdict"),
    [
        ({}, 0.01, Verdict.PASSED),
        ({"all_steps": 1.07}, 0.01, Verdict.PASSED),
        ({"all_steps": 1.14}, 0.01, Verdict.REGRESSION),
        ({"peak_per_worker": 1.25}, 0.01, Verdict.REGRESSION),
        ({}, 0.15, Verdict.CANNOT_TELL),
        ({"all_steps": 1.12}, 0.15, Verdict.CANNOT_TELL),
        ({"all_steps": 2.5}, 0.15, Verdict.REGRESSION),
    ],
)
def test_limits_hold_on_a_quiet_machine_and_noise_is_said(
    factors: dict[str, float], noise: float, verdict: Verdict
) -> None:
    found = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        baseline = [a_session(random, noise) for _ in range(5)]
        sessions = [a_session(random, noise, **factors) for _ in range(2)]
        name = "peak per worker"  # memory hardly varies, however noisy the machine is
        baseline = [{**one, name: [FIGURES[name]] * 2} for one in baseline]
        sessions = [{**one, name: [FIGURES[name] * factors.get("peak_per_worker", 1.0)] * 2} for one in sessions]
        compared = confirmed(*(compare(baseline_document(baseline), session) for session in sessions))
        found.append(verdict_of(compared))
        if found[-1] is Verdict.CANNOT_TELL:
            assert any("all steps" in line and "or more is detectable" in line for line in reasons(compared))
            assert compared["all steps"]["smallest_detectable"] > 0.10

    assert found.count(verdict) >= 18  # a planted 12% may also be seen in spite of the noise


def test_another_machine_needs_a_larger_change() -> None:
    random = np.random.default_rng(0)
    document = baseline_document([a_session(random, 0.01) for _ in range(5)])

    def verdict(factor: float, *, same_machine: bool) -> Verdict:
        session = a_session(np.random.default_rng(1), 0.01, all_steps=factor)
        return verdict_of(compare(document, session, same_machine=same_machine))

    assert verdict(1.15, same_machine=True) is Verdict.REGRESSION
    assert verdict(1.15, same_machine=False) is Verdict.CANNOT_TELL
    assert verdict(1.3, same_machine=False) is Verdict.REGRESSION


def test_exit_codes() -> None:
    assert [exit_code(verdict, strict=False) for verdict in Verdict] == [EXIT_REGRESSION, 0, 0]
    assert [exit_code(verdict, strict=True) for verdict in Verdict] == [EXIT_REGRESSION, 0, EXIT_FAILED]


def test_committed_baseline_is_complete() -> None:
    baseline = read_baseline(BASELINE)
    found = compare(baseline, baseline["sessions"][0])

    assert {"matching", "reduce", "all steps", "whole command", "peak per worker", "peak of the driver"} <= set(found)
    assert not any(item["regression"] for item in found.values())
    for name, item in found.items():
        # Its own measurements vary less than the limit.
        assert item["baseline_spread"] < limit_of(name) - 1
    assert "/" not in json.dumps({**baseline, "machine": "", "timestamp": ""})


def test_missing_baseline_has_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="ci_benchmark --record"):
        read_baseline(tmp_path / "none.json")


def test_regression_is_measured_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps(baseline_document([a_session(random, 0.01) for _ in range(3)])), "utf-8")

    def ends_with(*slower: float) -> object:
        waiting = [a_session(random, 0.01, matching=factor) for factor in slower]
        monkeypatch.setattr(ci_benchmark, "_measure", lambda *_: waiting.pop(0))
        monkeypatch.setattr("sys.argv", ["ci_benchmark", "--baseline", str(path)])
        with pytest.raises(SystemExit) as ended:
            ci_benchmark.main()
        assert waiting == []
        return ended.value.code

    assert ends_with(1.0) == 0
    assert ends_with(1.5, 1.0) == 0
    assert ends_with(1.5, 1.5) == EXIT_REGRESSION
    assert "regression" in capsys.readouterr().out


@pytest.mark.long
def test_planted_slowdown_is_localised() -> None:
    before, after = measure_steps(2), measure_steps(2, plant=2.5)

    ratios = {name: float(np.median(after[name]) / np.median(before[name])) for name in before}
    assert 1.8 < ratios["matching"] < 3.4
    assert all(ratio < 1.6 for name, ratio in ratios.items() if name != "matching")
