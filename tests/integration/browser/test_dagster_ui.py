"""The Dagster UI after runs of the bundled sample; ``make screenshots`` stores the pictures for the documents.

Passed runs come first, then one with drift, then a blocked one. Tests are in the order of these states.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from dagster_defs.checks import DRIFT_SPECS, VERDICT_SPECS
from dagster_defs.limits import limit_specs
from enrich_dist.events import Step
from enrich_dist.settings import load_settings
from tests.integration.browser.conftest import PASSED_RUNS, History
from tests.support.pictures import MARGIN, around, right_of_navigation, steady_picture
from tests.support.ui import (
    AUTOMATION,
    GROUP_LINEAGE,
    LINEAGE,
    RUNS,
    SAMPLE,
    check_page,
    events_page,
    overview_page,
    switch,
)

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


def test_graph_shows_all_checks_passed(page: Page, folder: Path) -> None:
    specs = [*VERDICT_SPECS, *DRIFT_SPECS, *limit_specs(Step.CHUNK_MATCHES), *limit_specs(Step.ENRICHED_AWARDS)]
    of_chunks = sum(spec.asset_key.to_user_string() == "chunk_matches" for spec in specs)
    of_awards = len(specs) - of_chunks
    page.goto(GROUP_LINEAGE)
    nodes = page.locator("foreignObject").filter(has_text="Materialized")
    expect(nodes).to_have_count(len(ASSETS))
    expect(nodes.filter(has_text=f"{of_awards} / {of_awards} Passed")).to_have_count(1)
    expect(nodes.filter(has_text=f"{of_chunks} / {of_chunks} Passed")).to_have_count(1)
    steady_picture(page, folder / "asset-graph.png", around(nodes))


def test_materialization_shows_memory_per_worker(page: Page, passed: History) -> None:
    settings = load_settings(SAMPLE, [], {}).settings
    page.goto(events_page("chunk_matches"))
    expect(page.get_by_role("link", name=passed.runs[-1][:8])).to_be_visible()
    table = page.locator("tr").filter(has_text="memory_per_worker").locator("table")
    expect(table).to_be_visible()
    head, *workers = [row.locator("th, td").all_inner_texts() for row in table.locator("tr").all()]
    assert len(workers) == settings.cluster.n_workers
    for worker in workers:
        cells = dict(zip(head, worker, strict=True))
        assert int(cells["limit MB"].replace(",", "")) == settings.memory_threshold_mb
        assert 0 < int(cells["peak MB"].replace(",", "")) <= settings.memory_threshold_mb


def test_metadata_of_runs_is_plotted(page: Page) -> None:
    plots = _open_plots(page, "chunk_matches")
    for name in ("rows_per_second", "worker_peak_memory_mb", "seconds"):
        assert _share_drawn(_plot(plots, name)) > 0.6, name


def test_schedule_is_off_sensor_on(page: Page) -> None:
    page.goto(AUTOMATION)
    expect(switch(page, "sensors", "notify_operators")).to_be_checked()
    expect(switch(page, "schedules", "nightly")).not_to_be_checked()


def test_drift_check_does_not_block(page: Page, drifted: History, folder: Path) -> None:
    page.goto(check_page("enriched_awards", "match_rate_drift"))
    expect(page.get_by_text(re.compile(r"points lower than the median"))).to_be_visible()
    expect(page.get_by_text("non-blocking")).to_be_visible()
    expect(_under(page, "Evaluation result")).to_contain_text(re.compile("Failed$"))
    latest = _under(page, "Timestamp").get_by_role("link")
    expect(latest).to_have_attribute("href", re.compile(rf"/runs/{drifted.runs[-1]}\b"))
    _check_picture(page, folder / "check-drift.png")


def test_drop_is_visible_in_plot(page: Page, drifted: History, folder: Path) -> None:
    plots = _open_plots(page, "enriched_awards")
    pair = _plot(plots, "estimated_recall").or_(_plot(plots, "match_rate"))
    expect(pair).to_have_count(2)
    for plot in pair.all():
        assert _share_drawn(plot) > 0.6
    steady_picture(page, folder / "trend-plot.png", around(pair, margin=4))  # the next plots are near


def test_failed_check_shows_the_reason(page: Page, blocked: History, blocked_reason: str, folder: Path) -> None:
    page.goto(check_page("enriched_awards", "match_rate"))
    expect(page.get_by_text(f"published_awards is blocked: {blocked_reason}", exact=True)).to_be_visible()
    expect(_under(page, "Evaluation result")).to_contain_text(re.compile("Failed$"))
    latest = _under(page, "Timestamp").get_by_role("link")
    expect(latest).to_have_attribute("href", re.compile(rf"/runs/{blocked.runs[-1]}\b"))
    _check_picture(page, folder / "check-failed.png")


def test_blocked_asset_shows_the_reason(page: Page, blocked: History, blocked_reason: str, folder: Path) -> None:
    page.goto(events_page("published_awards"))
    expect(page.get_by_text("failed, and did not materialize this asset.")).to_be_visible()
    expect(page.get_by_text(f"published_awards is blocked: {blocked_reason}", exact=True)).to_be_visible()
    row = page.locator("tr").filter(has_text="blocked_because")
    expect(row).to_contain_text(blocked_reason)
    end = page.get_by_text("Tags", exact=True).last.bounding_box()
    assert end
    steady_picture(page, folder / "blocked.png", right_of_navigation(page, height=end["y"] - MARGIN))


def test_run_list_shows_runs_and_outcomes(page: Page, blocked: History) -> None:
    page.goto(RUNS)
    assert len(blocked.runs) == PASSED_RUNS + 2
    for run, outcome in ((blocked.runs[0], "Success"), (blocked.runs[-2], "Success"), (blocked.runs[-1], "Failure")):
        link = page.get_by_role("link", name=run[:8])
        expect(link).to_have_attribute("href", f"/runs/{run}")
        row = link.locator("xpath=ancestor::div[.//a[normalize-space()='View']][1]")
        expect(row).to_contain_text(outcome)


def _under(page: Page, title: str) -> Locator:
    """Return the cell below a title of the check's latest execution."""
    return page.get_by_text(title, exact=True).locator("xpath=..")


