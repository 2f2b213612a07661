"""The comments of ``config/base.yaml``, from which the JSON schema and the reference are generated.

A comment is the block of ``#`` lines directly above a key. The comment of a number contains ``Unit: …`` up to the next
full stop.
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
    """The comment above a key, as one line of text."""

    text: str

    @property
    def unit(self) -> str:
        """Return the unit, empty if there is none."""
        found = _UNIT.search(self.text)
        return found.group(1) if found else ""

    @property
    def without_unit(self) -> str:
        """Return the text without the unit."""
        return _UNIT.sub("", self.text)


@cache
def base_comments() -> Mapping[str, Comment]:
    """Return the comments of the package's ``base.yaml`` by dotted key, including sections."""
    return read_comments(BASE.read_text("utf-8"))


def read_comments(text: str) -> dict[str, Comment]:
    """Return the comments of a YAML text by dotted key, without keys that have none."""
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
