"""One passed and one blocked run of the bundled sample, and the Dagster UI over their history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Page

from dagster_defs.launch import open_instance
from enrich_dist.store.files import read_json
from enrich_dist.store.rundir import RunDirectory
from tests.browser.ui import BLOCKED_EXIT_CODE, browsing, opened_page, serving
from tests.conftest import SampleRuns


@dataclass(frozen=True)
class History:
    """What the UI has to show."""

    directory: RunDirectory
    passed_run: str
    blocked_run: str
    blocked_reason: str


@pytest.fixture(scope="module")
def history(sample_runs: SampleRuns) -> History:
    assert (sample_runs.passed.returncode, sample_runs.blocked.returncode) == (0, BLOCKED_EXIT_CODE)
    directory = RunDirectory(sample_runs.work_dir)
    with open_instance(directory.dagster) as instance:
        blocked, passed = (run.run_id for run in instance.get_runs())  # the newest first
    (reason,) = read_json(directory.output("enriched_awards", "result") / "verdict.json")["reasons"]
    return History(directory, passed, blocked, reason)


@pytest.fixture(scope="module")
def address(history: History) -> Iterator[str]:
    with serving(history.directory.dagster) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened_page(browser, address) as opened:
        yield opened
