"""Words that distinguish organisations of one family: Fund II and III, North and South, a firm and its joint venture.

A word has a *kind* and a *value*: words of one kind with different values conflict. The kinds and values of words are
in ``data/sibling_words.txt``; every word with a digit has a kind of its own. Does not cover which words of two names
agree (``comparison``).
"""

from __future__ import annotations

import numpy as np

from enrich_dist.matching.kernels.text import FNV_START, SPACE, find, fnv, fnv_byte, mix, uncounted
from enrich_dist.schema import SiblingLevel

# Kinds of words. MIXED: letters and digits; PART: the first word of TWENTY ONE; LINK: between partners. Others, from
# OPPOSITE on, are groups of words of opposite meanings; of these a direction counts even if it is missing on a side.
NO_KIND, NUMBER, VENTURE, HOLDING, OF, LINK, MIXED, PART, OPPOSITE = range(9)
DIRECTION = OPPOSITE
KIND_BASE = 1 << 20
"""A table of sibling words holds ``kind * KIND_BASE + value``."""
MAX_WORDS = 256
# Shorter words are initials as well: they conflict with another word of their kind, but may be missing.
MAX_INITIALS = 2
# A part of a word shorter than this says nothing (an EA and a WE).
MIN_PART_LENGTH = 3

NONE, NUMBERS_DIFFER, NUMBER_MISSING, OPPOSITES, VENTURES, HOLDINGS, CHAPTERS = map(int, SiblingLevel)
_ZERO, _NINE, _LETTER_V, _ASCII = 48, 57, 86, 128
_TENS, _MAX_TENS = 20, 90


@uncounted
def _digits(data, begin, end):  # type: ignore[no-untyped-def]
    count = 0
    for at in range(begin, end):
        count += _ZERO <= data[at] <= _NINE
    return count


@uncounted
def _number(data, begin, end):  # type: ignore[no-untyped-def]
    """Return the number that the digits of ``data[begin:end]`` write, modulo 2**62."""
    value = np.int64(0)
    for at in range(begin, end):
        if _ZERO <= data[at] <= _NINE:
            value = (value * 10 + data[at] - _ZERO) & np.int64((1 << 62) - 1)
    return value


@uncounted
def _is_ordinal(data, begin, end):  # type: ignore[no-untyped-def]
    """Return whether a word is digits and two letters that make an ordinal (2ND)."""
    if end - begin < 3 or _digits(data, begin, end - 2) != end - 2 - begin:
        return False
    one, two = data[end - 2], data[end - 1]
    return (
        (one == 84 and two == 72) or (one == 83 and two == 84) or (one == 78 and two == 68) or (one == 82 and two == 68)
    )


@uncounted
def split(text, name, table, words):  # type: ignore[no-untyped-def]
    """Write begin, end, kind and value of the words of a name into the columns of ``words``; return their number.

    ``text``: (data, starts) of all names; ``words``: int64, MAX_WORDS by 4.
    """
    keys, values = table
    data, at, stop = text[0], text[1][name], text[1][name + 1]
    count = 0
    while at < stop and count < MAX_WORDS:
        state, end = FNV_START, at
        digits = 0
        while end < stop and data[end] != SPACE:
            state = fnv_byte(state, data[end])
            digits += data[end] <= _NINE
            end += 1
        kind, value = NO_KIND, np.int64(0)
        if digits:
            exact = digits == end - at or _is_ordinal(data, at, end)
            kind, value = NUMBER if exact else MIXED, _number(data, at, end)
        else:
            entry = find(keys, values, mix(state))
            if entry >= 0:
                kind, value = entry // KIND_BASE, np.int64(entry % KIND_BASE)
        words[count, 0], words[count, 1], words[count, 2], words[count, 3] = at, end, kind, value
        if count and kind == NUMBER and digits == 0 and 0 < value < 10:
            before = words[count - 1, 3]  # TWENTY ONE
            if words[count - 1, 2] == NUMBER and _TENS <= before <= _MAX_TENS and data[words[count - 1, 0]] > _NINE:
                words[count - 1, 2], words[count, 3] = PART, before + value
        count += 1
        at = end + 1
    for number in range(count):
        # JOINT counts before VENTURE (which may be truncated), which has then the same kind, or at the end.
        begin, end = words[number, 0], words[number, 1]
        if words[number, 2] != VENTURE or end - begin == 2:
            continue
        if number + 1 == count:
            continue
        if data[words[number + 1, 0]] == _LETTER_V:
            words[number + 1, 2], words[number + 1, 3] = VENTURE, words[number, 3]
        else:
            words[number, 2] = NO_KIND
    return count


