"""Recipients to chunk files: a stream cut into Parquet files of at most ``chunk_size`` rows each.

Memory holds a few chunks (one that is read, two that are cleaned, three that are written), however many recipients
there are. A chunk covers exactly ``chunk_size`` rows of the source (the last one fewer); rows that the source rejects
are kept beside the chunks, so that the rows of all chunks and the rejects add up to the rows of the source. Does not
cover reading the source (``sources``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.ordered_map import ordered_map
from enrich_dist.sources.protocol import RowRange, whole
from enrich_dist.sources.recipients import RecipientBatch
from enrich_dist.store.artifacts import Artifact

ENGINE_VERSION = "3"
REJECTS_FILE = "rejects.parquet"

# Two threads keep two cores busy beside the reader; a third chunk waits for the first of them to be free.
_THREADS: Final = 2
_MAX_PENDING: Final = 3
# What is repeated within a chunk is written as numbers of distinct texts, and texts are compressed. Identifiers are
# neither: they are all different and all but random, so that it costs time, also to whoever reads, for little space.
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
_TEXTS: Final = ["name", "alternate_names.list.element", "address_line_1"]
_WRITE_OPTIONS: Final[dict[str, Any]] = {
    "use_dictionary": _REPEATED,
    "column_encoding": {"source_row": "DELTA_BINARY_PACKED"},
    "compression": dict.fromkeys([*_REPEATED, *_TEXTS], "zstd"),  # level 1, Arrow's default; others are not compressed
    "write_statistics": False,  # chunks are read whole
}


@dataclass(frozen=True)
class Chunk:
    """One chunk file and what is known of it. ``rows + rejected_rows`` are the source rows it covers, beside those that
    were merged into them."""

    chunk_id: int
    path: Path
    rows: int
    rejected_rows: int
    bytes: int
    blake3: str


def write_chunks(batches: Iterable[RecipientBatch], directory: Path) -> dict[str, Any]:
    """Write every batch as one chunk file and the rejects of all as one more; return the plan's facts.

    ``parts``: the files that rows come from (``sources.raw.RowRange``); ``merged_rows``: rows that repeat a recipient
    of another row.

    Some batches are written in threads while the next is made; the files do not depend on their timing.
    """

    def write(chunk_id: int, batch: RecipientBatch) -> tuple[dict[str, int | str], RecipientBatch]:
        name = f"{chunk_id:06d}.parquet"
        pq.write_table(batch.recipients, directory / name, **_WRITE_OPTIONS)
        entry: dict[str, int | str] = {
            "file": name,
            "rows": len(batch.recipients),
            "rejected_rows": batch.rows_rejected,
        }
        return entry, batch._replace(recipients=schema.RECIPIENT.empty_table())  # it is not kept in memory

    plan: list[dict[str, int | str]] = []
    parts: dict[RowRange, None] = {}
    merged_rows = 0
    with pq.ParquetWriter(directory / REJECTS_FILE, schema.REJECT, compression="zstd") as rejects:
        for entry, written in ordered_map(write, batches, threads=_THREADS, max_pending=_MAX_PENDING):
            if len(written.rejects):
                rejects.write_table(written.rejects)
            plan.append(entry)
            parts.update(dict.fromkeys(written.parts))
            merged_rows += written.rows_merged
    rows, rejected_rows = (sum(int(item[name]) for item in plan) for name in ("rows", "rejected_rows"))
    return {
        "chunks": plan,
        "source_rows": rows + rejected_rows + merged_rows,
        "rows": rows,
        "rejected_rows": rejected_rows,
        "merged_rows": merged_rows,
        "parts": [part._asdict() for part in parts],
    }


def file_bytes(recipients: pa.Table) -> int:
    """Bytes of the chunk file that these recipients would be."""
    sink = pa.BufferOutputStream()
    pq.write_table(recipients, sink, **_WRITE_OPTIONS)
    return int(sink.tell())


def chunks_of(stored: Artifact) -> list[Chunk]:
    """The chunks of a plan that ``write_chunks`` made, in source order."""
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


def parts_of(stored: Artifact, source: str) -> Sequence[RowRange]:
    """By what files the rows of the plan's source are found again; ``source``: its name, where a plan of an older
    version tells none."""
    return [RowRange(**part) for part in stored.facts.get("parts", ())] or whole(source)


def read_rejects(stored: Artifact) -> pa.Table:
    """The rejected and repaired rows of the plan's source (schema.REJECT)."""
    return pq.read_table(stored.path / REJECTS_FILE)
