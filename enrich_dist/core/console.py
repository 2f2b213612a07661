"""What is printed: streams that never fail, and consoles to which text from outside is only text.

Output is for people. A closed or full stream, or one with another encoding, must not change what a command does or its
exit code: what cannot be written is discarded, what cannot be encoded is escaped.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterable
from itertools import accumulate
from typing import IO, TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Span, Text

from enrich_dist.plain_text import printable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _DiscardingFile(io.FileIO):
    """Discards what cannot be written: the reader is gone, the disk is full, the descriptor is closed."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            while (written := super().write(data)) is None:  # a pipe that does not block, and is full
                select.select([], [self], [])
        except OSError:
            return memoryview(data).nbytes
        return written


class _StyledFile(io.TextIOWrapper):
    """A text stream that escapes what is not printable, except what rich's consoles write to it."""

    def write(self, text: str, /) -> int:
        return super().write(printable(text, keep="\n\t"))

    @property
    def rich_proxied_file(self) -> _Raw:
        """The file that consoles of rich write to."""
        return _Raw(self)


class _Raw:
    """The stream below a ``_StyledFile``: it has all of its methods, and writes text as it is."""

    def __init__(self, stream: _StyledFile) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return super(_StyledFile, self._stream).write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_stream(descriptor: int, like: IO[str] | None) -> IO[str]:
    """Return a text stream of a descriptor that never fails, with the encoding of ``like``."""
    file = _DiscardingFile(descriptor, "w", closefd=False)
    encoding = getattr(like, "encoding", None)
    return _StyledFile(
        io.BufferedWriter(file),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=descriptor != 1 or file.isatty(),
    )


def replace_standard_streams() -> None:
    """Make standard output and error streams that never fail, and open those that the caller has closed."""
    for descriptor in range(3):  # else the next file that is opened would get the number, and the output
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    sys.stdout = sys.__stdout__ = open_stream(1, sys.stdout)  # type: ignore[misc,assignment]
    sys.stderr = sys.__stderr__ = open_stream(2, sys.stderr)  # type: ignore[misc,assignment]


class PlainConsole(Console):
    """A console that prints text as it is: no markup, no emoji names, no highlighting, no control characters.

    A ``str`` is one line. Styles and several lines come from ``rich.text.Text``. ``wrap``: break lines at the width of
    the terminal; tables always fit into it.
    """

    def __init__(self, *, stderr: bool = False, wrap: bool = False, file: IO[str] | None = None) -> None:
        file = file or (sys.stderr if stderr else sys.stdout)
        super().__init__(file=file, stderr=stderr, soft_wrap=not wrap, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text of one line, as it is."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render without characters that control a terminal."""
        if isinstance(renderable, Text) and not renderable.plain.isprintable():  # before lines are broken
            renderable = _printable_text(renderable)
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, keep="\n"), style, control)


def _printable_text(text: Text) -> Text:
    """Return a text with its styles, in which characters that are not printable are escapes."""
    escaped = [printable(char, keep="\n") for char in text.plain]
    position = [0, *accumulate(map(len, escaped))]
    found = text.blank_copy("".join(escaped))
    found.spans = [Span(position[start], position[end], style) for start, end, style in text.spans]
    return found
