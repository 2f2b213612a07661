"""Differences between real spellings of one organisation's name, each as a change to a column.

Every kind and its weight come from pairs of real records (see ``shares``). ``NAME_ERRORS`` change the content of a
name; the styles (``respell_legal``, ``respell_marks``, ``space_initials``) change how it is written, which a comparison
of names should ignore. A change that is not possible leaves the name as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scripts.generator.draws import Ints, Keys, below, chance, flags, letters_of, picked, strings, where
from scripts.generator.names import NameModel, split_legal

Change = Callable[[Keys, pa.Array, NameModel], pa.Array]

CUT_AT: Final = 30
GENERIC: Final = pa.array(
    [
        "GROUP", "HOLDINGS", "SYSTEMS", "TECHNOLOGIES", "TECHNOLOGY", "SOLUTIONS", "SERVICES", "SCIENCE", "LABS",
        "RESEARCH", "ENTERPRISES", "VENTURES", "NETWORKS", "ENGINEERING", "INTERNATIONAL", "ASSOCIATES", "INDUSTRIES",
        "PRODUCTS", "CONSULTING", "MANAGEMENT", "DEFENSE", "AEROSPACE", "MEDICAL", "MANUFACTURING", "CONSTRUCTION",
    ]
)  # fmt: skip
"""Words that companies add, drop and exchange at the end of their names."""
ABBREVIATIONS: Final = {
    "AMERICAN": "AMER", "ASSOCIATES": "ASSOC", "ASSOCIATION": "ASSN", "CENTER": "CTR", "COMMUNICATIONS": "COMM",
    "CONSTRUCTION": "CONST", "DEVELOPMENT": "DEV", "ELECTRONICS": "ELEC", "ENGINEERING": "ENGR", "ENTERPRISES": "ENT",
    "ENVIRONMENTAL": "ENV", "EQUIPMENT": "EQUIP", "INDUSTRIES": "IND", "INSTITUTE": "INST", "INTERNATIONAL": "INTL",
    "LABORATORIES": "LABS", "LABORATORY": "LAB", "MANAGEMENT": "MGMT", "MANUFACTURING": "MFG", "NATIONAL": "NATL",
    "SCIENCES": "SCI", "SERVICES": "SVCS", "SYSTEMS": "SYS", "TECHNOLOGIES": "TECH", "TECHNOLOGY": "TECH",
    "UNIVERSITY": "UNIV",
}  # fmt: skip
_LEGAL_STYLES: Final = pa.array(["", " INC", ", INC.", " INCORPORATED", " LLC", ", LLC", " CORPORATION", " CORP"])


@dataclass(frozen=True)
class Error:
    """A way to change a name."""

    kind: str
    change: Change
    keeps_evidence: bool = True
    """Whether the changed name still identifies the true one."""


def cut(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Keep the first 30 characters, as old systems did, unless only the legal form is cut."""
    del keys, model
    short = pc.utf8_rtrim(pc.utf8_slice_codeunits(names, 0, CUT_AT), " ,")
    whole = flags(pc.equal(split_legal(short)[0], split_legal(names)[0]))
    return where(whole, names, short)


