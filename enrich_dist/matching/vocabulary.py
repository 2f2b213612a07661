"""The vocabulary of the companies' names: weights of words, posting lists, and tables to find words.

The weight of a concept is its inverse document frequency (Spärck Jones 1972), ``16 log2(1 / p)`` rounded, with ``p``
its share among the companies' names and the background names. The background (``data/word_frequencies.txt``) identifies
common words when there are few companies.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching import words
from enrich_dist.matching.arrays import Lists, load, starts_of, text_buffers
from enrich_dist.matching.kernels import tokens as kernel
from enrich_dist.matching.kernels.text import Hashes, Ints, find_all, hash_filter, hash_table, hash_texts

WEIGHT_PER_BIT = 16
# A word in more than this share of names is common: weak evidence, searched within states only.
COMMON_SHARE = 0.002
# Maximum names in the posting list of a rare word.
MAX_RARE_POSTINGS = 250

# Words and their deletes, to find typos: what ``kernels.tokens.find_typos`` takes as ``dictionary``.
_DICTIONARY = (
    "word_concepts", "word_data", "word_starts",
    "delete_keys", "delete_values", "delete_starts", "delete_words", "delete_present",
)  # fmt: skip
_ARRAYS = (
    *_DICTIONARY, "word_keys", "word_values", "word_present", "near_starts", "near_concepts",
    "joined_keys", "joined_values", "joined_present", "joined_first", "joined_second",
    "weights", "common", "background", "posting_starts", "postings", "state_starts", "state_postings",
    "home_starts", "home_states", "home_postings",
    "name_weights", "name_token_starts", "name_tokens", "name_state_starts", "name_states",
    "compact", "compact_keys", "compact_values", "compact_starts", "compact_names",
    "cut_keys", "cut_values", "cut_starts", "cut_names",
)  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """The opened files. The properties return arguments of the kernels."""

    arrays: dict[str, Any]
    state_count: int

    def take(self, *names: str) -> tuple[Any, ...]:
        """Return the arrays with these names."""
        return tuple(self.arrays[name] for name in names)

    @property
    def words(self) -> tuple[Any, ...]:
        """Return the argument ``vocabulary`` of ``kernels.tokens.look_up``."""
        dictionary = self.take(*_DICTIONARY)
        return (
            *self.take("word_keys", "word_values", "word_present"),
            dictionary,
            *self.take("near_starts", "near_concepts"),
        )

    @property
    def joined(self) -> tuple[Any, ...]:
        """Return the argument ``joined`` of ``kernels.tokens.look_up``."""
        return self.take("joined_keys", "joined_values", "joined_present", "joined_first", "joined_second")

    @property
    def index(self) -> tuple[Any, ...]:
        """Return the argument ``index`` of ``kernels.overlap.similar_names``.

        By concept: weight, names, number among the common ones; names of common concepts by state; names of rare ones
        with their states. By name: weight, concepts, states.
        """
        return (
            *self.take("weights", "posting_starts", "postings", "common", "state_starts", "state_postings"),
            self.state_count,
            *self.take("home_starts", "home_states", "home_postings", "name_weights"),
            *self.take("name_token_starts", "name_tokens", "name_state_starts", "name_states"),
            self.stateless_count,
        )

    @functools.cached_property
    def stateless_count(self) -> int:
        """Return the number of names of companies without a state."""
        return int(np.count_nonzero(self.arrays["name_states"] == self.state_count))

    @property
    def compared(self) -> tuple[Any, ...]:
        """Return the argument ``index`` of ``kernels.comparison.compare_names``."""
        return (*self.index[:-1], *self.take("compact"))

    @property
    def concept_count(self) -> int:
        """Return the number of concepts, including those of the background."""
        return len(self.arrays["weights"])

    @property
    def in_companies(self) -> npt.NDArray[np.bool_]:
        """Return by concept whether it is in a company's name."""
        return np.asarray(np.diff(self.arrays["posting_starts"]) > 0)

    def names_under(self, kind: str, hashes: Hashes) -> tuple[Ints, Ints]:
        """Return (position in ``hashes``, name) of the names with these hashes; ``kind``: "compact" or "cut"."""
        keys, values, starts, names = self.take(*(f"{kind}_{part}" for part in ("keys", "values", "starts", "names")))
        entries = find_all(keys, values, hashes)
        known = np.flatnonzero(entries >= 0)
        at, found = Lists(starts, names).expand(entries[known])
        return known[at], found


@functools.cache
def background_size() -> int:
    """Return the number of background names."""
    return int(words.lines("word_frequencies.txt")[0].split(" ")[1])


