"""Normalisation of organisation names.

Splits a name into words, removes legal forms and a leading THE, joins single letters, expands abbreviations, and splits
names at DBA and similar markers. The word lists are hash tables (``matching.words``). Repeats the steps until nothing
changes, so the result is idempotent.

Punctuation shows further names: the sides of a slash between blanks (``A / B``), and what precedes a legal form that a
comma, bracket, dash or slash follows (``A INC., A B COMPANY``, ``A LLC (FORMER SITE)``). Partners of a joint venture
are no such names. Does not cover accents, signs and HTML entities (``matching.normalise``).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.text import FNV_START, SPACE, Bytes, Ints, find, fnv, fnv_byte, grown, mix, uncounted

# What follows a word: NEXT_PART a comma, bracket, colon or dash between blanks, SLASH one between blanks, JOINED one
# without blanks (T/A).
NO_BREAK, NEXT_PART, SLASH, JOINED = 0, 1, 2, 3
# Letters of a further name that punctuation shows, and of the only word of one beside a slash (not CAD / CAM SERVICES).
MIN_PART_LETTERS, MIN_SIDE_LETTERS = 3, 5
# Digits of a code in a register, which distinguishes no siblings.
MIN_CODE_DIGITS = 4

# Classes of bytes (see BYTE_CLASSES); any other value is the normalised letter.
SEPARATOR, DROPPED, AMPERSAND = 0, 1, 2


def _byte_classes() -> Bytes:
    """Return the class of each byte, uint8 (256): letters as capitals, digits, AMPERSAND, DROPPED for apostrophes
    (HALL'S is HALLS), the bytes of letters in other scripts as they are, SEPARATOR for the rest."""
    classes = np.full(256, SEPARATOR, dtype=np.uint8)
    classes[128:] = np.arange(128, 256)
    for capital in range(ord("A"), ord("Z") + 1):
        classes[capital] = classes[capital + 32] = capital
    classes[ord("0") : ord("9") + 1] = np.arange(ord("0"), ord("9") + 1)
    classes[[ord("'"), ord("`")]] = DROPPED
    classes[ord("&")] = AMPERSAND
    return classes


BYTE_CLASSES = _byte_classes()


@njit(cache=True, nogil=True, inline="always")
def _break(data, at, begin, end):  # type: ignore[no-untyped-def]
    """Return the kind of break that the byte at ``at`` makes."""
    sign = data[at]
    if sign == 44 or sign == 40 or sign == 41 or sign == 58 or sign == 59:  # , ( ) : ;
        return NEXT_PART
    if sign != 45 and sign != 47:  # - /
        return NO_BREAK
    before = at == begin or data[at - 1] == SPACE
    after = at + 1 == end or data[at + 1] == SPACE
    if sign == 47:
        return SLASH if before and after else JOINED
    return NEXT_PART if before and after else NO_BREAK


@njit(cache=True, nogil=True, inline="always")
def _cut(data, begin, end, classes, text, starts, ends, hashes, breaks):  # type: ignore[no-untyped-def]
    """Write the words of ``data[begin:end]`` one after another into ``text``; return their number."""
    count, position, inside = 0, 0, False
    state = FNV_START
    for at in range(begin, end):
        letter = classes[data[at]]
        if letter == DROPPED:
            continue
        if letter > AMPERSAND:
            if not inside:
                starts[count], breaks[count] = position, NO_BREAK
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
        if count and letter != AMPERSAND:
            follows = _break(data, at, begin, end)
            if follows and breaks[count - 1] != SLASH:
                breaks[count - 1] = follows
        if letter == AMPERSAND:
            starts[count], breaks[count] = position, NO_BREAK
            text[position], text[position + 1], text[position + 2] = 65, 78, 68
            position += 3
            ends[count], hashes[count] = position, mix(fnv(FNV_START, text, position - 3, position))
            count += 1
    if inside:
        ends[count], hashes[count] = position, mix(state)
        count += 1
    return count


@uncounted
def _sequence(text, starts, ends, first, last):  # type: ignore[no-untyped-def]
    """Return the hash of the words ``first`` to ``last - 1``, joined by single spaces."""
    state = FNV_START
    for number in range(first, last):
        if number > first:
            state = fnv_byte(state, SPACE)
        state = fnv(state, text, starts[number], ends[number])
    return mix(state)


@njit(cache=True, nogil=True, inline="always")
def _marker(text, starts, ends, hashes, breaks, first, last, markers):  # type: ignore[no-untyped-def]
    """Return (position, words) of the first marker of a further name (DBA, FORMERLY, …), or (last, 0)."""
    keys, values, begin_keys, begin_values = markers
    for number in range(first, last):
        longest = find(begin_keys, begin_values, hashes[number])
        if longest < 0:
            continue
        for words in range(min(longest, last - number), 0, -1):
            if find(keys, values, _sequence(text, starts, ends, number, number + words)) >= 0:
                if words == 2 and ends[number] - starts[number] == 1 and breaks[number] != JOINED:
                    continue  # T A are initials, T/A is trading as
                # D B A after another initial belongs to the initials.
                spelled = words == 3 and ends[number] - starts[number] == 1
                if spelled and number > first and ends[number - 1] - starts[number - 1] == 1:
                    continue
                return number, words
    return last, 0


@njit(cache=True, nogil=True, inline="always")
def _without_legal_forms(text, starts, ends, hashes, first, last, forms, conjunction):  # type: ignore[no-untyped-def]
    """Return the end of the words without legal forms and an AND before them; ``first`` if nothing else remains."""
    keys, values, end_keys, end_values = forms
    end = last
    while end > first:
        words = 0
        longest = find(end_keys, end_values, hashes[end - 1])
        if longest < 0:
            return end
        for size in range(min(longest, end - first), 0, -1):
            kept = find(keys, values, _sequence(text, starts, ends, end - size, end))
            if kept >= 0:
                words = size * (1 - kept)
                break
        if words == 0:
            return end
        end -= words
        if end > first and hashes[end - 1] == conjunction:
            end -= 1
    return first


@njit(cache=True, nogil=True, inline="always")
def _without_leading_form(text, starts, ends, hashes, first, last, leading, forms, conjunction):  # type: ignore[no-untyped-def]
    """Return the position after a legal form at the start; ``first`` if there is none or only legal forms follow."""
    keys, values, begin_keys, begin_values = leading
    longest = find(begin_keys, begin_values, hashes[first])
    for size in range(min(longest, last - first - 1), 0, -1):
        if find(keys, values, _sequence(text, starts, ends, first, first + size)) < 0:
            continue
        # N V before another initial belongs to the initials.
        if ends[first] - starts[first] == 1 and ends[first + size] - starts[first + size] == 1:
            continue
        rest = first + size
        if _without_legal_forms(text, starts, ends, hashes, rest, last, forms, conjunction) > rest:
            return rest
    return first


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


@uncounted
def _tells_apart(text, starts, ends, hashes, first, last, replaced):  # type: ignore[no-untyped-def]
    """Return whether words distinguish siblings: a letter alone, a short number, a roman one, or letters and digits.

    Longer numbers are codes of registers.
    """
    if last - first == 1 and ends[first] - starts[first] == 1:
        return True
    for number in range(first, last):
        digits = 0
        for at in range(starts[number], ends[number]):
            digits += text[at] <= 57
        size = ends[number] - starts[number]
        if digits and (digits < size or size < MIN_CODE_DIGITS):
            return True
        by = find(replaced[0], replaced[1], hashes[number])
        if by >= 0 and replaced[2][replaced[3][by]] <= 57:
            return True
    return False


@uncounted
def _parts(text, starts, ends, hashes, breaks, first, last, lists, parts):  # type: ignore[no-untyped-def]
    """Write begin and end of the further names within ``[first, last)`` into ``parts``, int32 (n, 2); return how many.

    ``ventures`` of ``lists``: words of a joint venture, which has none.
    """
    forms, replaced, conjunction, ventures = lists[0][0], lists[1], lists[3], lists[4]
    keys, values, end_keys, end_values = forms
    head, slashes = 0, 0
    for number in range(first, last):
        if hashes[number] == ventures[0] or hashes[number] == ventures[1]:
            return 0
        if number == last - 1:
            break
        slashes += breaks[number] == SLASH
        if head or number == first or breaks[number] == NO_BREAK or breaks[number] == JOINED:
            continue
        longest = find(end_keys, end_values, hashes[number])
        for size in range(min(longest, number - first), 0, -1):
            if find(keys, values, _sequence(text, starts, ends, number - size + 1, number + 1)) == 0:
                head = number + 1
                break
    count = 0
    if head and not _tells_apart(text, starts, ends, hashes, head, last, replaced):
        parts[0, 0], parts[0, 1] = first, head
        count = 1
    if not slashes:
        return count
    kept, begin = count, first
    for number in range(first, last):
        if number < last - 1 and breaks[number] != SLASH:
            continue
        is_short = number == begin and ends[begin] - starts[begin] < MIN_SIDE_LETTERS
        if is_short or _without_legal_forms(text, starts, ends, hashes, begin, number + 1, forms, conjunction) == begin:
            return kept
        parts[count, 0], parts[count, 1] = begin, number + 1
        count += 1
        begin = number + 1
    return count


@uncounted
def _is_written(out, out_starts, first, last):  # type: ignore[no-untyped-def]
    """Return whether the name ``last`` is one of the names ``[first, last)``, or too short for a further name."""
    begin, end = out_starts[last], out_starts[last + 1]
    if end - begin < MIN_PART_LETTERS:
        return True
    for name in range(first, last):
        at = out_starts[name]
        if out_starts[name + 1] - at != end - begin:
            continue
        same = True
        for offset in range(end - begin):
            same = same and out[at + offset] == out[begin + offset]
        if same:
            return True
    return False


@njit(cache=True, nogil=True, inline="always")
def _reduce(text, starts, ends, hashes, last, free, forms, leading, replaced, the, conjunction):  # type: ignore[no-untyped-def]
    """Drop legal forms, join initials and expand abbreviations of ``last`` words; return the rest's (first, last).

    New words are written to ``text`` from ``free`` on.
    """
    replaced_keys, replaced_values, by_text, by_starts = replaced
    first, changed = 0, True
    while changed:
        while last - first > 1 and hashes[first] == the:
            first += 1
        begun = _without_leading_form(text, starts, ends, hashes, first, last, leading, forms, conjunction)
        changed = begun != first
        first = begun
        end = _without_legal_forms(text, starts, ends, hashes, first, last, forms, conjunction)
        if end > first:
            last = end  # the rest has no legal form at its end, so this is no change
        end, free = _join_initials(text, starts, ends, hashes, first, last, free)
        changed = changed or end != last
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
    return first, last


@njit(cache=True, nogil=True)
def normalise(data, offsets, classes, markers, lists, room):  # type: ignore[no-untyped-def]
    """Return the normalised names of every text.

    ``markers``, ``lists``: see ``words.name_lists``; ``room``: see ``working_bytes``. Returns (data, starts, row,
    further): the names, the position of the text of each, ascending, and whether it follows a marker or is a part. A
    text of which nothing remains has no name.
    """
    capacity = 2
    for number in range(offsets.size - 1):
        capacity = max(capacity, 2 * (offsets[number + 1] - offsets[number] + 2))
    text = np.empty(room, dtype=np.uint8)
    words = np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.uint64)
    kept = np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.int32), np.empty(capacity, dtype=np.uint64)
    breaks, parts = np.empty(capacity, dtype=np.int8), np.empty((capacity, 2), dtype=np.int32)
    asked, space = (data, offsets, classes, markers, lists), (text, words, kept, breaks, parts)

    out = np.empty(max(64, data.size + 16), dtype=np.uint8)
    out_starts = np.empty(offsets.size + 16, dtype=np.int32)
    out_rows = np.empty(offsets.size + 16, dtype=np.int32)
    out_further = np.empty(offsets.size + 16, dtype=np.bool_)
    row, written = 0, 0
    out_starts[0] = 0
    while True:
        row, written = _normalise_rows(row, written, asked, space, (out, out_starts, out_rows, out_further))
        if row == offsets.size - 1:
            break
        out = grown(out, out.size + 1)
        out_starts = grown(out_starts, out_starts.size + 1)
        out_rows = grown(out_rows, out_starts.size)
        out_further = grown(out_further, out_starts.size)
    size = out_starts[written]
    return out[:size].copy(), out_starts[: written + 1].copy(), out_rows[:written], out_further[:written]


