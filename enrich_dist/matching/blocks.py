"""The blocks of an index and the candidate pairs that each brings, for plans before a run.

A block is the result of one lookup: the companies' names with a word (within a state if the word is common), or the
companies with a name. Counts lookups without comparing anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from enrich_dist.matching.arrays import text_array
from enrich_dist.matching.blocking import (
    MIN_OVERLAP_CONFLICT,
    MIN_OVERLAP_UNKNOWN,
    UNKNOWN_WEIGHT,
    Prepared,
    likely_states,
)
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
    by the recipients; ``capped``: whether ``max_block_size`` applies (to all but rare words).
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
        self._sizes = [np.diff(array).astype(np.int64) for array in vocabulary.take("state_starts", "posting_starts")]
        self._lookups = [np.zeros(len(sizes), dtype=np.int64) for sizes in self._sizes]
        self._name_sizes = np.diff(index.names.companies.starts)
        self._name_lookups = np.zeros(len(self._name_sizes), dtype=np.int64)

    def add(self, batch: Prepared) -> None:
        """Count the lookups of a batch."""
        index = self._index
        if not len(batch.name_rows) or not len(index.names.texts):
            return
        width = len(index.states.texts) + 1
        by_state = batch.name_ids * width + likely_states(index, batch)[batch.name_rows] + 1
        queries, query_counts = np.unique(by_state, return_counts=True)
        states = queries % width - 1
        floors = np.where(states >= 0, round(1000 * self._config.min_name_overlap), MIN_OVERLAP_UNKNOWN)
        found = count_lookups(
            queries // width,
            states,
            query_counts,
            batch.tokens,
            index.vocabulary.index,
            UNKNOWN_WEIGHT,
            floors.astype(np.int32),
            MIN_OVERLAP_CONFLICT,
        )
        for lookups, added in zip(self._lookups, found, strict=True):
            lookups += added
        positions, codes = self._equal_names(batch)
        counts = np.bincount(batch.name_ids, minlength=len(batch.names))
        np.add.at(self._name_lookups, codes, counts[positions])

    def _equal_names(self, batch: Prepared) -> tuple[Ints, Ints]:
        """Return (position in ``batch.names``, index name) of equal names, without spaces or truncated too."""
        known = np.flatnonzero(batch.name_codes >= 0)
        found = [(known, batch.name_codes[known])]
        found += [self._index.vocabulary.names_under(kind, batch.tokens[-1]) for kind in ("compact", "cut")]
        width = len(self._index.names.texts)
        keys = np.unique(np.concatenate([positions * width + codes for positions, codes in found]))
        return keys // width, keys % width

    def words(self, count: int) -> list[Block]:
        """Return the blocks of words that bring the most pairs, largest first."""
        (by_state, by_concept), (state_sizes, concept_sizes) = self._lookups, self._sizes
        # A common word is looked up within states only, so its whole list is not a block.
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

    def left_out(self, limit: int) -> tuple[int, int, int]:
        """Return (distinct blocks, lookups, pairs) of the used blocks of more than ``limit`` members."""
        blocks, lookups, pairs = 0, 0, 0
        for sizes, counts in ((self._sizes[0], self._lookups[0]), (self._name_sizes, self._name_lookups)):
            large = np.flatnonzero((sizes > limit) & (counts > 0))
            blocks += len(large)
            lookups += int(counts[large].sum())
            pairs += int((counts[large] * sizes[large]).sum())
        return blocks, lookups, pairs

    def _word_block(self, number: int) -> Block:
        by_state = len(self._sizes[0])
        if number >= by_state:
            concept, state = number - by_state, EVERYWHERE
        else:
            place, segment = divmod(number, self._index.vocabulary.state_count + 1)
            (common,) = self._index.vocabulary.take("common")
            concept = int(np.flatnonzero(common == place)[0])
            states = self._index.states.texts
            state = states[segment].as_py() if segment < len(states) else NO_STATE
        kind, at = (0, number) if number < by_state else (1, concept)
        return Block(
            text=_concept_text(self._index, concept),
            state=state,
            size=int(self._sizes[kind][at]),
            lookups=int(self._lookups[kind][at]),
            capped=number < by_state,
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
