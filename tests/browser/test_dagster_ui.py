"""What an operator finds in the Dagster UI after a passed and a blocked run of the bundled sample."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from enrich_dist.settings import load_settings
from tests.browser.conftest import History
from tests.browser.ui import BASE, LINEAGE, RUNS, SAMPLE_INPUTS, check_page, events_page

pytestmark = pytest.mark.browser

ASSETS = ["award_companies", "chunk_matches", "enriched_awards", "published_awards", "recipient_chunks", "sbir_awards"]


@pytest.fixture(autouse=True)
def _patient() -> None:
    expect.set_options(timeout=30_000)


def test_graph_shows_the_six_assets(page: Page) -> None:
    page.goto(LINEAGE)
    nodes = page.locator("foreignObject").filter(has_text=re.compile(r"\w"))
    expect(nodes).to_have_count(len(ASSETS))
    for asset in ASSETS:
        expect(nodes.get_by_text(asset, exact=True)).to_be_visible()


def test_failed_check_tells_why_the_result_is_blocked(page: Page, history: History) -> None:
    assert re.search(r"match rate 0\.\d+, threshold 0\.7000", history.blocked_reason)
    page.goto(check_page("enriched_awards", "match_rate"))
    expect(page.get_by_text(f"published_awards is blocked: {history.blocked_reason}", exact=True)).to_be_visible()
    expect(_under(page, "Evaluation result")).to_contain_text(re.compile("Failed$"))
    latest = _under(page, "Timestamp").get_by_role("link")
    expect(latest).to_have_attribute("href", re.compile(rf"/runs/{history.blocked_run}\b"))


def test_run_list_shows_both_runs(page: Page, history: History) -> None:
    page.goto(RUNS)
    for run, outcome in ((history.passed_run, "Success"), (history.blocked_run, "Failure")):
        link = page.get_by_role("link", name=run[:8])
        expect(link).to_have_attribute("href", f"/runs/{run}")
        row = link.locator("xpath=ancestor::div[.//a[normalize-space()='View']][1]")
        expect(row).to_contain_text(outcome)


def test_materialization_shows_memory_per_worker(page: Page, history: History) -> None:
    settings = load_settings(BASE, [text.removeprefix("--set=") for text in SAMPLE_INPUTS]).settings
    page.goto(events_page("chunk_matches"))
    expect(page.get_by_role("link", name=history.blocked_run[:8])).to_be_visible()
    table = page.locator("tr").filter(has_text="memory_per_worker").locator("table")
    expect(table).to_be_visible()
    head, *workers = [row.locator("th, td").all_inner_texts() for row in table.locator("tr").all()]
    assert len(workers) == settings.cluster.n_workers
    for worker in workers:
        cells = dict(zip(head, worker, strict=True))
        assert int(cells["limit MB"]) == settings.memory_threshold_mb
        assert 0 < int(cells["peak MB"]) <= settings.memory_threshold_mb


def _under(page: Page, title: str) -> Locator:
    """The cell under a title of the check's latest execution."""
    return page.get_by_text(title, exact=True).locator("xpath=..")
