"""Normalisation of names, streets and cities to A-Z, 0-9 and single spaces.

Names use a compiled kernel, streets and cities ``pyarrow.compute``; the word lists are files in ``data/``. Does not
cover scripts other than Latin (a name without Latin letters becomes null) nor truncated names (``blocking``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching import words
from enrich_dist.matching.arrays import as_array, text_array, text_buffers
from enrich_dist.matching.kernels.brackets import without_initials
from enrich_dist.matching.kernels.names import BYTE_CLASSES, normalise, working_bytes

# Marks single characters while runs are joined; not in cleaned text.
_MARK = "\x01"


def normalise_names(names: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return normalised names: string array of the same length, null if nothing remains.

    Words of A-Z and 0-9 with single spaces, & written AND, without the legal forms at the end and a leading THE; runs
    of single characters are one word (``K T`` becomes ``KT``); initials in brackets that repeat the name are removed
    (``OCEAN SYSTEMS ENGINEERING CORP (OSEC)``); abbreviations of one word are expanded, roman numerals become digits. A
    name that consists of legal forms keeps its text. Of several names (``ACME DBA BETA``) the first. Idempotent.
    """
    found = split_names(names)
    first = found.filter(pc.invert(found["further"]))
    position = np.full(len(names), -1, dtype=np.int64)
    position[first["row"].to_numpy()] = np.arange(len(first))
    return as_array(first["name"]).take(pa.array(position, mask=position < 0))


