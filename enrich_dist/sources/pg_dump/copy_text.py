r"""COPY text, as pg_dump writes the rows of a table: columns between tabs, rows between line ends, escapes, ``\N``.

Covers all escapes that PostgreSQL's COPY reads (``\\``, ``\b \f \n \r \t \v``, octal ``\101``, hexadecimal ``\x41``,
and a backslash before any other character, which stands for it), and the end mark ``\.``. Works on whole blocks of
columns; the bytes of escapes are only looked at in the cells that have any. Does not cover binary and CSV formats of
COPY, other delimiters, nor what a text means (arrays are those of ``lists``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from enrich_dist.errors import SourceError
from enrich_dist.sources.delimited import BLOCK_BYTES, BadRecord, Block, numbered
from enrich_dist.sources.string_bytes import Bytes, Mask, StringBytes, replace_cells
from enrich_dist.sources.text_file import Utf8Stream

_END: Final = b"\\.\n"
_SHOWN_CHARACTERS: Final = 500
_BACKSLASH: Final = ord("\\")
_TEXT_NULL: Final = pa.scalar(None, pa.string())
_BROKEN: Final = "an escape that stands for no UTF-8 text, or a backslash at the end of a cell"

# What a byte after a backslash stands for; any other for itself.
_MEANINGS: Final = np.arange(256, dtype=np.uint8)
for _letter, _meaning in zip("bfnrtv", "\b\f\n\r\t\v", strict=True):
    _MEANINGS[ord(_letter)] = ord(_meaning)
# The value of a hexadecimal digit; 255 for any other byte.
_DIGITS: Final = np.full(256, 255, dtype=np.uint8)
for _value, _letters in enumerate(
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "aA", "bB", "cC", "dD", "eE", "fF"]
):
    for _letter in _letters:
        _DIGITS[ord(_letter)] = _value


class CopyText:
    """The rows of a table as blocks of text columns, once. ``wanted``: the positions of the columns that are given.

    ``bad_records`` grows while the blocks are read and is complete, in row order, when they are exhausted. Rows are
    counted from 1.
    """

    header_row = 0

    def __init__(self, stream: Utf8Stream, columns: int, wanted: Mapping[str, int], path: object) -> None:
        self._rows = _UntilEnd(stream, path)
        self._names = [f"c{position}" for position in range(columns)]
        self._wanted = [self._names[position] for position in wanted.values()]
        self._path = path
        self.bad_records: list[BadRecord] = []
        self._bad_rows: list[int] = []

    def blocks(self) -> Iterator[Block]:
        """The rows in order; ``cells`` are the wanted columns in their order, null where the table has null.

        Raises ``SourceError`` when the text is damaged or has no end.
        """
        reader = self._guarded(self._open, 1)
        for rows, batch in numbered(lambda row: self._guarded(lambda: next(reader, None), row), self._bad_rows):
            if len(rows):
                yield self._block(rows, batch)
        self._rows.require_end()

    def _block(self, rows: npt.NDArray[np.int64], batch: pa.RecordBatch) -> Block:
        broken = np.zeros(len(rows), dtype=bool)
        cells = []
        for column in batch.columns:
            text, bad = unescape(column)
            cells.append(text)
            broken |= bad
        return Block(cells, rows, pc.if_else(pa.array(broken), _BROKEN, _TEXT_NULL))

    def _open(self) -> Any:
        return pa.csv.open_csv(
            pa.PythonFile(self._rows, mode="r"),
            # Without threads pyarrow numbers the records that it hands to the handler.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=self._names),
            parse_options=pa.csv.ParseOptions(
                delimiter="\t",
                quote_char=False,
                escape_char=False,
                newlines_in_values=False,
                ignore_empty_lines=False,
                invalid_row_handler=self._take_bad_record,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(self._names, pa.string()),
                include_columns=self._wanted,
                null_values=[r"\N"],
                strings_can_be_null=True,
            ),
        )

    def _take_bad_record(self, record: Any) -> str:
        self._bad_rows.append(record.number)
        reason = f"{record.actual_columns} columns instead of {record.expected_columns}"
        self.bad_records.append(BadRecord(record.number, reason, record.text[:_SHOWN_CHARACTERS]))
        return "skip"

    def _guarded(self, action: Any, row: int) -> Any:
        try:
            return action()
        except pa.ArrowInvalid as error:
            if not self._rows.has_begun and "Empty CSV" in str(error):  # a table without rows
                return iter(())
            long = f"a row is longer than {BLOCK_BYTES / 1e6:.0f} MB" if "straddling" in str(error) else str(error)
            raise SourceError(
                f"cannot be read as COPY text: {long}.", path=self._path, row=row, remedy="Dump the table again."
            ) from error


class _UntilEnd:
    r"""The text before the line ``\.``, after which only empty lines may come."""

    closed = False  # pyarrow asks

    def __init__(self, stream: Utf8Stream, path: object) -> None:
        self._stream = stream
        self._path = path
        self._held = b""  # it may be the beginning of the end mark
        self._at_line_start = True
        self._ended = False
        self.has_begun = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing to do: who opened the stream closes it."""

    def read(self, size: int = -1) -> bytes:
        if self._ended:
            return b""
        block = self._stream.read(max(size, len(_END) + 1) - len(self._held))
        text = self._held + block
        end = 0 if self._at_line_start and text.startswith(_END) else text.find(b"\n" + _END) + 1
        if end or (self._at_line_start and text.startswith(_END)):
            self._ended = True
            self._require_nothing(text[end + len(_END) :])
            self._held = b""
            text = text[:end]
        elif block:
            # No more is held than could begin the mark; what is given ends before it.
            held = len(_END)
            text, self._held = text[:-held], text[-held:]
        else:
            self._held = b""
        if text:
            self._at_line_start = text.endswith(b"\n")
            self.has_begun = True
        return text

    def require_end(self) -> None:
        """Raise ``SourceError`` unless the end mark was seen."""
        if not self._ended:
            raise SourceError(
                r"ends before the rows do: there is no \. at its end.",
                path=self._path,
                remedy="It is cut short: download or copy it again.",
            )

    def _require_nothing(self, rest: bytes) -> None:
        while True:
            if rest.strip(b"\r\n"):
                raise SourceError(
                    r"goes on after the end of the rows (\.).",
                    path=self._path,
                    remedy="It is damaged, or no file of pg_dump: download or copy it again.",
                )
            if not (rest := self._stream.read(BLOCK_BYTES)):
                return


