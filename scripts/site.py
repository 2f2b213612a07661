"""Build the documents as a site in ``build/site``: ``python -m scripts.site`` (``make docs``).

Copies ``docs/`` and all linked files to ``build/docs``, because a site cannot link outside its root: a document becomes
a page under ``project/``, any other file is under ``files/``. The builder runs in strict mode, so broken links and
anchors fail; so do pages that the navigation omits, and entries without a page. Makes no network request.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
STAGED = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"
# Documents outside docs/ that are pages of the site.
PROJECT_PAGES = ("CHANGELOG.md", "CONTRIBUTING.md")
_LINK = re.compile(r"(?<=\]\()(?!#|\w+:)([^)#\s]+)")


class BrokenLinkError(Exception):
    """A link to a missing file, or a difference between navigation and pages."""


def main() -> None:
    """Stage and build; exits with the code of the builder."""
    try:
        stage()
        check_navigation()
    except BrokenLinkError as error:
        sys.exit(str(error))
    shutil.rmtree(SITE, ignore_errors=True)
    builder = Path(sys.executable).with_name("zensical")
    sys.exit(subprocess.run([str(builder), "build", "--clean", "--strict"], cwd=ROOT, check=False).returncode)


def stage() -> None:
    """Copy everything that the site is built from."""
    shutil.rmtree(STAGED, ignore_errors=True)
    waiting = [*(path for path in DOCS.rglob("*") if path.is_file()), *(ROOT / name for name in PROJECT_PAGES)]
    done: set[Path] = set()
    while waiting:
        source = waiting.pop()
        if source in done:
            continue
        done.add(source)
        target = staged_path(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".md":
            text, linked = moved_links(source)
            target.write_text(text, "utf-8")
            waiting += linked
        else:
            shutil.copyfile(source, target)


def staged_path(source: Path) -> Path:
    """Return the path of a project file in the site."""
    if source.is_relative_to(DOCS):
        return STAGED / source.relative_to(DOCS)
    return STAGED / ("project" if source.suffix == ".md" else "files") / source.relative_to(ROOT)


def moved_links(document: Path) -> tuple[str, list[Path]]:
    """Return the text with links for the site, and the linked files."""
    linked: list[Path] = []

    def moved(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(document.parent / match[1]))
        if not target.is_file():
            raise BrokenLinkError(f"{document.relative_to(ROOT)}: no file {match[1]}")
        linked.append(target)
        return Path(os.path.relpath(staged_path(target), staged_path(document).parent)).as_posix()

    return _LINK.sub(moved, document.read_text("utf-8")), linked


def check_navigation() -> None:
    """Raise ``BrokenLinkError`` unless the navigation contains every page and no other."""
    named = set(_pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]))
    pages = {path.relative_to(STAGED).as_posix() for path in STAGED.rglob("*.md")}
    if wrong := [*(f"no page {name}" for name in named - pages), *(f"{name} is not in nav" for name in pages - named)]:
        raise BrokenLinkError(f"mkdocs.yml: {', '.join(sorted(wrong))}")


def _pages(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        for target in entry.values():
            yield from _pages(target) if isinstance(target, list) else [target]


if __name__ == "__main__":
    main()
