"""Recipients to chunk files: a stream cut into Parquet files of at most ``chunk_size`` rows each.

Memory holds one chunk at a time, however many recipients there are. A chunk covers exactly ``chunk_size`` rows of
the source (the last one fewer); rows that the source rejects are kept beside the chunks, so that the rows of all
chunks and the rejects add up to the rows of the source. Does not cover reading the source (``sources``).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.sources.recipients import RecipientBatch
from enrich_dist.store import Stored

ENGINE_VERSION = "1"
REJECTS_FILE = "rejects.parquet"


@dataclass(frozen=True)
class Chunk:
    """One chunk file and what is known of it. ``rows + rejected_rows`` are the source rows it covers."""

    chunk_id: int
    path: Path
    rows: int
    rejected_rows: int
    bytes: int
    sha256: str


def write_chunks(batches: Iterable[RecipientBatch], directory: Path) -> dict[str, Any]:
    """Write every batch as one chunk file and the rejects of all as one more; return the plan's facts."""
    plan: list[dict[str, int | str]] = []
    with pq.ParquetWriter(directory / REJECTS_FILE, schema.REJECT, compression="zstd") as rejects:
        for chunk_id, batch in enumerate(batches):
            name = f"{chunk_id:06d}.parquet"
            pq.write_table(batch.recipients, directory / name, compression="zstd", compression_level=1)
            if len(batch.rejects):
                rejects.write_table(batch.rejects)
            rejected = batch.rows_read - len(batch.recipients)
            plan.append({"file": name, "rows": len(batch.recipients), "rejected_rows": rejected})
    return {
        "chunks": plan,
        "source_rows": sum(int(item["rows"]) + int(item["rejected_rows"]) for item in plan),
        "rows": sum(int(item["rows"]) for item in plan),
        "rejected_rows": sum(int(item["rejected_rows"]) for item in plan),
    }


def chunks_of(stored: Stored) -> list[Chunk]:
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


def read_rejects(stored: Stored) -> pa.Table:
    """The rejected and repaired rows of the plan's source (schema.REJECT)."""
    return pq.read_table(stored.path / REJECTS_FILE)
