"""The run report in a real browser: offline, on a phone, with a keyboard, and checked by axe.

The run is the known case on a real cluster, with a company whose name is markup.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from distributed import Client
from playwright.sync_api import Browser, ElementHandle, Page, Route

from enrich_dist.reporting.html.contents import all_sections
from enrich_dist.reporting.html.render import render_html
from enrich_dist.reporting.html.report_data import read_report_data
from enrich_dist.reporting.html.section import MAX_ROWS
from enrich_dist.store.run_directory import RunDirectory
from tests.conftest import run_steps
from tests.support.report_case import HOSTILE_NAME, hostile_settings, of_thousands
from tests.support.ui import browsing

pytestmark = [pytest.mark.browser, pytest.mark.cluster]

DESKTOP, PHONE = (1280, 900), (360, 740)
# WCAG 2.1, levels A and AA.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory, client: Client) -> RunDirectory:
    """Run twice, so that the report has a comparison."""
    settings = hostile_settings(tmp_path_factory.mktemp("report"))
    run_steps(settings, lambda: client)
    again = settings.model_copy(update={"match_rate_threshold": 0.4})
    return run_steps(again, lambda: client).directory


@contextmanager
def opened(browser: Browser, file: Path, size: tuple[int, int], scheme: str = "light") -> Iterator[Page]:
    """Open the report without a network; fail on any request or error."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    wrong: list[str] = []

    def abort(route: Route) -> None:
        wrong.append(f"asked for {route.request.url}")
        route.abort()

    page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.route(lambda url: not url.startswith("file:"), abort)
    try:
        page.goto(file.as_uri())
        yield page
    finally:
        context.close()
    assert wrong == []


def draw_all(page: Page) -> list[ElementHandle]:
    """Scroll to each chart, as charts are drawn when they come near the viewport."""
    charts = page.query_selector_all("[data-chart]")
    for chart in charts:
        chart.scroll_into_view_if_needed()
        page.wait_for_function("chart => chart.dataset.drawn === 'yes'", arg=chart)
    return charts


@pytest.fixture
def report(browser: Browser, directory: RunDirectory) -> Callable[..., Any]:
    return lambda size, scheme="light": opened(browser, directory.html_report, size, scheme)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_charts_are_drawn_offline(report: Callable[..., Any], directory: RunDirectory, size: Any) -> None:
    expected = [chart.key for section in all_sections(read_report_data(directory)) for chart, _ in section.charts]
    with report(size) as page:
        charts = draw_all(page)
        marks = [
            chart.evaluate("chart => chart.querySelectorAll('.point path, .scatterlayer .point, .lines path').length")
            for chart in charts
        ]
        keys = [chart.get_attribute("data-chart") for chart in charts]

    assert keys == expected
    assert {"methods", "by-agency", "by-state", "probabilities", "weights", "steps", "timeline", "memory"} <= set(keys)
    assert [key for key, count in zip(keys, marks, strict=True) if not count] == []


def test_large_report_loads_fast(browser: Browser, directory: RunDirectory, tmp_path: Path) -> None:
    file = tmp_path / "many.html"
    file.write_text(render_html(of_thousands(read_report_data(directory))), "utf-8")
    began = time.perf_counter()

    with opened(browser, file, DESKTOP) as page:
        loaded_seconds = time.perf_counter() - began
        keys = [chart.get_attribute("data-chart") for chart in draw_all(page)]
        drawn_seconds = time.perf_counter() - began
        bars = page.locator("[data-chart=timeline] .point path").count()
        rows = page.evaluate("Math.max(...Array.from(document.querySelectorAll('tbody'), (body) => body.rows.length))")

    assert {"timeline", "memory", "memory-over-time"} <= set(keys)
    assert bars == 4_500
    assert rows <= MAX_ROWS
    assert loaded_seconds < 10
    assert drawn_seconds < 60


