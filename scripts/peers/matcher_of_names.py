"""``name_matching.NameMatcher``: 50 candidates by cosine, the best by its default metrics, legal suffixes not scored.

One core, as the library has no other way. The rows of its product are cut so that memory stays bounded.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
from name_matching.name_matcher import NameMatcher

from scripts.peers.answers import Floats, Ints

CELLS = 20_000_000
"""Cosines that the library holds at once."""
_COLUMN = "name"


def prepare(left: pa.Table, right: pa.Table) -> Callable[[pa.Table], tuple[Ints, Floats]]:
    """A matcher that has processed the recipients."""
    del left
    matcher = NameMatcher(
        legal_suffixes=True, top_n=50, number_of_rows=max(1, CELLS // len(right)), number_of_matches=1, verbose=False
    )
    matcher.load_and_process_master_data(_COLUMN, _frame(right), transform=True)

    def answer(block: pa.Table) -> tuple[Ints, Floats]:
        matches = matcher.match_names(_frame(block), _COLUMN)
        found = matches["match_index"].to_numpy().astype(np.int64)
        return found, matches["score"].to_numpy().astype(np.float64)

    return answer


def _frame(table: pa.Table) -> pd.DataFrame:
    return pd.DataFrame({_COLUMN: table["name"].to_pylist()})