def background() -> tuple[dict[str, int], int]:
    """Return (background names with each word, number of background names)."""
    pairs = [line.split(" ") for line in words.lines("word_frequencies.txt")[1:]]
    return {word: int(count) for word, count in pairs}, background_size()


def write_vocabulary(
    directory: Path, names: pa.Array, name_states: tuple[Ints, Ints], state_count: int, cut: tuple[Ints, pa.Array]
) -> None:
    """Write the vocabulary of the distinct ``names``.

    ``name_states``: pairs (name, state code of its companies), ``state_count`` for no state. ``cut``: (name, truncated
    name) of names that a source may truncate.
    """
    data, starts = text_buffers(names)
    owner, surface = split_words(names)
    counts, _ = background()
    concepts, word_texts = _concepts(pc.unique(surface), pa.array(list(counts), pa.string()))
    concept = concepts[pc.index_in(surface, value_set=word_texts).to_numpy(zero_copy_only=False)]
    concept_count = int(concepts.max(initial=-1)) + 1
    name_count = len(names)

    pairs = np.unique(concept.astype(np.int64) * max(name_count, 1) + owner)
    posting_concept, posting_name = pairs // max(name_count, 1), pairs % max(name_count, 1)
    frequency = np.bincount(posting_concept, minlength=concept_count)
    weights, in_background = _weights(frequency, word_texts, concepts, name_count)
    is_common = frequency > MAX_RARE_POSTINGS
    common = np.where(is_common, np.cumsum(is_common) - 1, -1).astype(np.int32)

    word_data, word_starts = text_buffers(word_texts)
    word_hashes = hash_texts(word_data, word_starts, False)
    arrays: dict[str, Any] = {
        "word_concepts": concepts.astype(np.int32),
        "word_data": word_data,
        "word_starts": word_starts,
        "weights": weights,
        "background": in_background,
        "common": common,
        "posting_starts": starts_of(posting_concept, concept_count).astype(np.int32),
        "postings": posting_name.astype(np.int32),
        "name_token_starts": starts_of(owner, name_count).astype(np.int32),
        "name_tokens": concept.astype(np.int32),
        "name_weights": np.bincount(owner, weights=weights[concept], minlength=name_count).astype(np.int32),
        "compact": hash_texts(data, starts, True),
    }
    arrays["word_keys"], arrays["word_values"] = hash_table(word_hashes, np.arange(len(word_hashes)))
    arrays["word_present"] = hash_filter(word_hashes)
    word, hashes = kernel.deletes(word_data, word_starts)
    used = frequency[concepts[word]] > 0  # typos are of words in companies' names only
    word, hashes = word[used], hashes[used]
    arrays.update(_grouped("delete", hashes, word, "words"))
    arrays["delete_present"] = hash_filter(hashes)
    _, background_names = background()
    arrays["near_starts"], arrays["near_concepts"] = kernel.find_typos(
        frequency + np.rint(in_background * background_names).astype(np.int64),
        tuple(arrays[name] for name in _DICTIONARY),
    )
    arrays.update(_grouped("compact", arrays["compact"], np.arange(name_count), "names"))
    cut_data, cut_starts = text_buffers(cut[1])
    arrays.update(_grouped("cut", hash_texts(cut_data, cut_starts, True), cut[0], "names"))
    arrays.update(_joined(surface, owner, concept, word_hashes))
    name, state = name_states
    order = np.lexsort((state, name))
    starts = starts_of(name[order], name_count)
    arrays["name_state_starts"], arrays["name_states"] = starts.astype(np.int32), state[order].astype(np.int32)
    arrays.update(
        _state_postings(posting_concept, posting_name, common, (starts, state[order]), state_count, name_count)
    )
    for part in _ARRAYS:
        np.save(directory / f"vocabulary_{part}.npy", arrays[part])


def open_vocabulary(directory: Path, state_count: int) -> Vocabulary:
    """Map the files of ``write_vocabulary`` into memory."""
    return Vocabulary({name: load(directory / f"vocabulary_{name}.npy") for name in _ARRAYS}, state_count)


def split_words(names: pa.Array) -> tuple[Ints, pa.Array]:
    """Return (position of its name, word) of every word of normalised names, in order."""
    split = pc.split_pattern(names, " ")
    return pc.list_parent_indices(split).to_numpy(zero_copy_only=False), split.flatten()


