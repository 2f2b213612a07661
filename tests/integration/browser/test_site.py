"""The documentation site in a real browser, opened from files: offline, on a phone, checked by axe, with its search."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Route

from scripts.site import SITE
from tests.conftest import REPOSITORY
from tests.support.pictures import pictures_folder
from tests.support.ui import browsing

pytestmark = pytest.mark.browser

DESKTOP, PHONE = (1280, 900), (360, 740)
MIN_PAGES = 25


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as started:
        yield started


@pytest.fixture(scope="module")
def pages() -> list[Path]:
    """Build the site, and return its pages."""
    built = subprocess.run(
        [sys.executable, "-m", "scripts.site"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    found = sorted(path for path in SITE.rglob("*.html") if path.name != "404.html")  # it asks for the server's root
    assert len(found) >= MIN_PAGES
    return found


@contextmanager
def visiting(browser: Browser, size: tuple[int, int], scheme: str) -> Iterator[Page]:
    """Open a page without a network; fail on requests to other hosts and on errors."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    wrong: list[str] = []

    def abort(route: Route) -> None:
        wrong.append(f"{page.url} asked for {route.request.url}")
        route.abort()

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            wrong.append(f"{page.url}: {message.type}: {message.text}")

    page.on("console", said)
    page.on("pageerror", lambda error: wrong.append(f"{page.url}: {error}"))
    page.on("requestfailed", lambda request: wrong.append(f"{page.url}: no {request.url}"))
    page.route(lambda url: not url.startswith(("file:", "data:", "blob:")), abort)
    try:
        yield page
    finally:
        context.close()
    assert wrong == []


@pytest.mark.parametrize(
    ("size", "scheme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light")], ids=["desktop", "dark", "phone"]
)
def test_pages_load_and_pass_axe(
    browser: Browser, pages: list[Path], size: tuple[int, int], scheme: str, tmp_path: Path
) -> None:
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
    found: dict[str, object] = {}
    checked = 0
    with visiting(browser, size, scheme) as page:
        for path in pages:
            page.goto(path.as_uri())
            page.wait_for_function("[...document.images].every((image) => image.complete)")
            assert page.evaluate("[...document.images].filter((i) => !i.naturalWidth).map((i) => i.src)") == []
            across = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert across <= 0, f"{path.name} is {across} pixels too wide"
            page.evaluate(axe)
            result = page.evaluate("() => axe.run({ preload: false })")
            checked += len(result["passes"])
            for item in result["violations"]:
                if item["impact"] in ("serious", "critical"):
                    found[f"{path.relative_to(SITE)}: {item['id']}"] = [node["html"][:160] for node in item["nodes"]][
                        :3
                    ]
        page.goto((SITE / "index.html").as_uri())
        page.screenshot(path=pictures_folder(tmp_path) / "site.png")

    assert found == {}
    assert checked > 10 * len(pages)


def test_search_works_offline(browser: Browser, pages: list[Path]) -> None:
    with visiting(browser, DESKTOP, "light") as page:
        page.goto((SITE / "index.html").as_uri())
        page.keyboard.press("/")
        page.keyboard.type("heartbeat_timeout_seconds")
        hit = page.locator("a[href*='how-to/tune.html']").filter(has_text="heartbeat").first
        hit.wait_for()
        hit.click()
        page.wait_for_url("**/how-to/tune.html**")
