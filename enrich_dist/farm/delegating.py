"""A matcher that leaves the work to another: the base of whatever lets something happen around matching.

It is sent to workers, so it lives in a module that they can import.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from enrich_dist.core.matcher import MatchMemory

if TYPE_CHECKING:
    from enrich_dist.core.matcher import Matcher


@dataclass(frozen=True)
class DelegatingMatcher:
    """Does all that ``inner`` does, under the same key: what happens around it changes no result, and nobody foresees
    it."""

    inner: Matcher

    def key(self) -> str:
        """As ``inner``."""
        return self.inner.key()

    def memory(self, index_bytes: int) -> MatchMemory:
        """As ``inner``."""
        return self.inner.memory(index_bytes)

    def open_index(self, directory: Path) -> Any:
        """As ``inner``."""
        return self.inner.open_index(directory)

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        """As ``inner``."""
        return self.inner.match(index, recipients)

    def join(self, parts: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
        """As ``inner``."""
        return self.inner.join(parts)
