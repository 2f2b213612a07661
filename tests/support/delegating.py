"""The base of matchers that add a side effect, in a module that workers can import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from enrich_dist.core.matcher import Matcher, MatchMemory


@dataclass(frozen=True)
class DelegatingMatcher:
    """Delegate everything to ``inner``, under the same key."""

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
