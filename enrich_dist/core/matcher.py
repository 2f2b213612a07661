"""What the farm is given to match a chunk, and the memory that matching takes.

The farm knows only this protocol; ``matching`` implements it. Neither imports the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa


@dataclass(frozen=True)
class MatchMemory:
    """What matching takes of a worker's memory, in bytes: whatever is matched (``process_bytes``: what is imported, and
    what is never given back), for an index that is in use, per row of a batch that is matched, and per row of the
    chunk for what is found, until it is written."""

    process_bytes: int = 0
    index_bytes: int = 0
    batch_row_bytes: float = 0.0
    output_row_bytes: float = 0.0


class Matcher(Protocol):
    """What the farm is given: opens an index directory and finds candidates for a table of recipients."""

    def key(self) -> str:
        """Digest of all settings and versions that the candidates depend on."""

    def open_index(self, directory: Path) -> Any:
        """Open the index files, memory-mapped."""

    def memory(self, index_bytes: int) -> MatchMemory:
        """What matching takes of a worker's memory, with an index whose files have so many bytes."""

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Candidates of the recipients, each with its recipient in the column ``source_row``; and counts to be added
        up over chunks."""

    def join(self, parts: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
        """What ``match`` gives for a table, from what it gave for the parts of the table."""
