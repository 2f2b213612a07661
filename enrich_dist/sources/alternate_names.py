"""Alternate names as lists of cleaned names.

Covers list columns, and text with a JSON list, a PostgreSQL array (``{a,"b, c"}``) or names separated by ``|`` or
``;``. A row without names is null, never an empty list.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.core.database import evaluate
from enrich_dist.sources.clean_text import clean_text
from enrich_dist.sources.string_bytes import TEXT_NULL, replace_cells

_LIST: Final = pa.list_(pa.string())
_LIST_NULL: Final = pa.scalar(None, _LIST)

_ARRAY: Final = r"(?s)^\s*(?:\[[^=]*\]=)?\{.*\}\s*$"
# An element is quoted, with a backslash before quotes and backslashes, or ends at the next comma. An unquoted NULL is
# null. Bounds before the braces ("[0:1]={a,b}") are ignored.
_ELEMENTS: Final = r"""
    list_transform(
        regexp_extract_all(regexp_replace(x, '^\s*(?:\[[^=]*\]=)?\{(.*)\}\s*$', '\1', 's'),
                           '"(?:[^"\\]|\\.)*"|[^,"]+', 0, 's'),
        lambda e: case when starts_with(e, '"') then regexp_replace(e[2:-2], '\\(.)', '\1', 'gs')
                       when upper(e) = 'NULL' then null else e end
    )
"""


def as_lists(values: pa.Array) -> pa.Array:
    """Return a list or text array as ``list<string>`` of cleaned names; null for rows without names."""
    is_list = pa.types.is_nested(values.type)
    return _clean_lists(pc.cast(values, _LIST) if is_list else _split_text(pc.cast(values, pa.string())))


def postgres_arrays(values: pa.Array) -> pa.Array:
    """Parse one-dimensional PostgreSQL arrays (``{a,"b, c",NULL}``) as ``list<string>``; null for null."""
    empty = pc.fill_null(pc.equal(values, "{}"), False)
    filled = np.flatnonzero(pc.and_(pc.is_valid(values), pc.invert(empty)).to_numpy(zero_copy_only=False))
    lists = pc.if_else(empty, pa.scalar([], _LIST), _LIST_NULL)
    if not len(filled):
        return lists
    return replace_cells(lists, filled, pc.cast(evaluate(_ELEMENTS, values.take(pa.array(filled))), _LIST))


def _split_text(values: pa.Array) -> pa.Array:
    arrays = pc.fill_null(pc.match_substring_regex(values, _ARRAY), False)
    if not pc.any(arrays).as_py():
        return _split_names(values)
    lists = postgres_arrays(pc.if_else(arrays, values, TEXT_NULL))
    return pc.if_else(arrays, lists, _split_names(pc.if_else(arrays, TEXT_NULL, values)))


def _split_names(values: pa.Array) -> pa.Array:
    text = clean_text(values)
    if text.null_count == len(text):
        return pa.nulls(len(text), _LIST)
    result = pc.split_pattern_regex(text, r"\s*[|;]\s*")
    bracketed = pc.fill_null(pc.match_substring_regex(text, r"^\["), False)
    if pc.any(bracketed).as_py():
        # Two steps, as DuckDB may parse rows for which the condition is false.
        is_json = evaluate("coalesce(json_valid(x), false)", pc.if_else(bracketed, values, TEXT_NULL))
        parsed = evaluate("""from_json(x, '["VARCHAR"]')""", pc.if_else(is_json, values, TEXT_NULL))
        result = pc.if_else(is_json, pc.cast(parsed, _LIST), result)
    return result


def _clean_lists(lists: pa.Array) -> pa.Array:
    """Clean every element, drop empty ones, and replace empty lists by null."""
    count = len(lists)
    parents = pc.list_parent_indices(lists)
    names = clean_text(pc.list_flatten(lists))
    named = pc.is_valid(names)
    lengths = np.bincount(parents.filter(named).to_numpy(), minlength=count)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    rebuilt = pa.ListArray.from_arrays(pa.array(offsets), names.filter(named))
    return pc.if_else(pa.array(lengths == 0), _LIST_NULL, rebuilt)
