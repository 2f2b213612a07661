"""Comma-separated text as a stream of Arrow blocks: every cell text, every record numbered.

Covers quoted line breaks, empty lines, records of the wrong width and quotes left open. Memory is that of a few
blocks, whatever the length of the file. Does not cover other delimiters, types or the meaning of columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from enrich_dist.errors import SourceError
from enrich_dist.remedies import DOWNLOAD_AGAIN
from enrich_dist.sources.source_file import SourceFile
from enrich_dist.sources.text_file import Utf8Stream, open_utf8

BLOCK_BYTES: Final = 4 << 20  # also the longest record that can be read
_HEADER_BYTES: Final = 1 << 18  # where the header must end
# A record of more lines than this is a quote left open, not a text: stop, as it hides as many records.
_MAX_RECORD_LINES: Final = 1000
_SHOWN_CHARACTERS: Final = 500
_SWALLOWED: Final = "a cell holds whole other rows: a quote may be left open"
_TEXT_NULL: Final = pa.scalar(None, pa.string())


@dataclass(frozen=True)
class Block:
    """Consecutive records of the right width.

    ``cells`` has one string array per column of the file, without nulls; ``source_rows`` is int64, ascending;
    ``unusable`` (string) tells why a record cannot be taken, and is null where it can. All are of one length.
    """

    cells: list[pa.Array]
    source_rows: npt.NDArray[np.int64]
    unusable: pa.Array


@dataclass(frozen=True)
class BadRecord:
    """A record that could not be split into the header's columns; ``text`` is its raw text, shortened."""

    source_row: int
    reason: str
    text: str


class DelimitedFile:
    """An open CSV file: its header, then its blocks, once.

    ``bad_records`` grows while the blocks are read and is complete, in row order, when they are exhausted.
    """

    def __init__(self, stream: Utf8Stream, path: object) -> None:
        self._stream = stream
        self._path = path
        self.header, self.header_row = _read_header(stream, path)
        self.bad_records: list[BadRecord] = []
        self._bad_rows: list[int] = []  # rows of all records that pyarrow skipped, ascending
        self._failure: SourceError | None = None

    @property
    def bytes_repaired(self) -> int:
        """Bytes read so far that were not UTF-8."""
        return self._stream.bytes_repaired

    def blocks(self) -> Iterator[Block]:
        """The records after the header, in order. Empty lines are records of empty cells.

        Raises ``SourceError`` when a quote left open hides the rest of the file, or the file is damaged.
        """
        reader = self._guarded(self._open, 1)
        for rows, batch in numbered(lambda row: self._guarded(lambda: next(reader, None), row), self._bad_rows):
            first = int(np.searchsorted(rows, self.header_row + 1))
            if first < len(rows):
                cells = batch.slice(first).columns
                swallowed = self._swallowed(cells, rows[first:])
                yield Block(cells, rows[first:], pc.if_else(swallowed, _SWALLOWED, _TEXT_NULL))

    def _open(self) -> Any:
        names = [f"c{position}" for position in range(len(self.header))]
        return pa.csv.open_csv(
            # The header goes through as a record, so that pyarrow's record numbers are the spreadsheet's.
            pa.PythonFile(self._stream, mode="r"),
            # Without threads pyarrow numbers the records that it hands to the handler.
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=names),
            parse_options=pa.csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=self._take_bad_record
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[], strings_can_be_null=False
            ),
        )

    def _take_bad_record(self, record: Any) -> str:
        self._bad_rows.append(record.number)
        if record.number > self.header_row:
            lines = record.text.count("\n") + 1
            if lines > _MAX_RECORD_LINES and self._failure is None:
                self._failure = self._open_quote(record.number)
            reason = f"{record.actual_columns} columns instead of {record.expected_columns}"
            if lines > 1:
                reason += f", over {lines} lines: a quote may be left open"
            self.bad_records.append(BadRecord(record.number, reason, record.text[:_SHOWN_CHARACTERS]))
        return "skip"

    def _swallowed(self, cells: list[pa.Array], rows: npt.NDArray[np.int64]) -> pa.Array:
        """Records with a cell that seems to hold whole other records, as a stray quote was left open.

        Such a record can have the right width by chance, so nothing else would tell. The mark is a cell with a
        line break and at least as many delimiters as separate a record's cells, without those of prose (", ").
        """
        swallowed = pa.array(np.zeros(len(rows), dtype=bool))
        if len(cells) == 1:
            return swallowed
        for column in cells:
            broken = pc.match_substring_regex(column, r"[\r\n]")
            if not pc.any(broken).as_py():
                continue
            bare = pc.subtract(pc.count_substring(column, ","), pc.count_substring(column, ", "))
            found = pc.and_(broken, pc.greater_equal(bare, len(cells) - 1))
            hiding = pc.and_(found, pc.greater(pc.count_substring_regex(column, r"\r?\n|\r"), _MAX_RECORD_LINES))
            if pc.any(hiding).as_py():
                raise self._open_quote(int(rows[pc.index(hiding, True).as_py()]))
            swallowed = pc.or_(swallowed, found)
        return swallowed

    def _guarded(self, action: Any, row: int) -> Any:
        try:
            result = action()
        except pa.ArrowInvalid as error:
            if "straddling" in str(error):
                raise self._open_quote(row) from error
            raise SourceError(f"cannot be read as CSV ({error}).", path=self._path, row=row) from error
        if self._failure is not None:
            raise self._failure
        return result

    def _open_quote(self, row: int) -> SourceError:
        return SourceError(
            "a quote opened in this row or soon after it is never closed, and hides the rows after it.",
            path=self._path,
            row=row,
            remedy="Close or double the stray quote character, or download the file again.",
        )


