"""Coined names: a distinctive beginning, an ordinary end, and new words.

A name is the beginning of one real name and the end of another with as many words. Words that are rare in the sample
are drawn from ``RareWords`` instead of copied, so that the vocabulary grows with the number of names as in the sample.
Covers the length, legal forms, punctuation and word frequencies of the sample's names. Does not cover meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scripts.generator.draws import Flags, Ints, Keys, below, chance, flags, letters_of, mix, strings, where
from scripts.generator.words import RareWords, Speller

_RARE: Final = 2
"""Maximum occurrences of a rare word in its position (beginning or rest) in the sample."""

# Growth of the vocabulary, fitted to the sample. Of the first words of its 81,751 distinct names, 41% occur once or
# twice; 10,000, 30,000 and all names have 7,074, 17,593 and 38,615 different ones (growth with the power 0.78). Of the
# other words 7% are rare; 26,660, 79,985 and 217,803 of them include 4,857, 10,130 and 19,312 different ones (power
# 0.64). With a tail of exponent t, the number of different words grows with the power 1 / (1 + t).
_FIRST_SCALE, _FIRST_TAIL = 700.0, 0.282
_OTHER_SCALE, _OTHER_TAIL = 2_400.0, 0.553

# The distinctive beginning includes articles, saints and initials before it, and a partner after & or OF.
_BEGINNING: Final = (
    r"^(?P<head>(?:(?:THE|NEW|SAN|SANTA|LOS|LAS|ST\.?|FORT|FT\.?|MT\.?|MOUNT|EL|LA|DE|[A-Z]\.?) )*[^ ]+?"
    r"(?: (?:&|AND|OF|AT|FOR) [^ ]+?)?)(?P<link>,?(?: |$))(?P<tail>.*)$"
)
LEGAL_FORM: Final = (
    r"(?:L\.?L\.?C\.?|L L C|INC\.?|INCORPORATED|CORP\.?|CORPORATION|CO\.?|COMPANY|LTD\.?|LIMITED|L\.?P\.?|L\.?L\.?P\.?"
    r"|LIMITED LIABILITY COMPANY|P\.?L\.?L\.?C\.?|P\.?C\.?|THE)"
)
_ONLY_LEGAL: Final = rf"^(?:{LEGAL_FORM},?(?: |$))+$"
_LAST_LEGAL: Final = rf"(?:(?:^|,? +){LEGAL_FORM})+$"
_CLASSES: Final = 4
# Founders avoid existing names, but independent draws would make one in twenty of a million names equal to another. So
# of the names of two words that begin with a common word, a share begins with a rare one instead, and a share of the
# rest has a third word.
_APART: Final = 0.5
_LONGER: Final = 0.5


@dataclass(frozen=True)
class _Parts:
    """The beginnings or the ends of the sample's names as lists of words."""

    starts: Ints
    words: pa.Array
    rare: Flags
    any_rare: Flags
    """Whether a word of the text is rare, per text."""
    marks: pa.Array
    """Punctuation after the word, kept when the word is replaced."""
    fresh: RareWords

    @classmethod
    def of(cls, texts: pa.Array, speller: Speller, *, scale: float, tail: float) -> _Parts:
        split = pc.split_pattern(texts, " ")
        words = split.flatten()
        bare = pc.utf8_trim(words, ".,;:()\"'")
        encoded = bare.dictionary_encode()
        codes = encoded.indices.to_numpy()
        rare_codes = np.bincount(codes, minlength=len(encoded.dictionary)) <= _RARE
        drawable = flags(pc.match_substring_regex(encoded.dictionary, "[A-Z].*[A-Z].*[A-Z]"))
        rare = (rare_codes & drawable)[codes]
        known = encoded.dictionary.filter(pa.array(rare_codes & drawable))
        if not len(known):
            known = pa.array(["NOVARE"])  # a sample of one name repeated has no rare word
        marks = pc.replace_substring_regex(words, r"^.*?([.,;:)]*)$", r"\1")
        starts = np.concatenate([[0], np.cumsum(pc.list_value_length(split).to_numpy())]).astype(np.int64)
        return cls(
            starts=starts,
            words=words,
            rare=rare,
            any_rare=np.logical_or.reduceat(rare, starts[:-1]),
            marks=marks,
            fresh=RareWords.of(known, speller, scale=scale, tail=tail),
        )

    def make(self, which: Ints, keys: Keys, alone: Flags | None = None) -> pa.Array:
        """Return the texts with these numbers, with rare words replaced by the keys.

        ``alone``: where the last word must be rare, because a name of one word is not a common word.
        """
        lengths = self.starts[which + 1] - self.starts[which]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        inside = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
        positions = np.repeat(self.starts[which], lengths) + inside
        words = self.words.take(pa.array(positions))
        last = np.zeros(len(positions), dtype=bool)
        if alone is not None:
            last[starts[1:][alone] - 1] = True
        rare = self.rare[positions] | last
        word_keys = mix(np.repeat(keys, lengths) + inside.astype(np.uint64), "word")[rare]
        marks = self.marks.take(pa.array(positions[rare]))
        fresh = pc.binary_join_element_wise(self.fresh.draw(word_keys, last[rare]), marks, "")
        words = pc.replace_with_mask(words, pa.array(rare), fresh)
        return pc.binary_join(pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), words), " ")


