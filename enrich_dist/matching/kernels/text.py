"""Hashes of text, hash tables and comparison of texts, shared by the kernels.

A text is ``data[starts[i]:starts[i + 1]]`` of an uint8 array. A hash table is a pair of arrays (keys, values) with a
power-of-two size, at most half full, with linear probing; key 0 marks a free slot.

The hash is 64-bit FNV-1a (Fowler, Noll and Vo; RFC 9923) with the finaliser of MurmurHash3 (Appleby). Callers can
continue the state before the finaliser: the hash of two joined words continues the state of the first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[Any]
Hashes = npt.NDArray[np.uint64]

FNV_START = np.uint64(14695981039346656037)
_FNV_PRIME = np.uint64(1099511628211)
_MIX_1 = np.uint64(0xFF51AFD7ED558CCD)
_MIX_2 = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_ZERO, _ONE = np.uint64(0), np.uint64(1)
SPACE = np.uint8(32)

uncounted: Any = njit(cache=True, nogil=True, _nrt=False)  # type: ignore[call-overload]
"""Decorator of kernels that allocate nothing, compiled without reference counts of arrays.

numba counts a reference each time a loop unpacks a tuple of arrays or calls a function, and the atomic counters took up
to two thirds of the time. So a kernel allocates, and leaves the loop to an uncounted function, which returns no array.
"""


@njit(cache=True, nogil=True, inline="always")
def fnv_byte(state, byte):  # type: ignore[no-untyped-def]
    """Return the state after one more byte."""
    return (state ^ np.uint64(byte)) * _FNV_PRIME


@uncounted
def fnv(state, data, begin, end):  # type: ignore[no-untyped-def]
    """Return the state after ``data[begin:end]``."""
    for at in range(begin, end):
        state = (state ^ np.uint64(data[at])) * _FNV_PRIME
    return state


@uncounted
def mix(state):  # type: ignore[no-untyped-def]
    """Return the hash of a state, never 0."""
    state ^= state >> _SHIFT
    state *= _MIX_1
    state ^= state >> _SHIFT
    state *= _MIX_2
    state ^= state >> _SHIFT
    return state if state != _ZERO else _ONE


@uncounted
def longest_text(starts):  # type: ignore[no-untyped-def]
    """Return the size of the longest text in bytes."""
    longest = 0
    for number in range(starts.size - 1):
        longest = max(longest, starts[number + 1] - starts[number])
    return longest


@uncounted
def join_words(data, begin, end, kept):  # type: ignore[no-untyped-def]
    """Write ``data[begin:end]`` without spaces into ``kept``; return its size."""
    size = 0
    for at in range(begin, end):
        if data[at] != SPACE:
            kept[size] = data[at]
            size += 1
    return size


@njit(cache=True, nogil=True)
def hash_texts(data, starts, without_spaces):  # type: ignore[no-untyped-def]
    """Return the hash of every text, uint64; ``without_spaces``: ignore spaces."""
    hashes = np.empty(starts.size - 1, dtype=np.uint64)
    for number in range(starts.size - 1):
        state = FNV_START
        for at in range(starts[number], starts[number + 1]):
            if not (without_spaces and data[at] == SPACE):
                state = (state ^ np.uint64(data[at])) * _FNV_PRIME
        hashes[number] = mix(state)
    return hashes


@njit(cache=True, nogil=True, inline="always")
def find(keys, values, key):  # type: ignore[no-untyped-def]
    """Return the value of ``key``, or -1."""
    mask = np.uint64(keys.size - 1)
    at = key & mask
    while keys[np.int64(at)] != _ZERO:
        if keys[np.int64(at)] == key:
            return values[np.int64(at)]
        at = (at + _ONE) & mask
    return np.int32(-1)


@uncounted
def put(keys, values, key, value):  # type: ignore[no-untyped-def]
    """Store ``value`` under a new ``key``; keep the value of a known one. The table must have room."""
    mask = np.uint64(keys.size - 1)
    at = key & mask
    while keys[np.int64(at)] != _ZERO:
        if keys[np.int64(at)] == key:
            return
        at = (at + _ONE) & mask
    keys[np.int64(at)] = key
    values[np.int64(at)] = value


@uncounted
def _fill(keys, values, hashes, stored):  # type: ignore[no-untyped-def]
    for number in range(hashes.size):
        put(keys, values, hashes[number], stored[number])


def hash_table(hashes: Hashes, values: Ints) -> tuple[Hashes, Ints]:
    """Return the hash table of the pairs, with the first value of equal hashes."""
    size = 4
    while size < 2 * len(hashes):
        size *= 2
    table = np.zeros(size, dtype=np.uint64), np.full(size, -1, dtype=np.int32)
    _fill(*table, np.asarray(hashes, dtype=np.uint64), np.asarray(values, dtype=np.int32))
    return table


def hash_filter(hashes: Hashes) -> Bytes:
    """Return a Bloom filter (1970) with one hash function, for ``may_contain``: packed bits, uint8.

    It fits in the processor's cache and avoids most lookups in a large table.
    """
    size = 1024
    while size < 16 * len(hashes) and size < 2**22:
        size *= 2
    present = np.zeros(size, dtype=np.bool_)
    present[(hashes & np.uint64(size - 1)).astype(np.int64)] = True
    return np.packbits(present, bitorder="little")


@njit(cache=True, nogil=True, inline="always")
def may_contain(present, digest):  # type: ignore[no-untyped-def]
    """Return False only if the hash is not in the filter."""
    at = digest & np.uint64(8 * present.size - 1)
    return (present[np.int64(at >> np.uint64(3))] >> np.uint8(at & np.uint64(7))) & np.uint8(1) != 0


@njit(cache=True, nogil=True)
def find_all(keys, values, hashes):  # type: ignore[no-untyped-def]
    """Return the values of all ``hashes``, int32, -1 for unknown ones."""
    found = np.empty(hashes.size, dtype=np.int32)
    for number in range(hashes.size):
        found[number] = find(keys, values, hashes[number])
    return found


@njit(cache=True, nogil=True)
def grown(array, needed):  # type: ignore[no-untyped-def]
    """Return ``array``, or a copy of at least twice its size, with room for ``needed`` members."""
    if needed <= array.size:
        return array
    larger = np.empty(max(needed, 2 * array.size), dtype=array.dtype)
    larger[: array.size] = array
    return larger


@uncounted
def within_one_edit(left, left_begin, left_end, right, right_begin, right_end):  # type: ignore[no-untyped-def]
    """Return whether one letter inserted, deleted, replaced or swapped with the next turns a text into the other."""
    left_size, right_size = left_end - left_begin, right_end - right_begin
    if abs(left_size - right_size) > 1:
        return False
    shorter = min(left_size, right_size)
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
