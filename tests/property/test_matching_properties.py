"""What holds for any companies and recipients: idempotence, and candidates that know nothing of their neighbours."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from enrich_dist import schema
from enrich_dist.matching import CandidateConfig, OrganisationMatcher, compare, grams
from enrich_dist.matching.index import CompanyIndex, build_index
from enrich_dist.matching.normalise import normalise_cities, normalise_names, normalise_streets

WORDS = ["ACME", "ACNE", "A", "B", "L", "C", "THE", "INC", "LLC", "&", "WIDGETS", "WIDGET", "SYSTEMS", "é", "3", "O"]
NAMES = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join) | st.none()
PLACES = st.fixed_dictionaries(
    {
        "address": st.sampled_from([None, "1 Main St", "1 Main Street #4", "2 Main St", "Suite 3"]),
        "city": st.sampled_from([None, "Boston", "Dayton", "St. Louis", "Saint Louis"]),
        "state": st.sampled_from([None, "MA", "OH", "mo"]),
        "zip5": st.sampled_from([None, "02110", "45402"]),
    }
)
UEIS = st.sampled_from(["ABCDEFGHJKL1", "ABCDEFGHJKL2", "ABCDEFGHJKL3"])
DUNS = st.sampled_from(["001234567", "123456789"])
COMPANIES = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAMES,
            "names": st.lists(NAMES, max_size=3),
            "ueis": st.lists(UEIS, max_size=2, unique=True),
            "duns": st.lists(DUNS, max_size=2, unique=True),
            "locations": st.lists(PLACES, max_size=2),
        }
    ),
    max_size=8,
)
RECIPIENTS = st.lists(
    st.tuples(
        st.fixed_dictionaries(
            {
                "name": NAMES,
                "alternate_names": st.lists(NAMES, max_size=3) | st.none(),
                "uei": st.none() | UEIS,
                "duns": st.none() | DUNS,
            }
        ),
        PLACES,
    ),
    max_size=12,
)


def company_table(companies: list[dict[str, Any]]) -> pa.Table:
    numbers = {"award_count": 1}
    rows = [{**row, **numbers, "company_id": n, "company_key": str(n)} for n, row in enumerate(companies)]
    return pa.Table.from_pylist(rows, schema=schema.COMPANY)


def recipient_table(recipients: list[tuple[dict[str, Any], dict[str, Any]]]) -> pa.Table:
    rows = [
        {**row, **place, "address_line_1": place["address"], "source_row": number, "recipient_id": f"r{number}"}
        for number, (row, place) in enumerate(recipients, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=schema.RECIPIENT)


def opened(companies: list[dict[str, Any]]) -> CompanyIndex:
    with tempfile.TemporaryDirectory() as directory:
        build_index(company_table(companies), Path(directory))
        return OrganisationMatcher().open_index(Path(directory))


def in_order(found: pa.Table) -> pa.Table:
    return found.sort_by([("company_id", "ascending"), ("source_row", "ascending")]).combine_chunks()


@given(st.lists(st.none() | st.text(max_size=30), max_size=5))
@example(["L L C THE INC", "THE THE", "S A S A", "A B L L C AND CO", "&amp;amp;", "&AMP;#39;", "ﬁ½™", "İ ı ß"])
def test_normalising_texts_twice_changes_nothing(texts: list[str | None]) -> None:
    array = pa.array(texts, pa.string())
    for normalise in (normalise_names, normalise_cities):
        once = normalise(array)
        assert len(once) == len(array)
        assert normalise(once).equals(once)
    assert len(normalise_streets(array, array)) == len(array)


@given(st.lists(NAMES, max_size=6))
def test_normalising_names_of_awkward_words_twice_changes_nothing(names: list[str | None]) -> None:
    once = normalise_names(pa.array(names, pa.string()))
    assert normalise_names(once).equals(once)
    assert all(name is None or (name == name.strip() and name.isascii() and name) for name in once.to_pylist())


@settings(max_examples=60, deadline=None)
@given(COMPANIES, RECIPIENTS, st.integers(0, 12), st.integers(1, 5), st.randoms(use_true_random=False))
def test_candidates_of_a_recipient_do_not_depend_on_the_others(
    companies: list[dict[str, Any]], recipients: Any, cut: int, batch_rows: int, random: Any
) -> None:
    index, table = opened(companies), recipient_table(recipients)
    matcher = OrganisationMatcher(CandidateConfig(max_candidates_per_name=2))
    whole = matcher.match(index, table)
    assert whole.schema.equals(schema.CANDIDATE)
    whole.validate(full=True)
    pairs = list(zip(whole["company_id"].to_pylist(), whole["source_row"].to_pylist(), strict=True))
    assert pairs == sorted(set(pairs))

    split = pa.concat_tables([matcher.match(index, part) for part in (table.slice(0, cut), table.slice(cut))])
    assert in_order(split).equals(whole.combine_chunks())
    order = list(range(table.num_rows))
    random.shuffle(order)
    shuffled = matcher.match(index, table.take(pa.array(order, pa.int64())))
    assert shuffled.combine_chunks().equals(whole.combine_chunks())
    small = OrganisationMatcher(CandidateConfig(max_candidates_per_name=2, batch_rows=batch_rows))
    assert small.match(index, table).combine_chunks().equals(whole.combine_chunks())


@settings(max_examples=40, deadline=None)
@given(COMPANIES, RECIPIENTS)
def test_equal_identifiers_and_names_are_always_found(companies: list[dict[str, Any]], recipients: Any) -> None:
    found = OrganisationMatcher().match(opened(companies), recipient_table(recipients)).to_pylist()
    by_pair = {(row["company_id"], row["source_row"]): row for row in found}

    def normalised(names: list[str | None]) -> set[str]:
        return set(normalise_names(pa.array(names, pa.string())).drop_null().to_pylist())

    for company_id, company in enumerate(companies):
        for source_row, (row, _) in enumerate(recipients, start=1):
            pair = by_pair.get((company_id, source_row))
            equal = normalised([company["name"], *company["names"]]) & normalised(
                [row["name"], *(row["alternate_names"] or [])]
            )
            if equal or row["uei"] in company["ueis"] or row["duns"] in company["duns"]:
                assert pair is not None
            if pair is not None:
                assert pair["name_exact"] == bool(equal)
                assert (pair["uei_agreement"] == 1) == (row["uei"] in company["ueis"])
                assert 0 <= pair["name_similarity"] <= 1
                assert not equal or pair["name_similarity"] == 1


@given(st.lists(st.text(alphabet="ABZ 09", min_size=1, max_size=6), max_size=6))
def test_grams_are_those_of_a_plain_loop(texts: list[str]) -> None:
    names = [" ".join(text.split()) for text in texts if text.strip()]
    alphabet = " 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    expected: dict[tuple[int, int], int] = {}
    for number, name in enumerate(names):
        padded = f" {name} "
        for start in range(len(padded) - 2):
            first, second, third = (alphabet.index(letter) for letter in padded[start : start + 3])
            key = (number, (first * 37 + second) * 37 + third)
            expected[key] = expected.get(key, 0) + 1
    name, gram, count = grams.count_grams(pa.array(names, pa.string()))
    assert dict(zip(zip(name.tolist(), gram.tolist(), strict=True), count.tolist(), strict=True)) == expected


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 60))
def test_slices_cover_all_pairs_once(sizes: list[int], limit: int) -> None:
    original, compare.SLICE_PAIRS = compare.SLICE_PAIRS, limit
    try:
        slices = compare._slices(np.array(sizes, dtype=np.int64))
    finally:
        compare.SLICE_PAIRS = original
    assert [row for begin, end in slices for row in range(begin, end)] == list(range(len(sizes)))
    assert all(sum(sizes[begin + 1 : end]) <= limit for begin, end in slices)
