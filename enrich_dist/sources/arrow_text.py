"""Arrow columns of any type as text, and lists of them as lists of text.

Covers views, large types, dictionaries, extension types, decimals, floats, binary text and UUIDs. Does not cover
structs, maps and lists of lists, nor the meaning of a text.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.errors import SourceError
from enrich_dist.sources.columns import RECIPIENT_LAYOUT, Layout
from enrich_dist.sources.string_bytes import TEXT_NULL, StringBytes

UUID_BYTES: Final = 16
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
# The positions of the 32 digits in a UUID such as 01234567-89ab-cdef-0123-456789abcdef.
_DIGITS: Final = np.array([at for at in range(36) if at not in (8, 13, 18, 23)])
_LARGEST_EXACT: Final = 2**53  # whole numbers above it are not exact in a float of 64 bits
_ZEROS: Final = r"\.0*$"


def plain_type(kind: Any) -> Any:
    """Return the type of a column's values: without dictionary encoding and extension."""
    while pa.types.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType):
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind.storage_type
    return kind


def is_list(kind: Any) -> bool:
    """Return whether a type is a list of any kind."""
    return isinstance(
        kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType | pa.ListViewType | pa.LargeListViewType
    )


def as_text(values: pa.Array, *, uuids: bool = False) -> pa.Array:
    """Return the values as ``string``, or lists as ``list<string>`` with empty lists for null.

    A number without fraction has no decimal point; NaN is null; booleans are Y and N. ``uuids``: fixed-size binary
    values are UUIDs. Binary values become strings as they are: ``require_utf8`` checks them.
    """
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if isinstance(kind, pa.BaseExtensionType):
        return as_text(values.storage, uuids=uuids or isinstance(kind, pa.UuidType))
    if pa.types.is_dictionary(kind):
        return as_text(values.dictionary, uuids=uuids).take(values.indices)
    if is_list(kind):
        # Not a cast: pyarrow's from list views loses the last list.
        offsets = np.zeros(len(values) + 1, dtype=np.int32)
        np.cumsum(pc.fill_null(pc.list_value_length(values), 0), out=offsets[1:])
        return pa.ListArray.from_arrays(pa.array(offsets), as_text(values.flatten()))
    if pa.types.is_fixed_size_binary(kind):
        if uuids and kind.byte_width == UUID_BYTES:
            return _uuid_text(values)
        # Shorter texts are padded with NUL.
        return pc.ascii_rtrim(pc.cast(values, pa.binary()).view(pa.string()), characters="\0")
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "Y", "N")
    if pa.types.is_floating(kind):
        return _float_text(values)
    if pa.types.is_decimal(kind):
        return pc.replace_substring_regex(pc.cast(values, pa.string()), _ZEROS, "")
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pc.cast(values, pa.binary()).view(pa.string())
    return pc.cast(values, pa.string())


def _uuid_text(values: pa.Array) -> pa.Array:
    count = len(values)
    filled = pc.fill_null(values, bytes(UUID_BYTES))
    data = np.frombuffer(filled.buffers()[1] or b"", np.uint8)
    data = data[filled.offset * UUID_BYTES :][: count * UUID_BYTES].reshape(count, UUID_BYTES)
    digits = np.full((count, 36), ord("-"), dtype=np.uint8)
    digits[:, _DIGITS[::2]] = _HEX[data >> 4]
    digits[:, _DIGITS[1::2]] = _HEX[data & 15]
    text = pa.FixedSizeBinaryArray.from_buffers(pa.binary(36), count, [None, pa.py_buffer(digits.tobytes())])
    return pc.if_else(values.is_valid(), pc.cast(text, pa.string()), TEXT_NULL)


def _float_text(values: pa.Array) -> pa.Array:
    wide = pc.cast(values, pa.float64())
    whole = pc.and_(pc.equal(pc.floor(wide), wide), pc.less(pc.abs(wide), _LARGEST_EXACT))
    digits = pc.cast(pc.cast(pc.if_else(whole, wide, pa.scalar(None, wide.type)), pa.int64()), pa.string())
    return pc.if_else(pc.is_nan(wide), TEXT_NULL, pc.coalesce(digits, pc.cast(values, pa.string())))


def require_utf8(batch: pa.RecordBatch, first_row: int, path: object) -> None:
    """Raise ``SourceError`` unless all text is UTF-8, which neither Parquet nor every database guarantees."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        # ASCII is UTF-8, and much faster to recognise.
        if (pa.types.is_string(column.type) and StringBytes(column).are_ascii()) or _is_valid(column):
            continue
        row = next(first_row + row for row in range(len(column)) if not _is_valid(column.slice(row, 1)))
        remedy = "Export it again, with text in UTF-8."
        raise SourceError("contains text that is not UTF-8.", path=path, column=name, row=row, remedy=remedy)


def _is_valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def not_text(canonical: str, header: str, kind: object, path: object, layout: Layout = RECIPIENT_LAYOUT) -> SourceError:
    """Return the error for a column of a type that cannot be read as text."""
    absent = "" if canonical in layout.indispensable else ", or to null"
    remedy = f"Set {layout.setting_of(canonical)} to a text column{absent}."
    return SourceError(f"cannot be read as text: its type is {kind}.", path=path, column=header, remedy=remedy)
