"""What a reader could not take as it stood, collected as the table ``schema.REJECT``.

Covers collecting, shortening and sorting. Does not decide what is rejected or repaired: the readers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.sources.protocol import RowRange, find_rows

REJECTED: Final = "rejected"
REPAIRED: Final = "repaired"
_SHOWN_CHARACTERS: Final = 500


class RejectLog:
    """Reject rows of one source, added in any order. ``parts``: the file of each row, and its number there."""

    def __init__(self, parts: Sequence[RowRange]) -> None:
        self._parts = parts
        self._tables: list[pa.Table] = []

    def add(
        self, outcome: str, source_rows: pa.Array, reasons: pa.Array, *, column: str | None, values: pa.Array | None
    ) -> None:
        """Add one row for every entry of ``reasons`` (string) that is not null.

        ``source_rows`` (int64) and ``values`` (string, the original text) are as long as ``reasons``.
        """
        if reasons.null_count == len(reasons):
            return
        chosen = pc.is_valid(reasons)
        rows = source_rows.filter(chosen)
        count = len(rows)
        shown = (
            pa.nulls(count, pa.string())
            if values is None
            else pc.utf8_slice_codeunits(values.filter(chosen), 0, _SHOWN_CHARACTERS)
        )
        columns = [
            pa.repeat("", count),  # told when all rows are known
            rows,
            pa.repeat(outcome, count),
            pa.nulls(count, pa.string()) if column is None else pa.repeat(column, count),
            reasons.filter(chosen),
            shown,
        ]
        self._tables.append(pa.table(columns, schema=schema.REJECT))

    def extend(self, other: RejectLog) -> None:
        """Add all rows of another log of the same source."""
        self._tables += other._tables

    def table(self) -> pa.Table:
        """All rows so far as ``schema.REJECT``, sorted by source_row, then column (none last)."""
        table = pa.concat_tables([schema.REJECT.empty_table(), *self._tables])
        table = table.sort_by([("source_row", "ascending"), ("column", "ascending")]).combine_chunks()
        return in_files(table, self._parts)


def in_files(rejects: pa.Table, parts: Sequence[RowRange]) -> pa.Table:
    """``schema.REJECT`` whose rows are those of the whole source, as rows of its files."""
    files, rows = find_rows(parts, rejects["source_row"].to_numpy())
    return rejects.set_column(0, schema.REJECT.field("source_file"), files).set_column(
        1, schema.REJECT.field("source_row"), pa.array(rows, pa.int64())
    )
