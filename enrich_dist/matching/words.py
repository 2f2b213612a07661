"""The word lists in ``data/`` as hash tables and bytes, the arguments of the kernels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from enrich_dist.matching.kernels.siblings import DIRECTION, KIND_BASE, LINK, NUMBER
from enrich_dist.matching.kernels.text import Bytes, Hashes, Ints, hash_table, hash_texts

Table = tuple[Hashes, Ints]
Sequences = tuple[Hashes, Ints, Hashes, Ints]
# Letters and spaces of a legal form that is dropped at the start of a name too: it cannot be a part of it.
MIN_LEADING_FORM = 15
Texts = tuple[Bytes, npt.NDArray[np.int32]]


@functools.cache
def lines(file_name: str) -> tuple[str, ...]:
    """Return the lines of a data file without comments and empty lines."""
    text = resources.files("enrich_dist.matching").joinpath("data", file_name).read_text("utf-8")
    stripped = (line.strip() for line in text.splitlines())
    return tuple(line for line in stripped if line and not line.startswith("#"))


def as_bytes(texts: Sequence[str]) -> Texts:
    """Return texts as (data, starts)."""
    encoded = [text.encode("utf-8") for text in texts]
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
    world = lines("world_legal_forms.txt")
    ventures = hashes_of(["JV", "VENTURE"])
    forms = _sequences([*lines("legal_forms.txt"), *world], by=-1, kept=lines("kept_endings.txt"))
    long = [form for form in world if " " in form and len(form) >= MIN_LEADING_FORM]
    leading = _sequences([*lines("leading_legal_forms.txt"), *long], by=0)
    markers = _sequences(lines("name_markers.txt"), by=0)
    return markers, ((forms, leading), (*replaced, *as_bytes([long for _, long in pairs])), the, conjunction, ventures)


def families() -> list[list[str]]:
    """Return the words that sources use interchangeably, among them numbers in digits and words."""
    numbers = [line.split(" ")[1:] for line in lines("sibling_words.txt") if line.startswith("number ")]
    written = [[word for word in words if len(word) > 2 or word.isdigit()] for words in numbers]
    return [line.split(" ") for line in lines("word_families.txt")] + written


@functools.cache
def foreign_legal_forms() -> tuple[str, str]:
    """Return legal forms in other scripts as regular expressions: of words, and of scripts without spaces."""
    forms = sorted(lines("foreign_legal_forms.txt"), key=lambda form: (-len(form), form))
    joined = [form for form in forms if len(form) > 1 and "\u3040" <= form[0] <= "\ud7ff"]
    return "|".join(form for form in forms if form not in joined), "|".join(joined)


@functools.cache
def sibling_words() -> Table:
    """Return the kinds and values of the words of ``sibling_words.txt``, as ``kernels.siblings`` takes them."""
    from anyascii import anyascii

    meanings = [line.split(" ") for line in lines("sibling_words.txt")]
    groups = ["number", "venture", "holding", "of", "link", "direction"]
    groups += sorted({group for group, *_ in meanings} - set(groups))
    kinds = dict(zip(groups, [*range(NUMBER, LINK + 1), *range(DIRECTION, DIRECTION + len(groups))], strict=False))
    texts, values = [], []
    for number, (group, *same) in enumerate(meanings):
        value = int(same.pop(0)) if group == "number" else number
        same += [anyascii(word).upper() for word in same if not word.isascii()]  # as in names
        texts += same
        values += [kinds[group] * KIND_BASE + value] * len(same)
    return hash_table(hashes_of(texts), np.array(values))


def longest_replacement() -> int:
    """Return the length of the longest expanded abbreviation."""
    return max(len(line.split(" ")[1]) for line in lines("abbreviations.txt"))


def _sequences(texts: Sequence[str], *, by: int, kept: Sequence[str] = ()) -> Sequences:
    """Return hash tables of the sequences, and of their first (``by`` 0) or last (-1) words with the longest length.

    The value of a sequence is 0, of the ones to be kept 1.
    """
    longest: dict[str, int] = {}
    for text in (*texts, *kept):
        words = text.split(" ")
        longest[words[by]] = max(longest.get(words[by], 0), len(words))
    ends = hash_table(hashes_of(list(longest)), np.array(list(longest.values())))
    values = np.array([0] * len(texts) + [1] * len(kept))
    return *hash_table(hashes_of([*texts, *kept]), values), *ends
