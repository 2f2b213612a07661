"""A matcher that leaves the work to another: what tests let something happen around. It is sent to workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from enrich_dist.farm.budget import MatchMemory
from enrich_dist.farm.worker import Matcher


@dataclass(frozen=True)
class Delegating:
    """Does all that ``inner`` does, under the same key: what happens around it changes no result, and nobody foresees
    it."""

    inner: Matcher

    def key(self) -> str:
        return self.inner.key()

    def memory(self, index_bytes: int) -> MatchMemory:
        return self.inner.memory(index_bytes)

    def open_index(self, directory: Path) -> Any:
        return self.inner.open_index(directory)

    def match(self, index: Any, recipients: pa.Table) -> tuple[pa.Table, pa.Table]:
        return self.inner.match(index, recipients)

    def join(self, parts: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pa.Table, pa.Table]:
        return self.inner.join(parts)