def _concepts(texts: pa.Array, known: pa.Array) -> tuple[Ints, pa.Array]:
    """Return (concept of each word, words ascending) of ``texts``, ``known`` and all families that occur in ``texts``.

    Concepts are numbered in the order of the words.
    """
    families = words.families()
    member = pa.array([word for family in families for word in family], pa.string())
    family_of = np.repeat(np.arange(len(families)), [len(family) for family in families])
    present = np.unique(family_of[pc.is_in(member, value_set=texts).to_numpy(zero_copy_only=False)])
    added = member.filter(pa.array(np.isin(family_of, present)))
    texts = pc.unique(pa.concat_arrays([texts, added, known]))
    texts = texts.take(pc.array_sort_indices(texts))
    own = np.arange(len(texts))
    position = pc.index_in(texts, value_set=member)
    family = np.where(
        position.is_valid().to_numpy(zero_copy_only=False),
        family_of[pc.fill_null(position, 0).to_numpy(zero_copy_only=False)],
        -1,
    )
    # A family has the number of its first word.
    first = np.full(len(families), len(texts), dtype=np.int64)
    np.minimum.at(first, family[family >= 0], own[family >= 0])
    head = np.where(family >= 0, first[family], own)
    return np.unique(head, return_inverse=True)[1].astype(np.int64), texts


def _weights(
    frequency: Ints, word_texts: pa.Array, concepts: Ints, name_count: int
) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Return (weight, share among background names) of every concept."""
    counts, background_names = background()
    table = pa.array(list(counts), pa.string())
    found = pc.index_in(word_texts, value_set=table)
    numbers = np.array([*counts.values(), 0])[pc.fill_null(found, len(counts)).to_numpy(zero_copy_only=False)]
    in_background = np.bincount(concepts, weights=numbers, minlength=len(frequency))
    share = (frequency + in_background + 1) / (name_count + background_names + 1)
    weights = np.maximum(1, np.rint(-WEIGHT_PER_BIT * np.log2(share))).astype(np.int32)
    return weights, in_background / background_names


def _grouped(kind: str, hashes: Hashes, members: Ints, what: str) -> dict[str, Any]:
    """Return a hash table of lists of members, ascending and distinct."""
    order = np.lexsort((members, hashes))
    hashes, members = hashes[order], members[order]
    fresh = np.ones(len(hashes), dtype=bool)
    fresh[1:] = (hashes[1:] != hashes[:-1]) | (members[1:] != members[:-1])
    hashes, members = hashes[fresh], members[fresh]
    keys, counts = np.unique(hashes, return_counts=True)
    starts = np.zeros(len(keys) + 1, dtype=np.int32)
    np.cumsum(counts, out=starts[1:])
    table_keys, table_values = hash_table(keys, np.arange(len(keys)))
    return {
        f"{kind}_keys": table_keys,
        f"{kind}_values": table_values,
        f"{kind}_starts": starts,
        f"{kind}_{what}": members.astype(np.int32),
    }


def _joined(surface: pa.Array, owner: Ints, concept: Ints, word_hashes: Hashes) -> dict[str, Any]:
    """Return a hash table from two adjacent words written as one, if that is not a word, to their concepts."""
    left = np.flatnonzero(owner[:-1] == owner[1:])
    texts = pc.binary_join_element_wise(surface.take(pa.array(left)), surface.take(pa.array(left + 1)), "")
    data, starts = text_buffers(texts)
    hashes, at = np.unique(hash_texts(data, starts, False), return_index=True)
    kept = ~np.isin(hashes, word_hashes)
    hashes, at = hashes[kept], left[at[kept]]
    keys, values = hash_table(hashes, np.arange(len(hashes)))
    return {
        "joined_keys": keys,
        "joined_values": values,
        "joined_present": hash_filter(hashes),
        "joined_first": concept[at].astype(np.int32),
        "joined_second": concept[at + 1].astype(np.int32),
    }


def _state_postings(
    concept: Ints, posting: Ints, common: Ints, name_states: tuple[Ints, Ints], state_count: int, name_count: int
) -> dict[str, Any]:
    """Return names by concept and state: common concepts in blocks by (concept, state), rare ones as (state, name).

    ``posting``: the name of each ``concept``; ``name_states``: (starts, states) by name.
    """
    starts, state = name_states
    at, found = Lists(starts, state).expand(posting)
    block = concept[at].astype(np.int64) * (state_count + 1) + found
    pairs = np.unique(block * max(name_count, 1) + posting[at])
    block, name = pairs // max(name_count, 1), pairs % max(name_count, 1)
    owner, segment = block // (state_count + 1), block % (state_count + 1)
    is_common = common[owner] >= 0
    blocks = int(common.max(initial=-1) + 1) * (state_count + 1)
    block = common[owner[is_common]].astype(np.int64) * (state_count + 1) + segment[is_common]
    return {
        "state_starts": starts_of(block, blocks).astype(np.int32),
        "state_postings": name[is_common].astype(np.int32),
        "home_starts": starts_of(owner[~is_common], len(common)).astype(np.int32),
        "home_states": segment[~is_common].astype(np.int32),
        "home_postings": name[~is_common].astype(np.int32),
    }
