"""Similarity of two normalised streets: house number, and Levenshtein distance (1966) without spaces."""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.text import SPACE, join_words, longest_text, uncounted
from enrich_dist.schema import StreetLevel

_UNKNOWN, _DIFFERENT, _SIMILAR, _SAME = map(int, StreetLevel)
# Maximum edits, in tenths of the longer street.
_SAME_TENTHS, _SIMILAR_TENTHS = 1, 3
_ZERO, _NINE = 48, 57


@njit(cache=True, nogil=True)
def street_levels(left, positions, right, companies, starts, codes):  # type: ignore[no-untyped-def]
    """Return the ``StreetLevel`` of each pair, int8: the best over the streets of the company.

    ``left``, ``right``: (data, starts) of streets, empty for unknown; ``positions``: the street of each pair in
    ``left``; the streets of company c in ``right`` are ``codes[starts[c]:starts[c + 1]]``. A PO box and a street are
    not comparable. Different numbers are different streets; a missing number is none.
    """
    levels = np.empty(positions.size, dtype=np.int8)
    longest = max(longest_text(left[1]), longest_text(right[1]))
    joined = np.empty((2, longest), dtype=np.uint8)
    distances = np.empty(longest + 1, dtype=np.int32)
    _compare_pairs(left, positions, right, companies, starts, codes, joined, distances, levels)
    return levels


@uncounted
def _compare_pairs(left, positions, right, companies, starts, codes, joined, distances, levels):  # type: ignore[no-untyped-def]
    for pair in range(positions.size):
        street, company = positions[pair], companies[pair]
        best = _UNKNOWN
        for at in range(starts[company], starts[company + 1]):
            if best != _SAME:
                best = max(best, _level(left, street, right, codes[at], joined, distances))
        levels[pair] = best


@uncounted
def _level(left, street, right, other, joined, distances):  # type: ignore[no-untyped-def]
    data, begin, end = left[0], left[1][street], left[1][street + 1]
    data_2, begin_2, end_2 = right[0], right[1][other], right[1][other + 1]
    is_box, first, last = _number(data, begin, end)
    is_box_2, first_2, last_2 = _number(data_2, begin_2, end_2)
    if begin == end or begin_2 == end_2 or is_box != is_box_2:
        return _UNKNOWN
    if last > first and last_2 > first_2 and not _is_equal(data, first, last, data_2, first_2, last_2):
        return _DIFFERENT
    if _is_equal(data, begin, end, data_2, begin_2, end_2):
        return _SAME
    size, size_2 = join_words(data, begin, end, joined[0]), join_words(data_2, begin_2, end_2, joined[1])
    longer = max(size, size_2)
    if 10 * abs(size - size_2) > _SIMILAR_TENTHS * longer:
        return _DIFFERENT
    tenths = 10 * _distance(joined[0], size, joined[1], size_2, distances)
    if tenths <= _SAME_TENTHS * longer:
        return _SAME
    return _SIMILAR if tenths <= _SIMILAR_TENTHS * longer else _DIFFERENT


@uncounted
def _number(data, begin, end):  # type: ignore[no-untyped-def]
    """Return whether a street is a PO box, and the begin and end of its number, which are equal if it has none."""
    at, is_box = begin, False
    if end - at >= 3 and data[at] == 80 and data[at + 1] == 79 and data[at + 2] == SPACE:  # PO
        at += 3
    if end - at >= 3 and data[at] == 66 and data[at + 1] == 79 and data[at + 2] == 88:  # BOX
        is_box = end - at == 3 or data[at + 3] == SPACE
        at = min(at + 4, end) if is_box else at
    last = at
    while last < end and _ZERO <= data[last] <= _NINE:
        last += 1
    return is_box, at, last


@uncounted
def _is_equal(left, begin, end, right, other, stop):  # type: ignore[no-untyped-def]
    if end - begin != stop - other:
        return False
    for offset in range(end - begin):
        if left[begin + offset] != right[other + offset]:
            return False
    return True


@uncounted
def _distance(left, size, right, other_size, distances):  # type: ignore[no-untyped-def]
    """Return the Levenshtein distance; ``distances``: int32, longer than ``right``, to work in."""
    for column in range(other_size + 1):
        distances[column] = column
    for row in range(size):
        diagonal = distances[0]
        distances[0] = row + 1
        for column in range(other_size):
            above = distances[column + 1]
            cost = diagonal + (left[row] != right[column])
            distances[column + 1] = min(cost, above + 1, distances[column] + 1)
            diagonal = above
    return distances[other_size]
