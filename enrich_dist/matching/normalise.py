"""Normalisation of names, streets and cities to A-Z, 0-9 and single spaces.

Names use a compiled kernel, streets and cities ``pyarrow.compute``; the word lists are files in ``data/``. Names in
other scripts keep their letters, and have a transliteration as a further name. Does not cover truncated names
(``blocking``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching import words
from enrich_dist.matching.arrays import as_array, text_array, text_buffers
from enrich_dist.matching.kernels.brackets import without_initials
from enrich_dist.matching.kernels.names import BYTE_CLASSES, normalise, working_bytes

# Marks that do not change a letter: of Latin, Greek and Cyrillic, of Hebrew, of Arabic. Others are parts of letters.
_ACCENTS = r"[\x{0300}-\x{036F}\x{0591}-\x{05C7}\x{064B}-\x{065F}\x{0670}]"
# Signs and blanks that are not ASCII. RE2 takes a millisecond to compile a class such as [^\p{L}\p{N}].
_SIGNS = (
    r"[\x{80}-\x{A9}\x{AB}-\x{B4}\x{B6}-\x{B9}\x{BB}-\x{BF}×÷\x{5BE}\x{5C0}\x{5F3}\x{5F4}\x{60C}\x{61B}\x{61F}"
    r"\x{66A}-\x{66D}\x{6D4}\x{1680}\x{2000}-\x{206F}\x{20A0}-\x{20CF}\x{2100}-\x{2BFF}\x{2E00}-\x{2E7F}"
    r"\x{3000}-\x{3004}\x{3008}-\x{3020}\x{3030}\x{30FB}\x{E000}-\x{F8FF}\x{FE00}-\x{FE6F}\x{FF00}-\x{FF20}"
    r"\x{FFF0}-\x{FFFF}\x{1F000}-\x{1FAFF}]"
)
_ASCII_SIGNS = r"[\x00-/:-@\[-`{-\x7F]"
# Letters with two spellings: without the accent, and as two letters (MÜLLER is MULLER or MUELLER).
_TWO_LETTERS = {"Ä": "AE", "Ö": "OE", "Ü": "UE", "Å": "AA", "Ø": "OE"}
# Mark single characters while runs are joined, and suites; not in cleaned text.
_MARK, _END = "\x01", "\x02"
# A word for a part of a building, all written STE, with the number or letter that follows; at the start of an address
# only one word, as the house number follows.
_STE, _NUMBER = r"STE\b(?: STE\b)*", r"(?: ([A-Z0-9]*[0-9][A-Z0-9]*|[A-Z])\b)?"
_SUITE = rf"^{_STE}{_NUMBER}| {_STE}(?: ([A-Z])\b)?{_NUMBER}"


def normalise_names(names: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return normalised names: string array of the same length, null if nothing remains.

    Words of A-Z, 0-9 and letters of other scripts with single spaces, & written AND, without the legal forms at the end
    and a leading THE; runs of single characters are one word (``K T`` becomes ``KT``); initials in brackets that repeat
    the name are removed (``OCEAN SYSTEMS ENGINEERING CORP (OSEC)``); abbreviations of one word are expanded, roman
    numerals become digits. A name that consists of legal forms keeps its text. Of several names (``ACME DBA BETA``) the
    first. Idempotent.
    """
    found = split_names(names)
    first = found.filter(pc.invert(found["further"]))
    position = np.full(len(names), -1, dtype=np.int64)
    position[first["row"].to_numpy()] = np.arange(len(first))
    return as_array(first["name"]).take(pa.array(position, mask=position < 0))


