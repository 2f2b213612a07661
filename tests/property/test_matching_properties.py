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
from enrich_dist.matching import compare
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.index import CompanyIndex, build_index
from enrich_dist.matching.matcher import OrganisationMatcher, add_counts
from enrich_dist.matching.normalise import normalise_cities, normalise_names, normalise_streets, split_names
from enrich_dist.schema import NameLevel

WORDS = ["ACME", "ACNE", "A", "B", "L", "C", "THE", "INC", "LLC", "&", "WIDGETS", "WIDGET", "SYSTEMS", "é", "3", "O"]
WORDS += ["DBA", "D B A", "FORMERLY", "AKA", "II", "X", "I", "MFG", "TECH", "ACMEWIDGETS", "ADVANCED", "S", "R", "CO"]
WORDS += ["UAB", "OY", "N", "V", "U", "SPA", "AND", "JV", "SP", "Z", "ANONIM", "SIRKETI", "AKTIENGESELLSCHAFT", "T"]
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
                "parent_name": NAMES,
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


# --- normal forms ----------------------------------------------------------------------------------------------

# Words at which rules meet, in any writing, between any signs.
AWKWARD = st.lists(
    st.tuples(
        st.sampled_from(WORDS) | st.text(max_size=4),
        st.sampled_from(
            [
                " ",
                "  ",
                ".",
                ". ",
                ", ",
                "/",
                " / ",
                " - ",
                " (",
                ") ",
                "&",
                "-",
                "'",
                "",
                "&amp;",
                "\t",
                "™",
                "\x00",
                "’",
            ]
        ),
        st.sampled_from([str.upper, str.lower, str.title]),
    ),
    max_size=8,
).map(lambda parts: "".join(write(word) + sign for word, sign, write in parts))


@given(
    st.lists(st.sampled_from(["BRINDLE", "TARROW", "MFG", "OPTICS", "FUND"]), min_size=1, max_size=4),
    st.sampled_from(["INC", "N.V.", "Sp. z o.o.", "LLC", ""]),
    st.sampled_from([", ", " (", " - ", " / "]),
    st.lists(st.sampled_from(["ZYMERGEN", "SITE", "2", "4525", "II", "JV", "LLC", "A", "COMPANY"]), max_size=3),
)
def test_further_names_are_parts_of_the_whole(head: list[str], form: str, sign: str, tail: list[str]) -> None:
    text = " ".join([*head, form]).strip() + sign + " ".join(tail)
    whole, *further = split_names(pa.array([text]))["name"].to_pylist()
    assert whole == normalise_names(pa.array([text.replace(sign, " ")])).to_pylist()[0]
    for name in further:
        assert len(name) > 2
        assert name.replace(" ", "") in whole.replace(" ", "")
        assert name != whole
    if "JV" in tail or (sign != " / " and (not form or {"2", "II"} & {*tail})):
        assert not further


@given(st.lists(st.none() | st.text(max_size=30) | AWKWARD, max_size=8))
@example(["L L C THE INC", "THE THE", "S A S A", "A B L L C AND CO", "&amp;amp;", "&AMP;#39;", "ﬁ½™", "İ ı ß"])
@example(["DBA DBA", "D B A D B A", "A DBA", "X D B A", "I I", "I X", "X I I", "THE DBA THE", "AKA FORMERLY", "V I"])
@example(["&" * 200, "A " * 300, "MFG " * 100, "'" * 50, "DBA " * 50])
def test_normalising_texts_twice_changes_nothing(texts: list[str | None]) -> None:
    array = pa.array(texts, pa.string())
    for normalise in (normalise_names, normalise_cities):
        once = normalise(array)
        assert len(once) == len(array)
        assert normalise(once).equals(once)
        assert all(text is None or _is_plain(text) for text in once.to_pylist())
    assert len(normalise_streets(array, array)) == len(array)


