"""Random columns that depend only on a key: numbers, codes and texts from 64-bit keys.

The values of a row are functions of its number, not of earlier draws. So a row can be generated again anywhere (the
name of a chain in every place, a second registration of an earlier organisation), and neither batch size nor file
length changes a row.

Every use of a key names its purpose; draws for two purposes are independent. Another purpose gives other files, so
never rename one. Not cryptographic.
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
    """Return the keys of numbered items for a seed and a purpose."""
    return mix(numbers.astype(np.uint64), f"{seed}/{purpose}")


def mix(keys: Keys, purpose: str) -> Keys:
    """Return other keys of the same items for a purpose."""
    mixed = (keys ^ np.uint64(_salt(purpose))) * np.uint64(0x9E3779B97F4A7C15)
    # Two rounds of multiply and fold spread every bit of the key over all bits of the result.
    for factor, shift in ((0xD6E8FEB86659FD93, 32), (0xC2B2AE3D27D4EB4F, 29)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(mixed ^ (mixed >> np.uint64(32)), dtype=np.uint64)


@functools.cache
def _salt(purpose: str) -> int:
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little") & _WORD


def uniform(keys: Keys, purpose: str) -> Floats:
    """Return numbers in [0, 1)."""
    return (mix(keys, purpose) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def chance(keys: Keys, purpose: str, share: float | Floats) -> Flags:
    """Return flags that are true for about this share."""
    return np.asarray(uniform(keys, purpose) < share)


def below(keys: Keys, purpose: str, count: int | Ints) -> Ints:
    """Return integers in [0, count)."""
    return np.asarray(uniform(keys, purpose) * count).astype(np.int64)


def weighted(keys: Keys, purpose: str, weights: list[float]) -> Ints:
    """Return positions in the list in proportion to their weights."""
    ends = np.cumsum(weights) / np.sum(weights)
    return np.minimum(np.searchsorted(ends, uniform(keys, purpose), side="right"), len(weights) - 1).astype(np.int64)


def picked(keys: Keys, purpose: str, texts: pa.Array) -> pa.Array:
    """Return one of the texts per key, all equally likely."""
    return texts.take(pa.array(below(keys, purpose, len(texts))))


def codes(keys: Keys, purpose: str, *alphabets: str) -> pa.Array:
    """Return texts whose n-th character is from the n-th alphabet."""
    letters = np.empty((len(keys), len(alphabets)), dtype=np.uint8)
    for position, alphabet in enumerate(alphabets):
        if position % 8 == 0:  # 64 bits suffice for eight characters of an alphabet of 36
            rest = mix(keys, f"{purpose}/{position}")
        size = np.uint64(len(alphabet))
        letters[:, position] = np.frombuffer(alphabet.encode("ascii"), np.uint8)[rest % size]
        rest = rest // size
    return strings(np.arange(len(keys) + 1) * len(alphabets), letters)


def ueis(keys: Keys) -> pa.Array:
    """Return identifiers in the form of a UEI."""
    return codes(keys, "uei", UEI_LETTERS, *[UEI_LETTERS + DIGITS] * 11)


def duns(keys: Keys) -> pa.Array:
    """Return identifiers in the form of a DUNS number."""
    return codes(keys, "duns", *[DIGITS] * 9)


def strings(starts: npt.NDArray[Any], letters: npt.NDArray[np.uint8]) -> pa.Array:
    """Return texts from their offsets and ASCII bytes."""
    offsets = pa.py_buffer(starts.astype(np.int32).tobytes())
    return pa.StringArray.from_buffers(len(starts) - 1, offsets, pa.py_buffer(letters.tobytes()))


def letters_of(texts: pa.Array) -> tuple[Ints, npt.NDArray[np.uint8]]:
    """Return offsets and bytes of texts without nulls; the inverse of ``strings``."""
    texts = pa.concat_arrays([texts])  # an array of its own, whose offsets begin at 0
    starts = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1).astype(np.int64)
    buffer = texts.buffers()[2]
    return starts, np.frombuffer(buffer, np.uint8, int(starts[-1])) if buffer else np.empty(0, np.uint8)


def where(mask: Flags, texts: pa.Array, otherwise: pa.Array | None = None) -> pa.Array:
    """Return the texts where the mask is true, otherwise the others or null."""
    return pc.if_else(pa.array(mask), texts, pa.scalar(None, pa.string()) if otherwise is None else otherwise)


def flags(values: pa.Array) -> Flags:
    """Return a boolean column as NumPy; null is false."""
    return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), dtype=bool)


def number_texts(numbers: npt.NDArray[Any]) -> pa.Array:
    """Return numbers as text."""
    return pa.array(numbers).cast(pa.string())


def column(table: pa.Table, name: str) -> pa.Array:
    """Return a column as one array of text."""
    values = table[name].combine_chunks()
    array = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) else values
    return array.cast(pa.string())
