"""Chunk files: the recipients of a source in Parquet files, each of ``chunk_size`` source rows (the last has fewer).

Rejected rows are in a file of their own, so that the rows of all chunks and the rejects add up to the rows of the
source. Memory holds a few chunks, however many recipients there are. Does not read the source (``recipients``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.ordered_map import ordered_map
from enrich_dist.sources.recipients import RecipientBatch
from enrich_dist.sources.rejects import RowRange
from enrich_dist.store.artifacts import Artifact

ENGINE_VERSION = "3"
REJECTS_FILE = "rejects.parquet"

# Two threads use two cores in addition to the reader; a third chunk waits for the first that is free.
_THREADS: Final = 2
_MAX_PENDING: Final = 3
# Columns with repeated values are dictionary-encoded, and texts are compressed. Identifiers are neither: they are
# distinct and nearly random, so that encoding them would cost writers and readers time for little space.
_REPEATED: Final = [
    "parent_uei",
    "parent_name",
    "address_line_2",
    "city",
    "state",
    "zip5",
    "country_code",
    "congressional_district",
]
_TEXTS: Final = ["name", "alternate_names.list.element", "address_line_1", "name_history.list.element.name"]
_WRITE_OPTIONS: Final[dict[str, Any]] = {
    "use_dictionary": _REPEATED,
    "column_encoding": {"source_row": "DELTA_BINARY_PACKED"},
    "compression": dict.fromkeys([*_REPEATED, *_TEXTS], "zstd"),  # level 1, Arrow's default; others are not compressed
    "write_statistics": False,  # chunks are read whole
}


@dataclass(frozen=True)
class Chunk:
    """A chunk file. It covers ``rows + rejected_rows`` source rows, and those that were merged into them."""

    chunk_id: int
    path: Path
    rows: int
    rejected_rows: int
    bytes: int
    blake3: str


def write_chunks(batches: Iterable[RecipientBatch], directory: Path) -> dict[str, Any]:
    """Write every batch as a chunk file and all rejects as one file; return the facts of the chunk plan. ``parts``: the
    files that rows come from (``RowRange``). Threads write batches while the next one is read."""

    def write(chunk_id: int, batch: RecipientBatch) -> tuple[dict[str, Any], RecipientBatch]:
        name = f"{chunk_id:06d}.parquet"
        pq.write_table(batch.recipients, directory / name, **_WRITE_OPTIONS)
        entry = {"file": name, "rows": len(batch.recipients), "rejected_rows": batch.rows_rejected}
        return entry, batch._replace(recipients=schema.RECIPIENT.empty_table())  # frees the memory

    plan: list[dict[str, Any]] = []
    row_ranges: dict[RowRange, None] = {}
    merged_rows = 0
    with pq.ParquetWriter(directory / REJECTS_FILE, schema.REJECT, compression="zstd") as rejects:
        for entry, written in ordered_map(write, batches, threads=_THREADS, max_pending=_MAX_PENDING):
            if len(written.rejects):
                rejects.write_table(written.rejects)
            plan.append(entry)
            row_ranges.update(dict.fromkeys(written.row_ranges))
            merged_rows += written.rows_merged
    rows, rejected_rows = (sum(item[name] for item in plan) for name in ("rows", "rejected_rows"))
    return {
        "chunks": plan,
        "source_rows": rows + rejected_rows + merged_rows,
        "rows": rows,
        "rejected_rows": rejected_rows,
        "merged_rows": merged_rows,
        "parts": [item._asdict() for item in row_ranges],
    }


def file_bytes(recipients: pa.Table) -> int:
    """Return the size of a chunk file with these recipients."""
    sink = pa.BufferOutputStream()
    pq.write_table(recipients, sink, **_WRITE_OPTIONS)
    return int(sink.tell())


def chunks_of(stored: Artifact) -> list[Chunk]:
    """Return the chunks of a chunk plan, in source order."""
    return [
        Chunk(
            chunk_id=number,
            path=stored.path / item["file"],
            rows=item["rows"],
            rejected_rows=item["rejected_rows"],
            **stored.files[item["file"]],
        )
        for number, item in enumerate(stored.facts["chunks"])
    ]


def row_ranges_of(stored: Artifact) -> list[RowRange]:
    """Return the files of the source rows."""
    return [RowRange(**item) for item in stored.facts["parts"]]
