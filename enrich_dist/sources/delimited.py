"""Delimited text as a stream of Arrow blocks with numbered records, and the base classes of other readers.

Covers any delimiter that ``header`` finds, quoted line breaks, empty lines, records with the wrong number of columns
and unclosed quotes. Memory does not depend on the length of the file. Does not cover types or the meaning of columns:
all cells are strings.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from enrich_dist.errors import SourceError
from enrich_dist.sources.header import REPEATED, find_header, repeats_header
from enrich_dist.sources.string_bytes import TEXT_NULL, StringBytes
from enrich_dist.sources.text_file import Utf8Stream

BLOCK_BYTES: Final = 4 << 20  # also the longest record that can be read
_HEADER_BYTES: Final = 1 << 18  # where the header must end
# A record with more lines than this is an unclosed quote that hides as many records, not a text.
_MAX_RECORD_LINES: Final = 1000
MAX_SHOWN_CHARACTERS: Final = 500  # of a rejected row or cell
_SWALLOWED: Final = "a cell holds whole other rows: a quote may be left open"


@dataclass(frozen=True)
class Block:
    """Consecutive records with the right number of columns. All arrays have one entry per record.

    ``cells``: one string array per column. ``source_rows``: int64, ascending. ``unusable`` (string): why a record is
    rejected, else null.
    """

    cells: list[pa.Array]
    source_rows: npt.NDArray[np.int64]
    unusable: pa.Array


@dataclass(frozen=True)
class BadRecord:
    """A record that does not have the header's columns; ``text`` is its raw text, truncated."""

    source_row: int
    reason: str
    text: str


