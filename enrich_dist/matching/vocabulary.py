"""The words of the companies' names: what they weigh, who bears them, and how they are found.

Covers building these files from the distinct names and opening them. Weight of a concept: ``16 log2(1 / p)``, ``p`` its
share among the companies' names and the background names together (inverse document frequency, Spärck Jones 1972),
rounded. The background (``data/word_frequencies.txt``) tells common words where companies are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching import words
from enrich_dist.matching.arrays import load, starts_of, text_array, text_buffers
from enrich_dist.matching.kernels import tokens as kernel
from enrich_dist.matching.kernels.text import Bytes, Hashes, Ints, find_all, hash_filter, hash_table, hash_texts

WEIGHT_PER_BIT = 16
# A word borne by more than this share of names is common: it tells little, and is looked up within states only.
COMMON_SHARE = 0.002
# Names of another company that a rare word may lead to.
MAX_RARE_POSTINGS = 250

_ARRAYS = [
    "word_keys",
    "word_values",
    "word_present",
    "word_concepts",
    "word_data",
    "word_starts",
    "delete_keys",
    "delete_values",
    "delete_starts",
    "delete_words",
    "delete_present",
    "near_starts",
    "near_concepts",
    "joined_keys",
    "joined_values",
    "joined_present",
    "joined_first",
    "joined_second",
    "weights",
    "posting_starts",
    "postings",
    "common",
    "state_starts",
    "state_postings",
    "home_starts",
    "home_states",
    "home_postings",
    "name_weights",
    "name_token_starts",
    "name_tokens",
    "name_state_starts",
    "name_states",
    "numeric",
    "compact",
    "compact_keys",
    "compact_values",
    "background",
    "compact_starts",
    "compact_names",
    "cut_keys",
    "cut_values",
    "cut_starts",
    "cut_names",
]
# Words and their deletes, to find typos: what ``kernels.tokens.find_typos`` takes as ``dictionary``.
_DICTIONARY = (
    "word_concepts",
    "word_data",
    "word_starts",
    "delete_keys",
    "delete_values",
    "delete_starts",
    "delete_words",
    "delete_present",
)


@dataclass(frozen=True)
class Vocabulary:
    """The files, opened; the kernels' arguments are put together by the properties."""

    arrays: dict[str, Any]
    state_count: int

    def take(self, *names: str) -> tuple[Any, ...]:
        """The arrays of these names."""
        return tuple(self.arrays[name] for name in names)

    @property
    def words(self) -> tuple[Any, ...]:
        """What ``kernels.tokens.look_up`` takes as ``vocabulary``."""
        dictionary = self.take(*_DICTIONARY)
        return (
            *self.take("word_keys", "word_values", "word_present"),
            dictionary,
            *self.take("near_starts", "near_concepts"),
        )

    @property
    def joined(self) -> tuple[Any, ...]:
        """What ``kernels.tokens.look_up`` takes as ``joined``."""
        return self.take("joined_keys", "joined_values", "joined_present", "joined_first", "joined_second")

    @property
    def index(self) -> tuple[Any, ...]:
        """What ``kernels.overlap.similar_names`` takes as ``index``.

        By concept: its weight, its names, its number among the common ones; then the names of a common one by state,
        and those of a rare one with their states; by name: weight, concepts, states.
        """
        return (
            *self.take("weights", "posting_starts", "postings", "common", "state_starts", "state_postings"),
            self.state_count,
            *self.take("home_starts", "home_states", "home_postings", "name_weights"),
            *self.take("name_token_starts", "name_tokens", "name_state_starts", "name_states"),
        )

    @property
    def compared(self) -> tuple[Any, ...]:
        """What ``kernels.comparison.compare_names`` takes as ``index``."""
        return (*self.index, *self.take("numeric", "compact"))

    @property
    def concept_count(self) -> int:
        """Number of concepts, those of the background included."""
        return len(self.arrays["weights"])

    @property
    def in_companies(self) -> npt.NDArray[np.bool_]:
        """Whether a company bears the concept, by concept."""
        return np.asarray(np.diff(self.arrays["posting_starts"]) > 0)

    def names_under(self, kind: str, hashes: Hashes) -> tuple[Ints, Ints]:
        """(position in ``hashes``, name) of the names under these hashes; ``kind``: "compact" or "cut"."""
        keys, values, starts, names = self.take(*(f"{kind}_{part}" for part in ("keys", "values", "starts", "names")))
        entries = find_all(keys, values, hashes)
        known = np.flatnonzero(entries >= 0)
        begin = starts[entries[known]]
        counts = starts[entries[known] + 1] - begin
        origin = np.repeat(known, counts)
        within = np.arange(len(origin)) - np.repeat(np.cumsum(counts) - counts, counts)
        return origin, names[np.repeat(begin, counts) + within]