@uncounted
def tells_apart(left, left_word, right, right_word, table):  # type: ignore[no-untyped-def]
    """Return whether two words conflict, or begin or end with words that do (WESTSTONE, EASTSTONE).

    ``left_word``, ``right_word``: rows of ``split``.
    """
    if left_word[2] or right_word[2]:
        return left_word[2] == right_word[2] and left_word[3] != right_word[3]
    begin, end, other, stop = left_word[0], left_word[1], right_word[0], right_word[1]
    shorter = min(end - begin, stop - other)
    tail = 0
    while tail < shorter - MIN_PART_LENGTH and left[end - 1 - tail] == right[stop - 1 - tail]:
        tail += 1
        if _conflict(left, begin, end - tail, right, other, stop - tail, table):
            return True
    head = 0
    while head < shorter - MIN_PART_LENGTH and left[begin + head] == right[other + head]:
        head += 1
        if _conflict(left, begin + head, end, right, other + head, stop, table):
            return True
    return False


@uncounted
def _conflict(left, begin, end, right, other, stop, table):  # type: ignore[no-untyped-def]
    one = find(table[0], table[1], mix(fnv(FNV_START, left, begin, end)))
    if one < 0:
        return False
    two = find(table[0], table[1], mix(fnv(FNV_START, right, other, stop)))
    return two >= 0 and one != two and one // KIND_BASE == two // KIND_BASE


@uncounted
def sibling_level(left, right, table, numbers):  # type: ignore[no-untyped-def]
    """Return the ``SiblingLevel`` of two names.

    A side is (data, words, rest, count): ``rest`` are the words that agree with none of the other side. ``numbers``:
    working space, int64 of shape (2, ``MAX_WORDS``).
    """
    ours, theirs = _numbers_of_one_side(left, right, numbers)
    if (ours and theirs) or (_single_with_digit(left) and _single_with_digit(right)):
        return NUMBERS_DIFFER
    if (ours and _is_number_missing(left, right)) or (theirs and _is_number_missing(right, left)):
        return NUMBER_MISSING
    if _are_opposites(left, right, table):
        return OPPOSITES
    ventures = _has(left, VENTURE) + _has(right, VENTURE)
    partners = _remains(left, NO_KIND) + _remains(right, NO_KIND)
    linked = _remains(left, LINK) or _remains(right, LINK)
    if ventures == 1 or (ventures == 2 and (partners == 2 or (partners and linked))):
        return VENTURES
    if _remains(left, HOLDING) or _remains(right, HOLDING):
        return HOLDINGS
    if (_remains_after_of(left) and _remains_after_of(right)) or _ends_with_of(left) or _ends_with_of(right):
        return CHAPTERS
    return NONE


@uncounted
def _numbers(side, numbers):  # type: ignore[no-untyped-def]
    """Write the numbers in the remaining words of a side into ``numbers``; return how many there are."""
    data, words, rest, count = side
    found = 0
    for word in range(count):
        if not rest[word]:
            continue
        at, stop = words[word, 0], words[word, 1]
        if words[word, 2] == NUMBER:
            numbers[found] = words[word, 3]
            found += 1
        while words[word, 2] == MIXED and at < stop and found < MAX_WORDS - 1:
            end = at
            while end < stop and data[end] <= _NINE:
                end += 1
            if end > at:
                numbers[found] = _number(data, at, end)
                found += 1
            at = end + 1
        if found >= MAX_WORDS - 1:
            break
    return found


