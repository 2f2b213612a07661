"""Arrow text as the kernels take it: bytes and offsets, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]


def text_buffers(texts: pa.Array) -> tuple[Bytes, Ints]:
    """A string array as (uint8 data, int32 starts); null is the empty text. Not copied, and not to be written to."""
    if texts.null_count:
        texts = pc.fill_null(texts, "")
    _, offsets, data = texts.buffers()
    starts = np.zeros(1, dtype=np.int32)
    if len(texts):
        starts = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    content = np.zeros(1, dtype=np.uint8)
    if data is not None and data.size:
        content = np.frombuffer(data, dtype=np.uint8)
    # Read-only in every case: the kernels are compiled for one kind of array.
    starts.flags.writeable = False
    content.flags.writeable = False
    return content, starts


def text_array(data: Bytes, starts: Ints) -> pa.Array:
    """The string array of (data, starts)."""
    starts = np.ascontiguousarray(starts, dtype=np.int32)
    return pa.StringArray.from_buffers(len(starts) - 1, pa.py_buffer(starts), pa.py_buffer(np.ascontiguousarray(data)))


def whole(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array."""
    if isinstance(column, pa.Array):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
