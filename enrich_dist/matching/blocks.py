"""The blocks of an index and how much work each one brings: for plans and reports, before a run.

A block is what one lookup leads to: the names of companies that bear a word, within a state where the word is common;
or the companies that bear one name. Covers how often the recipients of a batch look into each block. Does not compare
(``compare``) nor search (``blocking``), and changes nothing in either.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from enrich_dist.matching.blocking import (
    MIN_OVERLAP_CONFLICT,
    MIN_OVERLAP_UNKNOWN,
    UNKNOWN_WEIGHT,
    Prepared,
    likely_states,
)
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.index import CompanyIndex
from enrich_dist.matching.kernels.blocks import count_looks
from enrich_dist.matching.text_arrays import Ints, text_array

_FAMILY = 3  # words of one
EVERYWHERE, NO_STATE = "everywhere", "no state"


@dataclass(frozen=True)
class Block:
    """A block: its word or name, the state it is limited to, how many members it has (names of companies for a word,
    companies for a name), and how many lookups of the recipients lead into it. ``capped``: ``max_block_size`` applies,
    as to all but the words that are rare by their nature."""

    text: str
    state: str
    size: int
    looks: int
    capped: bool

    @property
    def pairs(self) -> int:
        """Pairs that it brings."""
        return self.size * self.looks


class BlockCounts:
    """Lookups into all blocks of an index, added up over batches of recipients."""

    def __init__(self, index: CompanyIndex, config: CandidateConfig) -> None:
        self._index = index
        self._config = config
        vocabulary = index.vocabulary
        self._sizes = [np.diff(array).astype(np.int64) for array in vocabulary.take("state_starts", "posting_starts")]
        self._looks = [np.zeros(len(sizes), dtype=np.int64) for sizes in self._sizes]
        self._name_sizes = np.diff(index.names.companies.starts)
        self._name_looks = np.zeros(len(self._name_sizes), dtype=np.int64)
        self._name_bearers = np.zeros(len(self._name_sizes), dtype=np.int64)

    def add(self, batch: Prepared) -> None:
        """Count the lookups of a batch: words once per distinct name and state, names once per distinct name."""
        index = self._index
        if not len(batch.name_rows) or not len(index.names.texts):
            return
        width = len(index.states.texts) + 1
        asked = batch.name_ids * width + likely_states(index, batch)[batch.name_rows] + 1
        queries, asking = np.unique(asked, return_counts=True)
        states = queries % width - 1
        floors = np.where(states >= 0, round(1000 * self._config.min_name_overlap), MIN_OVERLAP_UNKNOWN)
        found = count_looks(
            queries // width,
            states,
            asking,
            batch.tokens,
            index.vocabulary.index,
            UNKNOWN_WEIGHT,
            floors.astype(np.int32),
            MIN_OVERLAP_CONFLICT,
        )
        for looks, more in zip(self._looks, found, strict=True):
            looks += more
        positions, codes = self._equal_names(batch)
        bearers = np.bincount(batch.name_ids, minlength=len(batch.names))
        np.add.at(self._name_looks, codes, bearers[positions])
        np.add.at(self._name_bearers, codes, bearers[positions])

    def _equal_names(self, batch: Prepared) -> tuple[Ints, Ints]:
        """(position in ``batch.names``, index name) of names that are equal, also without spaces or cut short."""
        known = np.flatnonzero(batch.name_codes >= 0)
        found = [(known, batch.name_codes[known])]
        found += [self._index.vocabulary.names_under(kind, batch.tokens[-1]) for kind in ("compact", "cut")]
        width = len(self._index.names.texts)
        keys = np.unique(np.concatenate([positions * width + codes for positions, codes in found]))
        return keys // width, keys % width

    def words(self, count: int) -> list[Block]:
        """The blocks of words that bring most pairs, the greatest first."""
        (by_state, by_concept), (state_sizes, concept_sizes) = self._looks, self._sizes
        # A common word is never looked up everywhere, so its whole list is no block.
        pairs = np.concatenate([by_state * state_sizes, by_concept * concept_sizes])
        return [self._word_block(number) for number in _greatest(pairs, count)]

    def names(self, count: int) -> list[Block]:
        """The blocks of names that bring most pairs, the greatest first; ``looks``: recipients that bear the name."""
        return [
            Block(
                text=self._index.names.texts[number].as_py(),
                state=EVERYWHERE,
                size=int(self._name_sizes[number]),
                looks=int(self._name_bearers[number]),
                capped=True,
            )
            for number in _greatest(self._name_sizes * self._name_bearers, count)
        ]

    def left_out(self, limit: int) -> tuple[int, int, int]:
        """(different blocks, lookups, pairs) of the blocks of more than ``limit`` members that are looked into."""
        blocks, looks, pairs = 0, 0, 0
        for sizes, looked in ((self._sizes[0], self._looks[0]), (self._name_sizes, self._name_looks)):
            large = np.flatnonzero((sizes > limit) & (looked > 0))
            blocks += len(large)
            looks += int(looked[large].sum())
            pairs += int((looked[large] * sizes[large]).sum())
        return blocks, looks, pairs

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
            looks=int(self._looks[kind][at]),
            capped=number < by_state,
        )


def _greatest(values: Ints, count: int) -> list[int]:
    """Positions of the greatest values above 0, the greatest first; equal ones in their order."""
    order = np.argsort(-values, kind="stable")[:count]
    return [int(at) for at in order if values[at] > 0]


def _concept_text(index: CompanyIndex, concept: int) -> str:
    """The word that stands for a concept; of a family some of its words."""
    concepts, data, starts = index.vocabulary.take("word_concepts", "word_data", "word_starts")
    words: pa.Array = text_array(np.asarray(data), np.asarray(starts))
    members = np.flatnonzero(concepts == concept)
    return "/".join([*(words[int(at)].as_py() for at in members[:_FAMILY]), *(["…"] if len(members) > _FAMILY else [])])
