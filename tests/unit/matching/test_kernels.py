"""The compiled loops against plain Python: the same answers, letter by letter and pair by pair."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enrich_dist.matching import words
from enrich_dist.matching.arrays import text_buffers
from enrich_dist.matching.kernels.overlap import TYPO_PER_CENT, similar_names
from enrich_dist.matching.kernels.text import (
    find_all,
    grown,
    hash_filter,
    hash_table,
    hash_texts,
    may_contain,
    within_one_edit,
)
from enrich_dist.matching.kernels.tokens import MAX_TYPO_FREQUENCY, look_up
from enrich_dist.matching.vocabulary import Vocabulary, background, open_vocabulary, split_words, write_vocabulary

UNKNOWN_WEIGHT = 240
NO_LIMIT = 10**6
IN_BACKGROUND, _ = background()


# --- text ------------------------------------------------------------------------------------------------------


EDITS = st.tuples(st.integers(0, 9), st.integers(0, 2), st.text("ABC", max_size=2))


def plain_distance(left: str, right: str) -> int:
    """Optimal string alignment, as in the textbook."""
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for row in range(len(left) + 1):
        for column in range(len(right) + 1):
            if not row or not column:
                table[row][column] = row + column
                continue
            costs = [table[row - 1][column] + 1, table[row][column - 1] + 1]
            costs.append(table[row - 1][column - 1] + (left[row - 1] != right[column - 1]))
            if row > 1 and column > 1 and left[row - 1] == right[column - 2] and left[row - 2] == right[column - 1]:
                costs.append(table[row - 2][column - 2] + 1)
            table[row][column] = min(costs)
    return table[-1][-1]


@given(st.text("ABC", max_size=9), st.data())
@example("CA", None)  # CA and ABC are three edits apart, because swapped letters are not changed again
def test_within_one_edit(text: str, data: st.DataObject | None) -> None:
    other = "ABC" if data is None else _edited(text, data.draw(st.lists(EDITS, max_size=2)))
    # Texts in the middle of longer ones.
    one, two = (np.frombuffer(f"ZZ{side}ZZZ".encode(), dtype=np.uint8) for side in (text, other))

    assert within_one_edit(one, 2, 2 + len(text), two, 2, 2 + len(other)) == (plain_distance(text, other) <= 1)


KEYS = st.integers(1, 2**64 - 1) | st.integers(1, 40).map(lambda number: number << 32 | 5)  # many in one place


@given(st.lists(st.tuples(KEYS, st.integers(0, 1000)), max_size=60), st.lists(KEYS, max_size=20))
def test_hash_table_keeps_first_value(pairs: list[tuple[int, int]], others: list[int]) -> None:
    expected: dict[int, int] = {}
    for key, value in pairs:
        expected.setdefault(key, value)
    asked = [*expected, *others]

    keys, values = hash_table(np.array([key for key, _ in pairs], dtype=np.uint64), np.array([v for _, v in pairs]))

    found = find_all(keys, values, np.array(asked, dtype=np.uint64))
    assert found.tolist() == [expected.get(key, -1) for key in asked]
    assert len(keys) & (len(keys) - 1) == 0
    assert len(keys) >= 2 * len(expected)


@given(st.lists(KEYS, max_size=60))
def test_filter_has_no_false_negatives(hashes: list[int]) -> None:
    present = hash_filter(np.array(hashes, dtype=np.uint64))
    assert all(may_contain(present, np.uint64(hashed)) for hashed in hashes)
    assert np.unpackbits(present).sum() <= len(hashes)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20), st.integers(0, 70))
def test_grown_array_keeps_values(numbers: list[int], needed: int) -> None:
    array = np.array(numbers, dtype=np.int32)

    larger = grown(array, needed)

    assert larger.size >= needed
    assert larger[: array.size].tolist() == numbers
    assert larger.dtype == array.dtype
    assert needed > array.size or larger is array
    assert larger.size in {array.size, max(needed, 2 * array.size)}


TEXTS = st.lists(st.lists(st.text("AB1", min_size=1, max_size=4), max_size=4).map(" ".join), max_size=8)


@given(TEXTS)
def test_equal_texts_have_equal_hashes(texts: list[str]) -> None:
    data, starts = text_buffers(pa.array(texts, pa.string()))
    for without_spaces, plain in ((False, texts), (True, [text.replace(" ", "") for text in texts])):
        hashes = hash_texts(data, starts, without_spaces).tolist()
        assert len(set(hashes)) == len(set(plain))
        assert 0 not in hashes
        assert hashes == words.hashes_of(plain).tolist()


@given(TEXTS, st.integers(0, 4))
def test_words_split_at_spaces(texts: list[str], left_out: int) -> None:
    array = pa.array(texts, pa.string()).slice(min(left_out, len(texts)))

    owner, found = split_words(array)

    expected = [(number, word) for number, text in enumerate(array.to_pylist()) for word in text.split(" ")]
    assert list(zip(owner.tolist(), found.to_pylist(), strict=True)) == expected


# --- words -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Index:
    """A vocabulary and the names it was made of, in order."""

    names: list[str]
    vocabulary: Vocabulary
    concept_of: dict[str, int]

    def __repr__(self) -> str:
        return f"Index.of({self.names})"

    @classmethod
    def of(cls, names: Iterable[str], states: Sequence[Sequence[int]] | None = None, state_count: int = 0) -> Index:
        """``states``: of each name, codes of the states where it is, ``state_count`` for a company without one."""
        distinct = sorted(set(names))
        states = [[state_count]] * len(distinct) if states is None else states
        pairs = [(number, state) for number, codes in enumerate(states) for state in sorted(set(codes))]
        name, state = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
        with tempfile.TemporaryDirectory() as directory:
            no_cut = (np.zeros(0, dtype=np.int64), pa.array([], pa.string()))
            write_vocabulary(Path(directory), pa.array(distinct, pa.string()), (name, state), state_count, no_cut)
            vocabulary = open_vocabulary(Path(directory), state_count)
        data, starts, concepts = vocabulary.take("word_data", "word_starts", "word_concepts")
        texts = [bytes(data[starts[n] : starts[n + 1]]).decode() for n in range(len(concepts))]
        return cls(distinct, vocabulary, dict(zip(texts, concepts.tolist(), strict=True)))

    def weight(self, concept: int) -> int:
        return int(self.vocabulary.arrays["weights"][concept])

    def is_common(self, concept: int) -> bool:
        return bool(self.vocabulary.arrays["common"][concept] >= 0)

    def bearers(self, concept: int) -> int:
        """Names that bear a word of the concept, here and in the background."""
        words = {word for word, number in self.concept_of.items() if number == concept}
        return sum(bool(words & set(name.split())) for name in self.names) + sum(IN_BACKGROUND.get(w, 0) for w in words)

    def typos(self, word: str) -> set[int]:
        """Concepts within a typing error of the word: of two that several names bear neither is the other mistyped."""
        own = self.concept_of.get(word, -1)
        starts = self.vocabulary.arrays["posting_starts"]
        borne = {other: concept for other, concept in self.concept_of.items() if starts[concept + 1] > starts[concept]}
        found = {concept for other, concept in borne.items() if is_typo(word, other)} - {own}
        if own >= 0 and self.bearers(own) > MAX_TYPO_FREQUENCY:
            found = {concept for concept in found if self.bearers(concept) <= MAX_TYPO_FREQUENCY}
        return found

    def tokens(self, queries: Sequence[str]) -> tuple[Any, ...]:
        texts = text_buffers(pa.array(queries, pa.string()))
        return tuple(look_up(*texts, self.vocabulary.words, self.vocabulary.joined))


def shortened(word: str) -> set[str]:
    """The word and all that is left of it without one letter."""
    return {word} | {word[:at] + word[at + 1 :] for at in range(len(word))}


def is_typo(left: str, right: str) -> bool:
    """The rule as the module states it."""
    if any(map(str.isdigit, left)):
        return False
    shorter, longer = sorted((left, right), key=len)
    if left == right or not (len(shorter) >= 5 and len(longer) <= 32):
        return False
    if left[0] != right[0] and len(shorter) < 8:
        return False
    if len(shorter) >= 9:
        return bool(shortened(left) & shortened(right))
    return plain_distance(left, right) == 1


def typos_of(index: Index, word: str) -> set[int]:
    """Concepts that the kernel takes for a typing error of the word."""
    _, _, _, starts, typos, *_ = index.tokens([word])
    assert len(starts) == 2
    return set(typos[starts[0] : starts[1]].tolist())


@given(st.data())
@settings(max_examples=30)
def test_typos_follow_the_rule(data: st.DataObject) -> None:
    base = data.draw(st.text("ABC", min_size=3, max_size=11))
    edits = st.lists(st.tuples(st.integers(0, len(base)), st.integers(0, 2), st.text("ABC", max_size=2)), max_size=2)
    near = edits.map(lambda edits: _edited(base, edits)).filter(bool)
    vocabulary = data.draw(st.lists(near, min_size=1, max_size=15, unique=True))
    index = Index.of(vocabulary)

    for asked in [base, *vocabulary, *data.draw(st.lists(near, max_size=5))]:
        assert typos_of(index, asked) == index.typos(asked)


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for at, removed, put in edits:
        text = text[:at] + put + text[at + removed :]
    return text


@pytest.mark.parametrize(
    ("known", "asked", "found"),
    [
        ("ACMES", "ACME", False),  # too short
        ("KITES", "KITTES", True),
        ("KITES", "KITSE", True),  # neighbours swapped
        ("KITES", "KIPES", True),
        ("KITES", "KIPS", False),  # two edits
        ("QWEST", "AQWEST", False),  # the first letter of a short word
        ("QUANTUMS", "PUANTUMS", True),  # of a long one
        ("QUANTUMS", "QUATNUM", False),  # two edits in a short word
        ("SPECTRONICS", "SPECTORNIC", False),  # three letters of the one are none of the other
        ("SPECTRONICS", "SPETRONCS", False),
        ("SPECTRONICS", "SPETRONICSA", True),  # one letter left out of each
        ("A" * 33, "A" * 32, False),  # too long
        ("SPECTRA", "SPECTR4", False),  # numbers are never mistyped
        ("SPECTRA", "SPECTRA", False),  # the very word
    ],
)
def test_typing_error(known: str, asked: str, found: bool) -> None:
    assert bool(typos_of(Index.of([known]), asked)) is found


def test_frequent_words_are_no_typos() -> None:
    names = [f"{word} {letter}" for word in ("KITWARE", "KITWERE") for letter in "ABCDE"]
    several, once = Index.of(names), Index.of([*names[:5], names[5]])

    assert typos_of(several, "KITWARE") == typos_of(several, "KITWERE") == set()
    assert typos_of(once, "KITWARE") == {once.concept_of["KITWERE"]}
    assert typos_of(once, "KITWERE") == {once.concept_of["KITWARE"]}
    assert typos_of(several, "KITWIRE") == {several.concept_of[word] for word in ("KITWARE", "KITWERE")}


def test_family_is_one_concept() -> None:
    index = Index.of(["TECHNOLOGY", "LAB"])
    assert index.concept_of["TECH"] == index.concept_of["TECHNOLOGIES"] == index.concept_of["TECHNOLOGY"]
    _, concepts, numeric, starts, typos, *_ = index.tokens(["TECHS TECHNOLOGEIS 42 LABQX"])
    assert concepts.tolist() == [index.concept_of["TECHNOLOGY"], -1, -1, -1]
    assert [typos[b:e].tolist() for b, e in itertools.pairwise(starts)] == [
        [], [index.concept_of["TECHNOLOGY"]], [], [],
    ]  # fmt: skip
    assert numeric.tolist() == [False, False, True, False]


def test_joined_and_split_words() -> None:
    index = Index.of(["PHYSICAL SCIENCES", "WAVEGUIDE", "A1 B2"])

    def extras(*queries: str) -> list[set[int]]:
        *_, starts, concepts, _ = index.tokens(queries)
        return [set(concepts[b:e].tolist()) for b, e in itertools.pairwise(starts)]

    physical, sciences, guide = (index.concept_of[word] for word in ("PHYSICAL", "SCIENCES", "WAVEGUIDE"))
    assert extras("PHYSICALSCIENCES", "NEW WAVE GUIDE", "WAVEGUIDE", "W AVEGUIDE", "SCIENCES PHYSICAL") == [
        {physical, sciences}, {guide}, set(), set(), set(),
    ]  # fmt: skip
    assert extras("A1B2") == [set()], "too short to be told from chance"


def test_repeated_words_are_found_again() -> None:
    """More distinct words than the table of words met begins with."""
    known = [f"WORD{letter}{other}X" for letter in "ABCDEFGHIJ" for other in "KLMNOPQRST"]
    index = Index.of(known)
    asked = [f"{word}{first}{second}" for word in known for first in "ABCDEFG" for second in "UVWXYZ"]
    asked = [*known, *asked, *known, *asked]

    _starts, concepts, _, typo_starts, typos, *_ = index.tokens(asked)

    half = len(asked) // 2
    assert concepts[: len(known)].tolist() == [index.concept_of[word] for word in known]
    assert concepts[half:].tolist() == concepts[:half].tolist()
    lists = [typos[b:e].tolist() for b, e in itertools.pairwise(typo_starts)]
    assert lists[half:] == lists[:half]
    assert any(lists)


# --- similar names ---------------------------------------------------------------------------------------------

# Some are common in the background (and so looked up within states), some known there, some coined, some alike.
COMMON = ["SYSTEMS", "GROUP", "SERVICES", "TECHNOLOGIES", "ENGINEERING", "RESEARCH"]
RARE = ["KITWARE", "KITWARES", "ZYMERGEN", "ZYMERGENS", "HARBOR", "WAVE", "GUIDE", "WAVEGUIDE", "QX", "7"]
STATE_COUNT = 2
NAMES = st.lists(st.sampled_from(COMMON + RARE), min_size=1, max_size=5, unique=True).map(" ".join)
PLACES = st.lists(st.integers(0, STATE_COUNT), min_size=1, max_size=2)
ASKED = st.lists(st.sampled_from([*COMMON, *RARE, "TECH", "KITWAER", "UNKNOWN"]), min_size=1, max_size=5).map(" ".join)
QUERIES = st.lists(st.tuples(ASKED, st.integers(-1, STATE_COUNT - 1)), min_size=1, max_size=10)


def probes_of(index: Index, query: str) -> tuple[dict[int, int], int]:
    """(weight by which each concept agrees with the name, weight of the name)."""
    probes: dict[int, int] = {}

    def add(concept: int, weight: int) -> None:
        probes[concept] = max(probes.get(concept, 0), weight)

    total = 0
    known = index.concept_of
    parts = query.split()
    for number, word in enumerate(parts):
        own = known.get(word, -1)
        near_weights = {concept: index.weight(concept) for concept in index.typos(word)}
        for concept, weight in near_weights.items():
            add(concept, weight * TYPO_PER_CENT // 100)
        if own >= 0:
            add(own, index.weight(own))
        total += index.weight(own) if own >= 0 else max(near_weights.values(), default=UNKNOWN_WEIGHT)
        both = parts[number - 1] + word
        if number and both in known and min(len(word), len(parts[number - 1])) >= 2 and len(both) >= 6:
            add(known[both], index.weight(known[both]))
        for name in index.names:
            pieces = name.split()
            for left, right in itertools.pairwise(pieces):
                if left + right == word and word not in known and len(word) >= 6:
                    add(known[left], index.weight(known[left]))
                    add(known[right], index.weight(known[right]))
    return probes, total


def overlaps(index: Index, query: str) -> dict[str, int]:
    """Weighted overlap (Dice, per mille) of the query with every name that shares something with it."""
    probes, total = probes_of(index, query)
    found = {}
    for name in index.names:
        concepts = [index.concept_of[word] for word in name.split()]
        agreed = sum(probes.get(concept, 0) for concept in concepts)
        if agreed:
            whole = total + sum(map(index.weight, concepts))
            found[name] = min(1000, 2000 * agreed // whole)
    return found


def joined(
    index: Index, queries: Sequence[tuple[str, int]], floor: int, elsewhere: int = 0, block_limit: int = NO_LIMIT
) -> tuple[dict[tuple[int, str], int], int, int]:
    """({(query, name): overlap}, blocks left out, pairs left out); a query is a name and its state, -1 for none.

    ``elsewhere``: the floor of names of other states.
    """
    query, name, overlap, blocks, pairs = similar_names(
        np.arange(len(queries)),
        np.array([state for _, state in queries], dtype=np.int64),
        np.ones(len(queries), dtype=np.int64),
        index.tokens([text for text, _ in queries]),
        index.vocabulary.index,
        UNKNOWN_WEIGHT,
        np.full(len(queries), floor, dtype=np.int32),
        elsewhere,
        block_limit,
    )
    keys = [(number, index.names[at]) for number, at in zip(query.tolist(), name.tolist(), strict=True)]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, overlap.tolist(), strict=True)), blocks, pairs


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Index, list[list[int]]]:
    """An index, and the states of its names."""
    names = sorted(draw(st.lists(NAMES, min_size=1, max_size=30, unique=True)))
    states = [draw(PLACES) for _ in names]
    return Index.of(names, states, STATE_COUNT), states


@given(worlds(), QUERIES, st.integers(300, 1000), st.integers(0, 1000))
@settings(max_examples=40)
def test_similar_names_match_brute_force(
    world: tuple[Index, list[list[int]]], queries: list[tuple[str, int]], floor: int, elsewhere: int
) -> None:
    """Nothing is found that is not similar, and blocks lose nothing of what is.

    Common words lead to names of the query's state and of no state, and nowhere where the query's state is unknown.
    """
    index, states = world
    found, blocks, pairs = joined(index, queries, floor, elsewhere)

    assert (blocks, pairs) == (0, 0)
    for number, (query, state) in enumerate(queries):
        probes, _ = probes_of(index, query)
        places = dict(zip(index.names, states, strict=True))
        near = {name for name in index.names if state in places[name] or STATE_COUNT in places[name]}
        similar = {
            name: overlap
            for name, overlap in overlaps(index, query).items()
            if overlap >= (floor if state < 0 or name in near else max(floor, elsewhere))
        }
        assert {name: overlap for (at, name), overlap in found.items() if at == number}.items() <= similar.items()
        for name in similar:
            shared = {index.concept_of[word] for word in name.split()} & set(probes)
            rare = any(not index.is_common(concept) for concept in shared)
            looked_up = rare or (state >= 0 and name in near)
            assert ((number, name) in found) == looked_up, (query, name)


@given(worlds(), QUERIES, st.integers(300, 1000), st.integers(0, 5))
@settings(max_examples=30)
def test_block_limit_only_removes_names(
    world: tuple[Index, list[list[int]]], queries: list[tuple[str, int]], floor: int, limit: int
) -> None:
    index, _ = world
    whole, _, _ = joined(index, queries, floor)

    found, blocks, pairs = joined(index, queries, floor, block_limit=limit)

    assert found.items() <= whole.items()
    assert pairs > limit * blocks or (blocks, pairs) == (0, 0)
    assert blocks or found == whole


def test_skipped_block_leaves_rare_words() -> None:
    names = [f"GROUP COINED{letter}WORD" for letter in "ABCDEFGH"]
    here, there, nowhere = 0, 1, STATE_COUNT
    index = Index.of([*names, "GROUP"], [[nowhere], *[[here]] * 7, [there]], STATE_COUNT)
    assert index.names[0] == "GROUP"
    queries = [("GROUP", here), ("GROUP COINEDCWORD", here), ("GROUP", there)]

    found, blocks, pairs = joined(index, queries, floor=400, block_limit=6)

    assert (blocks, pairs) == (1, 7), "the second query need not look: its rare word decides"
    assert {name for number, name in found if number == 0} == {"GROUP"}
    assert {name for number, name in found if number == 1} >= {"GROUP COINEDCWORD"}
    assert found[1, "GROUP COINEDCWORD"] == 1000
    assert joined(index, queries, floor=400, block_limit=7)[1:] == (0, 0)


def test_rare_words_match_across_states() -> None:
    at_home, name = " ".join(COMMON), " ".join(["HARBOR", *COMMON])
    index = Index.of(["HARBOR", name, at_home], [[1], [1], [0]], STATE_COUNT)
    assert not index.is_common(index.concept_of["HARBOR"])
    query = " ".join(reversed(name.split()))
    assert overlaps(index, query)[name] == 1000

    assert joined(index, [(query, 0)], floor=450)[0][0, name] == 1000


def test_repeated_word_agrees_once() -> None:
    index = Index.of(["KITWARE KITWARE"])

    assert joined(index, [("KITWARE", -1)], floor=500)[0] == {(0, "KITWARE KITWARE"): 666}
