"""Draws that depend on a key alone: whole columns of random numbers, codes and texts out of 64-bit keys.

A row's values are functions of its number, not of the numbers drawn before it. So a row can be made again anywhere
(a chain's name in every place, a second registration of an earlier organisation) without keeping the earlier ones,
and neither the size of a batch nor the length of a file changes what a row holds.

Every use of a key names its purpose, and two purposes are independent of each other. Good for test data: it is no
cryptography.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Keys = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

DIGITS: Final = "0123456789"
HEXADECIMAL: Final = "0123456789abcdef"
UEI_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_WORD: Final = 2**64 - 1


def keys_of(numbers: npt.NDArray[Any], seed: int, purpose: str) -> Keys:
    """Keys of numbered things: other keys for another seed or purpose."""
    return mix(numbers.astype(np.uint64), f"{seed}/{purpose}")


def mix(keys: Keys, purpose: str) -> Keys:
    """Other keys of the same things, for this purpose."""
    mixed = (keys ^ np.uint64(_salt(purpose))) * np.uint64(0x9E3779B97F4A7C15)
    # Two rounds of multiply and fold spread every bit of the key over all bits of the result.
    for factor, shift in ((0xD6E8FEB86659FD93, 32), (0xC2B2AE3D27D4EB4F, 29)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(32)), dtype=np.uint64)


@functools.cache
def _salt(purpose: str) -> int:
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little") & _WORD


def uniform(keys: Keys, purpose: str) -> Floats:
    """Numbers from 0 up to but not 1."""
    return (mix(keys, purpose) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def chance(keys: Keys, purpose: str, share: float | Floats) -> Flags:
    """True for about this share."""
    return np.asarray(uniform(keys, purpose) < share)


def below(keys: Keys, purpose: str, count: int | Ints) -> Ints:
    """Whole numbers from 0 up to but not ``count``."""
    return np.asarray(uniform(keys, purpose) * count).astype(np.int64)


def weighted(keys: Keys, purpose: str, weights: list[float]) -> Ints:
    """Positions in the list, each about as often as its weight says."""
    ends = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(ends, uniform(keys, purpose), side="right"), len(weights) - 1).astype(np.int64)


def picked(keys: Keys, purpose: str, texts: pa.Array) -> pa.Array:
    """One of the texts for each key, all equally likely."""
    return texts.take(pa.array(below(keys, purpose, len(texts))))


def codes(keys: Keys, purpose: str, *alphabets: str) -> pa.Array:
    """Texts whose n-th character is of the n-th alphabet."""
    letters = np.empty((len(keys), len(alphabets)), dtype=np.uint8)
    for position, alphabet in enumerate(alphabets):
        if position % 8 == 0:  # each number has enough randomness for eight characters of up to 36 signs
            rest = mix(keys, f"{purpose}/{position}")
        size = np.uint64(len(alphabet))
        letters[:, position] = np.frombuffer(alphabet.encode("ascii"), np.uint8)[rest % size]
        rest = rest // size
    return strings(np.arange(len(keys) + 1) * len(alphabets), letters)


def ueis(keys: Keys) -> pa.Array:
    """Identifiers in the form of a UEI."""
    return codes(keys, "uei", UEI_LETTERS, *[UEI_LETTERS + DIGITS] * 11)


def duns(keys: Keys) -> pa.Array:
    """Identifiers in the form of a DUNS number."""
    return codes(keys, "duns", *[DIGITS] * 9)


def strings(starts: npt.NDArray[Any], letters: npt.NDArray[np.uint8]) -> pa.Array:
    """Texts from the offsets at which they begin and the ASCII letters of all."""
    offsets = pa.py_buffer(starts.astype(np.int32).tobytes())
    return pa.StringArray.from_buffers(len(starts) - 1, offsets, pa.py_buffer(letters.tobytes()))


def letters_of(texts: pa.Array) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """Offsets and bytes of texts without nulls; the inverse of ``strings``."""
    texts = pa.concat_arrays([texts])  # an array of its own, whose offsets begin at 0
    starts = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1).astype(np.int64)
    buffer = texts.buffers()[2]
    return starts, np.frombuffer(buffer, np.uint8, int(starts[-1])) if buffer else np.empty(0, np.uint8)


def where(mask: Flags, texts: pa.Array, otherwise: pa.Array | None = None) -> pa.Array:
    """The texts where the mask is true, elsewhere the others or null."""
    return pc.if_else(pa.array(mask), texts, pa.scalar(None, pa.string()) if otherwise is None else otherwise)


def flags(values: pa.Array) -> Flags:
    """A boolean column as NumPy; null counts as false."""
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), dtype=bool)


def number_texts(numbers: npt.NDArray[Any]) -> pa.Array:
    """Numbers as text."""
    return pa.array(numbers).cast(pa.string())


def column(table: pa.Table, name: str) -> pa.Array:
    """A column as one array of plain text."""
    values = table[name].combine_chunks()
    array = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
    return array.cast(pa.string())
