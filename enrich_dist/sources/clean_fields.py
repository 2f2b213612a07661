"""Vectorised cleaning of identifiers, ZIP codes, dates and numbers.

Each function maps a string array to ``Cleaned`` of the same length. A value that only changes its notation (case,
hyphens, a restored leading zero) has no reason; a value that is lost has one. Most codes are well-formed and are
recognised by their bytes; regular expressions are applied to the others. Does not cover free text (``clean_text``) nor
states and countries (``clean_places``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.sources.clean_text import clean_code, clean_text
from enrich_dist.sources.string_bytes import TEXT_NULL, Characters, Mask, StringBytes, replace_cells

# As GSA publishes the form: without I and O, without a leading zero, without nine digits in a row. The last character
# is a checksum, but how it is computed is not published, so it is not checked.
_UEI_FORM: Final = "^[A-HJ-NP-Z1-9][A-HJ-NP-Z0-9]{11}$"
_UEI_LENGTH: Final = 12
_NINE_DIGITS: Final = "[0-9]{9}"
_UEI_ALPHABET: Final = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
# Forms of placeholders: (distance, steps, minimum). A code is a placeholder if at least this many pairs of characters
# at this distance differ by the same step: XXXXXXXXXXXX, NAXXXXXXXXXX, ABC123DEF456, A1B2C3D4E5F6, TESTTESTTEST. By
# chance that is 1 in 50 million UEIs, and 1 in 300,000 DUNS numbers. None of the 11,266 UEIs and 3,893 DUNS numbers of
# the bundled sample is one.
Forms = Sequence[tuple[int, Sequence[int], int]]
_ANY: Final = (-1, 0, 1)
_UEI_PLACEHOLDERS: Final[Forms] = (
    (1, _ANY, 7), (2, _ANY, 8), (3, (0,), 8), (4, (0,), 8), (5, (0,), 7), (6, (0,), 6),
)  # fmt: skip
_DUNS_PLACEHOLDERS: Final[Forms] = ((1, _ANY, 7), (2, _ANY, 7), (3, (0,), 6))
_DUNS_LENGTH: Final = 9
# Generic numbers of federal procurement data: undisclosed domestic and foreign awardees. That of miscellaneous foreign
# awardees, 123456787, has the form of a placeholder.
_GENERIC_DUNS: Final = ("790238638", "790238851")
_NO_ZIP: Final = ("00000", "99999")
_FIRST_YEAR: Final = 1900
_LAST_YEAR: Final = 2100
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DATE_FORMS: Final = (
    r"^(?P<month>\d{1,2})[-/](?P<day>\d{1,2})[-/](?P<year>\d{4})(?: \d{1,2}:[\d:.]+(?: [AP]M)?)?$",
    r"^(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})(?:[T ]\d\d:[\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?$",
    r"(?i)^(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.? (?P<day>\d{1,2}),? (?P<year>\d{4})$",
)
_NUMBER: Final = r"(?:\d+|\d{1,3}(?:,\d{3})+)"  # commas only where they separate thousands: 1.234,56 is not 1.23456

_RANKS: Final = np.full(256, 100, dtype=np.int8)
_RANKS[[ord(character) for character in _UEI_ALPHABET]] = np.arange(len(_UEI_ALPHABET))


class Cleaned(NamedTuple):
    """``values``: null where empty or lost. ``reasons`` (string): why a value was lost, else null."""

    values: pa.Array
    reasons: pa.Array


def clean_uei(values: pa.Array) -> Cleaned:
    """Clean Unique Entity Identifiers: 12 capitals and digits, or null. Placeholders are lost, too."""
    strings = StringBytes(values)
    digits = strings.between("0", "9")
    outside = ~(strings.between("A", "Z") | digits) | strings.equal("I") | strings.equal("O")
    plain = (strings.lengths == _UEI_LENGTH) & ~strings.cells_with(outside)
    characters = strings.matrix(plain, _UEI_LENGTH)
    with_nine_digits = (characters <= ord("9")).sum(axis=1, dtype=np.int8) >= 9  # perhaps not in a row
    plain[plain] = (characters[:, 0] != ord("0")) & ~with_nine_digits & ~_have_form(characters, _UEI_PLACEHOLDERS)
    return Cleaned(*_clean_others(values, plain, _clean_any_uei))


def _clean_any_uei(values: pa.Array) -> Cleaned:
    given = pc.ascii_upper(clean_code(values))
    formed = pc.and_not(pc.match_substring_regex(given, _UEI_FORM), pc.match_substring_regex(given, _NINE_DIGITS))
    return _keep_identifiers(given, formed, given, "UEI", _UEI_PLACEHOLDERS)


def clean_duns(values: pa.Array) -> Cleaned:
    """Clean DUNS numbers: nine digits, or null. Truncate DUNS+4 to nine digits; restore leading zeros. Placeholders are
    lost, too. Numbers have had no check digit since 2006."""
    strings = StringBytes(values)
    plain = strings.cells_of_digits(_DUNS_LENGTH) & ~_is_in(values, _GENERIC_DUNS)
    plain[plain] = ~_have_form(strings.matrix(plain, _DUNS_LENGTH), _DUNS_PLACEHOLDERS)
    return Cleaned(*_clean_others(values, plain, _clean_any_duns))


def _clean_any_duns(values: pa.Array) -> Cleaned:
    given = clean_code(values)
    digits = pc.replace_substring_regex(pc.replace_substring_regex(given, r"\.0+$", ""), r"[- ]", "")
    length = pc.utf8_length(digits)
    padded = pc.if_else(
        pc.greater(length, 9), pc.utf8_lpad(digits, width=13, padding="0"), pc.utf8_lpad(digits, width=9, padding="0")
    )
    duns = pc.utf8_slice_codeunits(padded, 0, 9)
    formed = pc.match_substring_regex(digits, r"^(?:[0-9]{7,9}|[0-9]{12,13})$")
    return _keep_identifiers(given, formed, duns, "DUNS number", _DUNS_PLACEHOLDERS)


def _keep_identifiers(
    given: pa.Array,
    formed: pa.Array,
    values: pa.Array,
    kind: str,
    placeholders: Forms,
) -> Cleaned:
    """Return ``values`` where they are ``formed`` and no placeholders."""
    formed = pc.fill_null(formed, False)
    mask = np.asarray(formed.to_numpy(zero_copy_only=False), dtype=bool)
    placeholder = mask & _is_in(values, _GENERIC_DUNS)
    strings = StringBytes(values)
    if mask.any():
        width = int(strings.lengths[mask][0])
        placeholder[mask] |= _have_form(strings.matrix(mask, width), placeholders)
    kept = _keep(given, pc.and_not(formed, pa.array(placeholder)), values, f"not a {kind}")
    return Cleaned(kept.values, pc.if_else(pa.array(placeholder), f"a placeholder, not a {kind}", kept.reasons))


def _have_form(characters: Characters, forms: Forms) -> Mask:
    """Return the codes (rows of bytes) with one of the forms of placeholders."""
    ranks = np.ascontiguousarray(_RANKS[characters].T)  # a row per position, to add up whole rows
    found = np.zeros(len(characters), dtype=bool)
    for distance, steps, minimum in forms:
        differences = ranks[distance:] - ranks[:-distance]
        for step in steps:
            found |= np.add.reduce(differences == step, axis=0, dtype=np.int8) >= minimum
    return found


def clean_zip(values: pa.Array) -> tuple[Cleaned, pa.Array]:
    """Split ZIP codes into five digits (``Cleaned``) and the four digits after them (string array), each or null."""
    plain = StringBytes(values).cells_of_digits(5) & ~_is_in(values, _NO_ZIP)
    zip5, reasons, zip4 = _clean_others(values, plain, _clean_any_zip)
    return Cleaned(zip5, reasons), zip4


def _clean_any_zip(values: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array]:
    given = clean_code(values)
    code = pc.replace_substring_regex(given, r"\.0+$", "")
    # Spreadsheets remove the leading zero of New England and Puerto Rico.
    short = pc.match_substring_regex(code, r"^(?:[0-9]{4}|[0-9]{8}|[0-9]{4}-[0-9]{4})$")
    code = pc.if_else(short, pc.binary_join_element_wise("0", code, ""), code)
    # Real files contain "02141-" and "01801-Array": the five digits are correct.
    parts = pc.extract_regex(code, r"^(?P<zip5>[0-9]{5})(?:[- ]*(?P<zip4>[0-9]{4})|-[^0-9]*| *)$")
    zip5 = pc.struct_field(parts, "zip5")
    zip4 = pc.struct_field(parts, "zip4")
    valid = pc.and_not(pc.is_valid(zip5), pc.is_in(zip5, value_set=pa.array(_NO_ZIP)))
    return (
        *_keep(given, valid, zip5, "not a ZIP code"),
        pc.if_else(pc.and_(valid, pc.not_equal(zip4, "")), zip4, TEXT_NULL),
    )


def clean_zip4(values: pa.Array) -> Cleaned:
    """Clean the last four digits of a ZIP code from a separate column: four digits, or null."""
    return Cleaned(*_clean_others(values, StringBytes(values).cells_of_digits(4), _clean_any_zip4))


def _clean_any_zip4(values: pa.Array) -> Cleaned:
    four = pc.replace_substring_regex(clean_text(values), r"\.0+$", "")
    # Some exports repeat all nine digits in this column.
    last = pc.if_else(pc.match_substring_regex(four, "^[0-9]{9}$"), pc.utf8_slice_codeunits(four, 5, 9), four)
    return _keep(four, pc.match_substring_regex(last, "^[0-9]{4}$"), last, "not the last four digits of a ZIP code")


def clean_date(values: pa.Array) -> Cleaned:
    """Parse dates (date32) in the forms month-day-year, year-month-day, or with an English month name."""
    given = clean_code(values)
    parts = {name: pa.nulls(len(given), pa.string()) for name in ("year", "month", "day")}
    for form in _DATE_FORMS:
        found = pc.extract_regex(given, form)
        parts = {name: pc.coalesce(part, pc.struct_field(found, name)) for name, part in parts.items()}
    number = pc.index_in(pc.utf8_lower(pc.utf8_slice_codeunits(parts["month"], 0, 3)), value_set=pa.array(_MONTHS))
    month_text = pc.if_else(pc.is_valid(number), pc.cast(pc.add(number, 1), pa.string()), parts["month"])
    year, month, day = (
        pc.fill_null(pc.cast(part, pa.int64()), 0).to_numpy(zero_copy_only=False)
        for part in (parts["year"], month_text, parts["day"])
    )
    possible = (year >= _FIRST_YEAR) & (year <= _LAST_YEAR) & (month >= 1) & (month <= 12) & (day >= 1)
    months = (np.where(possible, year - 1970, 0) * 12 + np.where(possible, month - 1, 0)).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")
    possible &= days.astype("datetime64[M]") == months  # day 31 of a short month is in the next month
    return _keep(given, pa.array(possible), pa.array(days, pa.date32()), "not a date")


def clean_integer(values: pa.Array, *, lowest: int = 0, highest: int = 2**31 - 1) -> Cleaned:
    """Parse whole numbers (int32) from ``lowest`` to ``highest``, also as ``2018.0`` and ``1,234``."""
    given = clean_code(values)
    formed = pc.match_substring_regex(given, rf"^{_NUMBER}(?:\.0*)?$")
    digits = pc.replace_substring_regex(pc.replace_substring(given, ",", ""), r"\.0*$", "")
    digits = pc.replace_substring_regex(digits, r"^0+([0-9])", r"\1")
    formed = pc.and_(formed, pc.less_equal(pc.utf8_length(digits), 10))
    number = pc.cast(pc.if_else(formed, digits, TEXT_NULL), pa.int64())
    inside = pc.and_(pc.greater_equal(number, lowest), pc.less_equal(number, highest))
    inside = pc.fill_null(inside, False)
    kept = pc.cast(pc.if_else(inside, number, pa.scalar(None, pa.int64())), pa.int32())
    return _keep(given, inside, kept, f"not a whole number from {lowest} to {highest}")


def clean_year(values: pa.Array) -> Cleaned:
    """Parse plausible years (int32) of a federal program."""
    cleaned = clean_integer(values, lowest=_FIRST_YEAR, highest=_LAST_YEAR)
    return Cleaned(cleaned.values, pc.if_else(pc.is_valid(cleaned.reasons), "not a year", TEXT_NULL))


def clean_amount(values: pa.Array) -> Cleaned:
    """Parse dollar amounts (decimal128(18, 2)); half cents are rounded away from zero."""
    given = clean_code(values)
    plain = pc.replace_substring_regex(given, r"^(-?) ?\$ ?", r"\1")
    formed = pc.match_substring_regex(plain, rf"^-?(?:{_NUMBER}(?:\.[0-9]*)?|\.[0-9]+)$")
    # Six decimals are sufficient for rounding and keep the number within 38 digits.
    digits = pc.replace_substring_regex(pc.replace_substring(plain, ",", ""), r"(\.[0-9]{6})[0-9]*$", r"\1")
    digits = pc.replace_substring_regex(digits, r"^(-?)0+([0-9])", r"\1\2")
    digits = pc.replace_substring_regex(digits, r"^(-?)\.", r"\10.")  # group 1, then "0."
    digits = pc.replace_substring_regex(digits, r"\.$", "")
    formed = pc.and_(formed, pc.match_substring_regex(digits, r"^-?[0-9]{1,15}(?:\.|$)"))
    exact = pc.cast(pc.if_else(formed, digits, TEXT_NULL), pa.decimal128(38, 6))
    amount = pc.cast(pc.round(exact, 2, "half_towards_infinity"), pa.decimal128(18, 2))
    return _keep(given, formed, amount, "not an amount")


def _keep(given: pa.Array, valid: pa.Array, values: pa.Array, reason: str) -> Cleaned:
    """Return ``values`` where ``valid``, and ``reason`` where a given cell is not valid."""
    valid = pc.fill_null(valid, False)
    return Cleaned(
        pc.if_else(valid, values, pa.scalar(None, values.type)),
        pc.if_else(pc.and_(pc.is_valid(given), pc.invert(valid)), reason, TEXT_NULL),
    )


def _clean_others(
    values: pa.Array, plain: Mask, clean: Callable[[pa.Array], tuple[pa.Array, ...]]
) -> tuple[pa.Array, ...]:
    """Return ``clean(values)``, applied only to cells that are not ``plain``; plain cells stay, with null reasons."""
    others = np.flatnonzero(~plain & pc.is_valid(values).to_numpy(zero_copy_only=False))
    arrays = clean(values.take(pa.array(others)))
    originals = (values, *(pa.nulls(len(values), array.type) for array in arrays[1:]))
    return tuple(replace_cells(array, others, cleaned) for array, cleaned in zip(originals, arrays, strict=True))


def _is_in(values: pa.Array, codes: Sequence[str]) -> Mask:
    return np.asarray(pc.is_in(values, value_set=pa.array(codes)).to_numpy(zero_copy_only=False), dtype=bool)
