"""``string_grouper.match_strings``: companies against recipients, names as they are, defaults but for two settings.

One match per company instead of twenty, and similarities from ``FLOOR`` on instead of 0.8, so that its scores can be
swept; the default is what it accepts.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
from string_grouper import match_strings

from scripts.peers.answers import NONE, Floats, Ints

FLOOR = 0.5


def prepare(left: pa.Table, right: pa.Table) -> Callable[[pa.Table], tuple[Ints, Floats]]:
    """Nothing is kept: the library does all in one call."""
    del left
    names = pd.Series(right["name"].to_pylist())

    def answer(block: pa.Table) -> tuple[Ints, Floats]:
        # The limit holds per row of the first table, so that must be the companies.
        matches = match_strings(
            pd.Series(block["name"].to_pylist()),
            names,
            master_id=pd.Series(range(len(block))),
            duplicates_id=pd.Series(range(len(names))),
            ignore_index=True,
            max_n_matches=1,
            min_similarity=FLOOR,
        )
        found, scores = np.full(len(block), NONE, dtype=np.int64), np.zeros(len(block))
        asked = matches["left_id"].to_numpy(np.int64)
        found[asked] = matches["right_id"].to_numpy(np.int64)
        scores[asked] = matches["similarity"].to_numpy(np.float64)
        return found, scores

    return answer
