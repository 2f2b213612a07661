"""Equal names after ``names.plain_name``: the least that any method must beat.

Score 1 where exactly one recipient bears the name, 0.5 where several do, of which the first in the file is taken. Does
not look at places.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from scripts.peers.answers import NONE, Floats, Ints
from scripts.peers.names import plain_names

UNIQUE, SHARED = 1.0, 0.5


def prepare(left: pa.Table, right: pa.Table) -> Callable[[pa.Table], tuple[Ints, Floats]]:
    """Look-up of names among the recipients."""
    del left
    ids = right["id"].to_pylist()
    first: dict[str, int] = {}
    shared: set[str] = set()
    for row, name in enumerate(plain_names(right["name"].to_pylist())):
        if first.setdefault(name, row) != row and ids[first[name]] != ids[row]:
            shared.add(name)
    first.pop("", None)

    def answer(block: pa.Table) -> tuple[Ints, Floats]:
        names = plain_names(block["name"].to_pylist())
        found = np.array([first.get(name, NONE) for name in names], dtype=np.int64)
        scores = np.array([SHARED if name in shared else UNIQUE for name in names])
        return found, scores

    return answer
