"""The compiled loops against plain Python: the same answers, letter by letter and pair by pair."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enrich_dist.matching import vocabulary, words
from enrich_dist.matching.arrays import text_buffers
from enrich_dist.matching.kernels.blocks import count_lookups
from enrich_dist.matching.kernels.overlap import ANYWHERE, ELSEWHERE, IN_STATE, STATELESS, TYPO_PER_CENT, similar_names
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
from enrich_dist.matching.vocabulary import (
    MAX_RARE_POSTINGS,
    Vocabulary,
    background,
    open_vocabulary,
    split_words,
    write_vocabulary,
)

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
    def of(
        cls,
        names: Iterable[str],
        states: Sequence[Sequence[int]] | None = None,
        state_count: int = 0,
        rare: int = MAX_RARE_POSTINGS,
    ) -> Index:
        """``states``: of each name, codes of the states where it is, ``state_count`` for a company without one.

        ``rare``: names with a word that is not frequent.
        """
        distinct = sorted(set(names))
        states = [[state_count]] * len(distinct) if states is None else states
        pairs = [(number, state) for number, codes in enumerate(states) for state in sorted(set(codes))]
        name, state = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
        with tempfile.TemporaryDirectory() as directory:
            no_cut = (np.zeros(0, dtype=np.int64), pa.array([], pa.string()))
            with patch.object(vocabulary, "MAX_RARE_POSTINGS", rare):
                write_vocabulary(Path(directory), pa.array(distinct, pa.string()), (name, state), state_count, no_cut)
            opened = open_vocabulary(Path(directory), state_count)
        data, starts, concepts = opened.take("word_data", "word_starts", "word_concepts")
        texts = [bytes(data[starts[n] : starts[n + 1]]).decode() for n in range(len(concepts))]
        return cls(distinct, opened, dict(zip(texts, concepts.tolist(), strict=True)))

    def weight(self, concept: int) -> int:
        return int(self.vocabulary.arrays["weights"][concept])

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
    if any(map(str.isdigit, left + right)):
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
    _, _, starts, typos, *_ = index.tokens([word])
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
        ("SPECTR4", "SPECTRA", False),
        ("НОВАЯ", "НОВАМ", False),  # nor are letters of two bytes
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
    _, concepts, starts, typos, *_ = index.tokens(["TECHS TECHNOLOGEIS 42 LABQX"])
    assert concepts.tolist() == [index.concept_of["TECHNOLOGY"], -1, -1, -1]
    assert [typos[b:e].tolist() for b, e in itertools.pairwise(starts)] == [
        [], [index.concept_of["TECHNOLOGY"]], [], [],
    ]  # fmt: skip


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

    _starts, concepts, typo_starts, typos, *_ = index.tokens(asked)

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


NO_INFORMATION = 2**31 - 1


def probes_of(index: Index, query: str) -> tuple[dict[int, tuple[int, int]], int]:
    """(weight and information by which each concept agrees with the name, weight of the name)."""
    probes: dict[int, tuple[int, int]] = {}

    def add(concept: int, weight: int, information: int) -> None:
        before = probes.get(concept, (0, 0))
        probes[concept] = (max(before[0], weight), max(before[1], information))

    total = 0
    known = index.concept_of
    parts = query.split()
    for number, word in enumerate(parts):
        own = known.get(word, -1)
        near_weights = {concept: index.weight(concept) for concept in index.typos(word)}
        for concept, weight in near_weights.items():
            frequent = weight if own < 0 else min(weight, index.weight(own))
            add(concept, weight * TYPO_PER_CENT // 100, frequent * TYPO_PER_CENT // 100)
        if own >= 0:
            add(own, index.weight(own), index.weight(own))
        total += index.weight(own) if own >= 0 else max(near_weights.values(), default=UNKNOWN_WEIGHT)
        both = parts[number - 1] + word
        if number and both in known and min(len(word), len(parts[number - 1])) >= 2 and len(both) >= 6:
            add(known[both], *[index.weight(known[both])] * 2)
        for name in index.names:
            pieces = name.split()
            for left, right in itertools.pairwise(pieces):
                if left + right == word and word not in known and len(word) >= 6:
                    add(known[left], *[index.weight(known[left])] * 2)
                    add(known[right], *[index.weight(known[right])] * 2)
    return probes, total


Limits = Sequence[tuple[int, int, int]]


def in_scope(index: Index, query: str, name: str, limits: tuple[int, int, int]) -> tuple[int, int] | None:
    """(overlap per mille, information) of a pair that is within the limits of a scope."""
    floor, information, share = limits
    probes, total = probes_of(index, query)
    words = [index.concept_of[word] for word in name.split()]
    own = sum(map(index.weight, words))
    agreed, informed = (sum(probes.get(word, (0, 0))[side] for word in set(words)) for side in (0, 1))
    enough = 1000 * agreed >= share * min(total, own)
    if not agreed or not (2000 * agreed >= floor * (total + own) or (informed >= information and enough)):
        return None
    return min(1000, 2000 * agreed // (total + own)), informed if enough else 0


def similar(
    index: Index, states: Sequence[Sequence[int]], queries: Sequence[tuple[str, int]], limits: Limits
) -> dict[tuple[int, str], tuple[int, int]]:
    """What ``similar_names`` should find: each name in the first scope whose limits it reaches."""
    found = {}
    some_state = any(STATE_COUNT not in places for places in states)
    for (number, (query, state)), (name, places) in itertools.product(
        enumerate(queries), zip(index.names, states, strict=True)
    ):
        scopes = [IN_STATE] * (state in places) + [STATELESS] * (STATE_COUNT in places)
        scopes += [ELSEWHERE if state >= 0 else ANYWHERE] * some_state
        outcomes = (in_scope(index, query, name, limits[scope]) for scope in scopes)
        if outcome := next((outcome for outcome in outcomes if outcome), None):
            found[number, name] = outcome
    return found


def arguments_of(index: Index, queries: Sequence[tuple[str, int]], limits: Limits) -> tuple[Any, ...]:
    return (
        np.arange(len(queries)),
        np.array([state for _, state in queries], dtype=np.int64),
        np.arange(1, len(queries) + 1, dtype=np.int64),
        index.tokens([text for text, _ in queries]),
        index.vocabulary.index,
        UNKNOWN_WEIGHT,
        np.array(limits, dtype=np.int64),
    )


def joined(
    index: Index, queries: Sequence[tuple[str, int]], limits: Limits, block_limit: int = NO_LIMIT
) -> tuple[dict[tuple[int, str], tuple[int, int]], int, int]:
    """({(query, name): (overlap, information)}, blocks left out, pairs left out).

    A query is a name and its state, -1 for none; the first one counts once, the second one twice, and so on.
    """
    *columns, blocks, pairs = similar_names(*arguments_of(index, queries, limits), block_limit)
    query, name, *values = (column.tolist() for column in columns)
    keys = [(number, index.names[at]) for number, at in zip(query, name, strict=True)]
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, zip(*values, strict=True), strict=True)), blocks, pairs


def equal_limits(floor: int) -> Limits:
    """The same floor in all scopes, and nothing below it."""
    return [(floor, NO_INFORMATION, 1000)] * 4


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Index, list[list[int]]]:
    """An index, and the states of its names. Words in more than 0, 2 or all names are frequent."""
    names = sorted(draw(st.lists(NAMES, min_size=1, max_size=30, unique=True)))
    states = [draw(PLACES) for _ in names]
    return Index.of(names, states, STATE_COUNT, draw(st.sampled_from([0, 2, MAX_RARE_POSTINGS]))), states


LIMITS = st.lists(
    st.tuples(st.integers(300, 1001), st.integers(50, 500) | st.just(NO_INFORMATION), st.integers(200, 1000)),
    min_size=4,
    max_size=4,
)


@given(worlds(), QUERIES, LIMITS)
@settings(max_examples=60)
def test_similar_names_match_brute_force(
    world: tuple[Index, list[list[int]]], queries: list[tuple[str, int]], limits: Limits
) -> None:
    """Nothing is found that is not similar, and skipped blocks lose nothing of what is, however frequent its words."""
    index, states = world

    found, blocks, pairs = joined(index, queries, limits)

    assert (blocks, pairs) == (0, 0)
    assert found == similar(index, states, queries, limits)


@given(worlds(), QUERIES, LIMITS, st.integers(0, 5))
@settings(max_examples=30)
def test_block_limit_only_removes_names(
    world: tuple[Index, list[list[int]]], queries: list[tuple[str, int]], limits: Limits, limit: int
) -> None:
    index, _ = world
    whole, _, _ = joined(index, queries, limits)

    found, blocks, pairs = joined(index, queries, limits, block_limit=limit)

    assert found.keys() <= whole.keys()
    assert pairs > limit * blocks or (blocks, pairs) == (0, 0)
    assert blocks or found == whole


@given(worlds(), QUERIES, LIMITS, st.integers(0, 5))
@settings(max_examples=30)
def test_counted_lookups_are_those_of_the_search(
    world: tuple[Index, list[list[int]]], queries: list[tuple[str, int]], limits: Limits, limit: int
) -> None:
    """The blocks that a plan counts as too large are those that the search skips."""
    index, _ = world
    frequent, state_starts, starts = index.vocabulary.take("common", "state_starts", "posting_starts")

    by_state, by_concept = count_lookups(*arguments_of(index, queries, limits))

    sizes = np.concatenate([np.diff(state_starts), np.diff(starts)[frequent >= 0]])
    lookups = np.concatenate([by_state, by_concept[frequent >= 0]])
    large = sizes > limit
    _, blocks, pairs = joined(index, queries, limits, block_limit=limit)
    assert (blocks, pairs) == (lookups[large].sum(), (lookups * sizes)[large].sum())


def test_skipped_block_leaves_rare_words() -> None:
    names = [f"GROUP COINED{letter}WORD" for letter in "ABCDEFGH"]
    here, there, nowhere = 0, 1, STATE_COUNT
    index = Index.of([*names, "GROUP"], [[nowhere], *[[here]] * 7, [there]], STATE_COUNT, rare=1)
    assert index.names[0] == "GROUP"
    queries = [("GROUP", here), ("GROUP COINEDCWORD", here)]
    limits = [(400, NO_INFORMATION, 1000)] * 2 + [(1001, NO_INFORMATION, 1000)] * 2

    found, blocks, pairs = joined(index, queries, limits, block_limit=6)

    assert (blocks, pairs) == (1, 7), "the second query need not look: its rare word decides"
    assert {name for number, name in found if number == 0} == {"GROUP"}
    assert {name for number, name in found if number == 1} >= {"GROUP COINEDCWORD"}
    assert found[1, "GROUP COINEDCWORD"][0] == 1000
    assert joined(index, queries, limits, block_limit=7)[1:] == (0, 0)


def test_frequent_words_match_across_states() -> None:
    name = " ".join(COMMON)
    index = Index.of([name, *COMMON], [[1]] * 7, STATE_COUNT, rare=0)
    query = " ".join(reversed(COMMON))

    for state in (-1, 0):
        assert joined(index, [(query, state)], equal_limits(800))[0][0, name][0] == 1000


def test_contained_name_is_found_at_any_overlap() -> None:
    index = Index.of(["KITWARE", "KITWARE ZYMERGEN HARBOR WAVE GUIDE", "SYSTEMS"])
    within = [(1000, 100, 790)] * 4

    found, _, _ = joined(index, [("QX KITWARE QUUXLY HARBORER GUIDES SYSTEMS", -1), ("ZYMERGEM", -1)], within)

    assert found.keys() == {(0, "KITWARE"), (1, "KITWARE ZYMERGEN HARBOR WAVE GUIDE")}, "SYSTEMS tells too little"


def test_typo_of_a_frequent_word_tells_little() -> None:
    index = Index.of(["SYSTEMSX"])
    [(_, information)] = joined(index, [("SYSTEMS", -1)], [(1, NO_INFORMATION, 700)] * 4)[0].values()
    [(_, other)] = joined(index, [("SYSTEMSXY", -1)], [(1, NO_INFORMATION, 700)] * 4)[0].values()

    assert information < 100 < other


def test_repeated_word_agrees_once() -> None:
    index = Index.of(["KITWARE KITWARE"])

    assert joined(index, [("KITWARE", -1)], equal_limits(500))[0][0, "KITWARE KITWARE"][0] == 666
