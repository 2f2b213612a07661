"""Alternate names, however a source stores them, as lists of cleaned names.

Covers list columns, and text that holds a JSON list, a PostgreSQL array (``{a,"b, c"}``) or names separated by
``|`` or ``;``. A row without names is null, never an empty list.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.sources.engine import evaluate
from enrich_dist.sources.text import clean_text, null_words_as_null

_LIST: Final = pa.list_(pa.string())
_TEXT_NULL: Final = pa.scalar(None, pa.string())
_LIST_NULL: Final = pa.scalar(None, _LIST)

_FROM_JSON: Final = """from_json(x, '["VARCHAR"]')"""
# An element is quoted, with a backslash before quotes and backslashes, or runs to the next comma.
_FROM_POSTGRES: Final = r"""
    list_transform(
        regexp_extract_all(substr(trim(x), 2, length(trim(x)) - 2), '"(?:[^"\\]|\\.)*"|[^,"]+', 0, 's'),
        lambda e: regexp_replace(regexp_replace(e, '^"(.*)"$', '\1', 's'), '\\(.)', '\1', 'gs')
    )
"""


def as_lists(values: pa.Array) -> pa.Array:
    """A list or text array as ``list<string>`` of cleaned names, of the same length; null where there is none."""
    is_list = pa.types.is_nested(values.type)
    return _clean_lists(pc.cast(values, _LIST) if is_list else _split_text(pc.cast(values, pa.string())))


def _split_text(values: pa.Array) -> pa.Array:
    text = clean_text(values)
    count = len(text)
    if text.null_count == count:
        return pa.nulls(count, _LIST)
    result = pc.split_pattern_regex(text, r"\s*[|;]\s*")
    bracketed = pc.fill_null(pc.match_substring_regex(text, r"^\["), False)
    if pc.any(bracketed).as_py():
        # Two steps, as DuckDB does not stop at a condition that fails before it parses.
        is_json = evaluate("coalesce(json_valid(x), false)", pc.if_else(bracketed, values, _TEXT_NULL))
        parsed = evaluate(_FROM_JSON, pc.if_else(is_json, values, _TEXT_NULL))
        result = pc.if_else(is_json, pc.cast(parsed, _LIST), result)
    braced = pc.fill_null(pc.match_substring_regex(text, r"^\{.*\}$"), False)
    if pc.any(braced).as_py():
        parsed = evaluate(_FROM_POSTGRES, pc.if_else(braced, values, _TEXT_NULL))
        result = pc.if_else(braced, pc.cast(parsed, _LIST), result)
    return result


def _clean_lists(lists: pa.Array) -> pa.Array:
    """Clean every element, drop those without text, and make empty lists null."""
    count = len(lists)
    parents = pc.list_parent_indices(lists)
    names = null_words_as_null(clean_text(pc.list_flatten(lists)))
    named = pc.is_valid(names)
    lengths = np.bincount(parents.filter(named).to_numpy(), minlength=count)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    rebuilt = pa.ListArray.from_arrays(pa.array(offsets), names.filter(named))
    return pc.if_else(pa.array(lengths == 0), _LIST_NULL, rebuilt)
