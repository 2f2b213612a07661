"""COPY text round-trips, and arbitrary bytes give rows or an error."""

from __future__ import annotations

import io
from contextlib import suppress

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from enrich_dist.errors import SourceError
from enrich_dist.sources.alternate_names import postgres_arrays
from enrich_dist.sources.pg_dump import copy_text
from enrich_dist.sources.pg_dump.copy_text import CopyText, unescape
from enrich_dist.sources.pg_dump.toc import TocError, parse_toc
from tests.support import dumps

# PostgreSQL stores no NUL. Special characters of COPY text and arrays are frequent.
LETTERS = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
TEXTS = st.text(st.one_of(st.sampled_from("\\\t\n\r\b\f\v\"',{}N.x1 ;|ä"), LETTERS), max_size=12)
CELLS = st.none() | TEXTS


def encoded(cell: str | None) -> str:
    """Encode as CopyAttributeOutText of PostgreSQL's copyto.c."""
    if cell is None:
        return r"\N"
    cell = cell.replace("\\", "\\\\")
    for letter, meaning in zip("bfnrtv", "\b\f\n\r\t\v", strict=True):
        cell = cell.replace(meaning, f"\\{letter}")
    return cell


def encoded_array(elements: list[str | None]) -> str:
    """Encode as array_out of PostgreSQL's arrayfuncs.c."""

    def element(text: str | None) -> str:
        if text is None:
            return "NULL"
        plain = text and text.upper() != "NULL" and not set(text) & set('{},"\\ \t\n\r\v\f')
        return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "{" + ",".join(map(element, elements)) + "}"


def read(data: bytes, columns: int) -> tuple[list[list[str | None]], CopyText]:
    copy = CopyText(io.BytesIO(data), columns, {str(n): n for n in range(columns)}, "x")
    rows: list[list[str | None]] = []
    for block in copy.blocks():
        rows += [list(row) for row in zip(*(cell.to_pylist() for cell in block.cells), strict=True)]
        assert block.unusable.null_count == len(block.source_rows)
    return rows, copy


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=30), st.sampled_from([64, 200, 4 << 20]))
@example([("", None, "\\N"), ("\\.", "\\", "\\\\n"), ("a\rb", "\\x41", "\\101")], 4 << 20)
def test_rows_round_trip(rows: list[tuple[str | None, ...]], block_bytes: int) -> None:
    text = "".join("\t".join(map(encoded, row)) + "\n" for row in rows) + "\\.\n\n\n"
    longest = max(len(line.encode()) for line in text.splitlines(keepends=True))
    before, copy_text.BLOCK_BYTES = copy_text.BLOCK_BYTES, max(block_bytes, longest + 8)
    try:
        found, copy = read(text.encode(), 3)
    finally:
        copy_text.BLOCK_BYTES = before

    assert found == [list(row) for row in rows]
    assert copy.bad_records == []


@given(st.lists(CELLS, max_size=20))
def test_single_column_round_trips(cells: list[str | None]) -> None:
    """An empty text is an empty line."""
    text = "".join(encoded(cell) + "\n" for cell in cells) + "\\.\n"

    assert [row[0] for row in read(text.encode(), 1)[0]] == cells


def decoded(cell: bytes) -> bytes | None:
    """Decode byte by byte as CopyReadAttributesText of PostgreSQL's copyfromparse.c; None for invalid text."""
    out, at = bytearray(), 0
    while at < len(cell):
        if cell[at] != ord("\\"):
            out.append(cell[at])
            at += 1
            continue
        at += 1
        if at == len(cell):
            return None
        letter, at = chr(cell[at]), at + 1
        if letter in "01234567":
            value = int(letter, 8)
            for _ in range(2):
                if at < len(cell) and chr(cell[at]) in "01234567":
                    value, at = value * 8 + cell[at] - ord("0"), at + 1
            out.append(value & 0xFF)
        elif letter == "x" and at < len(cell) and chr(cell[at]) in "0123456789abcdefABCDEF":
            digits = chr(cell[at])
            at += 1
            if at < len(cell) and chr(cell[at]) in "0123456789abcdefABCDEF":
                digits, at = digits + chr(cell[at]), at + 1
            out.append(int(digits, 16))
        else:
            out += {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}.get(letter, letter).encode(
                "latin1"
            )
    try:
        out.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return bytes(out)


@given(st.lists(st.none() | st.text(st.sampled_from("\\\\\\01389xXaAfnNtv.é"), max_size=10), max_size=12))
@example(["\\101", "\\1011", "\\x4a\\x4", "\\", "\\\\", "\\377", "\\303\\251", None, "", "\\x", "\\8"])
def test_escapes_equal_postgresql(cells: list[str | None]) -> None:
    found, broken = unescape(pa.array(cells, pa.string()))

    # A backslash before a non-ASCII character stands for its first byte; the other bytes follow.
    expected = [None if cell is None else decoded(cell.encode()) for cell in cells]
    found.validate(full=True)
    assert [None if text is None else text.encode() for text in found.to_pylist()] == expected
    assert broken.tolist() == [cell is not None and text is None for cell, text in zip(cells, expected, strict=True)]


@given(st.lists(st.none() | st.lists(CELLS, max_size=5), max_size=8))
@example([["NULL", None, "null", "", "a,b", '"', "\\", "{}", "a b"], [], None])
def test_arrays_round_trip(arrays: list[list[str | None] | None]) -> None:
    texts = [None if array is None else encoded_array(array) for array in arrays]

    assert postgres_arrays(pa.array(texts, pa.string())).to_pylist() == arrays


@given(st.binary(max_size=400), st.integers(1, 4))
def test_any_bytes_are_handled(data: bytes, columns: int) -> None:
    copy = CopyText(io.BytesIO(data), columns, {str(n): n for n in range(columns)}, "x")
    with suppress(SourceError):
        for block in copy.blocks():
            for cells in block.cells:
                cells.validate(full=True)


WHOLE = dumps.toc([dumps.rows_of("recipient_lookup", ["a", "b"], "1.dat"), dumps.Entry("TABLE", "x")], (1, 16))


@given(st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_damaged_toc_raises_toc_error(cut: int, place: int, value: int) -> None:
    for data in (WHOLE[:cut], WHOLE[:place] + bytes([value]) + WHOLE[place + 1 :]):
        try:
            assert len(parse_toc(data).tables) <= 2
        except TocError:
            continue
