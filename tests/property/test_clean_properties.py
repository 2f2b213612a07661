"""Properties of cleaning and of row counts, for any text."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from enrich_dist.errors import SourceError
from enrich_dist.sources import clean_fields, read_awards, read_recipients
from enrich_dist.sources.clean_fields import (
    clean_amount,
    clean_date,
    clean_duns,
    clean_integer,
    clean_uei,
    clean_year,
    clean_zip,
    clean_zip4,
)
from enrich_dist.sources.clean_places import clean_country, clean_state
from enrich_dist.sources.clean_text import clean_long_text, clean_text, collapse_blanks, resolve_entities, tidy_text

PIECES = [
    "&",
    "amp;",
    "&amp;",
    "&lt;",
    "#38;",
    "&#",
    "x26;",
    "&#10;",
    "&nbsp;",
    " ",
    "\u200b",
    "\x00",
    "\u00a0",
    "lt",
    ";",
    "A",
]
texts = st.one_of(st.text(max_size=20), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
codes = st.one_of(
    texts,
    st.from_regex(r"\A[0-9 \-]{0,14}(\.0)?\Z"),
    st.from_regex(r"\A[A-Za-z0-9]{11,13}\Z"),
    st.from_regex(r"\A([A-HJ-NP-Z0-9]{12}|[0-9]{9}|[0-9]{4,5})\Z"),
    st.from_regex(r"\A[0-9]{4,5}[- ]?[0-9]{0,4}\Z"),
    st.from_regex(r"\A-?\$?[0-9,]{1,20}\.?[0-9]{0,9}\Z"),
    st.from_regex(r"\A[0-9]{1,4}[-/][0-9]{1,2}[-/][0-9]{1,4}\Z"),
)
CLEANERS = {
    "uei": lambda values: clean_uei(values).values,
    "duns": lambda values: clean_duns(values).values,
    "zip": lambda values: clean_zip(values)[0].values,
    "zip4": lambda values: clean_zip4(values).values,
    "date": lambda values: clean_date(values).values,
    "year": lambda values: clean_year(values).values,
    "integer": lambda values: clean_integer(values).values,
    "amount": lambda values: clean_amount(values).values,
    "state": lambda values: clean_state(values).values,
    "country": lambda values: clean_country(values).values,
    "text": clean_text,
    "long text": clean_long_text,
}


@pytest.mark.parametrize("name", CLEANERS)
@given(values=st.lists(st.one_of(st.none(), codes), max_size=8))
def test_cleaning_is_idempotent_per_cell(name, values):
    clean = CLEANERS[name]
    once = clean(pa.array(values, pa.string()))
    assert len(once) == len(values)
    assert clean(pc.cast(once, pa.string())).to_pylist() == once.to_pylist()
    alone = [clean(pa.array([value], pa.string()))[0].as_py() for value in values]
    assert once.to_pylist() == alone


def _thorough_text(values):
    tidy = collapse_blanks(resolve_entities(values))
    return pc.if_else(pc.equal(tidy, ""), pa.scalar(None, pa.string()), tidy)


# Plain cells are recognised by their bytes and skipped; cleaning them must change nothing.
SKIPPING = {
    "uei": (lambda values: clean_uei(values), clean_fields._clean_any_uei),
    "duns": (lambda values: clean_duns(values), clean_fields._clean_any_duns),
    "zip": (lambda values: (*clean_zip(values)[0], clean_zip(values)[1]), clean_fields._clean_any_zip),
    "zip4": (lambda values: clean_zip4(values), clean_fields._clean_any_zip4),
    "text": (
        lambda values: [tidy_text(values)],
        lambda values: [_thorough_text(values)],
    ),
}


@pytest.mark.parametrize("name", SKIPPING)
@given(values=st.lists(st.none() | codes, max_size=12), start=st.integers(0, 3))
def test_skipping_plain_cells_changes_nothing(name, values, start):
    quick, thorough = SKIPPING[name]
    cells = pa.array(values, pa.string()).slice(start)
    for quickly, thoroughly in zip(quick(cells), thorough(cells), strict=True):
        assert quickly.type == thoroughly.type
        assert quickly.to_pylist() == thoroughly.to_pylist()


@given(values=st.lists(codes, max_size=20))
def test_lost_identifiers_have_a_reason(values):
    cells = pa.array(values, pa.string())
    for cleaned, form in (
        (clean_duns(cells), r"^\d{9}$"),
        (clean_uei(cells), r"^[A-HJ-NP-Z1-9][A-HJ-NP-Z0-9]{11}$"),
        (clean_zip(cells)[0], r"^\d{5}$"),
    ):
        assert pc.all(pc.match_substring_regex(cleaned.values, form)).as_py() in (True, None)
        # Never a value together with a reason.
        assert not pc.any(pc.and_(pc.is_valid(cleaned.values), pc.is_valid(cleaned.reasons))).as_py()
        for value, kept, reason in zip(values, cleaned.values.to_pylist(), cleaned.reasons.to_pylist(), strict=True):
            if kept is None and any(character.isalnum() for character in value):
                assert reason or clean_text(pa.array([value])).null_count


NULL_WORDS = ["na", "n/a", "n.a.", "#N/A", "nan", "NaT", "null", "none", "nil", "unknown", "tbd", "xxx", "?", "--", "…"]
NULL_WORDS += [
    "not available",
    "not applicable",
    "not provided",
    "no data",
    "data not available",
    "undefined",
    "ｎ／ａ",
]


@given(
    word=st.sampled_from(NULL_WORDS),
    change=st.sampled_from([str.lower, str.upper, str.title]),
    around=st.sampled_from(["{}", "({})", "<{}>", "[{}]", " {} ", "-{}-", '"{}"', "{}.", "\u200b{}"]),
    name=st.sampled_from(["uei", "duns", "zip", "state", "country", "date", "integer", "amount", "text"]),
)
def test_words_for_null_are_null_in_every_column(word, change, around, name):
    assert CLEANERS[name](pa.array([around.format(change(word)), "x"], pa.string()))[0].as_py() is None


@given(word=st.sampled_from(NULL_WORDS), letter=st.sampled_from("abcxyz19я日"))
def test_a_word_for_null_within_a_text_stays(word, letter):
    assume(letter.upper() not in word.upper())  # X XXX is such a word, too
    for text in (f"{letter} {word}", f"{word} {letter}{letter}"):
        assert clean_text(pa.array([text])).to_pylist() == [text]


@given(values=st.lists(texts, max_size=10))
def test_text_has_no_extra_blanks(values):
    for text in clean_text(pa.array(values, pa.string())).to_pylist():
        assert text is None or (text and text == text.strip() and "  " not in text and "\x00" not in text)


HEADER = ["Company", "Agency", "Phase", "Award Year", "DUNS", "City", "State", "Zip"]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.lists(texts, min_size=0, max_size=10), max_size=12),
    repeats=st.integers(1, 2),
    stray=st.binary(max_size=4),
)
def test_award_rows_add_up(rows, repeats, stray):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([HEADER, ["Acme", "D", "I", "2018", "", "T", "MI", "48083"], *(rows * repeats)])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "awards.csv"
        # Stray bytes inside a quoted cell of the last row, where they cannot break the records.
        stray = stray.replace(b'"', b"")
        data = buffer.getvalue().encode("utf-8", "replace") + b'"x' + stray + b'"' + b',"y"' * 7 + b"\n"
        # With more control characters, it is refused as binary.
        assume(sum(byte < 9 or 13 < byte < 32 or byte == 127 for byte in data) <= 0.05 * len(data))
        path.write_bytes(data)
        table = read_awards(path, {})
    rejected = [row["source_row"] for row in table.rejects.to_pylist() if row["outcome"] == "rejected"]
    kept = table.awards.column("source_row").to_pylist()
    assert table.rows_read == 2 + len(rows) * repeats == len(kept) + table.rows_rejected
    assert sorted(kept + rejected) == list(range(2, 2 + table.rows_read))
    assert len(set(table.awards.column("award_id").to_pylist())) == len(kept)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.none() | texts, st.none() | codes, st.none() | st.lists(texts, max_size=3)), min_size=1),
    batch_rows=st.integers(1, 9),
)
def test_recipient_rows_add_up(rows, batch_rows):
    names, ueis, alternates = (list(column) for column in zip(*rows, strict=True))
    table = pa.table(
        {
            "name": pa.array(names, pa.string()),
            "uei": pa.array(ueis, pa.string()),
            "alternate_names": pa.array(alternates, pa.list_(pa.string())),
        }
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "recipients.parquet"
        pq.write_table(table, path)
        absent = {"city": None, "state": None, "zip5": None}
        try:
            batches = list(read_recipients(path, absent, batch_rows=batch_rows))
        except SourceError:  # every row is rejected: has neither a name nor an identifier
            assert not any(clean_text(pa.array([name], pa.string()))[0].is_valid for name in names)
            return
        [whole] = read_recipients(path, absent, batch_rows=1000)
    for batch in batches:
        rejected = batch.rejects.column("outcome").to_pylist().count("rejected")
        assert batch.rows_read == len(batch.recipients) + rejected
    assert sum(batch.rows_read for batch in batches) == len(rows)
    assert pa.concat_tables(batch.recipients for batch in batches).to_pylist() == whole.recipients.to_pylist()
    assert pa.concat_tables(batch.rejects for batch in batches).to_pylist() == whole.rejects.to_pylist()
