"""NumPy views of Arrow text, lists of numbers by key, and arrays stored as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching.kernels.text import Bytes, Ints


def text_buffers(texts: pa.Array) -> tuple[Bytes, Ints]:
    """Return a string array as read-only views (uint8 data, int32 starts); null becomes the empty text."""
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    _, offsets, data = texts.buffers()
    starts = np.zeros(1, dtype=np.int32)
    if len(texts):
        starts = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = np.zeros(1, dtype=np.uint8)
    if data is not None and data.size:
        content = np.frombuffer(data, dtype=np.uint8)
    # Read-only in every case: numba compiles the kernels for one kind of array.
    starts.flags.writeable = False
    content.flags.writeable = False
    return content, starts


def text_array(data: Bytes, starts: Ints) -> pa.Array:
    """Return the string array of (data, starts)."""
    starts = np.ascontiguousarray(starts, dtype=np.int32)
    return pa.StringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), pa.py_buffer(np.ascontiguousarray(data)))


def as_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


@dataclass(frozen=True)
class Lists:
    """Lists of numbers by key. The list of key k is ``values[starts[k]:starts[k + 1]]``."""

    starts: Ints  # one more than keys
    values: Ints

    @classmethod
    def of_positions(cls, keys: Ints, key_count: int) -> Lists:
        """Return the positions of each key in ``keys``, ascending."""
        return cls(starts_of(keys, key_count), np.argsort(keys, kind="stable"))

    def expand(self, keys: Ints) -> tuple[Ints, Ints]:
        """Return (position in ``keys``, value) of all members of the keys' lists, in the order of ``keys``."""
        begin = self.starts[keys]
        counts = self.counts(keys)
        origin = np.repeat(np.arange(len(keys)), counts)
        within = np.arange(len(origin)) - np.repeat(np.cumsum(counts) - counts, counts)
        return origin, self.values[np.repeat(begin, counts) + within]

    def counts(self, keys: Ints) -> Ints:
        """Return the lengths of the keys' lists."""
        return np.asarray(self.starts[keys + 1] - self.starts[keys])


def starts_of(keys: Ints, key_count: int) -> Ints:
    """Return the start of each key's list, and the end of the last one, from the keys of all members: int64."""
    starts = np.zeros(key_count + 1, dtype=np.int64)
    np.cumsum(np.bincount(keys, minlength=key_count), out=starts[1:])
    return starts


def are_in(ascending: Ints, keys: Ints) -> npt.NDArray[np.bool_]:
    """Return which of the keys are in the ascending array."""
    if not len(ascending):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    return np.asarray(ascending[at] == keys)


def load(path: Path) -> Ints:
    """Map an array into memory, copy-on-write: the workers of a host share its pages."""
    # An empty array cannot be mapped, and reading a tiny one is faster.
    array: Ints = np.load(path, mmap_mode="c" if path.stat().st_size > 256 else None)
    return np.asarray(array)
