"""Cleaning of text cells, vectorised: white space, HTML entities, words that mean "no value".

Every function takes a string array, returns one of the same length, and leaves its own output unchanged. Does not
cover normalising names for comparison: that is ``matching``.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from html.entities import html5
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.sources.string_bytes import Mask, StringBytes, change_where

# All that shows as a blank or not at all: white space of any script, control characters (a NUL among them), zero-width
# characters, marks of the writing direction. Each run becomes one space, so that no two pieces of text grow together.
_BLANK: Final = r"[\s\pZ\x00-\x1f\x7f-\x{9f}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}\x{2066}-\x{2069}\x{feff}]"
_BLANKS: Final = _BLANK + "+"
# White space that is not a single inner space; matched first, as most cells have none and replacing costs.
_UNTIDY: Final = (
    r"^ | $|  |[\t-\r\x00-\x1f\x7f-\x{9f}\x{a0}\x{1680}\x{2000}-\x{200b}\x{200e}\x{200f}\x{2028}-\x{202f}"
    + (r"\x{205f}\x{2060}\x{2066}-\x{2069}\x{3000}\x{feff}]")
)
_ENTITY_AFTER_AMPERSAND: Final = r"^(?P<body>(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});)"

_TEXT_NULL: Final = pa.scalar(None, pa.string())

NULL_WORDS: Final = ("NaN", "nan", "None", "none", "NULL", "null", "<NA>", r"\N")


def clean_text(values: pa.Array) -> pa.Array:
    """Entities resolved, white space trimmed and collapsed; null where nothing is left."""
    tidy = change_where(_may_be_untidy(values), values, lambda some: collapse_blanks(resolve_entities(some)))
    return _empty_as_null(tidy)


def clean_long_text(values: pa.Array) -> pa.Array:
    """Like ``clean_text``, but inner line breaks and spacing stay: for texts that people read."""
    values = resolve_entities(pc.replace_substring(values, "\x00", " "))
    return _empty_as_null(pc.utf8_trim_whitespace(pc.replace_substring(values, "\x00", " ")))


def null_words_as_null(values: pa.Array) -> pa.Array:
    """Null where the whole text is a word that some exporter writes for null (``NaN``, ``None``, …)."""
    return _words_as_null(values, NULL_WORDS)


def compact(values: pa.Array) -> pa.Array:
    """For codes and numbers: trimmed; null where blank, ``-`` or a word for null."""
    return _words_as_null(change_where(_may_be_untidy(values), values, collapse_blanks), ("", "-", *NULL_WORDS))


def collapse_blanks(values: pa.Array) -> pa.Array:
    """Every run of blank characters as one space, none at the ends."""
    untidy = pc.match_substring_regex(values, _UNTIDY)
    if not pc.any(untidy).as_py():
        return values
    tidied = pc.utf8_trim(pc.replace_substring_regex(values.filter(untidy), _BLANKS, " "), " ")
    return pc.replace_with_mask(values, pc.fill_null(untidy, False), tidied)


def resolve_entities(values: pa.Array) -> pa.Array:
    """HTML entities as the characters they stand for, also where encoded several times (``&amp;amp;``).

    Only entities closed by a semicolon count, so ``AT&T`` stays. The order of replacing does not matter: two
    entities never overlap, and resolving one leaves every other whole.
    """
    found = pc.fill_null(pc.match_substring(values, "&"), False)
    if not pc.any(found).as_py():
        return values
    some = values.filter(found)
    while True:
        characters = _entities_in(some)
        if not characters:
            return pc.replace_with_mask(values, found, some)
        for entity, character in characters.items():
            some = pc.replace_substring(some, entity, character)


def _entities_in(values: pa.Array) -> dict[str, str]:
    """The distinct entities in the texts that stand for something, with what they stand for."""
    # Without the first piece of each text, which no ampersand precedes.
    pieces = pc.list_flatten(pc.list_slice(pc.split_pattern(values, "&"), 1))
    bodies = pc.struct_field(pc.extract_regex(pieces, _ENTITY_AFTER_AMPERSAND), "body")
    entities = sorted("&" + body for body in pc.unique(bodies.drop_null()).to_pylist())
    resolved = {entity: _resolve(entity) for entity in entities}
    return {entity: character for entity, character in resolved.items() if character is not None}


def _resolve(entity: str) -> str | None:
    body = entity[1:]
    if body.startswith("#"):
        return html.unescape(entity)  # numbers of Windows-1252 and invalid ones are treated as browsers do
    if body not in html5 and body.isupper():
        body = body.lower()  # &NBSP; and &APOS;, from sources that write everything in capitals
    return html5.get(body)


def _may_be_untidy(values: pa.Array) -> Mask:
    """The cells that hold more than plain words: all that collapsing blanks or resolving entities could change.

    These are few, so that only they are looked at by regular expressions. Cells beyond ASCII are among them.
    """
    letters = StringBytes(values)
    blank = letters.equal(" ")
    odd = ~letters.between(" ", "~")
    odd |= letters.equal(";")  # every entity ends with one; ampersands are frequent in names
    odd[1:] |= blank[1:] & blank[:-1]  # also the last blank of a cell and the first of the next: untidy both
    return np.asarray(letters.cells_with(odd) | letters.cells_at_ends(blank))


def _empty_as_null(values: pa.Array) -> pa.Array:
    return _words_as_null(values, ("",))


def _words_as_null(values: pa.Array, words: Sequence[str]) -> pa.Array:
    """Null where the whole text is one of these ASCII words."""
    # A look at the lengths is cheaper than one at the texts, and leaves none or few of them.
    short = np.flatnonzero(StringBytes(values).lengths <= max(map(len, words)))
    found = pc.is_in(values.take(pa.array(short)), value_set=pa.array(words)).to_numpy(zero_copy_only=False)
    if not found.any():
        return values
    lost = np.zeros(len(values), dtype=bool)
    lost[short] = found
    return pc.if_else(pa.array(lost), _TEXT_NULL, values)
