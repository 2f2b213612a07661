"""The blocks of an index and the candidate pairs that each brings, for plans before a run.

A block is the result of one lookup: the companies' names with a word, everywhere or in one state, or the companies with
a name. Counts lookups without comparing anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from enrich_dist.matching.arrays import text_array
from enrich_dist.matching.blocking import Prepared, equal_names, name_queries
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.index import CompanyIndex
from enrich_dist.matching.kernels.blocks import count_lookups
from enrich_dist.matching.kernels.text import Ints

_FAMILY = 3  # words shown of a family
EVERYWHERE, NO_STATE = "everywhere", "no state"


@dataclass(frozen=True)
class Block:
    """A block of a word or name.

    ``state``: the state it is limited to; ``size``: names of companies for a word, companies for a name; ``lookups``:
    by the recipients; ``capped``: whether ``max_block_size`` applies (to names, and words in more than
    ``vocabulary.MAX_RARE_POSTINGS`` names).
    """

    text: str
    state: str
    size: int
    lookups: int
    capped: bool

    @property
    def pairs(self) -> int:
        """Return the candidate pairs that it brings."""
        return self.size * self.lookups


class BlockCounts:
    """Lookups of all blocks of an index, summed over batches of recipients."""

    def __init__(self, index: CompanyIndex, config: CandidateConfig) -> None:
        self._index = index
        self._config = config
        vocabulary = index.vocabulary
        (self._frequent,) = vocabulary.take("common")
        self._sizes = [np.diff(array).astype(np.int64) for array in vocabulary.take("state_starts", "posting_starts")]
        self._lookups = [np.zeros(len(sizes), dtype=np.int64) for sizes in self._sizes]
        self._name_sizes = np.diff(index.names.companies.starts)
        self._name_lookups = np.zeros(len(self._name_sizes), dtype=np.int64)

    def add(self, batch: Prepared) -> None:
        """Count the lookups of a batch."""
        index = self._index
        if not len(batch.name_rows) or not len(index.names.texts):
            return
        _, arguments = name_queries(index, batch, self._config)
        for lookups, added in zip(self._lookups, count_lookups(*arguments), strict=True):
            lookups += added
        (positions, codes), _ = equal_names(index, batch)
        counts = np.bincount(batch.name_ids, minlength=len(batch.names))
        np.add.at(self._name_lookups, codes, counts[positions])

    def words(self, count: int) -> list[Block]:
        """Return the blocks of words that bring the most pairs, largest first."""
        (by_state, by_concept), (state_sizes, concept_sizes) = self._lookups, self._sizes
        pairs = np.concatenate([by_state * state_sizes, by_concept * concept_sizes])
        return [self._word_block(number) for number in _greatest(pairs, count)]

    def names(self, count: int) -> list[Block]:
        """Return the blocks of names that bring the most pairs, largest first."""
        return [
            Block(
                text=self._index.names.texts[number].as_py(),
                state=EVERYWHERE,
                size=int(self._name_sizes[number]),
                lookups=int(self._name_lookups[number]),
                capped=True,
            )
            for number in _greatest(self._name_sizes * self._name_lookups, count)
        ]

    def count_large(self, limit: int) -> int:
        """Return the number of distinct blocks in use that have more than ``limit`` members and are capped."""
        frequent = self._frequent >= 0
        groups = (
            (self._sizes[0], self._lookups[0]),
            (self._sizes[1][frequent], self._lookups[1][frequent]),
            (self._name_sizes, self._name_lookups),
        )
        return sum(int(np.count_nonzero((sizes > limit) & (lookups > 0))) for sizes, lookups in groups)

    def _word_block(self, number: int) -> Block:
        by_state = len(self._sizes[0])
        if number >= by_state:
            concept, state = number - by_state, EVERYWHERE
        else:
            place, segment = divmod(number, self._index.vocabulary.state_count + 1)
            concept = int(np.flatnonzero(self._frequent == place)[0])
            states = self._index.states.texts
            state = states[segment].as_py() if segment < len(states) else NO_STATE
        kind, at = (0, number) if number < by_state else (1, concept)
        return Block(
            text=_concept_text(self._index, concept),
            state=state,
            size=int(self._sizes[kind][at]),
            lookups=int(self._lookups[kind][at]),
            capped=bool(self._frequent[concept] >= 0),
        )


def _greatest(values: Ints, count: int) -> list[int]:
    """Return the positions of the greatest values above 0, greatest first, ties in their order."""
    order = np.argsort(-values, kind="stable")[:count]
    return [int(at) for at in order if values[at] > 0]


def _concept_text(index: CompanyIndex, concept: int) -> str:
    """Return the word of a concept, or some words of its family."""
    concepts, data, starts = index.vocabulary.take("word_concepts", "word_data", "word_starts")
    words: pa.Array = text_array(np.asarray(data), np.asarray(starts))
    members = np.flatnonzero(concepts == concept)
    return "/".join([*(words[int(at)].as_py() for at in members[:_FAMILY]), *(["…"] if len(members) > _FAMILY else [])])
