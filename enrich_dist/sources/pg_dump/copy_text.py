r"""COPY text, as pg_dump writes the rows of a table: tabs between columns, line ends between rows, escapes, ``\N``.

Covers all escapes that PostgreSQL's COPY reads (``\\``, ``\b \f \n \r \t \v``, octal ``\101``, hexadecimal ``\x41``,
and a backslash before any other character, which stands for that character), and the end marker ``\.``. Does not cover
the binary and CSV formats of COPY, other delimiters, or the meaning of a text (``alternate_names`` reads arrays).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.errors import SourceError
from enrich_dist.sources.delimited import BLOCK_BYTES, Block, RecordReader
from enrich_dist.sources.string_bytes import TEXT_NULL, Mask, StringBytes, replace_cells
from enrich_dist.sources.text_file import Readable, Utf8Stream

_END: Final = b"\\.\n"
_BROKEN: Final = "an escape that stands for no UTF-8 text, or a backslash at the end of a cell"
_ESCAPE: Final = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9A-Fa-f]{1,2})|(.)|\Z)", re.DOTALL)
_CONTROLS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


class CopyText(RecordReader):
    """The rows of a table as blocks of text columns. ``wanted``: the positions of the columns to return."""

    def __init__(self, text: Readable, columns: int, wanted: Mapping[str, int], path: object) -> None:
        self._rows = _UntilEnd(text, path)
        super().__init__(self._rows, [f"c{position}" for position in range(columns)], path)
        self._wanted = [self._names[position] for position in wanted.values()]

    def blocks(self) -> Iterator[Block]:
        """Yield the rows in order; ``cells`` are the wanted columns in their order, null where the table has null.
        Raises ``SourceError`` when the text is damaged or has no end marker."""
        batches = self._batches(
            {"delimiter": "\t", "quote_char": False, "escape_char": False, "newlines_in_values": False},
            {"include_columns": self._wanted, "null_values": [r"\N"], "strings_can_be_null": True},
        )
        if not self._rows.is_empty():  # else pyarrow raises an error
            for rows, batch in batches:
                if len(rows):
                    cells, broken = zip(*map(unescape, batch.columns), strict=True)
                    unusable = pc.if_else(pa.array(np.logical_or.reduce(broken)), _BROKEN, TEXT_NULL)
                    yield Block(list(cells), rows, unusable)
        self._rows.require_end()

    def _read_error(self, error: pa.ArrowInvalid, row: int) -> SourceError:
        long = f"a row is longer than {BLOCK_BYTES / 1e6:.0f} MB" if "straddling" in str(error) else str(error)
        return SourceError(
            f"cannot be read as COPY text: {long}.", path=self._path, row=row, remedy="Dump the table again."
        )


class _UntilEnd(Utf8Stream):
    r"""The text before the line ``\.``, after which only empty lines may follow."""

    def __init__(self, raw: Readable, path: object) -> None:
        super().__init__(raw, path)
        self._pending = b""  # may be the beginning of the end marker
        self._at_line_start = True
        self._complete = False

    def is_empty(self) -> bool:
        """Read the end marker, and return True, if no row precedes it."""
        return self.peek(len(_END)) in (b"", _END) and not self.read(BLOCK_BYTES)

    def read(self, size: int = -1) -> bytes:
        if self._complete:
            return b""
        block = super().read(max(size, len(_END) + 1) - len(self._pending))
        text = self._pending + block
        end = 0 if self._at_line_start and text.startswith(_END) else text.find(b"\n" + _END) + 1 or None
        if end is not None:
            self._complete = True
            self._require_nothing(text[end + len(_END) :])
            return text[:end]
        # Keep back what may be the beginning of the marker.
        kept = max(0, len(text) - len(_END)) if block else len(text)
        text, self._pending = text[:kept], text[kept:]
        self._at_line_start = text.endswith(b"\n") if text else self._at_line_start
        return text

    def require_end(self) -> None:
        """Raise ``SourceError`` unless the end marker was read."""
        if not self._complete:
            problem = r"ends before the rows do (there is no \. at its end): it is truncated."
            raise SourceError(problem, path=self._path, remedy="Download or copy it again.")

    def _require_nothing(self, rest: bytes) -> None:
        while True:
            if rest.strip(b"\r\n"):
                remedy = "It is damaged, or not a file of pg_dump: download or copy it again."
                raise SourceError(r"continues after the end of the rows (\.).", path=self._path, remedy=remedy)
            if not (rest := super().read(BLOCK_BYTES)):
                return


def unescape(values: pa.Array) -> tuple[pa.Array, Mask]:
    """Return the texts of cells of COPY text, and which cells are broken: their text is null. A broken cell ends with a
    lone backslash, or its escapes are not UTF-8."""
    strings = StringBytes(values)
    escaped = strings.cells_with(strings.equal("\\"))
    if values.null_count:
        escaped &= pc.is_valid(values).to_numpy(zero_copy_only=False)
    cells = np.flatnonzero(escaped)
    broken = np.zeros(len(values), dtype=bool)
    if not len(cells):
        return values, broken
    texts = pa.array([_unescape_cell(cell) for cell in values.take(pa.array(cells)).to_pylist()], pa.string())
    broken[cells] = pc.is_null(texts).to_numpy(zero_copy_only=False)
    return replace_cells(values, cells, texts), broken


def _unescape_cell(cell: str) -> str | None:
    try:
        return _ESCAPE.sub(_meaning, cell.encode("utf-8")).decode("utf-8")
    except ValueError:
        return None


def _meaning(escape: re.Match[bytes]) -> bytes:
    octal, hexadecimal, character = escape.groups()
    if octal or hexadecimal:
        return bytes([(int(octal, 8) if octal else int(hexadecimal, 16)) & 0xFF])
    if character is None:
        raise ValueError("a backslash at the end")
    return _CONTROLS.get(character, character)