def _open_plots(page: Page, asset: str) -> Locator:
    """Open the plots of an asset's metadata, in a viewport that is high enough to draw all of them."""
    page.set_viewport_size({"width": 1400, "height": 5000})
    page.goto(overview_page(asset))
    page.get_by_text("Plots", exact=True).click()
    expect(page.locator("canvas").first).to_be_visible()
    return page.locator("div")


def _plot(plots: Locator, name: str) -> Locator:
    """Return the plot with this title."""
    return plots.filter(has=plots.page.locator(f"xpath=./div[1]/span[normalize-space()='{name}']")).filter(
        has=plots.page.locator("xpath=./div[2]//canvas")
    )


def _share_drawn(plot: Locator) -> float:
    """Return the share of the plot's width that its line covers; a single run would be a point."""
    return float(
        plot.locator("canvas").evaluate(
            """async canvas => {
                await new Promise((done) => setTimeout(done, 2000));  // the animation
                const { width, height } = canvas;
                const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                const columns = new Set();
                for (let at = 0; at < data.length; at += 4) {
                    const [red, green, blue, alpha] = data.slice(at, at + 4);
                    const line = alpha > 200 && blue > 150 && blue - red > 80 && blue - green > 80;
                    if (line) columns.add((at / 4) % width);
                }
                return columns.size / width;
            }"""
        )
    )


def _check_picture(page: Page, path: Path) -> None:
    """Take a picture of a check's page down to its metadata."""
    end = page.get_by_text("Plots", exact=True).bounding_box()
    assert end, "the page has no plots"
    steady_picture(page, path, right_of_navigation(page, height=end["y"] - MARGIN))
