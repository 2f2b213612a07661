"""Words of names looked up in the index's vocabulary, tolerant of typing errors and of joined words.

A *concept* is what a word of the vocabulary stands for: itself, or its family (TECH and TECHNOLOGIES are one). Words
that are not in the vocabulary are found by symmetric deletes (Garbe 2012, SymSpell): two words within one edit share
the text that is left when one letter is deleted from either.
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
    mix,
    put,
)

# Shorter words differ by a letter too often without being the same (MS and EMS).
MIN_TYPO_LENGTH = 5
# From this length on two edits are tolerated, where each of the two words lost one letter of what they share.
MIN_TWO_EDITS_LENGTH = 9
# The first letter is seldom mistyped, and tells short words apart (AQWEST and QWEST).
MIN_OTHER_FIRST_LETTER_LENGTH = 8
MAX_TYPO_LENGTH = 32
MIN_JOINED_LENGTH = 6
MIN_PART_LENGTH = 2
MAX_TYPO_BEARERS = 4
NINE = np.uint8(ord("9"))


@njit(cache=True, nogil=True)
def deletes(data, starts):  # type: ignore[no-untyped-def]
    """(word, hash) of every word of typo length and of each text with one letter deleted from it, in word order."""
    word = np.empty(1024, dtype=np.int32)
    hashes = np.empty(1024, dtype=np.uint64)
    count = 0
    for number in range(starts.size - 1):
        begin, end = starts[number], starts[number + 1]
        if not MIN_TYPO_LENGTH <= end - begin <= MAX_TYPO_LENGTH:
            continue
        word = grown(word, count + end - begin + 1)
        hashes = grown(hashes, count + end - begin + 1)
        word[count], hashes[count] = number, mix(fnv(FNV_START, data, begin, end))
        count += 1
        for left_out in range(begin, end):
            if left_out > begin and data[left_out] == data[left_out - 1]:
                continue  # the same text as without the letter before
            word[count] = number
            hashes[count] = mix(fnv(fnv(FNV_START, data, begin, left_out), data, left_out + 1, end))
            count += 1
    return word[:count].copy(), hashes[:count].copy()


@njit(cache=True, nogil=True)
def _is_typo(left, left_begin, left_end, right, right_begin, right_end):  # type: ignore[no-untyped-def]
    """Whether two words that share the text left by one deletion from either are within a typo.

    Such words are two edits apart at most, so long ones always are; short ones are if they are one edit apart: a letter
    more, another letter, or two neighbours swapped.
    """
    left_size, right_size = left_end - left_begin, right_end - right_begin
    shorter = min(left_size, right_size)
    if left[left_begin] != right[right_begin] and shorter < MIN_OTHER_FIRST_LETTER_LENGTH:
        return False
    if shorter >= MIN_TWO_EDITS_LENGTH:
        return True
    if abs(left_size - right_size) > 1:
        return False
    head = 0
    while head < shorter and left[left_begin + head] == right[right_begin + head]:
        head += 1
    tail = 0
    while tail < shorter - head and left[left_end - 1 - tail] == right[right_end - 1 - tail]:
        tail += 1
    if head + tail >= max(left_size, right_size) - 1:
        return True
    return (
        left_size == right_size
        and head + tail == left_size - 2
        and left[left_begin + head] == right[right_begin + head + 1]
        and left[left_begin + head + 1] == right[right_begin + head]
    )


@njit(cache=True, nogil=True)
def _typos(  # type: ignore[no-untyped-def]
    found, count, data, begin, end, own, concept_of, word_data, word_starts, keys, values, starts, words, present
):
    """Append the concepts, other than ``own``, of all words within a typo of ``data[begin:end]``.

    ``keys`` to ``words``: the words by each text left by a deletion (``deletes``); ``present``: see ``hash_filter``.
    """
    if not MIN_TYPO_LENGTH <= end - begin <= MAX_TYPO_LENGTH:
        return found, count
    first = count
    state = FNV_START
    for left_out in range(begin - 1, end):
        if left_out < begin:
            digest = mix(fnv(FNV_START, data, begin, end))
        else:
            repeated = left_out > begin and data[left_out] == data[left_out - 1]
            digest = np.uint64(0) if repeated else mix(fnv(state, data, left_out + 1, end))
            state = fnv_byte(state, data[left_out])
            if repeated:
                continue  # the same text as without the letter before
        if not present[np.int64(digest & np.uint64(present.size - 1))]:
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
                found = grown(found, count + 1)
                found[count] = concept
                count += 1
    return found, count


@njit(cache=True, nogil=True)
def neighbours(bearers, concept_of, word_data, word_starts, keys, values, starts, words, present):  # type: ignore[no-untyped-def]
    """(starts, concepts): for every word of the vocabulary, the concepts within a typo of it.

    ``bearers``: names that bear each concept. Of two words that both occur in more than ``MAX_TYPO_BEARERS`` names
    neither is the other mistyped.
    """
    size = word_starts.size - 1
    found_starts = np.zeros(size + 1, dtype=np.int32)
    found = np.empty(max(16, size), dtype=np.int32)
    count = 0
    for word in range(size):
        begin, end = word_starts[word], word_starts[word + 1]
        if not _has_digit(word_data, begin, end):
            found, count = _typos(
                found,
                count,
                word_data,
                begin,
                end,
                concept_of[word],
                concept_of,
                word_data,
                word_starts,
                keys,
                values,
                starts,
                words,
                present,
            )
            if bearers[concept_of[word]] > MAX_TYPO_BEARERS:
                kept = found_starts[word]
                for at in range(found_starts[word], count):
                    if bearers[found[at]] <= MAX_TYPO_BEARERS:
                        found[kept] = found[at]
                        kept += 1
                count = kept
        found_starts[word + 1] = count
    return found_starts, found[:count].copy()


@njit(cache=True, nogil=True)
def _has_digit(data, begin, end):  # type: ignore[no-untyped-def]
    """Whether a word has a digit: such words differ by a letter without being mistyped."""
    for at in range(begin, end):
        if data[at] <= NINE:
            return True
    return False


@njit(cache=True, nogil=True)
def look_up(data, starts, vocabulary, joined):  # type: ignore[no-untyped-def]
    """The words of every name as concepts.

    Returns (token_starts, token_concepts, token_numeric, typo_starts, typo_concepts, extra_starts, extra_concepts,
    compact_hashes). The tokens of name n are ``token_starts[n]`` to ``token_starts[n + 1] - 1``: concept or -1, and
    whether the word is a number. ``typo_*``: per token, concepts within a typo of it, other than its own. ``extra_*``:
    per name, concepts of words it writes joined or apart. ``compact_hashes``: of the name without spaces.
    """
    (
        keys,
        values,
        concept_of,
        word_data,
        word_starts,
        delete_keys,
        delete_values,
        delete_starts,
        delete_words,
        delete_present,
        near_starts,
        near,
    ) = vocabulary
    joined_keys, joined_values, joined_first, joined_second = joined
    names = starts.size - 1
    token_starts = np.empty(names + 1, dtype=np.int32)
    most = names + 1
    for at in range(starts[0], starts[names]):
        most += data[at] == SPACE
    concepts = np.empty(most, dtype=np.int32)
    numeric = np.empty(most, dtype=np.bool_)
    typo_starts = np.empty(most + 1, dtype=np.int32)
    typos = np.empty(4 * most, dtype=np.int32)
    extra_starts = np.empty(names + 1, dtype=np.int32)
    extras = np.empty(1024, dtype=np.int32)
    compact = np.empty(names, dtype=np.uint64)
    # Words met before: hash -> where their typos are kept.
    seen_keys = np.zeros(4096, dtype=np.uint64)
    seen_values = np.full(4096, -1, dtype=np.int32)
    seen_starts = np.zeros(4096, dtype=np.int32)
    seen_typos = np.empty(4096, dtype=np.int32)
    seen = 0
    count, typo_count, extra_count = 0, 0, 0
    token_starts[0] = typo_starts[0] = extra_starts[0] = 0
    for name in range(names):
        begin, stop = starts[name], starts[name + 1]
        whole = FNV_START
        last_state, last_length = FNV_START, 0
        at = begin
        while at < stop:
            state, end = FNV_START, at
            digits = 0
            while end < stop and data[end] != SPACE:
                state = fnv_byte(state, data[end])
                whole = fnv_byte(whole, data[end])
                digits += data[end] <= NINE
                end += 1
            digest = mix(state)
            word = find(keys, values, digest)
            concepts[count] = concept_of[word] if word >= 0 else -1
            numeric[count] = digits == end - at

            # Typos of known words are in the index, those of others are found once per batch.
            if word >= 0:
                first, number = near_starts[word], near_starts[word + 1] - near_starts[word]
                if number:
                    typos = grown(typos, typo_count + number)
                    typos[typo_count : typo_count + number] = near[first : first + number]
                    typo_count += number
            known = find(seen_keys, seen_values, digest) if word < 0 else np.int32(0)
            if known < 0:
                known = seen
                if 2 * (seen + 1) > seen_keys.size:
                    larger_keys = np.zeros(2 * seen_keys.size, dtype=np.uint64)
                    larger_values = np.full(2 * seen_keys.size, -1, dtype=np.int32)
                    for place in range(seen_keys.size):
                        if seen_keys[place] != 0:
                            put(larger_keys, larger_values, seen_keys[place], seen_values[place])
                    seen_keys, seen_values = larger_keys, larger_values
                put(seen_keys, seen_values, digest, np.int32(seen))
                seen_starts = grown(seen_starts, seen + 2)
                first = seen_starts[seen]
                if digits == 0:  # see _has_digit
                    seen_typos, first = _typos(
                        seen_typos,
                        first,
                        data,
                        at,
                        end,
                        concepts[count],
                        concept_of,
                        word_data,
                        word_starts,
                        delete_keys,
                        delete_values,
                        delete_starts,
                        delete_words,
                        delete_present,
                    )
                seen += 1
                seen_starts[seen] = first
            number = seen_starts[known + 1] - seen_starts[known] if word < 0 else 0
            if number:
                typos = grown(typos, typo_count + number)
                for place in range(number):
                    typos[typo_count + place] = seen_typos[seen_starts[known] + place]
                typo_count += number

            if extra_count + 3 > extras.size:
                extras = grown(extras, extra_count + 3)
            length = end - at
            if word < 0 and length >= MIN_JOINED_LENGTH:
                pair = find(joined_keys, joined_values, digest)
                if pair >= 0:
                    extras[extra_count], extras[extra_count + 1] = joined_first[pair], joined_second[pair]
                    extra_count += 2
            if min(last_length, length) >= MIN_PART_LENGTH and last_length + length >= MIN_JOINED_LENGTH:
                both = find(keys, values, mix(fnv(last_state, data, at, end)))
                if both >= 0:
                    extras[extra_count] = concept_of[both]
                    extra_count += 1
            count += 1
            typo_starts[count] = typo_count
            last_state, last_length = state, length
            at = end + 1
        compact[name] = mix(whole)
        token_starts[name + 1] = count
        extra_starts[name + 1] = extra_count
    return (
        token_starts,
        concepts[:count],
        numeric[:count],
        typo_starts[: count + 1],
        typos[:typo_count],
        extra_starts,
        extras[:extra_count],
        compact,
    )


@njit(cache=True, nogil=True)
def cut_words(data, starts):  # type: ignore[no-untyped-def]
    """(owner, begin, end) of every word of the texts, in order: int32."""
    size = 0
    for at in range(starts[0], starts[-1]):
        size += data[at] == SPACE
    size += starts.size
    owner = np.empty(size, dtype=np.int32)
    begins = np.empty(size, dtype=np.int32)
    ends = np.empty(size, dtype=np.int32)
    count = 0
    for text in range(starts.size - 1):
        at = starts[text]
        while at < starts[text + 1]:
            end = at
            while end < starts[text + 1] and data[end] != SPACE:
                end += 1
            owner[count], begins[count], ends[count] = text, at, end
            count += 1
            at = end + 1
    return owner[:count], begins[:count], ends[:count]