def split_names(names: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return all names in texts, normalised (see ``normalise_names``).

    Returns a table of ``row`` (int32, ascending: the position of the text), ``name`` (string, never null) and
    ``further`` (bool: it follows DBA, FORMERLY or similar). A text of which nothing remains has no row.
    """
    text = _ascii(names)
    text = _where(pc.match_substring(text, "("), text, _drop_initials)
    data, starts = text_buffers(text)
    markers, lists = words.name_lists()
    room = working_bytes(starts, words.longest_replacement())
    out, out_starts, rows, further = normalise(data, starts, BYTE_CLASSES, markers, lists, room)
    return pa.table({"row": rows, "name": text_array(out, out_starts), "further": further})


def normalise_streets(address_1: pa.Array | pa.ChunkedArray, address_2: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return streets without suites, words abbreviated: string array of the same length.

    Joins both lines. Null if both are missing or contain only a suite.
    """
    first, second = (pc.fill_null(_text(lines), "") for lines in (address_1, address_2))
    text = pc.binary_join_element_wise(first, second, " ")
    # Cleaning would drop the number sign: #120 is suite 120.
    text = pc.replace_substring(text, "#", " STE ")
    text = _replace_words(_join_single_characters(_clean(text)), "street_words.txt")
    text = pc.replace_substring_regex(text, r"\b(?:POST OFFICE BOX|POB|PO BOX|PO DRAWER) ([0-9]+)\b", r"PO BOX \1")
    # Drop a PO box next to a street.
    text = pc.replace_substring_regex(text, r"^([0-9]+ .*[A-Z].*) PO BOX [0-9]+$", r"\1")
    text = pc.replace_substring_regex(text, r"\b[0-9]+(?:ST|ND|RD|TH) STE\b", "")
    text = pc.replace_substring_regex(text, r"(?:\bSTE\b ?)+(?:[A-Z0-9]*[0-9][A-Z0-9]*\b|[A-Z]\b|$)?", " ")
    return _null_if_empty(_collapse(text))


def normalise_cities(cities: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return city names with common words abbreviated: string array of the same length, null if empty."""
    return _null_if_empty(_replace_words(_clean(cities), "city_words.txt"))


def normalise_codes(codes: pa.Array | pa.ChunkedArray, pattern: str) -> pa.Array:
    """Identifiers and state or ZIP codes: upper case, trimmed, null unless the whole code fits ``pattern``."""
    text = pc.utf8_upper(pc.utf8_trim_whitespace(_text(codes)))
    fits = pc.match_substring_regex(text, f"^(?:{pattern})$")
    return pc.if_else(fits, text, pa.scalar(None, pa.string()))


def _clean(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the texts in A-Z, 0-9 and single spaces: entities, accents and punctuation resolved, & written AND."""
    text = pc.replace_substring(pc.utf8_upper(_ascii(texts)), "&", " AND ")
    # Apostrophes go without a space: HALL'S is HALLS.
    text = pc.replace_substring_regex(text, "['`]", "")
    return _collapse(text)


def _ascii(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Resolve HTML entities and accents."""
    text = _text(texts)
    text = _where(pc.match_substring(text, ";"), text, _resolve_entities)  # entities end with it, and few names have it
    return _where(pc.invert(pc.string_is_ascii(text)), text, _resolve_letters)


def _resolve_entities(text: pa.Array) -> pa.Array:
    """Resolve HTML entities that sources leave; ``&amp;`` first, as it hides others (``&amp;#39;``)."""
    for pattern, replacement in (
        (r"(?i)&(?:amp;)+", "&"),
        (r"(?i)&(?:#0*39|#x0*27|apos|rsquo|lsquo|#0*8217|#x0*2019);", ""),
        (r"(?i)&([a-z])(?:acute|grave|circ|tilde|uml|cedil|ring|caron|slash);", r"\1"),
        (r"(?i)&(?:quot|lt|gt|nbsp|reg|trade|copy|[nm]dash|[lr]dquo|bull|middot|#[0-9]+|#x[0-9a-f]+);", " "),
    ):
        text = pc.replace_substring_regex(text, pattern, replacement)
    return text


def _resolve_letters(text: pa.Array) -> pa.Array:
    for line in words.lines("letters.txt"):
        sign, _, replacement = line.partition(" ")
        text = pc.replace_substring(text, sign, replacement or " ")
    text = pc.replace_substring_regex(text, "[’‘ʼ´]", "")
    return pc.replace_substring_regex(pc.utf8_normalize(text, form="NFKD"), r"\p{Mn}", "")


def _drop_initials(text: pa.Array) -> pa.Array:
    data, starts = text_buffers(text)
    return text_array(without_initials(data, starts, BYTE_CLASSES), starts)


def _join_single_characters(text: pa.Array) -> pa.Array:
    """Join runs of single characters: ``N P PHOTONICS`` becomes ``NP PHOTONICS``."""

    def join(part: pa.Array) -> pa.Array:
        # RE2 has no look-ahead, and the matches of a run overlap. So mark every single character, then remove adjacent
        # marks together with the space between them.
        part = pc.replace_substring_regex(part, r"\b([A-Z0-9])\b", rf"{_MARK}\1{_MARK}")
        part = pc.replace_substring(part, f"{_MARK} {_MARK}", "")
        return pc.replace_substring(part, _MARK, "")

    return _where(pc.match_substring_regex(text, r"\b[A-Z0-9] [A-Z0-9]\b"), text, join)


def _replace_words(text: pa.Array, file_name: str) -> pa.Array:
    """Replace words by a file of pairs."""
    pairs = [line.split(" ") for line in words.lines(file_name)]
    replaced, replacements = (pa.array([pair[side] for pair in pairs]) for side in (0, 1))
    split = pc.split_pattern(text, " ")
    flat = split.flatten()  # without the members of null rows
    found = pc.index_in(flat, value_set=replaced)
    flat = pc.coalesce(replacements.take(found), flat)
    lengths = pc.fill_null(pc.list_value_length(split), 0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(text) + 1, dtype=np.int32)
    np.cumsum(lengths, out=offsets[1:])
    rebuilt = pa.ListArray.from_arrays(pa.array(offsets), flat)
    return pc.if_else(text.is_valid(), pc.binary_join(rebuilt, " "), pa.scalar(None, pa.string()))


def _collapse(text: pa.Array) -> pa.Array:
    """Replace everything except letters and digits by single spaces, and trim."""
    return pc.utf8_trim(pc.replace_substring_regex(text, "[^A-Z0-9]+", " "), " ")


def _null_if_empty(text: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def _where(mask: pa.Array, text: pa.Array, function: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Apply the function to the rows of the mask only, because it is expensive and most rows do not need it."""
    mask = pc.fill_null(mask, False)
    if not pc.any(mask, min_count=0).as_py():
        return text
    return pc.replace_with_mask(text, mask, function(text.filter(mask)))


def _text(values: Any) -> pa.Array:
    """Return one string array."""
    values = as_array(values)
    return values if values.type == pa.string() else values.cast(pa.string())
