"""Comparison of two names word by word: the level, the agreement and the similarity of a pair.

Does not cover which pairs are compared (``overlap``) nor what a level weighs (``matching.weights``). Similarities are
integers (per mille).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.overlap import TYPO_PER_CENT
from enrich_dist.matching.kernels.text import SPACE, within_one_edit
from enrich_dist.schema import NameLevel

# Plain integers, which numba compiles into the loops.
(
    NOTHING_IN_COMMON,
    DIFFERENT_WORDS,
    ADDITIONAL_WORDS,
    DIFFERENT_COMMON_WORDS,
    ADDITIONAL_COMMON_WORDS,
    TYPO,
    SPELLING_VARIANT,
    EQUAL,
) = map(int, NameLevel)
# Shorter names differ by one letter too often.
MIN_WHOLE_TYPO_LENGTH = 8
# Some sources truncate names at 30 characters, of which the normal form keeps most.
MIN_CUT_LENGTH = 24


@njit(cache=True, nogil=True)
def compare_names(left, right, tokens, index, left_text, right_text, unknown_weight, common_weight, exact, cut):  # type: ignore[no-untyped-def]
    """Return (level int8, agreement, similarity) of pairs of names, the latter two int32 per mille.

    ``left``: positions in ``tokens``; ``right``: index names; ``exact``, ``cut``: whether both are equal, or one is
    the other truncated. ``agreement`` is the share of the index name's weight that agrees. A word of at most
    ``common_weight`` is common.
    """
    token_starts, concepts, numeric, typo_starts, typos, _, _, compact = tokens
    weights, name_weights, name_starts, name_tokens = index[0], index[10], index[11], index[12]
    concept_numeric, name_compact = index[15], index[16]
    levels = np.empty(left.size, dtype=np.int8)
    agreements = np.empty(left.size, dtype=np.int32)
    similarities = np.empty(left.size, dtype=np.int32)
    paired = np.empty(256, dtype=np.bool_)
    for pair in range(left.size):
        name, other = left[pair], right[pair]
        if exact[pair] or compact[name] == name_compact[other] or cut[pair]:
            levels[pair] = EQUAL if exact[pair] else SPELLING_VARIANT
            agreements[pair] = similarities[pair] = 1000
            continue
        first, last = token_starts[name], min(token_starts[name + 1], token_starts[name] + 256)
        paired[: last - first] = False
        agreed, typo_count = 0, 0
        missing, missing_distinct, missing_number = 0, False, False
        for token in range(name_starts[other], name_starts[other + 1]):
            concept = name_tokens[token]
            found = -1
            near = False
            for mine in range(first, last):
                if not paired[mine - first] and concepts[mine] == concept:
                    found = mine
                    near = False
                    break
                if found < 0 and not paired[mine - first]:
                    for at in range(typo_starts[mine], typo_starts[mine + 1]):
                        if typos[at] == concept:
                            found = mine
                            near = True
                            break
            if found >= 0:
                paired[found - first] = True
                agreed += weights[concept] * TYPO_PER_CENT // 100 if near else weights[concept]
                typo_count += near
            else:
                missing += 1
                missing_distinct = missing_distinct or weights[concept] > common_weight or concept_numeric[concept]
                missing_number = missing_number or concept_numeric[concept]
        more, more_distinct, more_number = 0, False, False
        total = 0
        for mine in range(first, last):
            weight = weights[concepts[mine]] if concepts[mine] >= 0 else unknown_weight
            total += weight
            if not paired[mine - first]:
                more += 1
                more_distinct = more_distinct or weight > common_weight or numeric[mine]
                more_number = more_number or numeric[mine]
        whole = name_weights[other]
        agreements[pair] = min(1000, 1000 * agreed // max(whole, 1))
        similarities[pair] = min(999, 2000 * agreed // max(whole + total, 1))
        if missing == 0 and more == 0:
            levels[pair] = TYPO if typo_count else SPELLING_VARIANT
        elif _is_cut(left_text, name, right_text, other):
            levels[pair] = SPELLING_VARIANT
            agreements[pair] = 1000
        elif missing_number and more_number:
            levels[pair] = DIFFERENT_WORDS if agreed else NOTHING_IN_COMMON
        elif (
            (last - first) != name_starts[other + 1] - name_starts[other]
            and not (missing_number or more_number)  # a different number is not a typo
            and _is_joined_typo(left_text, name, right_text, other)
        ):
            levels[pair] = TYPO
            agreements[pair] = similarities[pair] = 900
        elif agreed == 0:
            levels[pair] = NOTHING_IN_COMMON
        elif missing == 0 or more == 0:
            levels[pair] = ADDITIONAL_WORDS if missing_distinct or more_distinct else ADDITIONAL_COMMON_WORDS
        elif missing_distinct or more_distinct:
            levels[pair] = DIFFERENT_WORDS
        else:
            levels[pair] = DIFFERENT_COMMON_WORDS
    return levels, agreements, similarities


@njit(cache=True, nogil=True)
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
    return follows != SPACE


@njit(cache=True, nogil=True)
def _is_joined_typo(left_text, name, right_text, other):  # type: ignore[no-untyped-def]
    """Return whether two names with different numbers of words are within a typo once their spaces are removed."""
    left, left_begin, left_end = left_text[0], left_text[1][name], left_text[1][name + 1]
    right, right_begin, right_end = right_text[0], right_text[1][other], right_text[1][other + 1]
    if abs((left_end - left_begin) - (right_end - right_begin)) > 4:
        return False
    one, two = _without_spaces(left, left_begin, left_end), _without_spaces(right, right_begin, right_end)
    if min(one.size, two.size) < MIN_WHOLE_TYPO_LENGTH:
        return False
    return within_one_edit(one, 0, one.size, two, 0, two.size)


@njit(cache=True, nogil=True)
def _without_spaces(data, begin, end):  # type: ignore[no-untyped-def]
    kept = np.empty(end - begin, dtype=np.uint8)
    size = 0
    for at in range(begin, end):
        if data[at] != SPACE:
            kept[size] = data[at]
            size += 1
    return kept[:size]
