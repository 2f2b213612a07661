"""Cosine of TF-IDF weighted character 3-grams, the nearest recipient by ``sparse_dot_topn``.

All cores. Weights are fitted on the names of both sides. Cosines below ``FLOOR`` are no candidates.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import TfidfVectorizer
from sparse_dot_topn import sp_matmul_topn

from scripts.peers.answers import NONE, Floats, Ints
from scripts.peers.names import plain_names

FLOOR = 0.5


def prepare(left: pa.Table, right: pa.Table) -> Callable[[pa.Table], tuple[Ints, Floats]]:
    """Grams of the recipients, transposed, so that a product with a block of companies gives cosines."""
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32, lowercase=False)
    right_names = plain_names(right["name"].to_pylist())
    vectorizer.fit(plain_names(left["name"].to_pylist()) + right_names)
    grams = vectorizer.transform(right_names).T.tocsr()
    threads = os.cpu_count() or 1

    def answer(block: pa.Table) -> tuple[Ints, Floats]:
        asked = vectorizer.transform(plain_names(block["name"].to_pylist()))
        best = sp_matmul_topn(asked, grams, top_n=1, threshold=FLOOR, n_threads=threads)
        has = np.diff(best.indptr) > 0
        found, scores = np.full(len(block), NONE, dtype=np.int64), np.zeros(len(block))
        found[has], scores[has] = best.indices, best.data
        return found, scores

    return answer
