"""The word lists in ``data/`` as hash tables and bytes, the arguments of the kernels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from enrich_dist.matching.kernels.text import Bytes, Hashes, Ints, hash_table, hash_texts

Table = tuple[Hashes, Ints]
Sequences = tuple[Hashes, Ints, Hashes, Ints]
Texts = tuple[Bytes, npt.NDArray[np.int32]]


@functools.cache
def lines(file_name: str) -> tuple[str, ...]:
    """Return the lines of a data file without comments and empty lines."""
    text = resources.files("enrich_dist.matching").joinpath("data", file_name).read_text("utf-8")
    stripped = (line.strip() for line in text.splitlines())
    return tuple(line for line in stripped if line and not line.startswith("#"))


def as_bytes(texts: Sequence[str]) -> Texts:
    """Return ASCII texts as (data, starts)."""
    encoded = [text.encode("ascii") for text in texts]
    starts = np.zeros(len(encoded) + 1, dtype=np.int32)
    np.cumsum([len(text) for text in encoded], out=starts[1:])
    starts.flags.writeable = False  # like Arrow's: numba compiles the kernels for one kind of array
    return np.frombuffer(b"".join(encoded) or b" ", dtype=np.uint8), starts


def hashes_of(texts: Sequence[str]) -> Hashes:
    """Return the hashes of the texts, uint64."""
    return np.asarray(hash_texts(*as_bytes(texts), False))


@functools.cache
def name_lists() -> tuple[Sequences, tuple[Any, ...]]:
    """Return the arguments ``markers`` and ``lists`` of ``kernels.names.normalise``."""
    pairs = [line.split(" ") for line in lines("abbreviations.txt")]
    replaced = hash_table(hashes_of([short for short, _ in pairs]), np.arange(len(pairs)))
    the, conjunction = hashes_of(["THE", "AND"])
    forms = _sequences(lines("legal_forms.txt"), by=-1)
    markers = _sequences(lines("name_markers.txt"), by=0)
    return markers, (forms, (*replaced, *as_bytes([long for _, long in pairs])), the, conjunction)


def longest_replacement() -> int:
    """Return the length of the longest expanded abbreviation."""
    return max(len(line.split(" ")[1]) for line in lines("abbreviations.txt"))


def _sequences(texts: Sequence[str], *, by: int) -> Sequences:
    """Return hash tables of the sequences, and of their first (``by`` 0) or last (-1) words with the longest length."""
    longest: dict[str, int] = {}
    for text in texts:
        words = text.split(" ")
        longest[words[by]] = max(longest.get(words[by], 0), len(words))
    ends = hash_table(hashes_of(list(longest)), np.array(list(longest.values())))
    return *hash_table(hashes_of(texts), np.arange(len(texts))), *ends