@uncounted
def _normalise_rows(row, written, asked, space, found):  # type: ignore[no-untyped-def]
    """Write the names of the texts from ``row`` on, until the end or until ``found`` has no room for a text.

    ``asked``: arguments of ``normalise``; ``space``: arrays to work in. Returns (row that did not fit, names written).
    """
    data, offsets, classes, markers, lists = asked
    text, words, kept, breaks, parts = space
    out, out_starts, out_rows, out_further = found
    (forms, leading), replaced, the, conjunction = lists[:4]
    all_starts, all_ends, all_hashes = words
    starts, ends, hashes = kept
    while row < offsets.size - 1:
        count = _cut(data, offsets[row], offsets[row + 1], classes, text, all_starts, all_ends, all_hashes, breaks)
        used = all_ends[count - 1] if count else np.int32(0)
        first_name = written
        begin, further = 0, False
        while begin < count:
            at, marker = _marker(text, all_starts, all_ends, all_hashes, breaks, begin, count, markers)
            # Drop a marker with nothing on one side; alone it is the name.
            if marker and at == begin and begin + marker < count:
                begin += marker
                continue
            if marker and at == begin:
                at, marker = count, 0
            found = 0
            for number in range(begin, at):
                if breaks[number] != NO_BREAK:
                    found = _parts(text, all_starts, all_ends, all_hashes, breaks, begin, at, lists, parts)
                    break
            for part in range(-1, found):
                origin, stop = (begin, at) if part < 0 else (parts[part, 0], parts[part, 1])
                last = stop - origin
                for number in range(last):
                    starts[number], ends[number] = all_starts[origin + number], all_ends[origin + number]
                    hashes[number] = all_hashes[origin + number]
                first, last = _reduce(
                    text, starts, ends, hashes, last, used, forms, leading, replaced, the, conjunction
                )
                position = out_starts[written]
                size = last - first
                for number in range(first, last):
                    size += ends[number] - starts[number]
                if position + size > out.size or written + 2 > out_starts.size:
                    return row, first_name
                for number in range(first, last):
                    if number > first:
                        out[position] = SPACE
                        position += 1
                    for source in range(starts[number], ends[number]):
                        out[position] = text[source]
                        position += 1
                out_rows[written], out_further[written] = row, further or part >= 0
                out_starts[written + 1] = position
                if part < 0 or not _is_written(out, out_starts, first_name, written):
                    written += 1
            begin, further = at + marker, True
        row += 1
    return row, written


def working_bytes(offsets: Ints, longest_replacement: int) -> int:
    """Return the bytes of working text that ``normalise`` needs for the longest text.

    Every byte becomes at most three (& is AND) and is copied once when initials are joined, and every word can be
    replaced once after each.
    """
    longest = int(np.diff(offsets).max(initial=0))
    return (6 + 2 * longest_replacement) * (longest + 1)
