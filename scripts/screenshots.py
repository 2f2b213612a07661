"""Makes the pictures under docs/images from real runs of the bundled sample: ``python scripts/screenshots.py``.

Needs Chromium and the packages of the group ``dev``. What would name the machine is taken out of the terminal's
picture: the directory the run was started in, so that paths read ``work/...``, and the host's name.
"""

from __future__ import annotations

import argparse
import io
import re
import socket
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import FloatRect, Locator, Page, expect
from rich.console import Console
from rich.text import Text

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.browser.ui import (
    BLOCKED_EXIT_CODE,
    GROUP_LINEAGE,
    REPOSITORY,
    SAMPLE_INPUTS,
    browsing,
    check_page,
    opened_page,
    serving,
)
from tests.terminal import COLUMNS, run_in_terminal

MARGIN = 16
PREFERENCES = {
    "dagster-nav-collapsed": True,
    "asset-node-facets": ["description", "checks", "status", "kind-tag"],
}


def main() -> None:
    """Run the sample passed and blocked in a scratch directory, and take the pictures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, default=REPOSITORY / "docs" / "images", help="where the pictures go")
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        cwd = Path(scratch).resolve()
        for folder in ("config", "data"):
            (cwd / folder).symlink_to(REPOSITORY / folder)
        command = ["enrich-dist", "run", "--config", "config/sample.yaml"]
        printed = run_in_terminal(command, cwd, exit_code=0)
        picture = terminal_picture(final_screen(without_machine(printed, cwd)), title=" ".join(command))
        (output / "terminal-run.svg").write_text(picture, "utf-8")
        with (
            serving(cwd / "work" / "dagster") as address,
            browsing() as browser,
            opened_page(browser, address, preferences=PREFERENCES, scale=2) as page,
        ):
            graph_picture(page, output / "asset-graph.png")
            blocked = ["enrich-dist", "run", "--config", "config/base.yaml", *SAMPLE_INPUTS]
            run_in_terminal(blocked, cwd, exit_code=BLOCKED_EXIT_CODE)
            blocked_picture(page, output / "blocked.png")


def graph_picture(page: Page, path: Path) -> None:
    """The six assets with their state after a passed run."""
    page.goto(GROUP_LINEAGE)
    nodes = page.locator("foreignObject").filter(has_text="Materialized")
    expect(nodes).to_have_count(6, timeout=30_000)
    expect(nodes.filter(has_text="3 / 3 Passed")).to_have_count(1)
    steady_picture(page, path, around(nodes))


def blocked_picture(page: Page, path: Path) -> None:
    """The page of the check that kept the result from being published."""
    page.goto(check_page("enriched_awards", "match_rate"))
    expect(page.get_by_text("published_awards is blocked: ")).to_be_visible(timeout=30_000)
    end = page.get_by_text("Plots", exact=True).bounding_box()
    left = page.get_by_text("Assets", exact=True).last.bounding_box()
    assert end, "the page has no plots below the finding"
    assert left, "the page has no title"
    x = left["x"] - MARGIN
    steady_picture(page, path, {"x": x, "y": 0, "width": 1400 - x, "height": end["y"] - MARGIN})


def around(locator: Locator) -> FloatRect:
    """The rectangle that holds all of them, with a margin."""
    boxes = [box for box in (found.bounding_box() for found in locator.all()) if box]
    x, y = min(box["x"] for box in boxes) - MARGIN, min(box["y"] for box in boxes) - MARGIN
    right, bottom = max(box["x"] + box["width"] for box in boxes), max(box["y"] + box["height"] for box in boxes)
    return {"x": x, "y": y, "width": right + MARGIN - x, "height": bottom + MARGIN - y}


def steady_picture(page: Page, path: Path, clip: FloatRect) -> None:
    """Take the picture as soon as it is the same twice: nothing moves or loads any more."""
    last = b""
    for _ in range(40):
        picture = page.screenshot(clip=clip)
        if picture == last:
            path.write_bytes(picture)
            return
        last = picture
        page.wait_for_timeout(500)
    raise RuntimeError(f"{page.url} does not come to rest")


def without_machine(text: str, cwd: Path) -> str:
    """The text without the directory it was printed in and without the host's name; columns keep their width."""
    host = socket.gethostname()
    return re.sub(rf"\b{re.escape(host)}\b", "…".ljust(len(host)), text.replace(f"{cwd}/", ""))


def final_screen(printed: str) -> str:
    """What is left on the terminal, with its colours: the few cursor movements of rich's progress display applied."""
    lines, row = [""], 0
    for token in re.split(r"(\r\n|\r|\n|\x1b\[\d*[AK]|\x1b\[\?\d+[hl])", printed):
        if token in ("\r\n", "\n"):
            row += 1
            lines += [""] * (row == len(lines))
        elif token == "\r" or re.fullmatch(r"\x1b\[\d*K", token):
            lines[row] = ""
        elif up := re.fullmatch(r"\x1b\[(\d*)A", token):
            row = max(0, row - int(up[1] or 1))
        elif not re.fullmatch(r"\x1b\[\?\d+[hl]", token):
            lines[row] += token
    return "\n".join(lines).rstrip()


def terminal_picture(screen: str, *, title: str) -> str:
    """The screen as SVG, in the reader's own monospaced font."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(screen))
    picture = console.export_svg(title=title, unique_id="run")
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)  # those are fetched from elsewhere


if __name__ == "__main__":
    main()
