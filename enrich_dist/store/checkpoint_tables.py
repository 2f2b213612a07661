"""The tables of a checkpoint as the bytes of a Parquet file, which contains the key of its checkpoint.

Apart from ``checkpoints``, so that commands that only list checkpoints do not import Arrow.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.errors import CorruptionError

_KEY = b"enrich_dist.checkpoint"  # in the schema metadata


class Content(StrEnum):
    """What a table of a checkpoint contains."""

    CANDIDATES = "candidates"
    COUNTS = "counts"


_COLUMNS = {Content.CANDIDATES: schema.CANDIDATE, Content.COUNTS: schema.COUNT}


def encode(table: pa.Table, content: Content, key: str, where: str) -> bytes:
    """Return the Parquet file of a table of checkpoint ``key``, read back and compared.

    ``where``: the file's name in messages. Raises ``CorruptionError`` when the table has another schema, or reads back
    differently.
    """
    # In one piece: the layout of batches must not show in the bytes.
    table = table.combine_chunks().replace_schema_metadata({_KEY: key})
    _require_columns(table.schema, content, where)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    encoded = sink.getvalue()
    if not pq.read_table(pa.BufferReader(encoded)).equals(table):
        raise CorruptionError(f"{where} reads back differently from what was written.")
    return bytes(encoded.to_pybytes())


def require(data: bytes, content: Content, key: str, rows: int | None, where: str) -> None:
    """Raise ``CorruptionError`` unless ``data`` is such a table of checkpoint ``key`` with ``rows`` rows."""
    try:
        metadata = pq.read_metadata(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise CorruptionError(f"{where} is not a Parquet file ({error}).") from error
    found = metadata.schema.to_arrow_schema()
    _require_columns(found, content, where)
    found_key = (found.metadata or {}).get(_KEY, b"").decode("utf-8", "replace")
    if found_key != key:
        raise CorruptionError(f"{where} belongs to another checkpoint ({found_key[:12] or 'no key'}).")
    if rows is not None and metadata.num_rows != rows:
        raise CorruptionError(f"{where} has {metadata.num_rows} rows, but its record says {rows}.")


def has_key(open_table: Callable[[], BinaryIO], key: str) -> bool | None:
    """Return whether a table has the key; None if it cannot be read."""
    with suppress(OSError, pa.ArrowException):
        return bool((pq.read_schema(open_table()).metadata or {}).get(_KEY) == key.encode())
    return None


def _require_columns(found: pa.Schema, content: Content, where: str) -> None:
    # Nullability is not compared: writers of equal tables set it differently.
    expected = _COLUMNS[content]
    if [(field.name, field.type) for field in found] != [(field.name, field.type) for field in expected]:
        raise CorruptionError(f"{where} has other columns than a checkpoint table.")