def add_word(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Add a generic word before the legal form."""
    del model
    core, legal = split_legal(names)
    return pc.binary_join_element_wise(core, " ", picked(keys, "added", GENERIC), legal, "")


def drop_word(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Drop the generic word before the legal form."""
    del keys, model
    core, legal = split_legal(names)
    start, last = _last_word(core)
    shorter = pc.binary_join_element_wise(pc.utf8_rtrim(start, " ,"), legal, "")
    return where(_is_generic(last) & flags(pc.not_equal(start, "")), shorter, names)


def swap_word(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Replace the generic word before the legal form."""
    del model
    core, legal = split_legal(names)
    start, last = _last_word(core)
    other = pc.binary_join_element_wise(start, picked(keys, "swapped", GENERIC), legal, "")
    return where(_is_generic(last) & flags(pc.not_equal(start, "")), other, names)


def add_parent(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Put the name of a parent in front."""
    return pc.binary_join_element_wise(model.beginnings(keys), names, " ")


def trade_name(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Add a second name: after DBA, before DBA, or with the name in brackets."""
    other = model.beginnings(keys)
    return pc.choose(
        pa.array(below(keys, "trade name", 3)),
        pc.binary_join_element_wise(names, " DBA ", other, ""),
        pc.binary_join_element_wise(other, " DBA ", names, ""),
        pc.binary_join_element_wise(other, " (", names, ")", ""),
    )


def mistype(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Omit a letter (three in four) or swap it with the next, in a word of at least five letters."""
    del model
    core, legal = split_legal(names)
    starts, letters = letters_of(core)
    alphabetic = (letters >= ord("A")) & (letters <= ord("Z"))
    # Only a letter with two letters before and after it in its word.
    inside = alphabetic.copy()
    for distance in (1, 2):
        inside[distance:] &= alphabetic[:-distance]
        inside[:-distance] &= alphabetic[distance:]
        inside[:distance] = False
        inside[-distance:] = False
    where_inside = np.flatnonzero(inside)
    first = np.searchsorted(where_inside, starts[:-1] + 2)
    last = np.searchsorted(where_inside, starts[1:] - 2)
    possible = last > first
    chosen = where_inside[np.minimum(first + below(keys, "typo", np.maximum(last - first, 1)), len(where_inside) - 1)]
    omitted = chance(keys, "left out", 0.75)
    exchange = chosen[possible & ~omitted]
    letters = letters.copy()
    letters[exchange], letters[exchange + 1] = letters[exchange + 1].copy(), letters[exchange].copy()
    kept = np.ones(len(letters), dtype=bool)
    kept[chosen[possible & omitted]] = False
    lengths = np.diff(starts) - (possible & omitted)
    typed = strings(np.concatenate([[0], np.cumsum(lengths)]), letters[kept])
    return where(possible, pc.binary_join_element_wise(typed, legal, ""), names)


def inflect(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Change the last word from singular to plural or back."""
    del keys, model
    core, legal = split_legal(names)
    plural = flags(pc.match_substring_regex(core, "[A-Z]{3}[B-RT-Z]S$"))
    singular = flags(pc.match_substring_regex(core, "[A-Z]{3}[B-HJ-RT-Z]$")) & ~plural
    other = where(plural, pc.utf8_slice_codeunits(core, 0, -1), pc.binary_join_element_wise(core, "S", ""))
    return where(plural | singular, pc.binary_join_element_wise(other, legal, ""), names)


def abbreviate(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Abbreviate one word: a common one as usual, or (one in two) a long last one to its first letters."""
    del model
    core, legal = split_legal(names)
    start, last = _last_word(core)
    beginning = pc.choose(
        pa.array(below(keys, "letters", 3)), *(pc.utf8_slice_codeunits(last, 0, length) for length in (3, 4, 5))
    )
    by_letters = flags(pc.match_substring_regex(last, "^[A-Z]{7,}$")) & chance(keys, "by letters", 0.5)
    by_letters &= flags(pc.not_equal(start, ""))
    changed = where(by_letters, pc.binary_join_element_wise(start, beginning, legal, ""), names)
    done = by_letters
    for word, short in ABBREVIATIONS.items():
        shorter = pc.replace_substring_regex(names, rf"\b{word}\b", short, max_replacements=1)
        fits = flags(pc.not_equal(shorter, names)) & ~done
        changed = where(fits, shorter, changed)
        done = done | fits
    return changed


def initials(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Keep the first letters of three words or more."""
    del keys, model
    core, legal = split_legal(names)
    short = pc.replace_substring_regex(core, r"\b(?:AND|OF|THE|FOR)\b|[^A-Z0-9 ]", "")
    short = pc.replace_substring_regex(short, r"([A-Z0-9])[A-Z0-9]* *", r"\1")
    short = pc.utf8_trim_whitespace(short)
    return where(
        flags(pc.greater_equal(pc.utf8_length(short), 3)), pc.binary_join_element_wise(short, legal, ""), names
    )


def join_words(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Join the first two words, or (one in three) split the first."""
    del model
    joined = pc.replace_substring_regex(names, r"^([A-Z]{2,}) ([A-Z]{2,} )", r"\1\2", max_replacements=1)
    split = pc.replace_substring_regex(names, r"^([A-Z]{3,4})([A-Z]{4})", r"\1 \2", max_replacements=1)
    return where(chance(keys, "split", 1 / 3), split, joined)


def reorder(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Swap the first two words."""
    del keys, model
    return pc.replace_substring_regex(names, r"^([A-Z]{2,}) ([A-Z]{2,}) ([A-Z])", r"\2 \1 \3")


def rename(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Replace the name."""
    del names
    return model.coin(keys)


def respell_legal(keys: Keys, names: pa.Array) -> pa.Array:
    """Change the legal form or its spelling, or drop it."""
    core, legal = split_legal(names)
    style = below(keys, "legal style", len(_LEGAL_STYLES))
    other = _LEGAL_STYLES.take(pa.array(style))
    other = where(flags(pc.equal(other, legal)), _LEGAL_STYLES.take(pa.array((style + 1) % len(_LEGAL_STYLES))), other)
    return pc.binary_join_element_wise(pc.utf8_rtrim(core, " ,"), other, "")


def respell_marks(keys: Keys, names: pa.Array) -> pa.Array:
    """Drop commas and full stops, or put a comma before the legal form if there are none."""
    del keys
    bare = pc.replace_substring_regex(names, "[.,]", "")
    comma = pc.replace_substring_regex(names, "^(.*[A-Z0-9]) (INC|LLC|CORP|LTD|INCORPORATED|CORPORATION)$", r"\1, \2")
    return where(flags(pc.not_equal(bare, names)), bare, comma)


def space_initials(names: pa.Array) -> pa.Array:
    """Separate the letters of a first word of two or three letters."""
    spaced = pc.replace_substring_regex(names, "^([A-Z])([A-Z]) ", r"\1 \2 ")
    return pc.replace_substring_regex(spaced, "^([A-Z])([B-DF-HJ-NP-TV-Z])([A-Z]) ", r"\1 \2 \3 ")


def _last_word(core: pa.Array) -> tuple[pa.Array, pa.Array]:
    """All but the last word, and the last word."""
    start = pc.replace_substring_regex(core, "[^ ]*$", "")
    return start, pc.replace_substring_regex(core, "^.* ", "")


def _is_generic(words: pa.Array) -> np.typing.NDArray[np.bool_]:
    return flags(pc.is_in(words, value_set=GENERIC))


NAME_ERRORS: Final = {
    error.kind: error
    for error in (
        Error("cut", cut),
        Error("word_added", add_word),
        Error("word_dropped", drop_word),
        Error("word_swapped", swap_word),
        Error("parent_added", add_parent),
        Error("trade_name", trade_name),
        Error("typo", mistype),
        Error("inflection", inflect),
        Error("abbreviation", abbreviate),
        Error("initials", initials, keeps_evidence=False),
        Error("joined", join_words),
        Error("order", reorder),
        Error("renamed", rename, keeps_evidence=False),
    )
}


def assign(keys: Keys, eligible: dict[str, np.typing.NDArray[np.bool_]], counts: dict[str, int]) -> Ints:
    """Return the error of each row as the position in ``counts``, -1 for none.

    Kinds with few eligible rows choose first, each at random, so that each reaches its count if enough rows are
    eligible.
    """
    which = np.full(len(keys), -1, dtype=np.int64)
    order = np.argsort(keys, kind="stable")
    kinds = list(counts)
    for kind in sorted(kinds, key=lambda kind: (int(eligible[kind].sum()), kind)):
        free = order[(eligible[kind] & (which < 0))[order]]
        which[free[: counts[kind]]] = kinds.index(kind)
    return which
