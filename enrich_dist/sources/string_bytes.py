"""The bytes of string arrays: find the cells with certain bytes, in vectorised passes over all bytes.

A pass is much faster than a regular expression, so that only the cells that need one are given to it. Covers ``string``
arrays and slices of them. Does not decode: each byte of a non-ASCII character is 0x80 or more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

TEXT_NULL: Final = pa.scalar(None, pa.string())
Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]
Characters = npt.NDArray[np.uint8]  # (cells, length)


class StringBytes:
    """The bytes of all cells, one after another. ``starts``: the position of each cell in ``bytes``, then the end of
    the last one. Null cells may have arbitrary bytes; callers must ignore them."""

    def __init__(self, values: pa.Array) -> None:
        _, offsets, data = values.buffers()
        if not len(values) or data is None:
            self.starts = np.zeros(len(values) + 1, dtype=np.int32)
            self.bytes: npt.NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
            return
        limits = np.frombuffer(offsets, np.int32)[values.offset : values.offset + len(values) + 1]
        self.starts = limits - limits[0]
        self.bytes = np.frombuffer(data, np.uint8)[limits[0] : limits[-1]]

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """The number of bytes of each cell."""
        return np.diff(self.starts)

    def are_ascii(self) -> bool:
        """Return whether all bytes are ASCII."""
        return int(self.bytes.max(initial=0)) < 0x80

    def between(self, first: str, last: str) -> Mask:
        """Return the bytes in a range of ASCII characters."""
        # Unsigned: bytes less than `first` wrap around to large numbers.
        return np.asarray(self.bytes - np.uint8(ord(first)) <= np.uint8(ord(last) - ord(first)))

    def equal(self, character: str) -> Mask:
        """Return the bytes that are this ASCII character."""
        return np.asarray(self.bytes == np.uint8(ord(character)))

    def cells_with(self, found: Mask) -> Mask:
        """Return the cells that contain at least one of the bytes ``found``."""
        positions = np.flatnonzero(found)
        if not len(positions):
            return np.zeros(len(self.starts) - 1, dtype=bool)
        # The number of found bytes before each cell changes over a cell that contains one.
        return np.diff(np.searchsorted(positions, self.starts)) > 0

    def cells_at_ends(self, found: Mask) -> Mask:
        """Return the cells whose first or last byte is one of the bytes ``found``; undefined for empty cells."""
        if not len(found):
            return np.zeros(len(self.starts) - 1, dtype=bool)
        # An empty cell uses the bytes of its neighbours, which is cheaper than excluding it.
        first, last = self.starts[:-1], self.starts[1:] - 1
        return np.take(found, first, mode="clip") | np.take(found, last, mode="clip")

    def cells_of_digits(self, length: int) -> Mask:
        """Return the cells that are exactly ``length`` digits."""
        return np.asarray(self.lengths == length) & ~self.cells_with(~self.between("0", "9"))

    def matrix(self, chosen: Mask, length: int) -> Characters:
        """Return the bytes of the chosen cells, all of this length, one row per cell."""
        return np.asarray(self.bytes[self.starts[:-1][chosen][:, None] + np.arange(length, dtype=np.int32)])


def change_where(chosen: Mask, values: pa.Array, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return ``values`` with ``change`` applied to the chosen cells; it must keep the type."""
    cells = np.flatnonzero(chosen)
    return replace_cells(values, cells, change(values.take(pa.array(cells)))) if len(cells) else values


def replace_cells(values: pa.Array, cells: Positions, replacement: pa.Array) -> pa.Array:
    """Return ``values`` with the cells at these positions (ascending) replaced; both arrays have the same type."""
    if len(cells) == len(values):
        return replacement
    if replacement.equals(values.take(pa.array(cells))):
        return values
    # Twice as fast as pc.replace_with_mask.
    source = np.arange(len(values))
    source[cells] = np.arange(len(values), len(values) + len(cells))
    return pa.concat_arrays([values, replacement]).take(pa.array(source))


def apply_to_distinct(values: pa.Array, change: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Return ``change(values)``, computed once per distinct text; ``change`` must keep nulls."""
    encoded = pc.dictionary_encode(values)
    return change(encoded.dictionary).take(encoded.indices)
