"""The pages of ``bench compare`` and ``bench trend`` in a real browser: offline, on a phone, and checked by axe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from enrich_dist.reporting.html.benchmark_page import comparison_page, trend_page
from enrich_dist.runs.baseline import compare
from enrich_dist.runs.trend import trends
from tests.integration.browser.test_report import DESKTOP, PHONE, RULES, draw_all, opened
from tests.support.histories import BEGIN, a_session
from tests.support.ui import browsing

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    sessions = [
        a_session(
            np.random.default_rng(day), 0.02, slower=1 + 0.05 * day, name=f"{day}", at=BEGIN + timedelta(days=day)
        )
        for day in range(8)
    ]
    runs = [run for session in sessions for run in session]
    folder = tmp_path_factory.mktemp("pages")
    texts = {
        "comparison": comparison_page(compare(sessions[0], sessions[-1])),
        "trend": trend_page(trends(runs, None, None), runs),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, "utf-8")
    return {name: folder / f"{name}.html" for name in texts}


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", ["comparison", "trend"])
def test_pages_are_readable_offline(browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int]) -> None:
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    with opened(browser, pages[name], size) as page:
        drawn = draw_all(page)
        marks = [chart.evaluate("chart => chart.querySelectorAll('.scatterlayer .point').length") for chart in drawn]
        page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        width = page.evaluate("document.documentElement.scrollWidth")
        page.evaluate(axe)
        found = page.evaluate("(rules) => axe.run({ runOnly: rules })", RULES)

    assert len(marks) > 10
    assert all(marks)
    assert width == size[0]
    assert [(item["id"], [node["html"][:100] for node in item["nodes"]][:3]) for item in found["violations"]] == []
