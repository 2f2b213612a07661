"""The comments of ``config/base.yaml``: the one text about each setting, which the schema and the reference repeat.

A comment is the block of ``#`` lines right above a key. Of a number it holds ``Unit: …`` up to the next full stop.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from enrich_dist.settings.files import key_lines

BASE = Path(__file__).with_name("base.yaml")  # the package's own; in the repository a link to config/base.yaml
_UNIT = re.compile(r"\s*\bUnit: (.+?)\.(?=\s|$)")


@dataclass(frozen=True)
class Comment:
    """What stands above a key, as one line of text; ``unit`` is empty where it names none."""

    text: str

    @property
    def unit(self) -> str:
        """What comes after ``Unit:``."""
        found = _UNIT.search(self.text)
        return found.group(1) if found else ""

    @property
    def without_unit(self) -> str:
        """The text for where the unit stands beside it."""
        return _UNIT.sub("", self.text)


@cache
def base_comments() -> Mapping[str, Comment]:
    """The comments of the package's ``base.yaml`` by dotted key, of sections, too; keys without one are left out."""
    return read_comments(BASE.read_text("utf-8"))


def read_comments(text: str) -> dict[str, Comment]:
    """The comment of every key of a YAML text that has one."""
    lines = [line.strip() for line in text.splitlines()]
    found = {}
    for key, number in key_lines(text).items():
        block: list[str] = []
        for line in reversed(lines[: number - 1]):
            if not line.startswith("#"):
                break
            block.insert(0, line.lstrip("#").strip())
        if block:
            found[key] = Comment(" ".join(block))
    return found
