"""What a reader could not take as it stood, collected as the table ``schema.REJECT``.

Covers collecting, shortening and sorting. Does not decide what is rejected or repaired: the readers do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema

REJECTED: Final = "rejected"
REPAIRED: Final = "repaired"
_SHOWN_CHARACTERS: Final = 500


class RejectLog:
    """Reject rows of one source file, added in any order."""

    def __init__(self, path: Path) -> None:
        self._file_name = path.name
        self._parts: list[pa.Table] = []

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
            pa.repeat(self._file_name, count),
            rows,
            pa.repeat(outcome, count),
            pa.nulls(count, pa.string()) if column is None else pa.repeat(column, count),
            reasons.filter(chosen),
            shown,
        ]
        self._parts.append(pa.table(columns, schema=schema.REJECT))

    def extend(self, other: RejectLog) -> None:
        """Add all rows of another log of the same file."""
        self._parts += other._parts

    def table(self) -> pa.Table:
        """All rows so far as ``schema.REJECT``, sorted by source_row, then column (none last)."""
        table = pa.concat_tables([schema.REJECT.empty_table(), *self._parts])
        return table.sort_by([("source_row", "ascending"), ("column", "ascending")]).combine_chunks()
