"""Seeded inputs of any size for benchmarks: a recipients Parquet file, and an awards CSV that partly matches it.

Names are coined from the words of real recipients: the number of words and the word at the beginning, in the
middle and at the end are each drawn as often as they occur, so LLC and SERVICES are as common as they are. Places
are real (city, state, ZIP code) triples, streets real ones with other house numbers, identifiers valid in form and
made up. About 70 % of the companies are copies of recipients, some of them misspelt; the others have no partner.

What it is: a load whose vocabulary, repeated names and hit rates cost what real ones cost. What it is not: planted
truth. Which company belongs to which recipient is written nowhere, coined names of companies without a partner may
equal a recipient's by chance, and the misspellings are not those of real sources: no accuracy can be read from it.

The same seed and arguments give the same files, with the same versions of NumPy and PyArrow. Recipients are made in
batches of ``BATCH_ROWS``, each with random numbers of its own, so that memory does not grow with ``rows`` and a
shorter file is the beginning of a longer one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from enrich_dist.files import atomic_path

BATCH_ROWS: Final = 50_000
PARTNER_SHARE: Final = 0.70
"""Share of the companies that are copies of recipients."""

# Shares of the recipients that bear a value; real tables lack all of them now and then.
UEI_SHARE: Final = 0.60
DUNS_SHARE: Final = 0.50
PLACE_SHARE: Final = 0.90
ALTERNATE_NAME_SHARE: Final = 0.02
# Shares of the partners that can be found by UEI and by DUNS; the others bear no identifier and a changed name.
PARTNER_UEI_SHARE: Final = 0.35
PARTNER_DUNS_SHARE: Final = 0.35

RECIPIENTS: Final = pa.schema(
    [
        *(
            pa.field(name, pa.string())
            for name in (
                "recipient_hash",
                "legal_business_name",
                "duns",
                "uei",
                "parent_uei",
                "address_line_1",
                "address_line_2",
                "city",
                "state",
                "zip5",
                "zip4",
                "country_code",
                "congressional_district",
            )
        ),
        pa.field("alternate_names", pa.list_(pa.string())),
    ]
)

_PLACE: Final = ("city", "state", "zip5", "country_code", "congressional_district")
_DIGITS: Final = "0123456789"
_UEI_LETTERS: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_LEGAL_FORM: Final = r",?\s+(?:LLC|L\.L\.C\.|INC|INC\.|INCORPORATED|CORP|CORP\.|CORPORATION|CO|CO\.|LTD|LTD\.|LIMITED)$"
_MOST_WORDS: Final = 8
_MOST_AWARDS: Final = 4
_YEARS: Final = (2005, 2025)
_AGENCIES: Final = (
    ("Department of Defense", "Air Force", 0.30),
    ("Department of Defense", "Navy", 0.25),
    ("Department of Defense", "Army", 0.20),
    ("National Science Foundation", "", 0.08),
    ("Department of Energy", "", 0.08),
    ("Department of Health and Human Services", "National Institutes of Health", 0.06),
    ("National Aeronautics and Space Administration", "", 0.03),
)
# Random streams: batches of recipients must not share theirs with the awards.
_RECIPIENT_STREAM, _AWARD_STREAM = 0, 1

Ints = npt.NDArray[np.int64]
Rng = np.random.Generator


def write_recipients(path: Path, *, rows: int, seed: int, sample: Path) -> None:
    """Write ``rows`` recipients in the columns of ``RECIPIENTS``, one row group per batch.

    ``sample``: a real recipients file, for its words, streets and places. Raises ``ValueError`` when ``rows`` is
    less than 1 or the sample has none of these.
    """
    if rows < 1:
        raise ValueError("rows must be at least 1")
    columns = ["legal_business_name", "address_line_1", *_PLACE]
    real = pq.read_table(sample, columns=columns).combine_chunks()
    words = _Words.of(_column(real, "legal_business_name"))
    streets = pc.replace_substring_regex(_column(real, "address_line_1").drop_null(), r"^[0-9]+\s*", "")
    places = real.filter(
        pc.and_(pc.is_valid(real["city"]), pc.and_(pc.is_valid(real["state"]), pc.is_valid(real["zip5"])))
    )
    places = places.select(_PLACE).combine_chunks()
    if not len(streets) or not len(places):
        raise ValueError(f"{sample} has no streets or places to draw from")
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, RECIPIENTS, compression="zstd") as writer:
        for number, start in enumerate(range(0, rows, BATCH_ROWS)):
            rng = np.random.default_rng([seed, _RECIPIENT_STREAM, number])
            batch = _recipients(rng, words, streets, places)
            writer.write_table(batch.slice(0, rows - start), row_group_size=BATCH_ROWS)


def write_awards(path: Path, *, companies: int, recipients: Path, seed: int) -> None:
    """Write one to four awards for each of ``companies`` companies, in the newer header generation of sbir.gov.

    ``recipients``: a file that ``write_recipients`` wrote, with at least as many rows as there are companies. Memory
    grows with ``companies``, not with the recipients. Raises ``ValueError`` when either number is too small.
    """
    available = pq.read_metadata(recipients).num_rows
    if not 1 <= companies <= available:
        raise ValueError(f"companies must be 1 to {available}, the number of recipients")
    rng = np.random.default_rng([seed, _AWARD_STREAM])
    taken = _take_rows(recipients, rng.choice(available, size=companies, replace=False))
    words = _Words.of(_column(taken, "legal_business_name"))
    company = _companies(rng, taken, words)
    bearer = np.repeat(np.arange(companies), rng.integers(1, _MOST_AWARDS + 1, companies))
    awards = _awards(rng, company.take(pa.array(rng.permutation(bearer))), words)
    with atomic_path(path) as temporary:
        csv.write_csv(awards, temporary)


@dataclass(frozen=True)
class _Words:
    """All words of real names, as often as they occur, by where they stand; and how many words names have."""

    first: pa.Array
    middle: pa.Array
    last: pa.Array
    counts: Ints

    @classmethod
    def of(cls, names: pa.Array) -> _Words:
        # ASCII only: misspelling works on bytes.
        plain = names.filter(pc.fill_null(pc.string_is_ascii(names), False))
        split = pc.ascii_split_whitespace(pc.ascii_trim_whitespace(plain))
        split = split.filter(pc.greater(pc.list_value_length(split), 1))
        if not len(split):
            raise ValueError("no name of two words to draw from")
        ends = split.offsets.to_numpy()
        words = split.values
        first, last = ends[:-1], ends[1:] - 1
        inner = np.ones(len(words), dtype=bool)
        inner[: ends[0]] = inner[ends[-1] :] = False
        inner[first] = inner[last] = False
        middle = words.filter(pa.array(inner))
        return cls(
            first=words.take(pa.array(first)),
            middle=middle if len(middle) else words,
            last=words.take(pa.array(last)),
            counts=np.minimum(np.diff(ends), _MOST_WORDS).astype(np.int64),
        )

    def coin(self, rng: Rng, count: int) -> pa.Array:
        """``count`` names, each of a first word, middle words and a last word (string array without nulls)."""
        starts = np.zeros(count + 1, dtype=np.int32)
        np.cumsum(_draw(rng, self.counts, count), out=starts[1:])
        words = _pick(rng, self.middle, int(starts[-1]))
        place = np.zeros(len(words), dtype=np.int8)
        place[starts[:-1]], place[starts[1:] - 1] = 1, 2
        words = pc.replace_with_mask(words, pa.array(place == 1), _pick(rng, self.first, count))
        words = pc.replace_with_mask(words, pa.array(place == 2), _pick(rng, self.last, count))
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(starts), words), " ")


def _recipients(rng: Rng, words: _Words, streets: pa.Array, places: pa.Table) -> pa.Table:
    """A whole batch of recipients; a shorter last one is cut from it, so that its rows do not change."""
    count = BATCH_ROWS
    place = places.take(pa.array(rng.integers(0, len(places), count)))
    has_place = rng.random(count) < PLACE_SHARE
    house = pa.array(rng.integers(1, 10_000, count)).cast(pa.string())
    columns: dict[str, Any] = {
        "recipient_hash": _codes(rng, count, *["0123456789abcdef"] * 32),
        "legal_business_name": words.coin(rng, count),
        "duns": _some(rng, DUNS_SHARE, _codes(rng, count, *[_DIGITS] * 9)),
        "uei": _some(rng, UEI_SHARE, _codes(rng, count, _UEI_LETTERS, *[_UEI_LETTERS + _DIGITS] * 11)),
        "parent_uei": pa.nulls(count, pa.string()),
        "address_line_1": _where(has_place, pc.binary_join_element_wise(house, _pick(rng, streets, count), " ")),
        "address_line_2": pa.nulls(count, pa.string()),
        "zip4": _where(has_place, _codes(rng, count, *[_DIGITS] * 4)),
        "alternate_names": _alternate_names(rng, words, count),
        **{name: _where(has_place, _column(place, name)) for name in _PLACE},
    }
    return pa.table([columns[name] for name in RECIPIENTS.names], schema=RECIPIENTS)


def _alternate_names(rng: Rng, words: _Words, count: int) -> pa.Array:
    """Lists of one name for a few rows, empty for the others."""
    starts = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(rng.random(count) < ALTERNATE_NAME_SHARE, out=starts[1:])
    return pa.ListArray.from_arrays(pa.array(starts), words.coin(rng, int(starts[-1])))


def _take_rows(path: Path, rows: Ints) -> pa.Table:
    """The rows of the file with these numbers, in the order of ``rows``, one row group in memory at a time."""
    wanted = np.sort(rows)
    parts = []
    with pq.ParquetFile(path) as file:
        start = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
            inside = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, start + batch.num_rows)]
            parts.append(batch.take(pa.array(inside - start)))
            start += batch.num_rows
    return pa.Table.from_batches(parts).take(pa.array(np.searchsorted(wanted, rows))).combine_chunks()


def _companies(rng: Rng, taken: pa.Table, words: _Words) -> pa.Table:
    """Companies from as many recipients: first the copies, then those without a partner, which keep the place only."""
    count = len(taken)
    position = np.arange(count)
    partners = round(count * PARTNER_SHARE)
    # The rows were drawn in random order, so consecutive ranges are random groups.
    by_uei = position < partners * PARTNER_UEI_SHARE
    by_duns = ~by_uei & (position < partners * (PARTNER_UEI_SHARE + PARTNER_DUNS_SHARE))
    name = _column(taken, "legal_business_name")
    changes: Sequence[Callable[[pa.Array], pa.Array]] = (
        lambda names: _misspell(rng, names),
        lambda names: pc.replace_substring_regex(names, _LEGAL_FORM, ""),
        lambda names: pc.replace_substring(names, " ", "", max_replacements=1),
    )
    nameless = ~by_uei & ~by_duns & (position < partners)
    for kind, change in enumerate(changes):
        mask = pa.array(nameless & (position % len(changes) == kind))
        name = pc.replace_with_mask(name, mask, change(name.filter(mask)))
    alone = pa.array(position >= partners)
    name = pc.replace_with_mask(name, alone, words.coin(rng, count - partners))
    columns = {column: _column(taken, column) for column in (*_PLACE, "address_line_1", "zip4")}
    columns["uei"] = _where(by_uei, _column(taken, "uei"))
    columns["duns"] = _where(by_duns, _column(taken, "duns"))
    return pa.table({**columns, "name": name})


def _misspell(rng: Rng, names: pa.Array) -> pa.Array:
    """Names with one character left out at random (ASCII without nulls)."""
    names = pa.concat_arrays([names])  # an array of its own, whose offsets begin at 0
    starts = np.frombuffer(names.buffers()[1], np.int32, len(names) + 1)
    letters = np.frombuffer(names.buffers()[2], np.uint8, int(starts[-1]))
    left_out = starts[:-1] + rng.integers(0, np.diff(starts))
    return _strings(starts - np.arange(len(starts)), np.delete(letters, left_out))


def _awards(rng: Rng, company: pa.Table, words: _Words) -> pa.Table:
    """One award for every row of ``company``, as text under the headers of the file."""
    count = len(company)
    agency = rng.choice(len(_AGENCIES), size=count, p=[share for _, _, share in _AGENCIES])
    year = rng.integers(*_YEARS, count)
    month, day = rng.integers(1, 13, count), rng.integers(1, 29, count)
    zip_code = pc.binary_join_element_wise(_column(company, "zip5"), _column(company, "zip4"), "-")
    columns: dict[str, Any] = {
        "Company": pc.utf8_title(_column(company, "name")),
        "Award Title": pc.utf8_title(words.coin(rng, count)),
        "Agency": pa.array([name for name, _, _ in _AGENCIES]).take(pa.array(agency)),
        "Branch": pa.array([branch for _, branch, _ in _AGENCIES]).take(pa.array(agency)),
        "Phase": pa.array(["Phase I", "Phase II"]).take(pa.array((rng.random(count) < 0.36).astype(np.int8))),
        "Program": pa.array(["SBIR", "STTR"]).take(pa.array((rng.random(count) < 0.13).astype(np.int8))),
        "Agency Tracking Number": _numbered("T", np.arange(count)),
        "Contract": _numbered("C", np.arange(count)),
        "Proposal Award Date": _date(month, day, year),
        "Contract End Date": _date(month, day, year + 1),
        "Solicitation Number": _text(year),
        "Solicitation Year": _text(year),
        "Topic Code": _numbered("AF", rng.integers(0, 1_000, count)),
        "Award Year": _text(year),
        "Award Amount": _text(rng.integers(50_000, 2_000_000, count)),
        "UEI": _column(company, "uei"),
        "Duns": _column(company, "duns"),
        "HUBZone Owned": _yes_no(rng, 0.03, count),
        "Socially and Economically Disadvantaged": _yes_no(rng, 0.10, count),
        "Woman Owned": _yes_no(rng, 0.15, count),
        "Number Employees": _text(rng.integers(1, 500, count)),
        "Company Website": pa.nulls(count, pa.string()),
        "Address1": _column(company, "address_line_1"),
        "Address2": pa.nulls(count, pa.string()),
        "City": pc.utf8_title(_column(company, "city")),
        "State": _column(company, "state"),
        "Zip": zip_code,
        "RI Name": pa.nulls(count, pa.string()),
    }
    return pa.table({header: pc.fill_null(cells, "") for header, cells in columns.items()})


def _codes(rng: Rng, count: int, *alphabets: str) -> pa.Array:
    """``count`` texts whose n-th character is drawn from the n-th alphabet."""
    letters = np.empty((count, len(alphabets)), dtype=np.uint8)
    for position, alphabet in enumerate(alphabets):
        letters[:, position] = _draw(rng, np.frombuffer(alphabet.encode("ascii"), np.uint8), count)
    return _strings(np.arange(count + 1) * len(alphabets), letters)


def _strings(starts: Ints, letters: npt.NDArray[np.uint8]) -> pa.Array:
    """Texts from the offsets at which they begin and the ASCII letters of all."""
    offsets = pa.py_buffer(starts.astype(np.int32).tobytes())
    return pa.StringArray.from_buffers(len(starts) - 1, offsets, pa.py_buffer(letters.tobytes()))


def _draw(rng: Rng, values: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """``count`` of the values, with replacement."""
    return np.asarray(values[rng.integers(0, len(values), count)])


def _pick(rng: Rng, texts: pa.Array, count: int) -> pa.Array:
    """``count`` of the texts, with replacement."""
    return texts.take(pa.array(rng.integers(0, len(texts), count)))


def _some(rng: Rng, share: float, texts: pa.Array) -> pa.Array:
    """About this share of the texts, null in the other places."""
    return _where(rng.random(len(texts)) < share, texts)


def _where(mask: npt.NDArray[np.bool_], texts: pa.Array) -> pa.Array:
    """The texts where the mask is true, null elsewhere."""
    return pc.if_else(pa.array(mask), texts, pa.scalar(None, pa.string()))


def _yes_no(rng: Rng, share: float, count: int) -> pa.Array:
    return pc.if_else(pa.array(rng.random(count) < share), "Y", "N")


def _numbered(prefix: str, numbers: Ints) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pc.utf8_lpad(_text(numbers), width=8, padding="0"), "-")


def _date(month: Ints, day: Ints, year: Ints) -> pa.Array:
    """Dates as sbir.gov writes them: MM-DD-YYYY."""
    two_digits = [pc.utf8_lpad(_text(numbers), width=2, padding="0") for numbers in (month, day)]
    return pc.binary_join_element_wise(*two_digits, _text(year), "-")


def _text(numbers: Ints) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def _column(table: pa.Table, name: str) -> pa.Array:
    """A column as one array of plain text."""
    column = table[name].combine_chunks()
    array = pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column
    return array.cast(pa.string())
