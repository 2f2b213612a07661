"""Removal of initials in brackets that repeat the name: ``(ES3) Engineering & Software System Solutions``.

Other text in brackets (a country, a trade, another name) stays. Letters are ASCII of either case; any byte except a
letter or digit ends a word.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MIN_INITIALS = 3
"""Fewer are often a country or a state: (US), (CA)."""
_MAX_INITIALS = 16
_OPEN, _CLOSE = 40, 41
_DROPPED = 1  # kernels.names.DROPPED
_DIGITS, _LETTERS = 48, 65  # the first of each


@njit(cache=True, nogil=True)
def _initials(data, begin, end, classes, initials):  # type: ignore[no-untyped-def]
    """Write the initials in ``data[begin:end]``, where a digit repeats the letter before it (C3I is CCCI).

    Return their number, 0 for several words or too many letters.
    """
    count = 0
    inside, closed = False, False
    for at in range(begin, end):
        letter = classes[data[at]]
        if letter < _DIGITS:
            closed = inside
            continue
        if closed:
            return 0
        inside = True
        times = 1
        if _DIGITS + 2 <= letter < _DIGITS + 10:
            if count == 0:
                return 0
            letter, times = initials[count - 1], letter - _DIGITS - 1
        elif letter < _LETTERS:
            return 0
        if count + times > initials.size:
            return 0
        for _ in range(times):
            initials[count] = letter
            count += 1
    return count


@njit(cache=True, nogil=True)
def _are_of(data, begin, end, opened, closed, classes, initials, count):  # type: ignore[no-untyped-def]
    """Return whether the initials are, in order, those of at least half of the words outside ``[opened, closed)``."""
    met, words = 0, 0
    inside = False
    for at in range(begin, end):
        if opened <= at < closed:
            inside = False
            continue
        letter = classes[data[at]]
        if letter == _DROPPED:
            continue
        if letter >= _DIGITS and not inside:
            words += 1
            if met < count and letter == initials[met]:
                met += 1
        inside = letter >= _DIGITS
    return met == count and 2 * count >= words


@njit(cache=True, nogil=True)
def without_initials(data, starts, classes):  # type: ignore[no-untyped-def]
    """Replace brackets with the initials of the other words by spaces; return uint8, as long as ``data``.

    ``classes``: ``kernels.names.BYTE_CLASSES``.
    """
    out = data.copy()
    initials = np.empty(_MAX_INITIALS, dtype=np.uint8)
    for row in range(starts.size - 1):
        opened = -1
        for at in range(starts[row], starts[row + 1]):
            if data[at] == _OPEN:
                opened = at
            elif data[at] == _CLOSE and opened >= 0:
                count = _initials(data, opened + 1, at, classes, initials)
                if count >= MIN_INITIALS and _are_of(
                    data, starts[row], starts[row + 1], opened, at + 1, classes, initials, count
                ):
                    out[opened : at + 1] = 32
                opened = -1
    return out
