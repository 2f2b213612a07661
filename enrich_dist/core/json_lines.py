"""A file of one JSON object a line that a listener keeps while a farm works, and its reader.

Each line is written at once, so that a run that was killed has told all it knew. Covers the file. What is worth a line
is for the listener to say (``worker_log``, ``chunk_log``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self


class JsonLinesLog:
    """Context manager: begins the file anew, as a farm begins. ``began`` is by ``time.monotonic``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self.began = time.monotonic()

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.began = time.monotonic()
        self._file = self._path.open("w", encoding="utf-8", buffering=1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, line: Mapping[str, Any]) -> None:
        """Write a line; does nothing when the farm is over."""
        if self._file is not None:
            self._file.write(json.dumps(line) + "\n")


def read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of the file, in order; none where there is no file.

    A line that was cut as its writer died is left out.
    """
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
