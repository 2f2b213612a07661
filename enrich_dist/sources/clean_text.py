"""Vectorised cleaning of text: white space, HTML entities, words for null.

Every function maps a string array to one of the same length, and is idempotent. Does not normalise names for comparison
(``matching``).
"""

from __future__ import annotations

import functools
import html
import unicodedata
from html.entities import html5
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching.words import lines
from enrich_dist.sources.string_bytes import TEXT_NULL, Mask, StringBytes, change_where

# White space of any script, control characters (including NUL), zero-width characters and direction marks. Each run
# becomes one space, so that separate words are not joined.
_BLANKS: Final = (
    r"[\s\pZ\x00-\x1f\x7f-\x{9f}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}\x{2066}-\x{2069}\x{feff}]+"
)
# White space other than single inner spaces. Matched first, as most cells have none and replacing is slow.
_UNTIDY: Final = (
    r"^ | $|  |[\t-\r\x00-\x1f\x7f-\x{9f}\x{a0}\x{1680}\x{2000}-\x{200b}\x{200e}\x{200f}\x{2028}-\x{202f}"
    + (r"\x{205f}\x{2060}\x{2066}-\x{2069}\x{3000}\x{feff}]")
)
_ENTITY_AFTER_AMPERSAND: Final = r"^(?P<body>(?:#[0-9]{1,8}|#[xX][0-9a-fA-F]{1,7}|[A-Za-z][A-Za-z0-9]{1,31});)"

# Words for null without punctuation, and "" for texts of punctuation alone. They apply to whole cells.
_NULL_WORDS: Final = frozenset(["", *(line.replace(" ", "") for line in lines("no_values.txt"))])
_PUNCTUATION: Final = "PSZ"  # first letters of the Unicode categories
_DATABASE_NULL: Final = r"\N"  # a single letter N is a value
_MAX_NULL_BYTES: Final = 32


def _first_bytes() -> Mask:
    """Return which two bytes, as lower case, such a text can begin with, (256, 256). Punctuation may be anywhere."""
    plain = np.array([byte < 0x80 and chr(byte).isalnum() for byte in range(256)])
    found = np.repeat(~plain[:, None], 256, axis=1)
    for word in _NULL_WORDS - {""}:  # all have at least two letters
        first, second = word[:2].lower().encode()
        found[first] |= ~plain
        found[first, second] = True
    return found


_FIRST_BYTES: Final = _first_bytes()


def clean_text(values: pa.Array) -> pa.Array:
    """Resolve entities, trim and collapse white space; null for empty text and words for null (``N/A``, ``-``, …).

    Not for names, which stay as they are: ``matching.normalise`` ignores such names.
    """
    return _null_words_as_null(tidy_text(values))


def tidy_text(values: pa.Array) -> pa.Array:
    """Resolve entities, trim and collapse white space; null for empty text only."""
    tidy = change_where(_may_be_untidy(values), values, lambda some: collapse_blanks(resolve_entities(some)))
    return _empty_as_null(tidy)


def clean_long_text(values: pa.Array) -> pa.Array:
    """Resolve entities and trim white space, but keep inner line breaks and spacing; null for empty text."""
    values = resolve_entities(pc.replace_substring(values, "\x00", " "))
    return _empty_as_null(pc.utf8_trim_whitespace(pc.replace_substring(values, "\x00", " ")))


def clean_code(values: pa.Array) -> pa.Array:
    """Trim and collapse white space of codes and numbers; null for empty text and words for null."""
    return _null_words_as_null(change_where(_may_be_untidy(values), values, collapse_blanks))


def collapse_blanks(values: pa.Array) -> pa.Array:
    """Replace every run of blank characters by one space, and trim."""
    untidy = pc.match_substring_regex(values, _UNTIDY)
    if not pc.any(untidy).as_py():
        return values
    tidied = pc.utf8_trim(pc.replace_substring_regex(values.filter(untidy), _BLANKS, " "), " ")
    return pc.replace_with_mask(values, pc.fill_null(untidy, False), tidied)


def resolve_entities(values: pa.Array) -> pa.Array:
    """Replace HTML entities by their characters, also if they were encoded several times (``&amp;amp;``).

    Only entities with a semicolon are replaced, so ``AT&T`` stays. The order does not matter, as entities never overlap
    and replacing one leaves all others intact.
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
    # Without the first piece of each text, which follows no ampersand.
    pieces = pc.list_flatten(pc.list_slice(pc.split_pattern(values, "&"), 1))
    bodies = pc.struct_field(pc.extract_regex(pieces, _ENTITY_AFTER_AMPERSAND), "body")
    entities = sorted("&" + body for body in pc.unique(bodies.drop_null()).to_pylist())
    return {entity: character for entity in entities if (character := _resolve(entity)) is not None}


def _resolve(entity: str) -> str | None:
    body = entity[1:]
    if body.startswith("#"):
        return html.unescape(entity)  # as browsers do, also for Windows-1252 and invalid numbers
    if body not in html5 and body.isupper():
        body = body.lower()  # &NBSP; and &APOS; in sources that are all capitals
    return html5.get(body)


def _may_be_untidy(values: pa.Array) -> Mask:
    """Return the cells that collapsing blanks or resolving entities could change, and all non-ASCII cells. They are
    few, so that regular expressions are applied to few cells."""
    strings = StringBytes(values)
    blank = strings.equal(" ")
    odd = ~strings.between(" ", "~")
    odd |= strings.equal(";")  # every entity ends with one; ampersands are frequent in names
    odd[1:] |= blank[1:] & blank[:-1]  # may also be the last blank of a cell and the first of the next: both untidy
    return np.asarray(strings.cells_with(odd) | strings.cells_at_ends(blank))


def _empty_as_null(values: pa.Array) -> pa.Array:
    empty = StringBytes(values).lengths == 0
    return pc.if_else(pa.array(empty), TEXT_NULL, values) if empty.any() else values


def _null_words_as_null(values: pa.Array) -> pa.Array:
    """Replace empty texts, texts without a letter or digit, and words for null by null."""
    # Comparing lengths and first bytes is cheap and excludes nearly all texts.
    strings = StringBytes(values)
    lengths, starts = strings.lengths, strings.starts[:-1]
    short = lengths <= _MAX_NULL_BYTES
    if len(strings.bytes):  # else all are empty
        first, second = (np.take(strings.bytes, starts + step, mode="clip") | 0x20 for step in (0, 1))
        short &= _FIRST_BYTES[first, second] | (lengths == 0)
    positions = np.flatnonzero(short)
    if not len(positions):
        return values
    texts = pc.dictionary_encode(values.take(pa.array(positions)))
    # Not a regular expression of Arrow: to compile one with these categories takes milliseconds in each call.
    is_word = np.array([*map(_is_null_word, texts.dictionary.to_pylist()), False])  # the last one for null cells
    found = positions[is_word[pc.fill_null(texts.indices, len(is_word) - 1).to_numpy()]]
    if not len(found):
        return values
    is_null = np.zeros(len(values), dtype=bool)
    is_null[found] = True
    return pc.if_else(pa.array(is_null), TEXT_NULL, values)


@functools.lru_cache(maxsize=1 << 14)
def _is_null_word(text: str) -> bool:
    capitals = unicodedata.normalize("NFKC", text).upper()
    letters = (letter for letter in capitals if unicodedata.category(letter)[0] not in _PUNCTUATION)
    return text == _DATABASE_NULL or "".join(letters) in _NULL_WORDS