def background_shares(vocabulary: Vocabulary) -> npt.NDArray[np.float64]:
    """Share of the background names that bear each concept."""
    return np.asarray(vocabulary.arrays["background"])


def background() -> tuple[dict[str, int], int]:
    """Names that bear a word, of so many background names."""
    head, *rest = words.lines("word_frequencies.txt")
    pairs = [line.split(" ") for line in rest]
    return {word: int(count) for word, count in pairs}, int(head.split(" ")[1])


def weigh(shares: npt.NDArray[np.float64]) -> Ints:
    """Weight of a concept by its share among names: int32, at least 1."""
    return np.asarray(np.maximum(1, np.rint(-WEIGHT_PER_BIT * np.log2(shares))), dtype=np.int32)


def write_vocabulary(
    directory: Path, names: pa.Array, name_states: tuple[Ints, Ints], state_count: int, cut: tuple[Ints, pa.Array]
) -> None:
    """Write the vocabulary of the distinct ``names``.

    ``name_states``: pairs (name, state code) of where its companies are, ``state_count`` for those without a state.
    ``cut``: (name, what is left of it) for names that a source may cut short.
    """
    data, starts = text_buffers(names)
    owner, begins, ends = kernel.split_words(data, starts)
    surface = word_slices(data, begins, ends)
    counts, _ = background()
    concepts, word_texts = _concepts(pc.unique(surface), pa.array(list(counts), pa.string()))
    concept = concepts[pc.index_in(surface, value_set=word_texts).to_numpy(zero_copy_only=False)]
    concept_count = int(concepts.max(initial=-1)) + 1
    name_count = len(names)

    pairs = np.unique(concept.astype(np.int64) * max(name_count, 1) + owner)
    bearer_concept, bearer = pairs // max(name_count, 1), pairs % max(name_count, 1)
    frequency = np.bincount(bearer_concept, minlength=concept_count)
    weights, share, in_background = _weights(frequency, word_texts, concepts, name_count)
    is_common = (share > COMMON_SHARE) | (frequency > MAX_RARE_POSTINGS)
    common = np.where(is_common, np.cumsum(is_common) - 1, -1).astype(np.int32)

    word_data, word_starts = text_buffers(word_texts)
    word_hashes = hash_texts(word_data, word_starts, False)
    arrays: dict[str, Any] = {
        "word_concepts": concepts.astype(np.int32),
        "word_data": word_data,
        "word_starts": word_starts,
        "weights": weights,
        "background": in_background,
        "numeric": _numeric(word_texts, concepts, concept_count),
        "common": common,
        "posting_starts": starts_of(bearer_concept, concept_count).astype(np.int32),
        "postings": bearer.astype(np.int32),
        "name_token_starts": starts_of(owner, name_count).astype(np.int32),
        "name_tokens": concept.astype(np.int32),
        "name_weights": np.bincount(owner, weights=weights[concept], minlength=name_count).astype(np.int32),
        "compact": hash_texts(data, starts, True),
    }
    arrays["word_keys"], arrays["word_values"] = hash_table(word_hashes, np.arange(len(word_hashes)))
    arrays["word_present"] = hash_filter(word_hashes)
    word, hashes = kernel.deletes(word_data, word_starts)
    borne = frequency[concepts[word]] > 0  # a word that no company bears is nobody's typing error
    word, hashes = word[borne], hashes[borne]
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
    arrays.update(_state_postings(bearer_concept, bearer, common, (starts, state[order]), state_count, name_count))
    for part in _ARRAYS:
        np.save(directory / f"vocabulary_{part}.npy", arrays[part])


