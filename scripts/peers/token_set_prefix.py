"""``rapidfuzz`` token_set_ratio among names that begin with the same two letters, so that large tables can be done.

The same as ``token_set`` otherwise. A company whose name begins otherwise than its recipient's is not found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from scripts.peers.answers import NONE, Floats, Ints
from scripts.peers.names import plain_names
from scripts.peers.token_set import best_of

PREFIX = 2
CELLS = 20_000_000
"""Scores held at once."""


def prepare(left: pa.Table, right: pa.Table) -> Callable[[pa.Table], tuple[Ints, Floats]]:
    """Recipients by the beginning of their normalised name."""
    del left
    choices = plain_names(right["name"].to_pylist())
    rows_of = _by_prefix(choices)

    def answer(block: pa.Table) -> tuple[Ints, Floats]:
        names = plain_names(block["name"].to_pylist())
        found, scores = np.full(len(names), NONE, dtype=np.int64), np.zeros(len(names))
        for prefix, asked in _by_prefix(names).items():
            rows = rows_of.get(prefix, [])
            if not rows or not prefix:
                continue
            some = [choices[row] for row in rows]
            step = max(1, CELLS // len(rows))
            for start in range(0, len(asked), step):
                part = asked[start : start + step]
                best, scores[part] = best_of([names[row] for row in part], some)
                found[part] = np.where(best == NONE, NONE, np.asarray(rows)[best])
        return found, scores

    return answer


def _by_prefix(names: list[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        groups[name[:PREFIX]].append(row)
    return dict(groups)