def split_names(names: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return all names in texts, normalised (see ``normalise_names``).

    Returns a table of ``row`` (int32: the position of the text), ``name`` (string, never null) and ``further`` (bool:
    it follows DBA, FORMERLY or similar, is a part that punctuation shows, or another spelling: transliterated, or with
    AE for Ä). Rows ascend, with other spellings at the end. A text of which nothing remains has no row, nor has a
    placeholder (``UNKNOWN``, ``REDACTED DUE TO PII``).
    """
    found = _split_names(names)
    suspects = np.flatnonzero(pc.is_in(found["name"], value_set=_placeholder_names()).to_numpy())
    if not len(suspects):
        return found
    # A firm has a legal form: NAT INC is one.
    texts = as_array(names).take(found["row"].combine_chunks().take(pa.array(suspects)))
    whole = pc.is_in(_collapse(pc.utf8_upper(texts)), value_set=_placeholder_names())
    kept = np.ones(len(found), dtype=bool)
    kept[suspects[whole.to_numpy(zero_copy_only=False)]] = False
    return found.filter(pa.array(kept))


@functools.cache
def _placeholder_names() -> pa.Array:
    """Return the placeholders for names, normalised, also with blanks where sources write periods or slashes."""
    lines = words.lines("no_values.txt")
    return pa.array([*lines, *(" ".join(line) for line in lines if len(line) < 4)])


def _split_names(names: pa.Array | pa.ChunkedArray) -> pa.Table:
    text = _without_entities(_text(names))
    others = pc.fill_null(pc.invert(pc.string_is_ascii(text)), False)
    rows = np.flatnonzero(others.to_numpy(zero_copy_only=False))
    if not len(rows):
        return _split(text)
    accented = text.filter(others)
    resolved = _resolve_letters(pa.concat_arrays([accented, _as_two_letters(accented)]))
    plain, spelled = resolved[: len(rows)], _latin(resolved[len(rows) :])
    found = _split(pc.replace_with_mask(text, others, plain))
    differ = pc.fill_null(pc.not_equal(plain, spelled), False)
    more = _split(spelled.filter(differ))
    if not len(more):
        return found
    row = rows[differ.to_numpy(zero_copy_only=False)][more["row"].to_numpy()].astype(np.int32)
    further = pa.table({"row": row, "name": more["name"], "further": np.ones(len(row), dtype=bool)})
    return pa.concat_tables([found, further])


def _split(text: pa.Array) -> pa.Table:
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
    return _null_if_empty(_without_suites(_street_words(address_1, address_2)))


def normalise_addresses(address_1: pa.Array | pa.ChunkedArray, address_2: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return ``STREET/SUITE``, for example ``10 MAIN ST/4 120``, ``10 MAIN ST/``: string array of the same length.

    How a source writes suite, unit, floor or building does not matter (``Bldg 4, Suite 120``, ``#4 120``), nor a
    direction at the end of the street, which many leave out. Null without a house number, as PO boxes are.
    """
    words = _street_words(address_1, address_2)
    streets = pc.replace_substring_regex(_without_suites(words), " (?:[NS][EW]?|[EW])$", "")
    text = pc.binary_join_element_wise(streets, _suites(words), "/")
    return pc.if_else(pc.match_substring_regex(streets, r"^[0-9]+[A-Z]? .*[A-Z]"), text, pa.scalar(None, pa.string()))


def _street_words(address_1: pa.Array | pa.ChunkedArray, address_2: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return both lines as words, abbreviated, with STE before the number or letter of a suite."""
    first, second = (pc.fill_null(_text(lines), "") for lines in (address_1, address_2))
    text = pc.binary_join_element_wise(first, second, " ")
    # Cleaning would drop the number sign: #120 is suite 120.
    text = pc.replace_substring(text, "#", " STE ")
    text = _replace_words(_join_single_characters(clean(text)), "street_words.txt")
    text = _where(pc.match_substring_regex(text, "BOX|PO"), text, _write_boxes)
    return _where(pc.match_substring(text, "STE"), text, _write_floors)


def _write_boxes(text: pa.Array) -> pa.Array:
    text = pc.replace_substring_regex(text, r"\b(?:POST OFFICE BOX|POB|PO BOX|PO DRAWER) ([0-9]+)\b", r"PO BOX \1")
    # Drop a PO box next to a street.
    return pc.replace_substring_regex(text, r"^([0-9]+ .*[A-Z].*) PO BOX [0-9]+$", r"\1")


def _write_floors(text: pa.Array) -> pa.Array:
    """Write 3RD STE (third floor) and STE 3RD as STE 3."""
    text = pc.replace_substring_regex(text, r"\b([0-9]+)(?:ST|ND|RD|TH) STE\b", r"STE \1")
    return pc.replace_substring_regex(text, r"\bSTE ([0-9]+)(?:ST|ND|RD|TH)\b", r"STE \1")


def _without_suites(words: pa.Array) -> pa.Array:
    return pc.utf8_trim(pc.replace_substring_regex(words, _SUITE, ""), " ")


def _suites(words: pa.Array) -> pa.Array:
    """Return the numbers and letters of the suites, separated by spaces."""
    marked = pc.replace_substring_regex(words, _SUITE, rf"{_MARK}\1\2\3{_END}")
    return pc.utf8_trim(pc.replace_substring_regex(marked, rf"(?:^|{_END})[^{_MARK}]*(?:{_MARK}|$)", " "), " ")


def normalise_cities(cities: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return city names with common words abbreviated: string array of the same length, null if empty."""
    return _null_if_empty(_replace_words(clean(cities), "city_words.txt"))


def normalise_codes(codes: pa.Array | pa.ChunkedArray, pattern: str) -> pa.Array:
    """Identifiers and state or ZIP codes: upper case, trimmed, null unless the whole code fits ``pattern``."""
    text = pc.utf8_upper(pc.utf8_trim_whitespace(_text(codes)))
    fits = pc.match_substring_regex(text, f"^(?:{pattern})$")
    return pc.if_else(fits, text, pa.scalar(None, pa.string()))


def clean(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the texts in A-Z, 0-9 and single spaces: other letters transliterated, & written AND."""
    text = _without_entities(_text(texts))
    text = _where(pc.invert(pc.string_is_ascii(text)), text, lambda part: _latin(_resolve_letters(part)))
    text = pc.replace_substring(pc.utf8_upper(text), "&", " AND ")
    # Apostrophes go without a space: HALL'S is HALLS.
    text = pc.replace_substring_regex(text, "['`]", "")
    return _collapse(text)


def _without_entities(text: pa.Array) -> pa.Array:
    return _where(pc.match_substring(text, ";"), text, _resolve_entities)  # entities end with it, and few names have it


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
    """Return the texts in capitals without accents and signs, and without legal forms in other scripts."""
    for line in words.lines("letters.txt"):
        sign, _, replacement = line.partition(" ")
        text = pc.replace_substring(text, sign, replacement or " ")
    text = pc.replace_substring_regex(text, r"[’‘ʼʻ´\p{Cf}]", "")
    text = pc.replace_substring_regex(pc.utf8_normalize(text, form="NFKD"), _ACCENTS, "")
    text = pc.utf8_upper(pc.utf8_normalize(text, form="NFKC"))
    text = pc.replace_substring_regex(text, _SIGNS, " ")
    return _where(pc.invert(pc.string_is_ascii(text)), text, _drop_foreign_legal_forms)


def _drop_foreign_legal_forms(text: pa.Array) -> pa.Array:
    """Drop a legal form at the start and at the end, unless nothing else remains."""
    spaced, joined = words.foreign_legal_forms()
    rest = pc.utf8_trim_whitespace(text)
    for pattern in (
        rf"^(?:{spaced}){_ASCII_SIGNS}+|^(?:{joined})",
        rf"{_ASCII_SIGNS}+(?:{spaced}){_ASCII_SIGNS}*$|(?:{joined})$",
    ):
        rest = pc.replace_substring_regex(rest, pattern, "")
    return pc.if_else(pc.match_substring_regex(rest, r"[A-Z0-9\x{80}-\x{10FFFF}]"), rest, text)


def _as_two_letters(text: pa.Array) -> pa.Array:
    text = pc.utf8_upper(pc.utf8_normalize(text, form="NFC"))
    for letter, spelled in _TWO_LETTERS.items():
        text = pc.replace_substring(text, letter, spelled)
    return text


def _latin(text: pa.Array) -> pa.Array:
    """Transliterate letters of other scripts. Words of Chinese characters stay one word: syllables have no meaning."""
    return _where(pc.invert(pc.string_is_ascii(text)), text, _transliterate)


def _transliterate(text: pa.Array) -> pa.Array:
    from anyascii import anyascii

    encoded = pc.dictionary_encode(text)
    return pa.array([anyascii(each) for each in encoded.dictionary.to_pylist()], pa.string()).take(encoded.indices)


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
