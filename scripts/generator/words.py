"""Rare words without limit: real ones first, then coined ones that resemble them.

In real lists of names, words that occur once or twice never run out. Here a rare word is a rank with a heavy tail. The
first ranks are the rare words of the sample; every later rank is spelled letter by letter, with the letter frequencies
of the sample's words. So a rank always has the same word, and no list of words grows with the number of names.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scripts.generator.draws import Flags, Floats, Ints, Keys, keys_of, letters_of, mix, strings, uniform

_LETTERS = 27  # A to Z, and the end of a word
_SHORTEST, _LONGEST = 5, 14
_RARER = 1_000.0


@dataclass(frozen=True)
class Speller:
    """The probability of each letter after the three letters before it."""

    ends: Floats
    """Cumulative shares of the next letter, ``_LETTERS`` per context. The number of the context is added to each, so
    that one search over the whole array finds the letter."""

    @classmethod
    def of(cls, words: pa.Array) -> Speller:
        """Learn from the words that contain only letters. Raises ``ValueError`` without any of four letters."""
        plain = words.filter(pc.match_substring_regex(words, "^[A-Z]{4,}$"))
        if not len(plain):
            raise ValueError("no words of four letters to learn spelling from")
        starts, letters = letters_of(pc.binary_join_element_wise(plain, "", "@"))  # @ precedes A in ASCII
        codes = letters.astype(np.int64) - ord("@")
        lengths = np.diff(starts)
        position = np.arange(len(codes)) - np.repeat(starts[:-1], lengths)
        context = np.zeros(len(codes), dtype=np.int64)
        for back in (3, 2, 1):
            earlier = np.where(position >= back, np.roll(codes, back), 0)
            context = context * _LETTERS + earlier
        counts = np.bincount(context * _LETTERS + codes, minlength=_LETTERS**4).reshape(-1, _LETTERS)
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.cumsum(counts, axis=1) / np.maximum(totals, 1)
        return cls(ends=(shares + np.arange(len(shares))[:, None]).ravel())

    def spell(self, keys: Keys, longer: Flags) -> pa.Array:
        """Return one word per key. ``longer``: at least two letters longer, so that few words are equal."""
        spelled = np.zeros((len(keys), _LONGEST), dtype=np.uint8)
        context = np.zeros(len(keys), dtype=np.int64)
        open_words = np.arange(len(keys))
        for position in range(_LONGEST):
            current = context[open_words]
            share = uniform(keys[open_words], f"letter {position}")
            # A short word continues: the end is excluded, unless the context allows nothing else.
            short = position < _SHORTEST + 2 * longer[open_words]
            end = np.where(short, self.ends[current * _LETTERS] - current, 0.0)
            share = end + share * (1.0 - end)
            letter = np.searchsorted(self.ends, current + share, side="right") - current * _LETTERS
            letter = np.where(letter < _LETTERS, letter, 0)
            continues = letter > 0
            open_words, letter = open_words[continues], letter[continues]
            spelled[open_words, position] = letter + ord("@")
            context[open_words] = current[continues] % _LETTERS**2 * _LETTERS + letter
        lengths = np.count_nonzero(spelled, axis=1)
        return strings(np.concatenate([[0], np.cumsum(lengths)]), spelled[spelled > 0])


@dataclass(frozen=True)
class RareWords:
    """The rare words of one position in a name: the distribution of ranks, and the word of each rank."""

    known: pa.Array
    speller: Speller
    scale: float
    tail: float

    @classmethod
    def of(cls, words: pa.Array, speller: Speller, *, scale: float, tail: float) -> RareWords:
        """``words``: the distinct rare words of the sample. ``scale`` and ``tail``: how fast new words appear."""
        order = np.argsort(keys_of(np.arange(len(words)), 0, "order of rare words"), kind="stable")
        return cls(known=words.take(pa.array(order)), speller=speller, scale=scale, tail=tail)

    def draw(self, keys: Keys, rarer: Flags) -> pa.Array:
        """Return one word per key. ``rarer``: almost certainly new, for names of one word."""
        ranks = self._ranks(keys, np.where(rarer, _RARER, 1.0))
        known = ranks < len(self.known)
        words = self.known.take(pa.array(np.where(known, ranks, 0)))
        coined = self.speller.spell(mix(ranks[~known].astype(np.uint64), "spelling"), rarer[~known])
        return pc.replace_with_mask(words, pa.array(~known), coined)

    def _ranks(self, keys: Keys, factor: Floats) -> Ints:
        draw = np.maximum(uniform(keys, "rank"), 2.0**-53)
        # The limit keeps the result within 64 bits; two draws hardly ever reach it.
        return np.minimum(factor * self.scale * (draw ** (-1.0 / self.tail) - 1.0), 2.0**62).astype(np.int64)