class Records(ABC):
    """Records that are read once, in blocks. Rows are counted from 1. ``bad_records`` grows while the blocks are read
    and is complete, in row order, when they are exhausted. ``header``: one name for each column of a block."""

    header: tuple[str, ...] = ()
    header_row = 0
    is_in_memory = False

    def __init__(self, path: object) -> None:
        self._path = path
        self.bad_records: list[BadRecord] = []

    @property
    def bytes_repaired(self) -> int:
        """Bytes read so far that were not UTF-8."""
        return 0

    @abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Yield the records in order. Raises ``SourceError`` when the file is damaged."""


class RecordReader(Records):
    """Text that pyarrow splits into records."""

    def __init__(self, text: Any, names: Sequence[str], path: object) -> None:
        super().__init__(path)
        self._text = text
        self._names = names
        self._bad_rows: list[int] = []  # all records that pyarrow skipped, ascending

    @abstractmethod
    def _read_error(self, error: pa.ArrowInvalid, row: int) -> SourceError: ...

    def _batches(
        self, parse_options: dict[str, Any], convert_options: dict[str, Any]
    ) -> Iterator[tuple[npt.NDArray[np.int64], pa.RecordBatch]]:
        """Yield batches of string columns with the numbers of their records."""
        next_row, bad_before = 1, 0
        try:
            reader = pa.csv.open_csv(
                pa.PythonFile(self._text, mode="r"),
                # Only without threads does pyarrow number the records that it passes to the handler.
                read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=self._names),
                parse_options=pa.csv.ParseOptions(
                    ignore_empty_lines=False, invalid_row_handler=self._skip_bad_record, **parse_options
                ),
                convert_options=pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(self._names, pa.string()), **convert_options
                ),
            )
            while (batch := next(reader, None)) is not None:
                # The records that pyarrow did not skip have the other numbers. It may have parsed beyond this batch.
                skipped = np.asarray(self._bad_rows[bad_before:], dtype=np.int64)
                candidates = np.arange(next_row, next_row + batch.num_rows + len(skipped), dtype=np.int64)
                rows = np.setdiff1d(candidates, skipped, assume_unique=True)[: batch.num_rows]
                if len(rows):
                    next_row = int(rows[-1]) + 1
                    bad_before += int(np.searchsorted(skipped, next_row))
                yield rows, batch
        except pa.ArrowInvalid as error:
            raise self._read_error(error, next_row) from error

    def _skip_bad_record(self, record: Any) -> str:
        self._bad_rows.append(record.number)
        if record.number > self.header_row:
            owner = "header" if self.header_row else "table"
            reason = f"{record.actual_columns} cells, the {owner} {record.expected_columns}"
            lines = record.text.count("\n") + 1
            if lines > 1:
                reason += f", over {lines} lines: a quote may be left open"
            self.bad_records.append(BadRecord(record.number, reason, record.text[:MAX_SHOWN_CHARACTERS]))
        return "skip"


class DelimitedFile(RecordReader):
    """An open text file: its header, then its blocks. ``mapped``: headers that a column map names."""

    def __init__(self, stream: Utf8Stream, path: object, mapped: Collection[str] = ()) -> None:
        text = stream.peek(_HEADER_BYTES).decode("utf-8", errors="ignore")  # the last character may be incomplete
        found = find_header(text, mapped, path)
        self.header, self.header_row, self._delimiter = found.names, found.row, found.delimiter
        super().__init__(stream, [f"c{position}" for position in range(len(self.header))], path)
        self._stream = stream
        self._failure: SourceError | None = None

    @property
    def bytes_repaired(self) -> int:
        """Bytes read so far that were not UTF-8."""
        return self._stream.bytes_repaired

    def blocks(self) -> Iterator[Block]:
        """Yield the records after the header, in order. Empty lines are records of empty cells. Raises ``SourceError``
        when an unclosed quote hides the rest of the file, or the file is damaged."""
        # The header is read as a record too, so that pyarrow's record numbers are those of a spreadsheet.
        batches = self._batches(
            {"newlines_in_values": True, "delimiter": self._delimiter},
            {"null_values": [], "strings_can_be_null": False},
        )
        for rows, batch in batches:
            if self._failure is not None:
                raise self._failure
            first = int(np.searchsorted(rows, self.header_row + 1))
            if first < len(rows):
                cells = batch.slice(first).columns
                swallowed = self._swallowed(cells, rows[first:])
                unusable = pc.if_else(swallowed, _SWALLOWED, TEXT_NULL)
                repeated = repeats_header(cells, self.header, rows[first:], self._path)
                if repeated.any():
                    unusable = pc.if_else(pa.array(repeated), REPEATED, unusable)
                yield Block(cells, rows[first:], unusable)
        if self._failure is not None:
            raise self._failure

    def _skip_bad_record(self, record: Any) -> str:
        hides_records = record.text.count("\n") >= _MAX_RECORD_LINES and record.number > self.header_row
        if hides_records and self._failure is None:
            self._failure = self._unclosed_quote(record.number)
        return super()._skip_bad_record(record)

    def _swallowed(self, cells: list[pa.Array], rows: npt.NDArray[np.int64]) -> pa.Array:
        """Return the records with a cell that seems to contain complete other records, after an unclosed quote.

        Such a record can have the right number of columns by chance. The sign is a cell with a line break and at
        least as many delimiters as a record has, not counting those of prose (before a space).
        """
        swallowed = pa.array(np.zeros(len(rows), dtype=bool))
        if len(cells) == 1:
            return swallowed
        for column in cells:
            strings = StringBytes(column)
            breaks = strings.equal("\n") | strings.equal("\r")
            if not breaks.any():
                continue
            broken = pa.array(strings.cells_with(breaks))
            found, prose = (pc.count_substring(column, self._delimiter + after) for after in ("", " "))
            bare = pc.subtract(found, prose)
            found = pc.and_(broken, pc.greater_equal(bare, len(cells) - 1))
            hiding = pc.and_(found, pc.greater(pc.count_substring_regex(column, r"\r?\n|\r"), _MAX_RECORD_LINES))
            if pc.any(hiding).as_py():
                raise self._unclosed_quote(int(rows[pc.index(hiding, True).as_py()]))
            swallowed = pc.or_(swallowed, found)
        return swallowed

    def _read_error(self, error: pa.ArrowInvalid, row: int) -> SourceError:
        if "straddling" not in str(error):
            return SourceError(f"cannot be read as delimited text ({error}).", path=self._path, row=row)
        if not self._stream.has_long_line():
            return self._unclosed_quote(row)
        problem = f"a line after this row is longer than {BLOCK_BYTES >> 20} MB."
        remedy = "Check that the file has line breaks, and shorten or remove the longest cell."
        return SourceError(problem, path=self._path, row=row, remedy=remedy)

    def _unclosed_quote(self, row: int) -> SourceError:
        problem = "a quote opened in this row or soon after is never closed and hides the following rows."
        remedy = "Close or double the stray quote character, or download the file again."
        return SourceError(problem, path=self._path, row=row, remedy=remedy)