@given(st.lists(st.none() | st.text(max_size=30) | AWKWARD, max_size=8))
def test_split_names_are_normalised(texts: list[str | None]) -> None:
    array = pa.array(texts, pa.string())
    found = split_names(array)

    names, rows = found["name"].combine_chunks(), found["row"].to_pylist()
    own = [row for row, further in zip(rows, found["further"].to_pylist(), strict=True) if not further]
    assert own == sorted(set(own))
    assert normalise_names(names).equals(names)
    assert all(map(_is_plain, names.to_pylist()))
    first = dict(reversed(list(zip(rows, names.to_pylist(), strict=True))))
    assert normalise_names(array).to_pylist() == [first.get(row) for row in range(len(texts))]
    assert found["further"].to_pylist() == [row in rows[:at] for at, row in enumerate(rows)]


@given(st.lists(st.none() | AWKWARD, min_size=1, max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_a_text_is_normalised_alone(texts: list[str | None], begin: int, length: int) -> None:
    array = pa.array(texts, pa.string())
    whole = normalise_names(array)
    assert normalise_names(array.slice(begin, length)).equals(whole.slice(begin, length))
    assert normalise_names(pa.chunked_array([array.slice(0, begin), array.slice(begin)])).equals(whole)


def _is_plain(text: str) -> bool:
    """Return whether the text is normalised: no ASCII but capitals, digits and single blanks."""
    ascii_characters = {character for character in text if character.isascii()}
    plain = ascii_characters <= set(" 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return plain and text != "" and text == " ".join(text.split(" "))


# --- candidates and counts -------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(COMPANIES, RECIPIENTS, st.integers(0, 12), st.integers(1, 5), st.randoms(use_true_random=False))
def test_recipients_are_independent(
    companies: list[dict[str, Any]], recipients: Any, cut: int, batch_rows: int, random: Any
) -> None:
    index, table = opened(companies), recipient_table(recipients)
    matcher = OrganisationMatcher(CandidateConfig(max_candidates_per_name=2))
    whole, counts = matcher.match(index, table)
    assert whole.schema.equals(schema.CANDIDATE)
    assert counts.schema.equals(schema.COUNT)
    for found in (whole, counts):
        found.validate(full=True)
    pairs = list(zip(whole["company_id"].to_pylist(), whole["source_row"].to_pylist(), strict=True))
    assert pairs == sorted(set(pairs))
    keys = list(zip(counts["kind"].to_pylist(), counts["key"].to_pylist(), strict=True))
    assert keys == sorted(set(keys))

    parts = [matcher.match(index, part) for part in (table.slice(0, cut), table.slice(cut))]
    order = list(range(table.num_rows))
    random.shuffle(order)
    small = OrganisationMatcher(CandidateConfig(max_candidates_per_name=2, batch_rows=batch_rows))
    for candidates, others in (
        (in_order(pa.concat_tables([part[0] for part in parts])), add_counts(pa.concat_tables([p[1] for p in parts]))),
        matcher.match(index, table.take(pa.array(order, pa.int64()))),
        small.match(index, table),
    ):
        assert candidates.combine_chunks().equals(whole.combine_chunks())
        assert others.combine_chunks().equals(counts.combine_chunks())


def test_skipped_counts_are_independent_of_batch() -> None:
    empty = {"names": [], "ueis": [], "duns": [], "locations": []}
    index = opened([{"name": "ACME WIDGETS", **empty}, {"name": "ACME WIDGETS", **empty}])
    table = recipient_table([({"name": "ACME WIDGETS"}, dict.fromkeys(("address", "city", "state", "zip5")))] * 2)

    counts = [
        OrganisationMatcher(CandidateConfig(max_block_size=1, batch_rows=rows)).match(index, table)[1]
        for rows in (1, 2)
    ]

    assert counts[0].to_pylist() == counts[1].to_pylist()


@settings(max_examples=25)
@given(COMPANIES, RECIPIENTS)
def test_equal_values_are_always_found(companies: list[dict[str, Any]], recipients: Any) -> None:
    found = OrganisationMatcher().match(opened(companies), recipient_table(recipients))[0].to_pylist()
    by_pair = {(row["company_id"], row["source_row"]): row for row in found}

    def normalised(names: list[str | None]) -> set[str]:
        return set(split_names(pa.array(names, pa.string()))["name"].to_pylist())

    for company_id, company in enumerate(companies):
        for source_row, (row, _) in enumerate(recipients, start=1):
            pair = by_pair.get((company_id, source_row))
            equal = normalised([company["name"], *company["names"]]) & normalised(
                [row["name"], row["parent_name"], *(row["alternate_names"] or [])]
            )
            if equal or row["uei"] in company["ueis"] or row["duns"] in company["duns"]:
                assert pair is not None
            if pair is not None:
                assert (pair["name_level"] == NameLevel.EQUAL) == bool(equal)
                assert (pair["uei_agreement"] == 1) == (row["uei"] in company["ueis"])
                assert (pair["duns_agreement"] == 1) == (row["duns"] in company["duns"])
                assert 0 <= pair["name_similarity"] <= 1
                assert 0 <= pair["name_agreement"] <= 1
                assert not equal or pair["name_similarity"] == pair["name_agreement"] == 1


COINED = st.lists(
    st.sampled_from(["KITWARE", "ZYMERGEN", "QUUXLY", "SYSTEMS", "TECHNOLOGIES", "HARMONIA"]),
    min_size=2,
    max_size=5,
    unique=True,
)


@settings(max_examples=25)
@given(COINED, st.data())
def test_word_order_does_not_matter(words: list[str], data: st.DataObject) -> None:
    other = data.draw(st.permutations(words))
    place = {"address": None, "city": "Boston", "state": "MA", "zip5": "02110"}

    def compared(ours: list[str], theirs: list[str]) -> dict[str, Any]:
        lists = {"names": [], "ueis": [], "duns": [], "locations": [place]}
        index = opened([{"name": " ".join(ours), **lists}])
        [pair] = (
            OrganisationMatcher().match(index, recipient_table([({"name": " ".join(theirs)}, place)]))[0].to_pylist()
        )
        return {key: pair[key] for key in ("name_level", "name_agreement", "name_similarity")}

    forth, back = compared(words, other), compared(other, words)
    assert forth == back
    assert NameLevel(forth["name_level"]) == (NameLevel.EQUAL if words == other else NameLevel.SPELLING_VARIANT)
    assert forth["name_agreement"] == 1


# --- small parts -----------------------------------------------------------------------------------------------

COUNTS = st.lists(st.tuples(st.sampled_from(schema.COUNT_KINDS), st.integers(0, 3), st.integers(0, 2**40)), max_size=12)


@given(st.lists(COUNTS, max_size=4), st.randoms(use_true_random=False))
def test_counts_add_up_in_whatever_parts(parts: list[list[tuple[str, int, int]]], random: Any) -> None:
    def table(rows: list[tuple[str, int, int]]) -> pa.Table:
        return pa.Table.from_pylist([dict(zip(schema.COUNT.names, row, strict=True)) for row in rows], schema.COUNT)

    rows = [row for part in parts for row in part]
    expected: dict[tuple[str, int], int] = {}
    for kind, key, count in rows:
        expected[kind, key] = expected.get((kind, key), 0) + count

    added = add_counts(table(random.sample(rows, len(rows))))
    by_part = add_counts(pa.concat_tables([schema.COUNT.empty_table(), *(add_counts(table(part)) for part in parts)]))

    assert added.schema.equals(schema.COUNT)
    assert by_part.equals(added)
    assert [tuple(row.values()) for row in added.to_pylist()] == [
        (kind, key, count) for (kind, key), count in sorted(expected.items())
    ]


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 60))
def test_slices_cover_all_pairs_once(sizes: list[int], limit: int) -> None:
    original, compare.SLICE_PAIRS = compare.SLICE_PAIRS, limit
    try:
        slices = compare._slices(np.array(sizes, dtype=np.int64))
    finally:
        compare.SLICE_PAIRS = original
    assert [row for begin, end in slices for row in range(begin, end)] == list(range(len(sizes)))
    assert all(sum(sizes[begin + 1 : end]) <= limit for begin, end in slices)
