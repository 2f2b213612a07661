"""Pictures of pages, taken by the browser tests and stored in docs/images by ``make screenshots``."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import FloatRect, Locator, Page

MARGIN = 20
_ATTEMPTS = 40


def pictures_folder(otherwise: Path) -> Path:
    """Return the folder for pictures: $SCREENSHOTS, else the given one."""
    folder = Path(os.environ.get("SCREENSHOTS") or otherwise)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def around(locator: Locator, margin: int = MARGIN) -> FloatRect:
    """Return the rectangle that contains all elements, with a margin."""
    boxes = [box for box in (found.bounding_box() for found in locator.all()) if box]
    x, y = min(box["x"] for box in boxes) - margin, min(box["y"] for box in boxes) - margin
    right, bottom = max(box["x"] + box["width"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    return {"x": x, "y": y, "width": right + margin - x, "height": bottom + margin - y}


def right_of_navigation(page: Page, *, height: float) -> FloatRect:
    """Return the page from its top, without the navigation bar on the left."""
    left = page.get_by_text("Assets", exact=True).last.bounding_box()
    assert left, "the page has no title"
    x = left["x"] - MARGIN
    width = page.evaluate("innerWidth") - x
    return {"x": x, "y": 0, "width": width, "height": height}


def steady_picture(page: Page, path: Path, clip: FloatRect) -> None:
    """Take a picture when two consecutive ones are equal, so that nothing moves or loads."""
    last = b""
    for _ in range(_ATTEMPTS):
        picture = page.screenshot(clip=clip)
        if picture == last:
            path.write_bytes(picture)
            return
        last = picture
        page.wait_for_timeout(500)
    raise RuntimeError(f"{page.url} does not stop changing")
