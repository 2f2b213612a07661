"""Normalisation of organisation names.

Splits a name into words, removes legal forms and a leading THE, joins single letters, expands abbreviations, and splits
names at DBA and similar markers. The word lists are hash tables (``matching.words``). Repeats the steps until nothing
changes, so the result is idempotent. Does not cover non-ASCII letters and HTML entities (``matching.normalise``).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.text import FNV_START, SPACE, Bytes, Ints, find, fnv, fnv_byte, grown, mix

# Classes of bytes (see BYTE_CLASSES); any other value is the normalised letter.
SEPARATOR, DROPPED, AMPERSAND = 0, 1, 2


def _byte_classes() -> Bytes:
    """Return the class of each byte, uint8 (256): letters as capitals, digits, AMPERSAND, DROPPED for apostrophes
    (HALL'S is HALLS), SEPARATOR for the rest."""
    classes = np.full(256, SEPARATOR, dtype=np.uint8)
    for capital in range(ord("A"), ord("Z") + 1):
        classes[capital] = classes[capital + 32] = capital
    classes[ord("0") : ord("9") + 1] = np.arange(ord("0"), ord("9") + 1)
    classes[[ord("'"), ord("`")]] = DROPPED
    classes[ord("&")] = AMPERSAND
    return classes


BYTE_CLASSES = _byte_classes()


@njit(cache=True, nogil=True, inline="always")
def _cut(data, begin, end, classes, text, starts, ends, hashes):  # type: ignore[no-untyped-def]
    """Write the words of ``data[begin:end]`` one after another into ``text``; return their number."""
    count, position, inside = 0, 0, False
    state = FNV_START
    for at in range(begin, end):
        letter = classes[data[at]]
        if letter == DROPPED:
            continue
        if letter > AMPERSAND:
            if not inside:
                starts[count] = position
                state = FNV_START
                inside = True
            text[position] = letter
            state = fnv_byte(state, letter)
            position += 1
            continue
        if inside:
            ends[count], hashes[count] = position, mix(state)
            count += 1
            inside = False
        if letter == AMPERSAND:
            starts[count] = position
            text[position], text[position + 1], text[position + 2] = 65, 78, 68
            position += 3
            ends[count], hashes[count] = position, mix(fnv(FNV_START, text, position - 3, position))
            count += 1
    if inside:
        ends[count], hashes[count] = position, mix(state)
        count += 1
    return count


@njit(cache=True, nogil=True)
def _sequence(text, starts, ends, first, last):  # type: ignore[no-untyped-def]
    """Return the hash of the words ``first`` to ``last - 1``, joined by single spaces."""
    state = FNV_START
    for number in range(first, last):
        if number > first:
            state = fnv_byte(state, SPACE)
        state = fnv(state, text, starts[number], ends[number])
    return mix(state)


@njit(cache=True, nogil=True, inline="always")
def _marker(text, starts, ends, hashes, first, last, markers):  # type: ignore[no-untyped-def]
    """Return (position, words) of the first marker of a further name (DBA, FORMERLY, …), or (last, 0)."""
    keys, values, begin_keys, begin_values = markers
    for number in range(first, last):
        longest = find(begin_keys, begin_values, hashes[number])
        if longest < 0:
            continue
        for words in range(min(longest, last - number), 0, -1):
            if find(keys, values, _sequence(text, starts, ends, number, number + words)) >= 0:
                # D B A after another initial belongs to the initials.
                spelled = words == 3 and ends[number] - starts[number] == 1
                if spelled and number > first and ends[number - 1] - starts[number - 1] == 1:
                    continue
                return number, words
    return last, 0


@njit(cache=True, nogil=True, inline="always")
def _without_legal_forms(text, starts, ends, hashes, first, last, forms, conjunction):  # type: ignore[no-untyped-def]
    """Return the end of the words without legal forms and an AND before them; ``last`` if nothing else remains."""
    keys, values, end_keys, end_values = forms
    end = last
    while end > first:
        words = 0
        longest = find(end_keys, end_values, hashes[end - 1])
        if longest < 0:
            return end
        for size in range(min(longest, end - first), 0, -1):
            if find(keys, values, _sequence(text, starts, ends, end - size, end)) >= 0:
                words = size
                break
        if words == 0:
            return end
        end -= words
        if end > first and hashes[end - 1] == conjunction:
            end -= 1
    return last


@njit(cache=True, nogil=True, inline="always")
def _join_initials(text, starts, ends, hashes, first, last, free):  # type: ignore[no-untyped-def]
    """Join every run of single characters; return (last, free)."""
    kept = first
    number = first
    while number < last:
        run = number
        while run < last and ends[run] - starts[run] == 1:
            run += 1
        if run - number > 1:
            begin = free
            for member in range(number, run):
                text[free] = text[starts[member]]
                free += 1
            starts[kept], ends[kept], hashes[kept] = begin, free, mix(fnv(FNV_START, text, begin, free))
            number = run
        else:
            starts[kept], ends[kept], hashes[kept] = starts[number], ends[number], hashes[number]
            number += 1
        kept += 1
    return kept, free


@njit(cache=True, nogil=True)
def normalise(data, offsets, classes, markers, lists, room):  # type: ignore[no-untyped-def]
    """Return the normalised names of every text.

    ``markers``, ``lists``: see ``words.name_lists``; ``room``: see ``working_bytes``. Returns (data, starts, row,
    further): the names, the position of the text of each, ascending, and whether it follows a marker. A text of which
    nothing remains has no name.
    """
    forms, replaced, the, conjunction = lists
    replaced_keys, replaced_values, by_text, by_starts = replaced
    capacity = 2
    for number in range(offsets.size - 1):
        capacity = max(capacity, 2 * (offsets[number + 1] - offsets[number] + 2))
    text = np.empty(room, dtype=np.uint8)
    all_starts, all_ends = np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.int32)
    all_hashes = np.empty(capacity, dtype=np.uint64)
    starts, ends = np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.int32)
    hashes = np.empty(capacity, dtype=np.uint64)

    out = np.empty(max(64, data.size + 16), dtype=np.uint8)
    out_starts = np.empty(offsets.size + 16, dtype=np.int32)
    out_rows = np.empty(offsets.size + 16, dtype=np.int32)
    out_further = np.empty(offsets.size + 16, dtype=np.bool_)
    written, position = 0, 0
    out_starts[0] = 0
    for row in range(offsets.size - 1):
        count = _cut(data, offsets[row], offsets[row + 1], classes, text, all_starts, all_ends, all_hashes)
        free = all_ends[count - 1] if count else np.int32(0)
        begin, further = 0, False
        while begin < count:
            at, marker = _marker(text, all_starts, all_ends, all_hashes, begin, count, markers)
            # Drop a marker with nothing on one side; alone it is the name.
            if marker and at == begin and begin + marker < count:
                begin += marker
                continue
            if marker and at == begin:
                at, marker = count, 0
            last = at - begin
            for number in range(last):
                starts[number], ends[number] = all_starts[begin + number], all_ends[begin + number]
                hashes[number] = all_hashes[begin + number]
            first, changed = 0, True
            while changed:
                while last - first > 1 and hashes[first] == the:
                    first += 1
                end = _without_legal_forms(text, starts, ends, hashes, first, last, forms, conjunction)
                last = end  # the rest has no legal form at its end, so this is no change
                end, free = _join_initials(text, starts, ends, hashes, first, last, free)
                changed = end != last
                last = end
                for number in range(first, last):
                    by = find(replaced_keys, replaced_values, hashes[number])
                    if by >= 0:
                        starts[number] = free
                        for source in range(by_starts[by], by_starts[by + 1]):
                            text[free] = by_text[source]
                            free += 1
                        ends[number] = free
                        hashes[number] = mix(fnv(FNV_START, text, starts[number], free))
                        changed = True
            size = last - first
            for number in range(first, last):
                size += ends[number] - starts[number]
            if position + size > out.size:
                out = grown(out, position + size)
            if written + 2 > out_starts.size:
                out_starts = grown(out_starts, written + 2)
                out_rows = grown(out_rows, out_starts.size)
                out_further = grown(out_further, out_starts.size)
            for number in range(first, last):
                if number > first:
                    out[position] = SPACE
                    position += 1
                for source in range(starts[number], ends[number]):
                    out[position] = text[source]
                    position += 1
            out_rows[written], out_further[written] = row, further
            written += 1
            out_starts[written] = position
            begin, further = at + marker, True
    return out[:position].copy(), out_starts[: written + 1].copy(), out_rows[:written], out_further[:written]


def working_bytes(offsets: Ints, longest_replacement: int) -> int:
    """Return the bytes of working text that ``normalise`` needs for the longest text.

    Every byte becomes at most three (& is AND) and is copied once when initials are joined, and every word can be
    replaced once after each.
    """
    longest = int(np.diff(offsets).max(initial=0))
    return (6 + 2 * longest_replacement) * (longest + 1)
