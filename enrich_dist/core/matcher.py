"""The interface between the farm and matching: neither imports the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True)
class MatchMemory:
    """Memory that matching needs on a worker, in bytes.

    ``process_bytes``: imported modules and memory that is never returned. ``index_bytes``: an open index.
    ``batch_row_bytes``: per row of the batch that is matched. ``output_row_bytes``: per row of the chunk, for its
    candidates until they are written.
    """

    process_bytes: int = 0
    index_bytes: int = 0
    batch_row_bytes: float = 0.0
    output_row_bytes: float = 0.0


class Matcher(Protocol):
    """Opens an index directory and finds candidates for a table of recipients."""

    def key(self) -> str:
        """Return the digest of all settings and versions that the candidates depend on."""

    def open_index(self, directory: Path) -> Any:
        """Open the index files, memory-mapped."""

    def memory(self, index_bytes: int) -> MatchMemory:
        """Return the memory that matching needs with an index of this size."""

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Return the candidates, each with its recipient's ``source_row``, and counts that add up over chunks."""

    def join(self, parts: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
        """Return what ``match`` returns for a table, from its results for the parts of the table."""
