"""A log file with one JSON object per line, written as events happen, and its reader."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self


class JsonLinesLog:
    """Context manager that overwrites the file. ``began``: when it was opened, by ``time.monotonic``.

    Each line is written at once, so that a killed run leaves all lines up to then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.began = time.monotonic()
        self._file = self._path.open("w", encoding="utf-8", buffering=1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Write a line; do nothing when the log is closed."""
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of the file in order, without incomplete lines; none if the file does not exist."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(found, dict):
            yield found
