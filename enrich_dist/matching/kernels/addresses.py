"""Which addresses can be one of a company: a cheap filter before streets are normalised.

The *head* of an address is the hash of its ZIP code or city and its house number. An address that does not start with
a number (ONE KENDALL SQ, BLDG 4, 10 MAIN ST) has a head without a number; PO boxes have none.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from enrich_dist.matching.kernels.text import may_contain, mix

NO_ADDRESS, NO_NUMBER = np.int64(-1), np.int64(0)
_ZERO, _NINE, _P, _LOWER = np.uint8(48), np.uint8(57), np.uint8(80), np.uint8(32)
_MAX_DIGITS = 9


@njit(cache=True, nogil=True)
def house_numbers(data, starts):  # type: ignore[no-untyped-def]
    """Return the leading number of every text, int64: ``NO_NUMBER``, or ``NO_ADDRESS`` if it is empty or a PO box."""
    numbers = np.empty(starts.size - 1, dtype=np.int64)
    for row in range(starts.size - 1):
        begin, end = starts[row], starts[row + 1]
        number, digits = NO_NUMBER, 0
        for at in range(begin, min(end, begin + _MAX_DIGITS)):
            if not _ZERO <= data[at] <= _NINE:
                break
            number = number * 10 + np.int64(data[at] - _ZERO)
            digits += 1
        if begin == end or (not digits and data[begin] & ~_LOWER == _P):
            number = NO_ADDRESS
        numbers[row] = number
    return numbers


@njit(cache=True, nogil=True, inline="always")
def _head(number, town, is_city):  # type: ignore[no-untyped-def]
    return mix((np.uint64(town) << np.uint64(33)) ^ (np.uint64(number) << np.uint64(1)) ^ np.uint64(is_city))


@njit(cache=True, nogil=True)
def address_heads(numbers, zips, cities):  # type: ignore[no-untyped-def]
    """Return the heads of all addresses, with and without their number, uint64. ``zips``, ``cities``: codes or -1."""
    heads = np.empty(4 * numbers.size, dtype=np.uint64)
    count = 0
    for row in range(numbers.size):
        if numbers[row] == NO_ADDRESS:
            continue
        for is_city in range(2):
            town = cities[row] if is_city else zips[row]
            if town >= 0:
                heads[count] = _head(numbers[row], town, is_city)
                heads[count + 1] = _head(NO_NUMBER, town, is_city)
                count += 2
    return heads[:count]


@njit(cache=True, nogil=True)
def near_rows(numbers, zips, cities, present):  # type: ignore[no-untyped-def]
    """Return the rows whose head may be in the filter ``present`` (``hash_filter``), int64."""
    rows = np.empty(numbers.size, dtype=np.int64)
    count = 0
    for row in range(numbers.size):
        if numbers[row] == NO_ADDRESS:
            continue
        if (zips[row] >= 0 and may_contain(present, _head(numbers[row], zips[row], 0))) or (
            cities[row] >= 0 and may_contain(present, _head(numbers[row], cities[row], 1))
        ):
            rows[count] = row
            count += 1
    return rows[:count]
