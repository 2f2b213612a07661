"""Runs of the bundled sample, and the Dagster UI with their history.

Four runs pass, each from scratch; then one matches less; then one is blocked. Tests are in the order of these states.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from dagster_defs.launch import open_instance
from enrich_dist.core.files import read_json
from enrich_dist.store.run_directory import Output, RunDirectory
from tests.conftest import enrich_dist
from tests.support.pictures import pictures_folder
from tests.support.ui import BASE, BLOCKED_EXIT_CODE, SAMPLE, SAMPLE_INPUTS, browsing, opened_page, serving

PASSED_RUNS = 4
PREFERENCES = {
    "dagster-nav-collapsed": True,
    "asset-node-facets": ["description", "checks", "status", "kind-tag"],
}
_COMPUTED = ("awards", "companies", "index", "chunks", "checkpoints", "results", "published", "steps", "attempts")


@dataclass(frozen=True)
class History:
    """The runs of a work directory, the oldest first."""

    directory: RunDirectory
    runs: tuple[str, ...]


def _runs(directory: RunDirectory) -> tuple[str, ...]:
    with open_instance(directory.dagster) as instance:
        return tuple(run.run_id for run in reversed(instance.get_runs()))


@pytest.fixture(scope="module")
def passed(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Return runs that computed everything and were published."""
    directory = RunDirectory(tmp_path_factory.mktemp("sample") / "work")
    for _ in range(PASSED_RUNS):
        for name in _COMPUTED:
            shutil.rmtree(directory.root / name, ignore_errors=True)
        done = enrich_dist("run", "--config", SAMPLE, "--work-dir", directory.root)
        assert done.returncode == 0, done.stderr
    return History(directory, _runs(directory))


@pytest.fixture(scope="module")
def drifted(passed: History) -> History:
    """Add a run with a higher acceptance threshold: it matches less, and is published."""
    done = enrich_dist(
        "run", "--config", SAMPLE, "--work-dir", passed.directory.root, "--set", "matching.accept_probability=0.95"
    )
    assert done.returncode == 0, done.stderr
    return History(passed.directory, _runs(passed.directory))


@pytest.fixture(scope="module")
def blocked(drifted: History) -> History:
    """Add a run with the default threshold of the match rate, which the sample cannot reach."""
    done = enrich_dist("run", "--config", BASE, "--work-dir", drifted.directory.root, "--chunk-size", "10000",
                       "--set", "min_estimated_precision=0.94", *SAMPLE_INPUTS)  # fmt: skip
    assert done.returncode == BLOCKED_EXIT_CODE, done.stderr
    return History(drifted.directory, _runs(drifted.directory))


@pytest.fixture(scope="module")
def blocked_reason(blocked: History) -> str:
    (reason,) = read_json(blocked.directory.output(Output.RESULT) / "verdict.json")["reasons"]
    return str(reason)


@pytest.fixture(scope="module")
def address(passed: History) -> Iterator[str]:
    with serving(passed.directory.dagster) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with opened_page(browser, address, preferences=PREFERENCES, scale=2) as opened:
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder for pictures of a test."""
    return pictures_folder(tmp_path)
