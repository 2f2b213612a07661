"""Which words of a company's name a recipient's name bears, and how much each of them says: for explanations.

Covers single pairs, told word by word. Does not decide how alike the names are (``compare``) nor what that is worth
(``weights``): both are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from enrich_dist.matching.blocking import Prepared, prepare
from enrich_dist.matching.index import CompanyIndex
from enrich_dist.matching.text_arrays import Ints
from enrich_dist.matching.vocabulary import Vocabulary
from enrich_dist.matching.weights import Floats, name_information
from enrich_dist.schema import NameLevel

AGREES, WRITTEN_OTHERWISE, MISTYPED, MISSING = "agrees", "written otherwise", "mistyped", "missing"


@dataclass(frozen=True)
class Word:
    """A word of the company's name.

    ``bits``: what it says that both names bear it; ``bearers``: recipients that bear it, those with a company's very
    name left out; ``agreement``: AGREES, WRITTEN_OTHERWISE, MISTYPED or MISSING.
    """

    text: str
    bits: float
    bearers: int
    agreement: str


@dataclass(frozen=True)
class SharedWords:
    """Both names in their normal form, the company's word by word, and the words that the recipient's has besides."""

    company_name: str
    recipient_name: str
    words: tuple[Word, ...]
    further: tuple[str, ...]


@dataclass(frozen=True)
class ComparedNames:
    """Names of a pair: ``row`` of the recipients; ``name_code``, ``name_kind`` and ``name_level`` of its comparison."""

    row: int
    name_code: int
    name_kind: int
    name_level: int


def word_information(concepts: Mapping[int, int], recipients: int, vocabulary: Vocabulary) -> Floats:
    """Bits of each concept, float64: those that a name of this word alone has. Arguments as in ``name_information``."""
    count = vocabulary.concept_count
    words = {"name_token_starts": np.arange(count + 1), "name_tokens": np.arange(count)}
    return name_information(concepts, recipients, replace(vocabulary, arrays={**vocabulary.arrays, **words}))


def shared_words(
    index: CompanyIndex,
    recipients: pa.Table,
    pairs: Sequence[ComparedNames],
    information: Floats,
    bearers: Mapping[int, int],
) -> list[SharedWords | None]:
    """What the names of the pairs share, None for a pair without a name on a side.

    ``recipients``: ``schema.RECIPIENT``; where the alternate names are unknown, a pair that agrees by one is None, too.
    ``information``: of ``word_information``; ``bearers``: recipients by concept.
    """
    if not pairs:
        return []
    batch = prepare(index, recipients)
    names = _Names(index, batch, information, bearers)
    return [_best(names, pair) for pair in pairs]


class _Names:
    """Names of both sides as words with their concepts."""

    def __init__(self, index: CompanyIndex, batch: Prepared, information: Floats, bearers: Mapping[int, int]) -> None:
        self.index = index
        self.batch = batch
        self.information = information
        self.bearers = bearers

    def of_recipient(self, row: int, kind: int) -> Ints:
        """Positions in ``batch.names`` of the recipient's names of the kind."""
        chosen = (self.batch.name_rows == row) & (self.batch.name_kinds == kind)
        return np.unique(self.batch.name_ids[chosen])

    def compare(self, name: int, code: int, level: int) -> SharedWords:
        """A name of the recipient and one of the company's."""
        ours, theirs = self.index.names.texts[code].as_py(), self.batch.names[name].as_py()
        first, last = self.index.vocabulary.arrays["name_token_starts"][code : code + 2]
        concepts = self.index.vocabulary.arrays["name_tokens"][first:last].tolist()
        tokens = _Tokens.of(self.batch.tokens, name, theirs.split(" "))
        words = [
            Word(text, float(self.information[concept]), self.bearers.get(concept, 0), tokens.take(concept, level))
            for text, concept in zip(ours.split(" "), concepts, strict=True)
        ]
        further = tokens.left() if level < NameLevel.SPELLING_VARIANT else ()
        return SharedWords(ours, theirs, tuple(words), further)


@dataclass
class _Tokens:
    """Words of a recipient's name, each of which agrees with one word of a company's at most."""

    texts: list[str]
    concepts: list[int]
    typos: list[list[int]]

    @classmethod
    def of(cls, tokens: tuple[Any, ...], name: int, texts: list[str]) -> _Tokens:
        starts, concepts, _, typo_starts, typos = tokens[:5]
        places = range(starts[name], starts[name + 1])
        near = [typos[typo_starts[at] : typo_starts[at + 1]].tolist() for at in places]
        return cls(list(texts), [int(concepts[at]) for at in places], near)

    def take(self, concept: int, level: int) -> str:
        """How the concept occurs here; the word that bears it is spent."""
        for found, agreement in (
            ([own == concept for own in self.concepts], AGREES),
            ([concept in near for near in self.typos], MISTYPED),
        ):
            if True in found:
                at = found.index(True)
                for column in (self.texts, self.concepts, self.typos):
                    del column[at]
                return agreement
        if level >= NameLevel.SPELLING_VARIANT:
            return WRITTEN_OTHERWISE
        return MISTYPED if level == NameLevel.TYPO else MISSING

    def left(self) -> tuple[str, ...]:
        return tuple(self.texts)


def _best(names: _Names, pair: ComparedNames) -> SharedWords | None:
    """The comparison of the recipient's name of that kind that shares most."""
    if pair.name_code < 0:
        return None
    theirs = names.of_recipient(pair.row, pair.name_kind).tolist()
    found = [names.compare(name, pair.name_code, pair.name_level) for name in theirs]
    if not found:
        return None
    return max(found, key=lambda shared: (_agreeing(shared), -len(shared.further), shared.recipient_name))


def _agreeing(shared: SharedWords) -> float:
    return sum(word.bits for word in shared.words if word.agreement in (AGREES, MISTYPED))
