"""New incidents of a sequence of runs, and the message on them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.events import Step
from enrich_dist.monitoring.incidents import (
    START,
    Incident,
    IncidentKind,
    RunOutcome,
    Severity,
    compose_message,
    new_incidents,
)
from tests.support.outcomes import (
    BLOCKED,
    BLOCKED_OUTCOME,
    FAILED,
    FAILED_OUTCOME,
    GOOD_OUTCOME,
    STEPS,
    outcome,
)

SLOW = Incident(IncidentKind.REGRESSION, "run_seconds", "15% longer", Severity.WARN)
VERY_SLOW = Incident(IncidentKind.REGRESSION, "run_seconds", "80% longer", Severity.ERROR)
SLOW_OUTCOME, VERY_SLOW_OUTCOME = outcome(SLOW), outcome(VERY_SLOW)
FULL_DISK = Incident(IncidentKind.FAILED, "chunk_matches", "disk full", error="EnvironmentFailureError")
EARLY = Incident(IncidentKind.FAILED, START, "inputs.awards is not set", error="SourceError")


def notified(*outcomes: RunOutcome) -> list[list[Incident]]:
    """Return the new incidents of each run of a sequence."""
    active: dict[str, int] = {}
    found = []
    for item in outcomes:
        new, active = new_incidents(item, active)
        found.append(list(new))
    return found


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        pytest.param([BLOCKED_OUTCOME], [[BLOCKED]], id="first"),
        pytest.param([BLOCKED_OUTCOME] * 2, [[BLOCKED], []], id="repeated"),
        pytest.param([BLOCKED_OUTCOME, GOOD_OUTCOME, BLOCKED_OUTCOME], [[BLOCKED], [], [BLOCKED]], id="resolved"),
        pytest.param(
            [BLOCKED_OUTCOME, FAILED_OUTCOME, BLOCKED_OUTCOME], [[BLOCKED], [FAILED], []], id="not resolved by failure"
        ),
        pytest.param([FAILED_OUTCOME] * 2, [[FAILED], []], id="failed again"),
        pytest.param(
            [FAILED_OUTCOME, BLOCKED_OUTCOME, FAILED_OUTCOME], [[FAILED], [BLOCKED], [FAILED]], id="resolved by step"
        ),
        pytest.param(
            [SLOW_OUTCOME, SLOW_OUTCOME, VERY_SLOW_OUTCOME, VERY_SLOW_OUTCOME],
            [[SLOW], [], [VERY_SLOW], []],
            id="worse",
        ),
        pytest.param([VERY_SLOW_OUTCOME, SLOW_OUTCOME, SLOW_OUTCOME], [[VERY_SLOW], [], []], id="less severe"),
        pytest.param([SLOW_OUTCOME, outcome(done=STEPS), SLOW_OUTCOME], [[SLOW], [], []], id="not compared between"),
        pytest.param([BLOCKED_OUTCOME, outcome(BLOCKED, SLOW)], [[BLOCKED], [SLOW]], id="another one"),
        pytest.param(
            [FAILED_OUTCOME, outcome(FULL_DISK), FAILED_OUTCOME], [[FAILED], [FULL_DISK], [FAILED]], id="other error"
        ),
        pytest.param(
            [outcome(EARLY), outcome(EARLY), outcome(FAILED, done=frozenset({Step.SBIR_AWARDS})), outcome(EARLY)],
            [[EARLY], [], [FAILED], [EARLY]],
            id="before the first step",
        ),
    ],
)
def test_incident_is_new_once(outcomes: list[RunOutcome], expected: list[list[Incident]]) -> None:
    assert notified(*outcomes) == expected


@given(st.lists(st.sampled_from(["blocked", "good", "failed", "slow"]), max_size=30))
def test_block_is_new_after_a_pass(runs: list[str]) -> None:
    outcomes = {
        "blocked": BLOCKED_OUTCOME,
        "good": GOOD_OUTCOME,
        "failed": FAILED_OUTCOME,
        "slow": outcome(SLOW, passed=frozenset({"match_rate"}), done=STEPS),
    }
    found = notified(*(outcomes[run] for run in runs))

    expected, is_known = [], False
    for run in runs:
        expected.append(run == "blocked" and not is_known)
        is_known = is_known if run == "failed" else run == "blocked"  # a failed run does not reach the quality gate
    assert [BLOCKED in incidents for incidents in found] == expected


def test_message_has_reason_and_next_step() -> None:
    message = compose_message(
        outcome(BLOCKED, SLOW, run_id="0a1b"), (BLOCKED, SLOW), work_dir="/data/work", report="/data/work/report.html"
    )

    assert message.title == "enrich_dist blocked: match_rate and 1 more"
    assert message.severity is Severity.ERROR
    lines = message.body.splitlines()
    assert "- match_rate: match rate 51.3%, threshold 70.0%" in lines
    assert "- run_seconds (warning): 15% longer" in lines
    assert len([line for line in lines if line.startswith("Next: ")]) == 2
    assert lines[-3:] == ["Run: 0a1b", "Work directory: /data/work", "Report: /data/work/report.html"]


def test_message_lists_known_incidents_last() -> None:
    body = compose_message(outcome(BLOCKED, SLOW), (SLOW,), work_dir="w", report=None).body

    assert 0 < body.index("- run_seconds") < body.index("- match_rate")
