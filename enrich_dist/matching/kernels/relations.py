"""Lookup of texts in an index relation, and membership of the texts found in the lists of companies."""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.text import FNV_START, find, fnv, mix, uncounted
from enrich_dist.schema import Agreement

_CONFLICT, _UNKNOWN, _AGREE = map(int, Agreement)


@njit(cache=True, nogil=True)
def find_texts(texts, table, known):  # type: ignore[no-untyped-def]
    """Return the position of each text among the ``known`` ones, int64, -1 for an unknown or empty text.

    ``texts``, ``known``: (data, starts); ``table``: hash table of the known texts. Equal hashes can be different texts.
    """
    found = np.empty(texts[1].size - 1, dtype=np.int64)
    _find_texts(texts, table, known, found)
    return found


@uncounted
def _find_texts(texts, table, known, found):  # type: ignore[no-untyped-def]
    (data, starts), (keys, values), (known_data, known_starts) = texts, table, known
    for row in range(found.size):
        begin, end = starts[row], starts[row + 1]
        found[row] = -1
        if begin == end:
            continue
        code = find(keys, values, mix(fnv(FNV_START, data, begin, end)))
        if code < 0 or known_starts[code + 1] - known_starts[code] != end - begin:
            continue
        offset = known_starts[code] - begin
        for at in range(begin, end):
            if data[at] != known_data[at + offset]:
                break
        else:
            found[row] = code


@njit(cache=True, nogil=True)
def agreements(codes, missing, rows, companies, starts, values):  # type: ignore[no-untyped-def]
    """Return the ``Agreement`` of each pair (row, company), int8.

    ``codes``, ``missing`` (bool): of a row, the code of its text, -1 for a text of no company, and whether it has none.
    The codes of company c are ``values[starts[c]:starts[c + 1]]``.
    """
    found = np.empty(rows.size, dtype=np.int8)
    for pair in range(rows.size):
        row, company = rows[pair], companies[pair]
        begin, end = starts[company], starts[company + 1]
        if missing[row] or begin == end:
            found[pair] = _UNKNOWN
            continue
        found[pair] = _CONFLICT
        for at in range(begin, end):
            if values[at] == codes[row]:
                found[pair] = _AGREE
                break
    return found
