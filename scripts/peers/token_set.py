"""``rapidfuzz`` token_set_ratio of every company with every recipient: the way of the project that this one replaces.

All cores. Scores below ``CUT_OFF`` are no candidates. The first recipient in the file is taken among equal scores, as
there are many: every name whose words are a subset of the other's scores 100.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
from rapidfuzz import fuzz, process

from scripts.peers.answers import NONE, Floats, Ints
from scripts.peers.names import plain_names

CUT_OFF = 75


def prepare(left: pa.Table, right: pa.Table) -> Callable[[pa.Table], tuple[Ints, Floats]]:
    """Normalised names of the recipients, compared with a block of companies at once."""
    del left
    choices = plain_names(right["name"].to_pylist())

    def answer(block: pa.Table) -> tuple[Ints, Floats]:
        return best_of(plain_names(block["name"].to_pylist()), choices)

    return answer


def best_of(names: list[str], choices: list[str]) -> tuple[Ints, Floats]:
    """For each name the number of the best choice, or ``NONE``, and its score."""
    ratios = process.cdist(
        names, choices, scorer=fuzz.token_set_ratio, score_cutoff=CUT_OFF, workers=-1, dtype=np.float32
    )
    best = np.argmax(ratios, axis=1)
    scores = ratios[np.arange(len(names)), best].astype(np.float64)
    return np.where(scores > 0, best, NONE).astype(np.int64), scores