def numbered(
    next_batch: Callable[[int], pa.RecordBatch | None], bad_rows: list[int]
) -> Iterator[tuple[npt.NDArray[np.int64], pa.RecordBatch]]:
    """Batches with the numbers of their records, counted from 1.

    ``next_batch`` takes the number of the first record that it may give, and gives None at the end. ``bad_rows``: the
    numbers of all records that pyarrow has skipped so far, ascending.
    """
    next_row = 1
    bad_before = 0
    while (batch := next_batch(next_row)) is not None:
        # pyarrow says which records it skipped, so the others get the numbers that are left. It may have
        # parsed ahead of this batch, never behind it.
        skipped = np.asarray(bad_rows[bad_before:], dtype=np.int64)
        candidates = np.arange(next_row, next_row + batch.num_rows + len(skipped), dtype=np.int64)
        rows = np.setdiff1d(candidates, skipped, assume_unique=True)[: batch.num_rows]
        if len(rows):
            next_row = int(rows[-1]) + 1
            bad_before += int(np.searchsorted(skipped, next_row))
        yield rows, batch


@contextmanager
def open_delimited(path: Path | SourceFile, member: str | None = None) -> Iterator[DelimitedFile]:
    """Open a CSV file (plain, gzip or zip; ``member``: which one of the zip) and read its header.

    Raises ``SourceError`` when the file cannot be opened or has no header.
    """
    with open_utf8(path, member) as stream:
        yield DelimitedFile(stream, path)


def _read_header(stream: Utf8Stream, path: object) -> tuple[tuple[str, ...], int]:
    """The first record with text, and its row number (1 unless empty lines come before it)."""
    text = stream.peek(_HEADER_BYTES).decode("utf-8", errors="ignore")  # the last character may be cut
    try:
        for row, cells in enumerate(csv.reader(io.StringIO(text, newline="")), start=1):
            if any(cell.strip() for cell in cells):
                return tuple(cell.strip() for cell in cells), row
    except csv.Error as error:
        raise SourceError(f"the header cannot be read ({error}).", path=path, row=1) from error
    raise SourceError("the file has no header.", path=path, remedy=DOWNLOAD_AGAIN)
