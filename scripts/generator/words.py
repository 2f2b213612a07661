"""Rare words without end: real ones first, then coined ones that look like them.

In real lists of names the words that occur once or twice never run out: the more names, the more new words. Here a
rare word is a rank with a heavy tail; the first ranks are the rare words of the sample, every later rank spells a
word by itself, letter after letter as often as the letters follow each other in the sample's words. So a rank has
the same word always, and no list of words grows with the number of names.
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
    """How likely each letter is after the three before it."""

    ends: Floats
    """Cumulative shares of the next letter, one run of ``_LETTERS`` per context, each raised by the context's number:
    so one search over the whole array finds the letter."""

    @classmethod
    def of(cls, words: pa.Array) -> Speller:
        """Learnt from words of letters only; others are passed over."""
        plain = words.filter(pc.match_substring_regex(words, "^[A-Z]{4,}$"))
        if not len(plain):
            raise ValueError("no words of four letters to learn spelling from")
        starts, letters = letters_of(pc.binary_join_element_wise(plain, "", "@"))  # @ is the sign before A
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
        """One word for each key; ``longer``: of two letters more at least, which few others are spelt like."""
        spelt = np.zeros((len(keys), _LONGEST), dtype=np.uint8)
        context = np.zeros(len(keys), dtype=np.int64)
        open_words = np.arange(len(keys))
        for position in range(_LONGEST):
            current = context[open_words]
            share = uniform(keys[open_words], f"letter {position}")
            # A short word goes on: without the end, the first of each run. A context that only ends words ends it too.
            short = position < _SHORTEST + 2 * longer[open_words]
            end = np.where(short, self.ends[current * _LETTERS] - current, 0.0)
            share = end + share * (1.0 - end)
            letter = np.searchsorted(self.ends, current + share, side="right") - current * _LETTERS
            letter = np.where(letter < _LETTERS, letter, 0)
            goes_on = letter > 0
            open_words, letter = open_words[goes_on], letter[goes_on]
            spelt[open_words, position] = letter + ord("@")
            context[open_words] = current[goes_on] % _LETTERS**2 * _LETTERS + letter
        lengths = np.count_nonzero(spelt, axis=1)
        return strings(np.concatenate([[0], np.cumsum(lengths)]), spelt[spelt > 0])


@dataclass(frozen=True)
class RareWords:
    """The rare words of one place in a name: which rank how often, and how each rank is spelt."""

    known: pa.Array
    speller: Speller
    scale: float
    tail: float

    @classmethod
    def of(cls, words: pa.Array, speller: Speller, *, scale: float, tail: float) -> RareWords:
        """``words`` are the sample's own, each once; ``scale`` and ``tail`` say how fast new ones come."""
        order = np.argsort(keys_of(np.arange(len(words)), 0, "order of rare words"), kind="stable")
        return cls(known=words.take(pa.array(order)), speller=speller, scale=scale, tail=tail)

    def draw(self, keys: Keys, rarer: Flags) -> pa.Array:
        """One word for each key; ``rarer``: where it must tell names apart alone, and is as good as new."""
        ranks = self._ranks(keys, np.where(rarer, _RARER, 1.0))
        known = ranks < len(self.known)
        words = self.known.take(pa.array(np.where(known, ranks, 0)))
        coined = self.speller.spell(mix(ranks[~known].astype(np.uint64), "spelling"), rarer[~known])
        return pc.replace_with_mask(words, pa.array(~known), coined)

    def _ranks(self, keys: Keys, factor: Floats) -> Ints:
        draw = np.maximum(uniform(keys, "rank"), 2.0**-53)
        # The cap is out of reach of any two draws being equal by it, and within 64 bits.
        return np.minimum(factor * self.scale * (draw ** (-1.0 / self.tail) - 1.0), 2.0**62).astype(np.int64)