@dataclass(frozen=True)
class NameModel:
    """Coins names from the beginnings and ends of real ones."""

    heads: _Parts
    tails: _Parts
    links: pa.Array
    classes: Ints
    """Words in the end of each real name without legal forms, at most ``_CLASSES - 1``."""
    members: Ints
    """The real names, ordered by class."""
    member_starts: Ints

    @classmethod
    def of(cls, names: pa.Array) -> NameModel:
        """Learn from real names; each spelling counts once. Raises ``ValueError`` without a name of two words."""
        parts = pc.extract_regex(distinct_names(names), _BEGINNING)
        parts = parts.filter(parts.is_valid())
        heads, links, tails = (pc.struct_field(parts, name) for name in ("head", "link", "tail"))
        if not len(heads) or not pc.any(pc.not_equal(tails, "")).as_py():
            raise ValueError("no name of two words to draw from")
        speller = Speller.of(pc.unique(pc.utf8_trim(pc.split_pattern(heads, " ").flatten(), ".,'\"()")))
        content = pc.utf8_trim_whitespace(pc.replace_substring_regex(tails, _LAST_LEGAL, ""))
        count = pc.if_else(pc.equal(content, ""), 0, pc.add(pc.count_substring(content, " "), 1))
        classes = np.minimum(count.to_numpy(), _CLASSES - 1).astype(np.int64)
        members = np.argsort(classes, kind="stable")
        return cls(
            heads=_Parts.of(heads, speller, scale=_FIRST_SCALE, tail=_FIRST_TAIL),
            tails=_Parts.of(tails, speller, scale=_OTHER_SCALE, tail=_OTHER_TAIL),
            links=links,
            classes=classes,
            members=members,
            member_starts=np.searchsorted(classes[members], np.arange(_CLASSES + 1)).astype(np.int64),
        )

    def coin(self, heads: Keys, tails: Keys | None = None, *, words_after: Flags | None = None) -> pa.Array:
        """Return one name per key; equal keys of beginning and end give equal names.

        ``tails``: keys of the ends, by default those of the beginnings. ``words_after``: where the end must contain
        more than the legal form, so that another end gives another name.
        """
        tails = heads if tails is None else tails
        head = below(heads, "head", len(self.classes))
        classes = self.classes[head]
        common = (classes == 1) & ~self.heads.any_rare[head]
        apart = (classes == 0) | (common & chance(heads, "apart", _APART))
        classes = np.where(common & ~apart & chance(heads, "longer", _LONGER), 2, classes)
        if words_after is not None:
            classes = np.where(words_after, np.maximum(classes, 1), classes)
        first, size = self.member_starts[classes], np.diff(self.member_starts)[classes]
        anywhere = size == 0  # a small sample may lack a class
        first, size = np.where(anywhere, 0, first), np.where(anywhere, len(self.members), size)
        tail = self.members[first + below(tails, "tail", size)]
        link = self.links.take(pa.array(tail))
        joined = pc.binary_join_element_wise(
            self.heads.make(head, mix(heads, "head words"), apart),
            link,
            self.tails.make(tail, mix(tails, "tail words")),
            "",
        )
        return pc.utf8_trim(joined, " ,")

    def beginnings(self, keys: Keys) -> pa.Array:
        """Return only beginnings, for names of parents and trade names."""
        return self.heads.make(below(keys, "head", len(self.classes)), mix(keys, "head words"))


def distinct_names(names: pa.Array) -> pa.Array:
    """Return the distinct ASCII names in upper case; two spaces instead of a comma do not make another name."""
    plain = names.filter(pc.fill_null(pc.string_is_ascii(names), False))
    plain = pc.utf8_trim_whitespace(pc.utf8_upper(plain))
    # Descending, so that the spelling with the comma is the first of its group.
    plain = plain.take(pc.array_sort_indices(plain, order="descending"))
    plain = pc.replace_substring_regex(plain, " +", " ")
    key = pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.replace_substring(plain, ",", " "), " +", " "))
    _, first = np.unique(key.dictionary_encode().indices.to_numpy(), return_index=True)
    plain = plain.take(pa.array(first))
    return plain.filter(pc.greater(pc.utf8_length(plain), 0))


def split_legal(names: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Return names without their legal form, and the legal forms with their separators.

    A name that consists of a legal form is kept.
    """
    core = pc.replace_substring_regex(names, _LAST_LEGAL, "")
    has_core = flags(pc.match_substring_regex(core, "[A-Z0-9]"))
    core = where(has_core, core, names)
    starts = pc.utf8_length(core).to_numpy()
    ends = pc.utf8_length(names).to_numpy()
    offsets, letters = letters_of(names)
    position = np.arange(len(letters)) - np.repeat(offsets[:-1], np.diff(offsets))
    kept = position >= np.repeat(starts, np.diff(offsets))
    return core, strings(np.concatenate([[0], np.cumsum(ends - starts)]), letters[kept])
