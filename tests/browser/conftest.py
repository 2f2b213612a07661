"""One passed and one blocked run of the bundled sample, and the Dagster UI over their history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from enrich_dist.files import read_json
from enrich_dist.rundir import RunDirectory
from tests.browser.ui import BASE, BLOCKED_EXIT_CODE, SAMPLE, SAMPLE_INPUTS, browsing, opened_page, serving
from tests.conftest import enrich_dist


@dataclass(frozen=True)
class History:
    """What the UI has to show."""

    directory: RunDirectory
    passed_run: str
    blocked_run: str
    blocked_reason: str


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    directory = RunDirectory(tmp_path_factory.mktemp("ui") / "work")
    passed = _run(directory, SAMPLE, exit_code=0)
    blocked = _run(directory, BASE, *SAMPLE_INPUTS, exit_code=BLOCKED_EXIT_CODE)
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


def _run(directory: RunDirectory, config: Path, *arguments: str, exit_code: int) -> str:
    """Run the job; return the run's id."""
    done = enrich_dist("run", "--config", config, "--work-dir", directory.root, *arguments)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return directory.latest("enriched_awards").run_id
