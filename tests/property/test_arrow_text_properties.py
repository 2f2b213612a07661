"""Text in Arrow columns is the same in every type that can hold it."""

from __future__ import annotations

import uuid
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.sources.arrow_text import as_text

TEXTS = st.none() | st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
FLAT = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()]
DICTIONARIES = [
    pa.dictionary(index, value)
    for index in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64())
    for value in (pa.string(), pa.large_string())
]
LISTS = [pa.list_, pa.large_list, pa.list_view, pa.large_list_view]


@pytest.mark.parametrize("kind", [*FLAT, *DICTIONARIES], ids=str)
@given(values=st.lists(TEXTS, max_size=12), start=st.integers(0, 3))
def test_text_of_any_type(kind: pa.DataType, values: list[str | None], start: int) -> None:
    found = as_text(pa.array(values, kind).slice(start))

    found.validate(full=True)
    assert found.type == pa.string()
    assert found.to_pylist() == values[start:]


@pytest.mark.parametrize("make", LISTS)
@given(values=st.lists(st.none() | st.lists(TEXTS, max_size=3), max_size=6), start=st.integers(0, 3))
def test_lists_of_any_type(make: type, values: list[list[str | None] | None], start: int) -> None:
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int16(), pa.string())):
        found = as_text(pa.array(values, make(kind)).slice(start))

        found.validate(full=True)
        assert found.to_pylist() == [texts or [] for texts in values[start:]]


@given(values=st.lists(st.none() | st.lists(TEXTS, min_size=2, max_size=2), max_size=6), start=st.integers(0, 3))
def test_lists_of_fixed_size(values: list[list[str | None] | None], start: int) -> None:
    found = as_text(pa.array(values, pa.list_(pa.string(), 2)).slice(start))

    assert found.to_pylist() == [texts or [] for texts in values[start:]]


@given(values=st.lists(st.none() | st.uuids(), max_size=8), start=st.integers(0, 3))
def test_uuids(values: list[uuid.UUID | None], start: int) -> None:
    raw = pa.array([value and value.bytes for value in values], pa.binary(16))
    expected = [value and str(value) for value in values[start:]]

    assert as_text(pa.ExtensionArray.from_storage(pa.uuid(), raw).slice(start)).to_pylist() == expected
    assert as_text(raw.slice(start), uuids=True).to_pylist() == expected


@given(values=st.lists(st.none() | st.integers(-(2**53) + 1, 2**53 - 1), max_size=8))
def test_whole_numbers_have_no_fraction(values: list[int | None]) -> None:
    expected = [None if value is None else str(value) for value in values]
    decimals = pa.array([None if value is None else Decimal(value) for value in values], pa.decimal128(38, 4))

    assert as_text(decimals).to_pylist() == expected
    assert as_text(pa.array(values, pa.int64())).to_pylist() == expected
    floats = pa.array([None if value is None else float(value) for value in values], pa.float64())
    assert as_text(floats).to_pylist() == expected