def open_vocabulary(directory: Path, state_count: int) -> Vocabulary:
    """Open the files of ``write_vocabulary`` by mapping them."""
    return Vocabulary({name: load(directory / f"vocabulary_{name}.npy") for name in _ARRAYS}, state_count)


def word_slices(data: Bytes, begins: Ints, ends: Ints) -> pa.Array:
    """The texts ``data[begins:ends]``, which lie in order and apart."""
    lengths = ends - begins
    starts = np.zeros(len(begins) + 1, dtype=np.int32)
    np.cumsum(lengths, out=starts[1:])
    at = np.repeat(begins - starts[:-1], lengths) + np.arange(int(starts[-1]))
    return text_array(data[at], starts)


def _concepts(texts: pa.Array, known: pa.Array) -> tuple[Ints, pa.Array]:
    """(concept of each word, words in ascending order): to those given, the words of every family that occurs and the
    ``known`` ones are added.

    Concepts are numbered in the order of the words.
    """
    families = [line.split(" ") for line in words.lines("word_families.txt")]
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
    # A family bears the number of its first word.
    first = np.full(len(families), len(texts), dtype=np.int64)
    np.minimum.at(first, family[family >= 0], own[family >= 0])
    head = np.where(family >= 0, first[family], own)
    return np.unique(head, return_inverse=True)[1].astype(np.int64), texts


def _weights(
    frequency: Ints, word_texts: pa.Array, concepts: Ints, name_count: int
) -> tuple[Ints, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(weight, share among all names, share among the background's) of every concept."""
    counts, background_names = background()
    table = pa.array(list(counts), pa.string())
    found = pc.index_in(word_texts, value_set=table)
    numbers = np.array([*counts.values(), 0])[pc.fill_null(found, len(counts)).to_numpy(zero_copy_only=False)]
    in_background = np.bincount(concepts, weights=numbers, minlength=len(frequency))
    share = (frequency + in_background + 1) / (name_count + background_names + 1)
    return weigh(np.minimum(share, 1.0)), share, in_background / background_names


def _numeric(word_texts: pa.Array, concepts: Ints, concept_count: int) -> npt.NDArray[np.bool_]:
    digits = pc.fill_null(pc.match_substring_regex(word_texts, "^[0-9]+$"), False).to_numpy(zero_copy_only=False)
    numeric = np.zeros(concept_count, dtype=bool)
    numeric[concepts[digits]] = True
    return numeric


def _grouped(kind: str, hashes: Hashes, members: Ints, what: str) -> dict[str, Any]:
    """A hash table that leads to lists of members, each ascending and distinct."""
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
    """Neighbouring words of a name as one, where that is no word of its own: hash to the two concepts."""
    left = np.flatnonzero(owner[:-1] == owner[1:]) if len(owner) else np.zeros(0, dtype=np.int64)
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
    concept: Ints, bearer: Ints, common: Ints, name_states: tuple[Ints, Ints], state_count: int, name_count: int
) -> dict[str, Any]:
    """Names by concept and state; ``name_states``: (starts, states) by name.

    Of common concepts in blocks by (common concept, state), of others as lists of (state, name) by concept.
    """
    starts, state = name_states
    counts = starts[bearer + 1] - starts[bearer]
    at = np.repeat(starts[bearer], counts) + (
        np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    )
    block = np.repeat(concept.astype(np.int64), counts) * (state_count + 1) + state[at]
    pairs = np.unique(block * max(name_count, 1) + np.repeat(bearer, counts))
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
