"""Names as sparse vectors of character 3-grams with TF-IDF weights, in whole numbers.

Covers the counting of 3-grams straight from the text buffers, the weights and the cosine. Does not cover which
names are compared (``blocking``, ``compare``). TF-IDF and cosine as in Manning, Raghavan and Schütze,
*Introduction to Information Retrieval*, ch. 6, with the smoothed idf ``ln((1 + N) / (1 + df)) + 1``.

The weights of a name are scaled to ``WEIGHT_SCALE`` and rounded to integers, so that a dot product is exact: the
same on every processor, in any order of summation, and free to compare with a threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

ALPHABET_SIZE = 37  # space, 0-9, A-Z
GRAM_COUNT = ALPHABET_SIZE**3
WEIGHT_SCALE = 2**14
COSINE_SCALE = WEIGHT_SCALE**2  # fits a 32-bit integer with room for rounding

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

_CODES = np.zeros(256, dtype=np.int32)
_CODES[ord("0") : ord("9") + 1] = np.arange(1, 11)
_CODES[ord("A") : ord("Z") + 1] = np.arange(11, 37)


def count_grams(names: pa.Array) -> tuple[Ints, Ints, Ints]:
    """The 3-grams of normalised names, each name padded with one space at both ends.

    ``names``: string array without nulls. Returns (name, gram, count): three int32 arrays of equal length, one
    entry per distinct gram of a name, in the order of name and gram.
    """
    empty = np.zeros(0, dtype=np.int32)
    if len(names) == 0:
        return empty, empty, empty
    padded = pc.binary_join_element_wise("", names, "", " ")
    offsets = np.frombuffer(padded.buffers()[1], dtype=np.int32)[padded.offset : padded.offset + len(padded) + 1]
    text = np.frombuffer(padded.buffers()[2], dtype=np.uint8)[offsets[0] : offsets[-1]]
    owner = np.repeat(np.arange(len(padded), dtype=np.int64), np.diff(offsets))
    letters = _CODES[text]
    grams = (letters[:-2] * ALPHABET_SIZE + letters[1:-1]) * ALPHABET_SIZE + letters[2:]
    # All names lie in one buffer; a window that begins in one name and ends in the next is no gram.
    inside = owner[:-2] == owner[2:]
    keys, counts = np.unique(owner[:-2][inside] * GRAM_COUNT + grams[inside], return_counts=True)
    return (keys // GRAM_COUNT).astype(np.int32), (keys % GRAM_COUNT).astype(np.int32), counts.astype(np.int32)


def inverse_document_frequency(grams: Ints, name_count: int) -> Floats:
    """Idf of all ``GRAM_COUNT`` grams, float64; a gram of no name weighs as much as a gram can.

    ``grams``: the distinct grams of every name, one after the other.
    """
    frequency = np.bincount(grams, minlength=GRAM_COUNT)
    return np.asarray(np.log((1 + name_count) / (1 + frequency)) + 1)


def weigh(name: Ints, gram: Ints, count: Ints, idf: Floats, name_count: int) -> Ints:
    """Integer weights of the counted grams, int32: ``count * idf``, scaled to length ``WEIGHT_SCALE`` per name."""
    weight = count * idf[gram]
    # bincount adds one after the other: the sum of a name does not depend on its neighbours in the batch.
    norm = np.sqrt(np.bincount(name, weights=weight * weight, minlength=name_count))
    return np.rint(weight / norm[name] * WEIGHT_SCALE).astype(np.int32)


def vectors(names: pa.Array, idf: Floats) -> Any:
    """Names as rows of a ``scipy.sparse.csr_matrix`` of shape (len(names), GRAM_COUNT), int32."""
    from scipy.sparse import csr_matrix

    name, gram, count = count_grams(names)
    weight = weigh(name, gram, count, idf, len(names))
    starts = np.zeros(len(names) + 1, dtype=np.int32)
    np.cumsum(np.bincount(name, minlength=len(names)), out=starts[1:])
    return csr_matrix((weight, gram, starts), shape=(len(names), GRAM_COUNT))


def pair_cosines(left: Any, left_rows: npt.NDArray[Any], right: Any, right_rows: npt.NDArray[Any]) -> Floats:
    """Cosine of row ``left_rows[i]`` of one matrix and row ``right_rows[i]`` of the other: float64 in [0, 1]."""
    products = left[left_rows].multiply(right[right_rows])
    dots = np.asarray(products.sum(axis=1), dtype=np.int64).reshape(-1)
    return np.minimum(dots / COSINE_SCALE, 1.0)
