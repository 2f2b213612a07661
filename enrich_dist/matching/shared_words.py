"""The words that a company's name shares with a recipient's, and the information of each, to explain single pairs.

Takes the name level (``compare``) and the information (``weights``) as given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from enrich_dist.matching import words
from enrich_dist.matching.arrays import text_buffers
from enrich_dist.matching.blocking import Prepared, prepare
from enrich_dist.matching.index import CompanyIndex
from enrich_dist.matching.kernels import siblings
from enrich_dist.matching.vocabulary import Vocabulary
from enrich_dist.matching.weights import Floats, name_information
from enrich_dist.schema import NameLevel

AGREES, WRITTEN_OTHERWISE, MISTYPED, MISSING = "agrees", "written otherwise", "mistyped", "missing"


@dataclass(frozen=True)
class Word:
    """A word of the company's name.

    ``bits``: its information; ``frequency``: recipients whose name has it, except those with the name of a company;
    ``agreement``: AGREES, WRITTEN_OTHERWISE, MISTYPED or MISSING.
    """

    text: str
    bits: float
    frequency: int
    agreement: str


@dataclass(frozen=True)
class SharedWords:
    """Both normalised names, the words of the company's name, and the additional words of the recipient's."""

    company_name: str
    recipient_name: str
    words: tuple[Word, ...]
    additional: tuple[str, ...]


@dataclass(frozen=True)
class ComparedNames:
    """The names of a pair: ``row`` of the recipients, and columns of its comparison vector."""

    row: int
    name_code: int
    name_kind: int
    name_level: int


def word_information(concepts: Mapping[int, int], recipients: int, vocabulary: Vocabulary) -> Floats:
    """Return the bits of each concept, float64: of a name of this word alone. Arguments as in ``name_information``."""
    count = vocabulary.concept_count
    single = {"name_token_starts": np.arange(count + 1), "name_tokens": np.arange(count)}
    return name_information(concepts, recipients, replace(vocabulary, arrays={**vocabulary.arrays, **single}))


def shared_words(
    index: CompanyIndex,
    recipients: pa.Table,
    pairs: Sequence[ComparedNames],
    information: Floats,
    frequencies: Mapping[int, int],
) -> list[SharedWords | None]:
    """Return the shared words of each pair, None for a pair without a name on a side.

    ``recipients``: ``schema.RECIPIENT``. A pair that agrees by an alternate name which is missing there is None too.
    ``information``: see ``word_information``; ``frequencies``: recipients by concept.
    """
    if not pairs:
        return []
    names = _Names(index, prepare(index, recipients), information, frequencies)
    return [names.best(pair) for pair in pairs]


@dataclass(frozen=True)
class _Names:
    """Names of both sides as words with their concepts."""

    index: CompanyIndex
    batch: Prepared
    information: Floats
    frequencies: Mapping[int, int]

    def best(self, pair: ComparedNames) -> SharedWords | None:
        """Compare the recipient's name of the pair's kind that shares most."""
        if pair.name_code < 0:
            return None
        of_kind = (self.batch.name_rows == pair.row) & (self.batch.name_kinds == pair.name_kind)
        names = np.unique(self.batch.name_ids[of_kind]).tolist()
        return max(
            (self._compare(name, pair.name_code, pair.name_level) for name in names),
            key=lambda shared: (_agreeing(shared), -len(shared.additional), shared.recipient_name),
            default=None,
        )

    def _compare(self, name: int, code: int, level: int) -> SharedWords:
        """Compare a name of the recipient with one of the company."""
        ours, theirs = self.index.names.texts[code].as_py(), self.batch.names[name].as_py()
        first, last = self.index.vocabulary.arrays["name_token_starts"][code : code + 2]
        concepts = self.index.vocabulary.arrays["name_tokens"][first:last].tolist()
        tokens = _Tokens.of(self.batch.tokens, name, theirs.split(" "))
        own = [
            Word(
                text,
                float(self.information[concept]),
                self.frequencies.get(concept, 0),
                tokens.take(text, concept, level),
            )
            for text, concept in zip(ours.split(" "), concepts, strict=True)
        ]
        additional = tuple(tokens.texts) if level < NameLevel.SPELLING_VARIANT else ()
        return SharedWords(ours, theirs, tuple(own), additional)


@dataclass
class _Tokens:
    """Words of a recipient's name. Each agrees with at most one word of a company's name."""

    texts: list[str]
    concepts: list[int]
    typos: list[list[int]]

    @classmethod
    def of(cls, tokens: tuple[Any, ...], name: int, texts: list[str]) -> _Tokens:
        starts, concepts, typo_starts, typos = tokens[:4]
        places = range(starts[name], starts[name + 1])
        near = [typos[typo_starts[at] : typo_starts[at + 1]].tolist() for at in places]
        return cls(list(texts), [int(concepts[at]) for at in places], near)

    def take(self, text: str, concept: int, level: int) -> str:
        """Remove the word with the concept, and return how it agrees."""
        for found, agreement in (
            ([own == concept for own in self.concepts], AGREES),
            (
                [
                    concept in near and not _conflict(text, own)
                    for own, near in zip(self.texts, self.typos, strict=True)
                ],
                MISTYPED,
            ),
        ):
            if True in found:
                at = found.index(True)
                for column in (self.texts, self.concepts, self.typos):
                    del column[at]
                return agreement
        if level >= NameLevel.SPELLING_VARIANT:
            return WRITTEN_OTHERWISE
        return MISTYPED if level == NameLevel.TYPO else MISSING


def _conflict(ours: str, theirs: str) -> bool:
    """Return whether two words distinguish siblings, so that one is no typo of the other."""
    text, table = text_buffers(pa.array([ours, theirs])), words.sibling_words()
    left, right = np.empty((siblings.MAX_WORDS, 4), dtype=np.int64), np.empty((siblings.MAX_WORDS, 4), dtype=np.int64)
    siblings.split(text, 0, table, left)
    siblings.split(text, 1, table, right)
    return bool(siblings.tells_apart(text[0], left[0], text[0], right[0], table))


def _agreeing(shared: SharedWords) -> float:
    return sum(word.bits for word in shared.words if word.agreement in (AGREES, MISTYPED))
