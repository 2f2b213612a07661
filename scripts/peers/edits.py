"""Edits that real records show, to write a record again as another source would.

``learn`` reads pairs of two spellings of one value and keeps what changed: replaced, added and dropped words, and
typing errors. ``Edits.apply`` makes such changes to another text. Nothing is taken from the matcher's word lists, so
that the matcher is not measured by its own rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

import numpy as np

from scripts.peers.methods import LEGAL_FORMS

Words = tuple[str, ...]
Edit = tuple[Words, Words, bool]
"""Words before, words after, and whether they are the last ones of the text."""

MIN_EQUAL: Final = 0.5
"""Minimum share of equal words: below it the two values are not spellings of one."""
MAX_WORDS: Final = 3
MIN_TYPO_LETTERS: Final = 5
TYPO: Final[Edit] = (("typo",), ("typo",), False)
MAX_DIRECTION: Final = 2
SUITES: Final = frozenset({"STE", "SUITE", "UNIT", "BLDG", "RM", "ROOM", "FLOOR", "FL", "#"})
_PARTS: Final = re.compile(r"[^\W_]+|[^\w\s]|_")
_ATTEMPTS: Final = 300


def split(text: str) -> Words:
    """Return words and punctuation, in upper case."""
    return tuple(_PARTS.findall(text.upper()))


def join(parts: Iterable[str]) -> str:
    """Write words and punctuation as a text."""
    text = " ".join(parts)
    text = re.sub(r" ([,.;:)\]])", r"\1", text)
    text = re.sub(r"([(\[]) ", r"\1", text)
    text = re.sub(r"(?<=\w) ?(['/-]) ?(?=\w)", r"\1", text)
    return re.sub(r"\.(?=[A-Z]\.)", ".", text)


def is_name_spelling(edit: Edit) -> bool:
    """Return whether the edit of a name leaves the organisation: no word comes or goes, except legal forms."""
    before, after, _ = edit
    if not before or not after:
        return not plain_words(before + after)
    return edit == TYPO or _is_other_form(before, after)


def is_address_spelling(edit: Edit) -> bool:
    """Return whether the edit of a street leaves the site: no other number; a suite may come or go."""
    before, after, _ = edit
    if not before or not after:
        changed = before + after
        return len("".join(changed)) <= MAX_DIRECTION or changed[0] in SUITES
    return edit == TYPO or _is_other_form(before, after)


def plain_words(parts: Words) -> list[str]:
    """Return the words that are neither punctuation nor legal forms."""
    return [word for word in parts if word[0].isalnum() and word not in LEGAL_FORMS]


def _is_other_form(before: Words, after: Words) -> bool:
    """Whether one is an abbreviation or another notation of the other."""
    if {*before, *after} <= LEGAL_FORMS:
        return True
    old, new = "".join(before), "".join(after)
    if re.findall(r"\d+", old) != re.findall(r"\d+", new):
        return False
    if len(old) == len(new) == 1:
        return not (old.isalnum() and new.isalnum())
    return old[0] == new[0] and (_contains(old, new) or _contains(new, old))


def _contains(long: str, short: str) -> bool:
    """Whether the letters of ``short`` appear in this order in ``long``, as those of an abbreviation do."""
    letters = iter(long)
    return all(letter in letters for letter in short)


@dataclass(frozen=True)
class Edits:
    """Observed edits, repeated as often as observed, and the observed numbers of edits of a changed value."""

    edits: tuple[Edit, ...]
    counts: tuple[int, ...]

    def only(self, keep: Callable[[Edit], bool]) -> Edits:
        """Return the edits that ``keep`` accepts."""
        return Edits(tuple(edit for edit in self.edits if keep(edit)), self.counts)

    def apply(self, text: str, rng: np.random.Generator) -> str:
        """Make as many edits as a real record has; fewer where no observed edit fits the text."""
        if not self.edits:
            return text
        parts = split(text)
        for _ in range(self.counts[int(rng.integers(len(self.counts)))]):
            parts = self._once(parts, rng)
        return join(parts)

    def _once(self, parts: Words, rng: np.random.Generator) -> Words:
        for at in rng.integers(len(self.edits), size=_ATTEMPTS):
            edit = self.edits[int(at)]
            changed = _typo(parts, rng) if edit == TYPO else _replace(parts, edit, rng)
            if changed is not None:
                return changed
        return parts


def learn(pairs: Iterable[tuple[str, str]]) -> Edits:
    """Return the edits of pairs whose values have at least half of their words in common, in both directions."""
    edits: list[Edit] = []
    counts: list[int] = []
    for first, second in pairs:
        for old, new in ((split(first), split(second)), (split(second), split(first))):
            matcher = SequenceMatcher(None, old, new, autojunk=False)
            if old == new or matcher.ratio() < MIN_EQUAL:
                continue
            found = [
                _edit(old[i:j], new[k:m], j == len(old))
                for kind, i, j, k, m in matcher.get_opcodes()
                if kind != "equal" and max(j - i, m - k) <= MAX_WORDS
            ]
            if found:
                edits.extend(found)
                counts.append(len(found))
    return Edits(tuple(edits), tuple(counts))


def _edit(before: Words, after: Words, last: bool) -> Edit:
    if len(before) == len(after) == 1:
        old, new = before[0], after[0]
        if min(len(old), len(new)) >= MIN_TYPO_LETTERS and old.isalpha() and new.isalpha():
            same = SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
            if max(len(old), len(new)) - sum(block.size for block in same) <= 2:
                return TYPO
    return before, after, last


def _replace(parts: Words, edit: Edit, rng: np.random.Generator) -> Words | None:
    before, after, last = edit
    if not before:
        # No second legal form behind the first.
        if not last or not parts or (parts[-1] in LEGAL_FORMS and LEGAL_FORMS & {*after}):
            return None
        return (*parts, *after)
    size = len(before)
    places = [at for at in range(len(parts) - size + 1) if parts[at : at + size] == before]
    if last:
        places = [at for at in places if at + size == len(parts)]
    if not places or (size == len(parts) and not after):
        return None
    at = places[int(rng.integers(len(places)))]
    return (*parts[:at], *after, *parts[at + size :])


def _typo(parts: Words, rng: np.random.Generator) -> Words | None:
    """A letter dropped, doubled, exchanged with its neighbour or replaced, not the first one of a long word."""
    words = [at for at, word in enumerate(parts) if len(word) >= MIN_TYPO_LETTERS and word.isalpha()]
    if not words:
        return None
    at = words[int(rng.integers(len(words)))]
    word = parts[at]
    letter = int(rng.integers(1, len(word) - 1))
    other = "AEIOULNRST"[int(rng.integers(10))]
    changed = (
        word[:letter] + word[letter + 1 :],
        word[:letter] + word[letter] + word[letter:],
        word[:letter] + word[letter + 1] + word[letter] + word[letter + 2 :],
        word[:letter] + other + word[letter + 1 :],
    )[int(rng.integers(4))]
    return (*parts[:at], changed, *parts[at + 1 :])
