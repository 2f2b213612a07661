"""Entity Matching Model (emm, ING) linking company names, as its documentation describes.

Candidates by cosine of 2-grams of characters, cosine of words, and sorted neighbourhood. Its classifier is trained
without labels of the case: names of the right table, with the noise of the package's own generator, are to find
themselves, and half of them get no match. Names only.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from emm import PandasEntityMatching
from emm.data.noiser import create_noiser

from scripts.peers.answers import Floats, Ints
from scripts.peers.methods import nothing_found

TRAINING_NAMES: Final = 5_000
COPIES: Final = 20
"""Noised copies of a name at most, where the right table has few names."""
NOISE: Final = 0.3
SEED: Final = 1
_INDEXERS: Final = [
    {
        "type": "cosine_similarity",
        "tokenizer": "characters",
        "ngram": 2,
        "num_candidates": 5,
        "cos_sim_lower_bound": 0.2,
    },
    {"type": "cosine_similarity", "tokenizer": "words", "num_candidates": 10, "cos_sim_lower_bound": 0.2},
    {"type": "sni", "window_length": 3},
]


def prepare(_: pa.Table, right: pa.Table) -> Callable[[pa.Table], tuple[Ints, Floats]]:
    """Index the right names and train the classifier."""
    model = PandasEntityMatching(
        {
            "name_only": True,
            "entity_id_col": "Index",
            "name_col": "Name",
            "indexers": _INDEXERS,
            "supervised_on": False,
            "with_legal_entity_forms_match": True,
        }
    )
    model.fit(_frame(right))
    model.fit_classifier(_training_names(right), create_negative_sample_fraction=0.5)

    def search(block: pa.Table) -> tuple[Ints, Floats]:
        names = _frame(block)
        found, scores = nothing_found(len(block))
        candidates = model.transform(names)
        best = candidates[candidates["best_match"] & candidates["gt_uid"].notna()]
        rows = best["uid"].to_numpy(np.int64)
        found[rows] = best["gt_entity_id"].to_numpy(np.int64)
        scores[rows] = best["nm_score"].to_numpy(np.float64)
        return found, scores

    return search


def _frame(table: pa.Table) -> Any:
    return pd.DataFrame({"Index": np.arange(len(table)), "Name": table["name"].to_pylist()})


def _training_names(right: pa.Table) -> Any:
    names = _frame(right)
    names = names[names["Name"] != ""]
    copies = min(COPIES, -(-TRAINING_NAMES // len(names)))
    names = pd.concat([names] * copies).sample(frac=1.0, random_state=SEED).head(TRAINING_NAMES).reset_index(drop=True)
    noiser = create_noiser(names["Name"].tolist(), NOISE, "all", SEED)
    names["Name"] = [noiser.noise(name) for name in names["Name"]]
    return names