@uncounted
def _numbers_of_one_side(left, right, numbers):  # type: ignore[no-untyped-def]
    """Return how many numbers of the remaining words only the left side has, and how many only the right one."""
    ours, theirs = numbers[0], numbers[1]
    count, others = _numbers(left, ours), _numbers(right, theirs)
    kept = 0
    for number in range(count):
        same = -1
        for at in range(others):
            if theirs[at] == ours[number]:
                same = at
                break
        if same < 0:
            kept += 1
        else:
            others -= 1
            theirs[same] = theirs[others]
    return kept, others


@uncounted
def _single_with_digit(side):  # type: ignore[no-untyped-def]
    """Return whether one word remains, with a digit (B2 and C2, 1 and 1A)."""
    data, words, rest, count = side
    found = 0
    for word in range(count):
        if rest[word]:
            if data[words[word, 0]] > _NINE and words[word, 2] != MIXED:
                return False
            found += 1
    return found == 1


@uncounted
def _is_number_missing(side, other):  # type: ignore[no-untyped-def]
    """Return whether a number of the side is missing in the other; of words with letters only if others remain there.

    Initials do not count, except V and X at the end of the name (an I there may be a truncated INC).
    """
    _, words, rest, count = side
    remains = False
    for word in range(other[3]):
        remains = remains or other[2][word]
    for word in range(count):
        if not rest[word]:
            continue
        if words[word, 2] == MIXED and remains:
            return True
        ends = word == count - 1 and words[word, 3] > 1
        if words[word, 2] == NUMBER and (ends or not is_initial(side, word)):
            return True
    return False


@uncounted
def is_initial(side, word):  # type: ignore[no-untyped-def]
    """Return whether a word is one or two letters."""
    data, words, _, _ = side
    begin, end = words[word, 0], words[word, 1]
    return end - begin <= MAX_INITIALS and data[begin] > _NINE


@uncounted
def _are_opposites(left, right, table):  # type: ignore[no-untyped-def]
    """Return whether remaining words conflict, or both sides have another initial, or one alone a direction."""
    words, rest, count = left[1], left[2], left[3]
    others, other_rest, other_count = right[1], right[2], right[3]
    for word in range(count):
        for other in range(other_count):
            if not (rest[word] and other_rest[other]):
                continue
            if tells_apart(left[0], words[word], right[0], others[other], table):
                return True
            longest = max(words[word, 1] - words[word, 0], others[other, 1] - others[other, 0])
            if longest == 1:
                return True
    return _has_direction(left) or _has_direction(right)


@uncounted
def _has_direction(side):  # type: ignore[no-untyped-def]
    _, words, rest, count = side
    for word in range(count):
        if rest[word] and words[word, 2] == DIRECTION and not is_initial(side, word):
            return True
    return False


@uncounted
def _has(side, kind):  # type: ignore[no-untyped-def]
    for word in range(side[3]):
        if side[1][word, 2] == kind:
            return True
    return False


@uncounted
def _remains(side, kind):  # type: ignore[no-untyped-def]
    for word in range(side[3]):
        if side[2][word] and side[1][word, 2] == kind:
            return True
    return False


@uncounted
def _remains_after_of(side):  # type: ignore[no-untyped-def]
    """Return whether a word after the first OF remains."""
    _, words, rest, count = side
    opened = False
    for word in range(1, count):
        if opened and rest[word]:
            return True
        opened = opened or words[word, 2] == OF
    return False


@uncounted
def _ends_with_of(side):  # type: ignore[no-untyped-def]
    """Return whether an OF and all words after it remain, but not all words before it."""
    _, words, rest, count = side
    for word in range(count - 1, 0, -1):
        if not rest[word]:
            return False
        if words[word, 2] == OF and word < count - 1:
            for before in range(word):
                if not rest[before]:
                    return True
    return False
