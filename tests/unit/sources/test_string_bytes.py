"""Bytes of string arrays: complete, sliced, empty, with nulls."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.sources.string_bytes import StringBytes, apply_to_distinct, change_where, replace_cells

cells = st.lists(st.none() | st.text(alphabet="aB0 9~\x1f\x7fé日;", max_size=5), max_size=12)


@given(values=cells, start=st.integers(0, 4))
def test_cells_by_their_bytes(values: list[str | None], start: int) -> None:
    array = pa.array(values, pa.string()).slice(start)
    texts = [(text or "").encode() for text in values[start:]]
    strings = StringBytes(array)

    assert strings.lengths.tolist() == [len(text) for text in texts]
    assert strings.are_ascii() == all(text.isascii() for text in texts)
    unprintable = strings.cells_with(~strings.between(" ", "~"))
    assert unprintable.tolist() == [any(not 0x20 <= byte <= 0x7E for byte in text) for text in texts]
    assert strings.cells_with(strings.equal("B")).tolist() == [b"B" in text for text in texts]
    assert strings.cells_of_digits(2).tolist() == [len(text) == 2 and text.isdigit() for text in texts]
    at_ends = strings.cells_at_ends(strings.equal(" "))
    for text, found in zip(texts, at_ends.tolist(), strict=True):
        assert not text or found == (text[:1] == b" " or text[-1:] == b" ")


@pytest.mark.parametrize("array", [pa.array([], pa.string()), pa.nulls(3, pa.string()), pa.array(["", ""])])
def test_arrays_without_any_byte(array: pa.Array) -> None:
    strings = StringBytes(array)

    assert not strings.bytes.size
    assert strings.lengths.tolist() == [0] * len(array)
    assert not strings.cells_with(strings.equal("x")).any()
    assert not strings.cells_at_ends(strings.equal(" ")).any()


@given(values=cells, start=st.integers(0, 4), data=st.data())
def test_only_the_chosen_cells_change(values: list[str | None], start: int, data: st.DataObject) -> None:
    array = pa.array(values, pa.string()).slice(start)
    chosen = np.array(data.draw(st.lists(st.booleans(), min_size=len(array), max_size=len(array))), dtype=bool)

    changed = change_where(chosen, array, lambda some: pc.binary_join_element_wise(some, "!", ""))

    assert changed.to_pylist() == [
        text + "!" if text is not None and change else text
        for text, change in zip(array.to_pylist(), chosen.tolist(), strict=True)
    ]


def test_unchanged_cells_are_not_copied() -> None:
    array = pa.array(["a", None, "b"])

    assert replace_cells(array, np.array([0, 1]), pa.array(["a", None])) is array


@given(values=cells, start=st.integers(0, 4))
def test_apply_to_distinct_equals_direct(values: list[str | None], start: int) -> None:
    array = pa.array(values, pa.string()).slice(start)

    assert apply_to_distinct(array, pc.utf8_upper).to_pylist() == pc.utf8_upper(array).to_pylist()
