"""Lookup of the words of names in the index's vocabulary, tolerant of typos and of joined words.

A *concept* is a family of words (TECH and TECHNOLOGIES) or a single word. Typos are found by symmetric deletes (Garbe
2012, SymSpell): two words within one edit share the text that remains when one letter is deleted from either.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.text import (
    FNV_START,
    SPACE,
    find,
    fnv,
    fnv_byte,
    grown,
    may_contain,
    mix,
    within_one_edit,
)

# Shorter words that differ by a letter are often different words (MS and EMS).
MIN_TYPO_LENGTH = 5
# From this length, two edits are a typo too: one letter deleted from each word.
MIN_TWO_EDITS_LENGTH = 9
# The first letter is seldom mistyped and distinguishes short words (AQWEST and QWEST).
MIN_OTHER_FIRST_LETTER_LENGTH = 8
MAX_TYPO_LENGTH = 32
MIN_JOINED_LENGTH = 6
MIN_PART_LENGTH = 2
# Two words that are both in more names than this are two words, not a typo.
MAX_TYPO_FREQUENCY = 4
NINE, LAST_LETTER = np.uint8(ord("9")), np.uint8(ord("Z"))


@njit(cache=True, nogil=True)
def deletes(data, starts):  # type: ignore[no-untyped-def]
    """Return (word, hash) of every word of typo length, and of each text with one letter deleted from it."""
    word = np.empty(1024, dtype=np.int32)
    hashes = np.empty(1024, dtype=np.uint64)
    count = 0
    for number in range(starts.size - 1):
        begin, end = starts[number], starts[number + 1]
        if not MIN_TYPO_LENGTH <= end - begin <= MAX_TYPO_LENGTH or not _may_be_mistyped(data, begin, end):
            continue
        word = grown(word, count + end - begin + 1)
        hashes = grown(hashes, count + end - begin + 1)
        word[count], hashes[count] = number, mix(fnv(FNV_START, data, begin, end))
        count += 1
        for left_out in range(begin, end):
            if left_out > begin and data[left_out] == data[left_out - 1]:
                continue  # deleting the previous letter gave the same text
            word[count] = number
            hashes[count] = mix(fnv(fnv(FNV_START, data, begin, left_out), data, left_out + 1, end))
            count += 1
    return word[:count].copy(), hashes[:count].copy()


@njit(cache=True, nogil=True)
def _is_typo(left, left_begin, left_end, right, right_begin, right_end):  # type: ignore[no-untyped-def]
    """Return whether two words that share a text with one letter deleted are within a typo.

    They are at most two edits apart, which is enough for long words. Short words must be one edit apart.
    """
    shorter = min(left_end - left_begin, right_end - right_begin)
    if left[left_begin] != right[right_begin] and shorter < MIN_OTHER_FIRST_LETTER_LENGTH:
        return False
    if shorter >= MIN_TWO_EDITS_LENGTH:
        return True
    return within_one_edit(left, left_begin, left_end, right, right_begin, right_end)


@njit(cache=True, nogil=True)
def _put_typos(found, first, data, begin, end, own, dictionary):  # type: ignore[no-untyped-def]
    """Write the concepts, except ``own``, of all words within a typo of ``data[begin:end]`` from ``found[first]`` on.

    ``dictionary``: see ``vocabulary._DICTIONARY``. Returns the position after the last, or -1 if ``found`` is full.
    """
    concept_of, word_data, word_starts, keys, values, starts, words, present = dictionary
    count = first
    if not MIN_TYPO_LENGTH <= end - begin <= MAX_TYPO_LENGTH:
        return count
    state = FNV_START
    for left_out in range(begin - 1, end):
        if left_out < begin:
            digest = mix(fnv(FNV_START, data, begin, end))
        else:
            before = state
            state = fnv_byte(state, data[left_out])
            if left_out > begin and data[left_out] == data[left_out - 1]:
                continue  # deleting the previous letter gave the same text
            digest = mix(fnv(before, data, left_out + 1, end))
        if not may_contain(present, digest):
            continue
        entry = find(keys, values, digest)
        if entry < 0:
            continue
        for at in range(starts[entry], starts[entry + 1]):
            word = words[at]
            concept = concept_of[word]
            known = concept == own
            for earlier in range(first, count):
                known = known or found[earlier] == concept
            if not known and _is_typo(data, begin, end, word_data, word_starts[word], word_starts[word + 1]):
                if count == found.size:
                    return -1
                found[count] = concept
                count += 1
    return count


@njit(cache=True, nogil=True)
def find_typos(frequency, dictionary):  # type: ignore[no-untyped-def]
    """Return (starts, concepts): for every word of the dictionary, the concepts within a typo of it.

    ``frequency``: names with each concept. Two concepts that are both in more than ``MAX_TYPO_FREQUENCY`` names are no
    typos of each other.
    """
    concept_of, word_data, word_starts = dictionary[:3]
    size = word_starts.size - 1
    found_starts = np.zeros(size + 1, dtype=np.int32)
    found = np.empty(max(16, 4 * size), dtype=np.int32)
    for word in range(size):
        first = found_starts[word]
        begin, end = word_starts[word], word_starts[word + 1]
        last = first
        if _may_be_mistyped(word_data, begin, end):
            last = -1
            while last < 0:
                last = _put_typos(found, first, word_data, begin, end, concept_of[word], dictionary)
                if last < 0:
                    found = grown(found, found.size + 1)
        if frequency[concept_of[word]] > MAX_TYPO_FREQUENCY:
            kept = first
            for at in range(first, last):
                if frequency[found[at]] <= MAX_TYPO_FREQUENCY:
                    found[kept] = found[at]
                    kept += 1
            last = kept
        found_starts[word + 1] = last
    return found_starts, found[: found_starts[size]].copy()


@njit(cache=True, nogil=True)
def _may_be_mistyped(data, begin, end):  # type: ignore[no-untyped-def]
    """Return whether a word consists of A-Z. Others never count as typos (MARK4 and MARK5, or two CJK characters)."""
    for at in range(begin, end):
        if data[at] <= NINE or data[at] > LAST_LETTER:
            return False
    return True


@njit(cache=True, nogil=True)
def _hashed_words(data, starts):  # type: ignore[no-untyped-def]
    """Return the words of every text: (token_starts, begins, ends, states, letters, compact hashes).

    ``states``: hash before mixing; ``letters``: A-Z only (``_may_be_mistyped``); compact hashes: without spaces.
    """
    names = starts.size - 1
    most = names
    for at in range(starts[0], starts[names]):
        most += data[at] == SPACE
    token_starts = np.empty(names + 1, dtype=np.int32)
    begins = np.empty(most, dtype=np.int32)
    ends = np.empty(most, dtype=np.int32)
    states = np.empty(most, dtype=np.uint64)
    letters = np.empty(most, dtype=np.bool_)
    compact = np.empty(names, dtype=np.uint64)
    count = 0
    token_starts[0] = 0
    for name in range(names):
        at, stop = starts[name], starts[name + 1]
        whole = FNV_START
        while at < stop:
            state, end = FNV_START, at
            others = 0
            while end < stop and data[end] != SPACE:
                state = fnv_byte(state, data[end])
                whole = fnv_byte(whole, data[end])
                others += data[end] <= NINE or data[end] > LAST_LETTER
                end += 1
            begins[count], ends[count], states[count] = at, end, state
            letters[count] = others == 0
            count += 1
            at = end + 1
        compact[name] = mix(whole)
        token_starts[name + 1] = count
    return token_starts, begins[:count], ends[:count], states[:count], letters[:count], compact


@njit(cache=True, nogil=True)
def _number_words(states, wanted):  # type: ignore[no-untyped-def]
    """Number the distinct words among the ``wanted`` ones; return (number of each, -1 for others; first positions)."""
    size = 1024
    while size < 2 * states.size:
        size *= 2
    keys, values = np.zeros(size, dtype=np.uint64), np.empty(size, dtype=np.int32)
    number = np.full(states.size, -1, dtype=np.int32)
    first = np.empty(states.size, dtype=np.int32)
    count = 0
    mask = np.uint64(size - 1)
    for token in range(states.size):
        if not wanted[token]:
            continue
        digest = mix(states[token])
        place = np.int64(digest & mask)
        while keys[place] != 0 and keys[place] != digest:
            place = np.int64(np.uint64(place + 1) & mask)
        if keys[place] == 0:
            keys[place], values[place] = digest, count
            first[count] = token
            count += 1
        number[token] = values[place]
    return number, first[:count]


@njit(cache=True, nogil=True)
def look_up(data, starts, vocabulary, joined):  # type: ignore[no-untyped-def]
    """Return the words of every name as concepts.

    Returns (token_starts, token_concepts, typo_starts, typo_concepts, extra_starts, extra_concepts,
    compact_hashes). The tokens of name n are ``token_starts[n]`` to ``token_starts[n + 1] - 1``, each a concept or
    -1. ``typo_*``: by token, other concepts within a typo. ``extra_*``: by name, concepts
    of words that it writes joined or split. ``compact_hashes``: of the name without spaces.
    """
    keys, values, word_present, dictionary, near_starts, near = vocabulary
    concept_of = dictionary[0]
    joined_keys, joined_values, joined_present, joined_first, joined_second = joined
    token_starts, begins, ends, states, letters, compact = _hashed_words(data, starts)
    tokens, names = begins.size, starts.size - 1

    words = np.full(tokens, -1, dtype=np.int32)
    concepts = np.full(tokens, -1, dtype=np.int32)
    wanted = np.empty(tokens, dtype=np.bool_)
    for token in range(tokens):
        digest = mix(states[token])
        if may_contain(word_present, digest):
            word = find(keys, values, digest)
            if word >= 0:
                words[token], concepts[token] = word, concept_of[word]
        wanted[token] = words[token] < 0 and letters[token]

    # The index holds the typos of known words; those of other words are found once per batch.
    unknown, first = _number_words(states, wanted)
    unknown_starts = np.zeros(first.size + 1, dtype=np.int32)
    unknown_typos = np.empty(max(1024, first.size), dtype=np.int32)
    for number in range(first.size):
        last = -1
        while last < 0:
            token = first[number]
            last = _put_typos(unknown_typos, unknown_starts[number], data, begins[token], ends[token], -1, dictionary)
            if last < 0:
                unknown_typos = grown(unknown_typos, unknown_typos.size + 1)
        unknown_starts[number + 1] = last

    typo_starts = np.empty(tokens + 1, dtype=np.int32)
    typo_starts[0] = 0
    for token in range(tokens):
        count = 0
        if words[token] >= 0:
            count = near_starts[words[token] + 1] - near_starts[words[token]]
        elif unknown[token] >= 0:
            count = unknown_starts[unknown[token] + 1] - unknown_starts[unknown[token]]
        typo_starts[token + 1] = typo_starts[token] + count
    typos = np.empty(typo_starts[tokens], dtype=np.int32)
    for token in range(tokens):
        begin, end = typo_starts[token], typo_starts[token + 1]
        if begin == end:
            continue
        if words[token] >= 0:
            typos[begin:end] = near[near_starts[words[token]] : near_starts[words[token] + 1]]
        else:
            source = unknown_starts[unknown[token]]
            typos[begin:end] = unknown_typos[source : source + end - begin]

    extra_starts = np.empty(names + 1, dtype=np.int32)
    extras = np.empty(3 * tokens, dtype=np.int32)
    count = 0
    extra_starts[0] = 0
    for name in range(names):
        for token in range(token_starts[name], token_starts[name + 1]):
            length = ends[token] - begins[token]
            if words[token] < 0 and length >= MIN_JOINED_LENGTH:
                digest = mix(states[token])
                pair = find(joined_keys, joined_values, digest) if may_contain(joined_present, digest) else np.int32(-1)
                if pair >= 0:
                    extras[count], extras[count + 1] = joined_first[pair], joined_second[pair]
                    count += 2
            if token == token_starts[name]:
                continue
            before = ends[token - 1] - begins[token - 1]
            if min(before, length) >= MIN_PART_LENGTH and before + length >= MIN_JOINED_LENGTH:
                digest = mix(fnv(states[token - 1], data, begins[token], ends[token]))
                both = find(keys, values, digest) if may_contain(word_present, digest) else np.int32(-1)
                if both >= 0:
                    extras[count] = concept_of[both]
                    count += 1
        extra_starts[name + 1] = count
    return token_starts, concepts, typo_starts, typos, extra_starts, extras[:count].copy(), compact