def unescape(values: pa.Array) -> tuple[pa.Array, Mask]:
    """Cells of COPY text (string, null for null) as the texts that they stand for; and which cells stand for none.

    Such a cell ends with a lone backslash, or its escapes make bytes that are not UTF-8; it is given as null.
    """
    letters = StringBytes(values)
    escaped = letters.cells_with(letters.equal("\\"))
    if values.null_count:
        escaped &= pc.is_valid(values).to_numpy(zero_copy_only=False)
    cells = np.flatnonzero(escaped)
    broken = np.zeros(len(values), dtype=bool)
    if not len(cells):
        return values, broken
    texts, bad = _unescape_all(values.take(pa.array(cells)))
    broken[cells[bad]] = True
    return replace_cells(values, cells, texts), broken


def _unescape_all(values: pa.Array) -> tuple[pa.Array, Mask]:
    letters = StringBytes(values)
    data, starts = letters.bytes, letters.starts.astype(np.int64)
    ends_of_byte = np.repeat(starts[1:], np.diff(starts))  # where the cell of each byte ends
    begins = _escapes(data, starts)
    unfinished = begins + 1 >= ends_of_byte[begins]
    bad = np.zeros(len(values), dtype=bool)
    bad[np.searchsorted(starts, begins[unfinished], side="right") - 1] = True
    begins = begins[~unfinished]

    out = data.copy()
    kept = np.ones(len(data), dtype=bool)
    kept[begins] = False
    after = begins + 1
    out[after] = _MEANINGS[data[after]]
    odd = _number(data, ends_of_byte, begins, out, kept)

    lengths = np.add.reduceat(kept, starts[:-1], dtype=np.int64)  # no cell is empty: each holds a backslash
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(out[kept])]
    texts = pa.Array.from_buffers(pa.string(), len(values), buffers)
    if odd:
        bad |= ~_are_utf8(texts)
    if bad.any():
        # Made anew without the bytes of bad cells: nobody may meet them, not even under a null.
        good = np.repeat(~bad, lengths)
        lengths = np.where(bad, 0, lengths)
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(out[kept][good])]
        texts = pc.if_else(pa.array(bad), _TEXT_NULL, pa.Array.from_buffers(pa.string(), len(values), buffers))
    return texts, bad


def _escapes(data: Bytes, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Where the escapes begin: at the first, third, … backslash of a run of them within a cell."""
    positions = np.flatnonzero(data == _BACKSLASH)
    begins_run = np.ones(len(positions), dtype=bool)
    begins_run[1:] = np.diff(positions) > 1
    begins_run |= np.isin(positions, starts)
    first = positions[begins_run][np.cumsum(begins_run) - 1]
    begins: npt.NDArray[np.int64] = positions[(positions - first) % 2 == 0]
    return begins


def _number(data: Bytes, ends: npt.NDArray[np.int64], begins: npt.NDArray[np.int64], out: Bytes, kept: Mask) -> bool:
    """Put what escapes of digits stand for into ``out`` and unmark their further bytes in ``kept``; whether any are.

    Up to three octal digits, or an x and one or two hexadecimal ones.
    """
    padded = np.concatenate((data, np.zeros(4, dtype=np.uint8)))

    def digit(position: npt.NDArray[np.int64], cell_end: npt.NDArray[np.int64], base: int) -> npt.NDArray[np.int64]:
        """The digit at the position, or -1."""
        value = _DIGITS[padded[position]].astype(np.int64)
        return np.where((position < cell_end) & (value < base), value, -1)

    found = False
    for base, most, marked in ((8, 3, False), (16, 2, True)):
        some = begins[data[begins + 1] == ord("x")] if marked else begins
        at = some + 1 + marked
        end = ends[some]
        first = digit(at, end, base)
        some, at, end, value = some[first >= 0], at[first >= 0], end[first >= 0], first[first >= 0]
        if not len(some):
            continue
        found = True
        going = np.ones(len(some), dtype=bool)
        if marked:
            kept[at] = False
        for further in range(1, most):
            following = digit(at + further, end, base)
            going &= following >= 0
            value = np.where(going, value * base + following, value)
            kept[(at + further)[going]] = False
        out[some + 1] = value & 0xFF
    return found


def _are_utf8(texts: pa.Array) -> Mask:
    """Which texts are UTF-8. Few: those of a block with escapes of digits."""
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return np.zeros(1, dtype=bool)
        middle = len(texts) // 2
        return np.concatenate((_are_utf8(texts[:middle]), _are_utf8(texts[middle:])))
    return np.ones(len(texts), dtype=bool)
