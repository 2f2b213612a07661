"""Admission, ``config validate`` and the preflight share one ordered list of checks."""

from __future__ import annotations

from pathlib import Path

import pytest

from enrich_dist.errors import EXIT_BAD_INPUT, EnrichError, SettingsError, SourceError
from enrich_dist.preflight.catalog import CHECKS
from enrich_dist.preflight.context import Status
from enrich_dist.preflight.runner import admit, find_settings_problems
from enrich_dist.settings import Settings
from tests.support.known_case import settings
from tests.support.preflight_case import loaded_of, outcome_of


@pytest.fixture
def wrong(tmp_path: Path) -> Settings:
    """Settings with an error in each of three checks, and a warning."""
    right = settings(tmp_path)
    return right.model_copy(
        update={
            "inputs": right.inputs.model_copy(update={"recipients": str(tmp_path / "gone.parquet")}),
            "memory_threshold_mb": 256,
            "notifications": right.notifications.model_copy(update={"urls_file": tmp_path / "no-addresses"}),
            "testing": right.testing.model_copy(update={"fault_probability": 0.1}),
        }
    )


def test_admission_raises_the_first_error(wrong: Settings) -> None:
    with pytest.raises(SettingsError, match="no-addresses") as unreachable:  # first: others are sent there
        admit(wrong)
    notifications = wrong.notifications.model_copy(update={"urls_file": None})
    with pytest.raises(SourceError, match=r"gone\.parquet") as missing:
        admit(wrong.model_copy(update={"notifications": notifications}))

    assert unreachable.value.exit_code == missing.value.exit_code == EXIT_BAD_INPUT


def test_validation_lists_all_errors(wrong: Settings) -> None:
    problems = find_settings_problems(loaded_of(wrong))

    assert [problem.is_warning for problem in problems] == [False, False, False, True]
    assert all(isinstance(problem.error, EnrichError) for problem in problems)


def test_preflight_runs_the_cheap_checks(wrong: Settings) -> None:
    with_cheap_part = [check.id for check in CHECKS if check.settings_checks]
    outcomes = {name: outcome_of(name, wrong) for name in with_cheap_part if name != "storage"}

    assert with_cheap_part == ["settings_valid", "no_insecure_override", "storage", "alert_destination"]
    assert {name: outcome.facts["problems"] for name, outcome in outcomes.items()} == {
        "settings_valid": 2, "no_insecure_override": 1, "alert_destination": 1,
    }  # fmt: skip
    assert {outcome.status for outcome in outcomes.values()} == {Status.FAILED}


def test_warnings_do_not_refuse_a_run(tmp_path: Path) -> None:
    admit(settings(tmp_path, cluster={"allow_insecure": True}))