def test_markup_in_names_is_inert(report: Callable[..., Any]) -> None:
    with report(DESKTOP) as page:
        draw_all(page)
        title = page.title()
        images = page.locator("img").count()
        text = page.locator("main").text_content()

    assert title.startswith("SBIR awards and their USAspending recipients")
    assert images == 0
    assert HOSTILE_NAME in (text or "")


def test_only_tables_scroll_on_phone(report: Callable[..., Any]) -> None:
    with report(PHONE) as page:
        draw_all(page)
        page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        width = page.evaluate("document.documentElement.scrollWidth")
        wide = page.evaluate(
            """() => Array.from(document.querySelectorAll('main *'))
                .filter((e) => !e.closest('.scroll, svg') && e.getBoundingClientRect().right > innerWidth + 1)
                .map((e) => e.outerHTML.slice(0, 80))"""
        )
        size = page.evaluate("parseFloat(getComputedStyle(document.querySelector('section p')).fontSize)")

    assert width == PHONE[0]
    assert wide == []
    assert size >= 16


def test_keyboard_reaches_all_controls(report: Callable[..., Any]) -> None:
    focusable = "a[href], summary, [tabindex='0'], button, input"
    with report(DESKTOP) as page:
        page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        expected = page.evaluate(f'document.querySelectorAll("{focusable}").length')
        reached = set()
        seen_rings = []
        for number in range(expected + 5):
            page.keyboard.press("Tab")
            found = page.evaluate(
                f"""() => [Array.from(document.querySelectorAll("{focusable}")).indexOf(document.activeElement),
                           getComputedStyle(document.activeElement).outlineStyle]"""
            )
            if number == 0:
                first = page.evaluate("document.activeElement.textContent")
            reached.add(found[0])
            if found[0] >= 0:
                seen_rings.append(found[1])

        page.goto(page.url.split("#")[0])
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        main = page.evaluate("document.activeElement.id")
        fold = page.locator("summary").first
        fold.focus()
        page.keyboard.press("Enter")
        is_open = page.locator("details").first.get_attribute("open")

    assert first == "Skip to the report"
    assert reached - {-1} == set(range(expected))
    assert set(seen_rings) == {"solid"}
    assert main == "main"
    assert is_open is not None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_no_violation(report: Callable[..., Any], size: Any, scheme: str) -> None:
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    with report(size, scheme) as page:
        draw_all(page)
        page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
        page.evaluate(axe)
        found = page.evaluate("(rules) => axe.run({ runOnly: rules })", RULES)

    wrong = [(item["id"], [node["html"][:100] for node in item["nodes"]][:3]) for item in found["violations"]]
    assert wrong == []
    assert sum(len(item["nodes"]) for item in found["passes"] if item["id"] == "color-contrast") > 100


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_chart_colours_have_contrast(report: Callable[..., Any], scheme: str) -> None:
    """axe does not check charts: 4.5 to 1 for texts, 3 to 1 for bars and lines (WCAG 1.4.3, 1.4.11)."""
    with report(DESKTOP, scheme) as page:
        colours = page.evaluate(
            """() => {
                const style = getComputedStyle(document.documentElement);
                const names = ["paper", "ink", "muted", "matched", "review", "unmatched", "bad",
                               "line0", "line1", "line2", "line3", "line4", "line5"];
                return Object.fromEntries(names.map((name) => [name, style.getPropertyValue("--" + name).trim()]));
            }"""
        )

    paper = colours.pop("paper")
    minimum = {name: 4.5 if name in ("ink", "muted") else 3.0 for name in colours}
    assert {name: colour for name, colour in colours.items() if contrast(colour, paper) < minimum[name]} == {}


def contrast(one: str, other: str) -> float:
    """Return the WCAG contrast of two colours written #rrggbb."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_dark_scheme_redraws_charts(report: Callable[..., Any]) -> None:
    with report(DESKTOP) as page:
        bar = draw_all(page)[0]
        before = bar.evaluate("chart => getComputedStyle(chart.querySelector('.point path')).fill")
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(
            "([chart, before]) => getComputedStyle(chart.querySelector('.point path')).fill !== before",
            arg=[bar, before],
        )
