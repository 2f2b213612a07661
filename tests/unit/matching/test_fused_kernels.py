"""Kernels that replace several vectorised steps: the same as their plain definitions, however much they find."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from enrich_dist.matching.arrays import Lists, text_buffers
from enrich_dist.matching.kernels.relations import agreements, find_texts
from enrich_dist.matching.kernels.streets import street_levels
from enrich_dist.matching.kernels.text import hash_table, hash_texts
from enrich_dist.matching.normalise import normalise_names
from enrich_dist.schema import Agreement, StreetLevel
from tests.unit.matching.test_kernels import Index, equal_limits, joined

SHORT = st.text("AB1", max_size=3)


@given(st.lists(SHORT.filter(bool), unique=True), st.lists(st.none() | SHORT))
def test_texts_are_found(known: list[str], asked: list[str | None]) -> None:
    data, starts = text_buffers(pa.array(known, pa.string()))
    table = hash_table(hash_texts(data, starts, False), np.arange(len(known)))

    found = find_texts(text_buffers(pa.array(asked, pa.string())), table, (data, starts))

    assert found.tolist() == [known.index(text) if text in known else -1 for text in asked]


def test_text_with_equal_hash_is_unknown() -> None:
    texts = text_buffers(pa.array(["ACME", "ACNE"]))
    table = hash_table(hash_texts(*texts, False), np.array([1, 0]))  # as if the hashes were exchanged

    assert find_texts(texts, table, texts).tolist() == [-1, -1]


@given(st.lists(st.sets(st.integers(0, 5)), min_size=1), st.lists(st.integers(-1, 5), min_size=1), st.data())
def test_agreement_is_membership(lists: list[set[int]], codes: list[int], data: st.DataObject) -> None:
    missing = data.draw(st.lists(st.booleans(), min_size=len(codes), max_size=len(codes)))
    pairs = [(row, company) for row in range(len(codes)) for company in range(len(lists))]
    rows, companies = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))
    starts = np.cumsum([0, *map(len, lists)])
    values = np.array([code for members in lists for code in sorted(members)], dtype=np.int32)

    found = agreements(np.array(codes, dtype=np.int64), np.array(missing), rows, companies, starts, values)

    def plain(row: int, company: int) -> Agreement:
        if missing[row] or not lists[company]:
            return Agreement.UNKNOWN
        return Agreement.AGREE if codes[row] in lists[company] else Agreement.CONFLICT

    assert found.tolist() == [plain(*pair) for pair in pairs]


WORDS = st.sampled_from(["PO", "BOX", "BOXWOOD", "1", "10", "10A", "MAIN", "MIAN", "ST"]) | st.text("ABO1", min_size=1)
STREETS = st.none() | st.lists(WORDS, min_size=1, max_size=5).map(" ".join)


def plain_level(left: str | None, right: str | None) -> StreetLevel:
    if not left or not right or bool(re.match(r"(?:PO )?BOX\b", left)) != bool(re.match(r"(?:PO )?BOX\b", right)):
        return StreetLevel.UNKNOWN
    one, two = (re.match(r"(?:PO )?(?:BOX )?([0-9]+)", side) for side in (left, right))
    similarity = Levenshtein.normalized_similarity(left.replace(" ", ""), right.replace(" ", ""))
    if (one and two and one[1] != two[1]) or similarity < 0.7:
        return StreetLevel.DIFFERENT
    return StreetLevel.SAME if similarity >= 0.9 else StreetLevel.SIMILAR


@given(STREETS, st.lists(STREETS.filter(bool), max_size=4))
@example("10 MAIN STREE", ["10 MAIN STREET W", "10 MAIN STREETWAY"])
@example("PO BOX 10", ["BOX 10", "PO BOX", "PO 10"])
@example("ABCDEFGHIJ", ["ABCDEFGHI1"])  # at the thresholds, and beyond them
@example("ABCDEFGHIJ", ["ABCDEFGH11"])
@example("ABCDEFGHIJ", ["ABCDEFG111"])
@example("ABCDEFGHIJ", ["ABCDEF1111"])
def test_street_level_is_the_best(ours: str | None, theirs: list[str]) -> None:
    left, right = (text_buffers(pa.array(texts, pa.string())) for texts in ([ours], theirs))
    lists = Lists(np.array([0, len(theirs)]), np.arange(len(theirs)))

    found = street_levels(left, np.zeros(1, dtype=np.int64), right, np.zeros(1, dtype=np.int64), *vars(lists).values())

    assert found.tolist() == [max((plain_level(ours, street) for street in theirs), default=StreetLevel.UNKNOWN)]


@given(
    st.lists(st.sampled_from(["A & B", "&" * 90, "Acme dba Beta dba Gamma", "", "A/B / Cedric / Dora"]), max_size=30)
)
def test_names_do_not_depend_on_the_room_for_others(texts: list[str]) -> None:
    """``&`` grows to three letters, and a text can have several names: the output grows in the middle of a text."""
    alone = [normalise_names(pa.array([text]))[0].as_py() for text in texts]
    assert normalise_names(pa.array(texts, pa.string())).to_pylist() == alone


def test_more_similar_names_than_room_at_first() -> None:
    names = [f"KITWARE ZYMERGEN {letter}{other}" for letter in "ABCDEFGHIJ" for other in "KLMNOPQRST"]
    index = Index.of(names)

    found, blocks, pairs = joined(index, [(name, -1) for name in names], equal_limits(300), block_limit=99)

    assert len(found) == len(names) ** 2
    assert (blocks, pairs) == (0, 0)
