"""Comparison of two names word by word: the level, agreement and similarity of a pair, and whether they are siblings.

Does not cover which pairs are compared (``overlap``) nor what a level weighs (``matching.weights``). Similarities are
integers (per mille).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.overlap import TYPO_PER_CENT
from enrich_dist.matching.kernels.siblings import (
    CHAPTERS,
    MAX_WORDS,
    MIXED,
    NO_KIND,
    NONE,
    NUMBER,
    NUMBERS_DIFFER,
    OPPOSITES,
    PART,
    is_initial,
    sibling_level,
    split,
    tells_apart,
)
from enrich_dist.matching.kernels.text import SPACE, join_words, longest_text, uncounted, within_one_edit
from enrich_dist.matching.kernels.tokens import LAST_LETTER
from enrich_dist.schema import NameLevel

# Plain integers, which numba compiles into the loops.
(
    NOTHING_IN_COMMON,
    DIFFERENT_WORDS,
    ADDITIONAL_WORDS,
    DIFFERENT_COMMON_WORDS,
    CONTAINED,
    ADDITIONAL_COMMON_WORDS,
    TYPO,
    SPELLING_VARIANT,
    EQUAL,
) = map(int, NameLevel)
# Shorter names and words differ by one letter too often.
MIN_WHOLE_TYPO_LENGTH = 8
# Some sources truncate names at 30 characters, of which the normal form keeps most.
MIN_CUT_LENGTH = 24


@njit(cache=True, nogil=True)
def compare_names(left, right, tokens, index, left_text, right_text, limits, exact, cut, table):  # type: ignore[no-untyped-def]
    """Return (level int8, agreement, similarity, sibling level int8) of pairs of names; the middle two int32 per mille.

    ``left``: positions in ``tokens``; ``right``: index names; ``exact``, ``cut``: whether both are equal, or one is
    the other truncated; ``table``: ``words.sibling_words``. ``agreement`` is the share of the index name's weight that
    agrees. ``limits``: the weight of an unknown word, the largest of a common word, and the smallest of a name that can
    be contained in another. Of a longer name the first ``MAX_WORDS`` words count.
    """
    levels = np.empty(left.size, dtype=np.int8)
    agreements = np.empty(left.size, dtype=np.int32)
    similarities = np.empty(left.size, dtype=np.int32)
    siblings = np.zeros(left.size, dtype=np.int8)
    words = np.empty((2, MAX_WORDS, 4), dtype=np.int64), np.empty((2, MAX_WORDS), dtype=np.bool_)
    numbers = np.empty((2, MAX_WORDS), dtype=np.int64)
    longest = max(longest_text(left_text[1]), longest_text(right_text[1]))
    joined = np.empty((2, longest), dtype=np.uint8)
    asked = left, right, tokens, index, left_text, right_text, limits, exact, cut, table
    _compare_pairs(asked, (words, numbers, joined), (levels, agreements, similarities, siblings))
    return levels, agreements, similarities, siblings


@uncounted
def _compare_pairs(asked, space, found):  # type: ignore[no-untyped-def]
    """Write what ``compare_names`` returns. ``asked``: its arguments; ``space``: arrays to work in."""
    left, right, tokens, index, left_text, right_text, limits, exact, cut, table = asked
    levels, agreements, similarities, siblings = found
    token_starts, concepts, typo_starts, typos, _, _, compact = tokens
    unknown_weight, common_weight, contained_weight = limits
    weights, name_weights, name_starts, name_tokens = index[0], index[10], index[11], index[12]
    name_compact = index[15]
    (both_words, both_rests), numbers, joined = space
    words, other_words, rest, other_rest = both_words[0], both_words[1], both_rests[0], both_rests[1]
    for pair in range(left.size):
        name, other = left[pair], right[pair]
        if exact[pair] or compact[name] == name_compact[other]:
            levels[pair] = EQUAL if exact[pair] else SPELLING_VARIANT
            agreements[pair] = similarities[pair] = 1000
            continue
        count = split(left_text, name, table, words)
        other_count = split(right_text, other, table, other_words)
        rest[:count] = True
        other_rest[:other_count] = True
        first, begin = token_starts[name], name_starts[other]
        agreed, typo_count, named = 0, 0, False
        for at in range(other_count):
            concept = name_tokens[begin + at]
            found = -1
            near = False
            for mine in range(count):
                if rest[mine] and concepts[first + mine] == concept:
                    found = mine
                    near = False
                    break
                if found < 0 and rest[mine]:
                    for typo in range(typo_starts[first + mine], typo_starts[first + mine + 1]):
                        if typos[typo] == concept and not tells_apart(
                            left_text[0], words[mine], right_text[0], other_words[at], table
                        ):
                            found = mine
                            near = True
                            break
            if found >= 0:
                rest[found] = other_rest[at] = False
                agreed += weights[concept] * TYPO_PER_CENT // 100 if near else weights[concept]
                typo_count += near
                named = named or other_words[at, 2] != NUMBER
        for at in range(other_count):  # words of one meaning (2 and SECOND), after all equal ones
            kind = other_words[at, 2]
            if not other_rest[at] or kind == NO_KIND or kind == MIXED:
                continue
            for mine in range(count):
                if rest[mine] and words[mine, 2] == kind and words[mine, 3] == other_words[at, 3]:
                    rest[mine] = other_rest[at] = False
                    agreed += weights[name_tokens[begin + at]]
                    break
        if agreed:  # typing errors in words that many names have, too: the other words show that they are errors
            for at in range(other_count):
                if not other_rest[at] or other_words[at, 2] != NO_KIND:
                    continue
                for mine in range(count):
                    if (
                        rest[mine]
                        and words[mine, 2] == NO_KIND
                        and _is_typo(left_text[0], words[mine], right_text[0], other_words[at], table)
                    ):
                        rest[mine] = other_rest[at] = False
                        agreed += weights[name_tokens[begin + at]] * TYPO_PER_CENT // 100
                        typo_count += 1
                        break
        one, two = (left_text[0], words, rest, count), (right_text[0], other_words, other_rest, other_count)
        missing, missing_distinct, missing_number = 0, False, False
        for at in range(other_count):
            if other_rest[at] and other_words[at, 2] != PART:
                missing += 1
                number = other_words[at, 2] == NUMBER and not is_initial(two, at)
                missing_distinct = missing_distinct or weights[name_tokens[begin + at]] > common_weight or number
                missing_number = missing_number or number
        more, more_distinct, more_number = 0, False, False
        total = 0
        for mine in range(count):
            concept = concepts[first + mine]
            weight = weights[concept] if concept >= 0 else unknown_weight
            total += weight
            if rest[mine] and words[mine, 2] != PART:
                more += 1
                number = words[mine, 2] == NUMBER and not is_initial(one, mine)
                more_distinct = more_distinct or weight > common_weight or number
                more_number = more_number or number
        whole = name_weights[other]
        agreements[pair] = min(1000, 1000 * agreed // max(whole, 1))
        similarities[pair] = min(999, 2000 * agreed // max(whole + total, 1))
        sibling = sibling_level(one, two, table, numbers)
        differ = sibling == NUMBERS_DIFFER or sibling == OPPOSITES
        is_cut = not differ and (cut[pair] or ((missing or more) and _is_cut(left_text, name, right_text, other)))
        if is_cut:
            levels[pair] = SPELLING_VARIANT
            agreements[pair] = 1000
            if cut[pair]:
                similarities[pair] = 1000
            if sibling == CHAPTERS:  # the end is missing
                sibling = NONE
        elif missing == 0 and more == 0:
            levels[pair] = TYPO if typo_count else SPELLING_VARIANT
        elif sibling == NUMBERS_DIFFER:
            levels[pair] = DIFFERENT_WORDS if agreed else NOTHING_IN_COMMON
        elif (
            count != other_count
            and sibling == NONE
            and not (missing_number or more_number)  # a different number is not a typo
            and _is_joined_typo(left_text, name, right_text, other, joined)
        ):
            levels[pair] = TYPO
            agreements[pair] = similarities[pair] = 900
        elif agreed == 0 or (missing and more and not named):  # a number alone is nothing in common
            levels[pair] = NOTHING_IN_COMMON
        elif missing == 0 or more == 0:
            if not (missing_distinct or more_distinct):
                levels[pair] = ADDITIONAL_COMMON_WORDS
            elif (
                sibling == NONE
                and min(whole, total) >= contained_weight
                and _is_run(rest, count)
                and _is_run(other_rest, other_count)
            ):
                levels[pair] = CONTAINED
            else:
                levels[pair] = ADDITIONAL_WORDS
        elif missing_distinct or more_distinct:
            levels[pair] = DIFFERENT_WORDS
        else:
            levels[pair] = DIFFERENT_COMMON_WORDS
        if levels[pair] != NOTHING_IN_COMMON:
            siblings[pair] = sibling


@uncounted
def _is_typo(left, word, right, other, table):  # type: ignore[no-untyped-def]
    """Return whether two long words (``siblings.split``) differ by one letter, and do not distinguish siblings."""
    if max(word[1] - word[0], other[1] - other[0]) < MIN_WHOLE_TYPO_LENGTH or left[word[0]] > LAST_LETTER:
        return False  # in another script a letter is several bytes, and the transliteration is compared as well
    return within_one_edit(left, word[0], word[1], right, other[0], other[1]) and not tells_apart(
        left, word, right, other, table
    )


@uncounted
def _is_run(rest, count):  # type: ignore[no-untyped-def]
    """Return whether the agreeing words of a name follow each other."""
    runs = 0
    for at in range(count):
        runs += not rest[at] and (at == 0 or rest[at - 1])
    return runs == 1


@uncounted
def _is_cut(left_text, name, right_text, other):  # type: ignore[no-untyped-def]
    """Return whether one of two names is the other truncated within a word."""
    left, left_begin, left_end = left_text[0], left_text[1][name], left_text[1][name + 1]
    right, right_begin, right_end = right_text[0], right_text[1][other], right_text[1][other + 1]
    left_size, right_size = left_end - left_begin, right_end - right_begin
    shorter = min(left_size, right_size)
    if left_size == right_size or shorter < MIN_CUT_LENGTH:
        return False
    for at in range(shorter):
        if left[left_begin + at] != right[right_begin + at]:
            return False
    follows = left[left_begin + shorter] if left_size > shorter else right[right_begin + shorter]
    return follows != SPACE and follows <= LAST_LETTER  # scripts without spaces have no end of a word


@uncounted
def _is_joined_typo(left_text, name, right_text, other, joined):  # type: ignore[no-untyped-def]
    """Return whether two names with different numbers of words are within a typo once their spaces are removed."""
    left, left_begin, left_end = left_text[0], left_text[1][name], left_text[1][name + 1]
    right, right_begin, right_end = right_text[0], right_text[1][other], right_text[1][other + 1]
    if abs((left_end - left_begin) - (right_end - right_begin)) > 4:
        return False
    for text, begin, end in ((left, left_begin, left_end), (right, right_begin, right_end)):
        for at in range(begin, end):
            if text[at] > LAST_LETTER:  # a byte of a letter of another script
                return False
    one, two = joined[0], joined[1]
    size, other_size = join_words(left, left_begin, left_end, one), join_words(right, right_begin, right_end, two)
    if min(size, other_size) < MIN_WHOLE_TYPO_LENGTH:
        return False
    return within_one_edit(one, 0, size, two, 0, other_size)
