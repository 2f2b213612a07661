"""Rows and cells that a reader rejected or repaired, collected as a table of ``schema.REJECT``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.errors import SourceError
from enrich_dist.sources.delimited import MAX_SHOWN_CHARACTERS, BadRecord

REJECTED: Final = "rejected"
REPAIRED: Final = "repaired"
_SHOWN_REASONS: Final = 3


class RowRange(NamedTuple):
    """The rows from ``first_row`` to the next range are the rows from ``own_first`` of the file ``name``."""

    first_row: int
    name: str
    own_first: int


def single_range(name: str) -> tuple[RowRange, ...]:
    """Return the row ranges of a source that is one file."""
    return (RowRange(1, name, 1),)


class RejectLog:
    """Reject rows of one source, added in any order and by any thread. ``row_ranges``: the files of the rows."""

    def __init__(self, row_ranges: Sequence[RowRange]) -> None:
        self._row_ranges = row_ranges
        self._tables: list[pa.Table] = []

    def add(
        self, outcome: str, source_rows: pa.Array, reasons: pa.Array, *, column: str | None, values: pa.Array
    ) -> None:
        """Add one row for every entry of ``reasons`` (string) that is not null. ``source_rows`` (int64) and ``values``
        (string, the original text) have the same length as ``reasons``."""
        if reasons.null_count == len(reasons):
            return
        chosen = pc.is_valid(reasons)
        rows = source_rows.filter(chosen)
        columns = [
            pa.repeat("", len(rows)),  # set by ``table``
            rows,
            pa.repeat(outcome, len(rows)),
            pa.repeat(pa.scalar(column, pa.string()), len(rows)),
            reasons.filter(chosen),
            pc.utf8_slice_codeunits(values.filter(chosen), 0, MAX_SHOWN_CHARACTERS),
        ]
        self._tables.append(pa.table(columns, schema=schema.REJECT))

    def add_bad_records(self, records: Sequence[BadRecord]) -> None:
        """Add records that could not be split into columns."""
        rows = pa.array([record.source_row for record in records], pa.int64())
        reasons, texts = (
            pa.array([getattr(record, name) for record in records], pa.string()) for name in ("reason", "text")
        )
        self.add(REJECTED, rows, reasons, column=None, values=texts)

    def table(self) -> pa.Table:
        """Return all rows as ``schema.REJECT``, sorted by source_row, then column (nulls last)."""
        table = pa.concat_tables([schema.REJECT.empty_table(), *self._tables])
        table = table.sort_by([("source_row", "ascending"), ("column", "ascending")]).combine_chunks()
        return with_file_rows(table, self._row_ranges)


def with_file_rows(rejects: pa.Table, row_ranges: Sequence[RowRange]) -> pa.Table:
    """Replace row numbers of the whole source by file names and row numbers in the files (``schema.REJECT``)."""
    files, own_rows = file_rows(rejects["source_row"].to_numpy(), row_ranges)
    return rejects.set_column(0, schema.REJECT.field("source_file"), files).set_column(
        1, schema.REJECT.field("source_row"), own_rows
    )


def file_rows(rows: npt.NDArray[np.int64], row_ranges: Sequence[RowRange]) -> tuple[pa.Array, pa.Array]:
    """Return the file name and the row number in the file of each row of the whole source."""
    firsts = np.array([item.first_row for item in row_ranges], dtype=np.int64)
    own_firsts = np.array([item.own_first for item in row_ranges], dtype=np.int64)
    which = np.searchsorted(firsts, rows, side="right") - 1
    files = pa.array([item.name for item in row_ranges], pa.string()).take(pa.array(which))
    return files, pa.array(rows - firsts[which] + own_firsts[which])


def all_rejected(rejects: pa.Table, path: object) -> SourceError:
    """Return the error of a source without a usable row: the most frequent reasons with their numbers of rows."""
    reasons = rejects.filter(pc.equal(rejects["outcome"], REJECTED))["reason"]
    counts = {item["values"]: item["counts"] for item in pc.value_counts(reasons).to_pylist()}
    shown = sorted(counts, key=lambda reason: (-counts[reason], reason))[:_SHOWN_REASONS]
    # "120 rows have 43 cells, the header 42"
    texts = (
        f"{counts[reason]:,} rows {'have' if reason[:1].isdigit() else 'are rejected:'} {reason}" for reason in shown
    )
    problem = f"no row can be used: {'; '.join(texts)}."
    return SourceError(problem, path=path, remedy="Correct the file, or the column map; or export it again.")
