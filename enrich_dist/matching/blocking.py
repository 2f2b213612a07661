"""Blocking: the candidate pairs of recipients and companies.

Rules: equal identifiers; equal normalised names (legal, alternate or parent), also without spaces or truncated; and
names with enough weighted overlap, the more the less their places agree; and one address (``same_place``). Does not
compare pairs (``compare``).
Each rule uses one recipient only, so the candidates of a recipient never depend on the others in the batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching.arrays import Lists, are_in, as_array, text_buffers
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.index import STATE_PATTERN, CompanyIndex, Relation, join_city
from enrich_dist.matching.kernels.overlap import ANYWHERE, ELSEWHERE, IN_STATE, SCOPES, STATELESS, similar_names
from enrich_dist.matching.kernels.text import Ints
from enrich_dist.matching.kernels.tokens import look_up
from enrich_dist.matching.normalise import normalise_cities, normalise_codes, split_names
from enrich_dist.matching.same_place import SamePlaces, same_places
from enrich_dist.matching.vocabulary import WEIGHT_PER_BIT, background_size
from enrich_dist.schema import Agreement, NameKind

# Minimum overlap (per mille) of similar names by place; the setting applies in the same town.
MIN_OVERLAP_STATE = 600
MIN_OVERLAP_UNKNOWN = 700
MIN_OVERLAP_CONFLICT = 800
# Names that share more information than chance brings are similar at any overlap, if this share (per mille) of the
# lighter name agrees: all of it, up to a typo. Less is enough for a company without a state: the name is all there is.
MIN_SHARE, MIN_SHARE_STATELESS = 790, 300
NO_INFORMATION = 2**31 - 1  # more than any name has
# Weight of a word in no company's name: that of a word in one of 2**15 names.
UNKNOWN_WEIGHT = 15 * WEIGHT_PER_BIT


@dataclass(frozen=True)
class Codes:
    """Index codes of one text column of the recipients."""

    relation: Relation
    codes: Ints  # int64 per recipient, -1 for a text of no company
    missing: npt.NDArray[np.bool_]  # the recipient has no text

    @classmethod
    def of(cls, texts: pa.Array, relation: Relation) -> Codes:
        """Look the texts up, one per recipient."""
        return cls(relation, relation.look_up(texts), texts.is_null().to_numpy(zero_copy_only=False))

    def agreement(self, rows: Ints, companies: Ints) -> npt.NDArray[np.int8]:
        """Return the ``Agreement`` of the pairs (recipient row, company)."""
        return self.relation.agreement(self.codes, self.missing, rows, companies)


@dataclass(frozen=True)
class Prepared:
    """A batch of recipients, normalised and looked up in the index. Rows are counted from 0 within the batch."""

    row_count: int
    names: pa.Array  # distinct normalised names, without nulls
    name_codes: Ints  # of ``names`` in the index, int64, -1 for a name of no company
    tokens: tuple[Any, ...]  # of ``names``, by ``kernels.tokens.look_up``
    name_rows: Ints  # one entry per name of a row, ordered by row
    name_ids: Ints  # position in ``names``, parallel to ``name_rows``
    name_kinds: npt.NDArray[np.int8]  # ``NameKind``, parallel to ``name_rows``
    ueis: Codes
    duns: Codes
    states: Codes
    cities: Codes
    zips: Codes
    streets: tuple[pa.Array, pa.Array]  # both address lines, not normalised

    def place_agreements(self, rows: Ints, companies: Ints) -> list[npt.NDArray[np.int8]]:
        """Return the ``Agreement`` of state, city and ZIP code of the pairs."""
        return [codes.agreement(rows, companies) for codes in (self.states, self.cities, self.zips)]


@dataclass(frozen=True)
class Pairs:
    """Distinct candidate pairs (row, company), int64, ordered by row and company.

    ``cut_names``: the pairs (position in ``Prepared.names``, index name) of which one is the other truncated, as
    ``position * names + name``; ``blocks_left_out``, ``pairs_left_out``: skipped because of ``max_block_size``.
    """

    rows: Ints
    companies: Ints
    cut_names: Ints
    same_places: SamePlaces
    blocks_left_out: int
    pairs_left_out: int


def prepare(index: CompanyIndex, recipients: pa.Table) -> Prepared:
    """Normalise a batch of recipients (``schema.RECIPIENT``) and look up its texts in the index."""
    column = {name: as_array(recipients[name]) for name in recipients.column_names}
    rows, names, kinds = _names(column)
    order = np.lexsort((kinds, rows))
    encoded = pc.dictionary_encode(names)
    distinct = encoded.dictionary
    # Repeated texts are normalised once. Identifiers and ZIP codes are valid in form already.
    state_codes = pc.dictionary_encode(column["state"])
    states = normalise_codes(state_codes.dictionary, STATE_PATTERN).take(state_codes.indices)
    cities = pc.dictionary_encode(column["city"])
    city_names = normalise_cities(cities.dictionary).take(cities.indices)
    return Prepared(
        row_count=recipients.num_rows,
        names=distinct,
        name_codes=index.names.look_up(distinct),
        tokens=look_up(*text_buffers(distinct), index.vocabulary.words, index.vocabulary.joined),
        name_rows=rows[order],
        name_ids=encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)[order],
        name_kinds=kinds[order],
        ueis=Codes.of(column["uei"], index.ueis),
        duns=Codes.of(column["duns"], index.duns),
        states=Codes.of(states, index.states),
        cities=Codes.of(join_city(states, city_names), index.cities),
        zips=Codes.of(column["zip5"], index.zips),
        streets=(column["address_line_1"], column["address_line_2"]),
    )


def _names(column: dict[str, pa.Array]) -> tuple[Ints, pa.Array, Ints]:
    """Return (row, normalised name, kind) of all names of the recipients."""
    count = len(column["name"])
    own = np.arange(count)
    alternates, history = column["alternate_names"], column["name_history"]
    dated = pc.list_flatten(history)
    dated_kinds = pc.struct_field(dated, "kind").to_numpy(zero_copy_only=False)
    parts = []
    for owner, texts, kind in (
        (own, column["name"], NameKind.LEGAL),
        (_owners(alternates), pc.list_flatten(alternates), NameKind.ALTERNATE),
        (_owners(history), pc.struct_field(dated, "name"), dated_kinds),
        (own, column["parent_name"], NameKind.PARENT),
    ):
        if texts.null_count == len(texts):
            continue
        split = split_names(texts)
        of_text = np.broadcast_to(np.asarray(kind, dtype=np.int8), len(texts))[split["row"].to_numpy()]
        kinds = np.where(split["further"].to_numpy(), np.maximum(of_text, np.int8(NameKind.ALTERNATE)), of_text)
        parts.append((owner[split["row"].to_numpy()], as_array(split["name"]), kinds))
    if not parts:
        return np.zeros(0, dtype=np.int64), pa.array([], pa.string()), np.zeros(0, dtype=np.int8)
    return (
        np.concatenate([part[0] for part in parts]),
        pa.concat_arrays([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
    )


def _owners(lists: pa.Array) -> Ints:
    """Return the row of each element of the lists."""
    owners: Ints = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    return owners


def candidate_pairs(index: CompanyIndex, batch: Prepared, config: CandidateConfig) -> Pairs:
    """Return the candidate pairs of the batch."""
    left_out = np.zeros(2, dtype=np.int64)
    equal, cut = equal_names(index, batch)
    certain = np.unique(
        np.concatenate([_identifier_keys(index, batch), _name_keys(index, batch, *equal, config, left_out)])
    )
    similar = _similar_keys(index, batch, config, equal, certain, left_out)
    places = same_places(index, batch)
    rows, companies = _split(np.unique(np.concatenate([certain, similar, places.keys])), index)
    return Pairs(rows, companies, cut, places, int(left_out[0]), int(left_out[1]))


def _identifier_keys(index: CompanyIndex, batch: Prepared) -> Ints:
    """Return the pairs with an equal UEI or DUNS as keys (row * companies + company), possibly repeated."""
    keys = []
    for codes in (batch.ueis, batch.duns):
        rows = np.flatnonzero(codes.codes >= 0)
        at, companies = codes.relation.companies.expand(codes.codes[rows])
        keys.append(_join(rows[at], companies, index))
    return np.concatenate(keys)


def equal_names(index: CompanyIndex, batch: Prepared) -> tuple[tuple[Ints, Ints], Ints]:
    """Return ((position in ``batch.names``, index name), keys of truncated ones) of equal names.

    Names are also equal without spaces or truncated. The keys are those of ``Pairs.cut_names``.
    """
    compact = batch.tokens[-1]
    known = np.flatnonzero(batch.name_codes >= 0)
    joined, joined_codes = index.vocabulary.names_under("compact", compact)
    cut, cut_codes = index.vocabulary.names_under("cut", compact)
    positions = np.concatenate([known, joined, cut])
    codes = np.concatenate([batch.name_codes[known], joined_codes, cut_codes])
    width = max(len(index.names.texts), 1)
    keys = np.unique(positions * width + codes)
    return (keys // width, keys % width), np.unique(cut * width + cut_codes)


def _name_keys(
    index: CompanyIndex, batch: Prepared, positions: Ints, codes: Ints, config: CandidateConfig, left_out: Ints
) -> Ints:
    """Return the pairs with these names as keys; skip and count names of too many companies."""
    counts = index.names.companies.counts(codes)
    large = counts > config.max_block_size
    entries = Lists.of_positions(batch.name_ids, len(batch.names))
    lookups = entries.counts(positions[large])
    left_out += (int(lookups.sum()), int((lookups * counts[large]).sum()))
    positions, codes = positions[~large], codes[~large]
    at, companies = index.names.companies.expand(codes)
    on, entry = entries.expand(positions[at])
    return _join(batch.name_rows[entry], companies[on], index)


def _similar_keys(
    index: CompanyIndex,
    batch: Prepared,
    config: CandidateConfig,
    equal: tuple[Ints, Ints],
    certain: Ints,
    left_out: Ints,
) -> Ints:
    """Return the pairs with similar names as keys, without pairs of ``equal`` names and those that are ``certain``.

    Searches each distinct name once per state. Strong pairs all count: their number is bounded, because few names share
    so much by chance, and the blocks by ``max_block_size``. Of the others counts the best ``max_candidates_per_name``
    companies of each recipient, by overlap, then company id.
    """
    if not len(batch.name_rows) or not len(index.names.texts):
        return np.zeros(0, dtype=np.int64)
    query_of, arguments = name_queries(index, batch, config)
    query, code, overlap, information, blocks, pairs = similar_names(*(*arguments, config.max_block_size))
    left_out += (blocks, pairs)
    by_query, width = Lists.of_positions(query_of, len(arguments[0])), len(index.names.texts)
    lookups, counts = by_query.counts(query), index.names.companies.counts(code)
    fresh = ~are_in(equal[0] * width + equal[1], arguments[0][query] * width + code)
    large = fresh & (counts > config.max_block_size)
    left_out += (int(lookups[large].sum()), int((lookups * counts)[large].sum()))
    query, code, overlap, information = (found[fresh & ~large] for found in (query, code, overlap, information))
    at, entry = by_query.expand(query)
    on, companies = index.names.companies.expand(code[at])
    rows, overlap, information = batch.name_rows[entry[on]], overlap[at][on], information[at][on]
    min_overlap, min_information = _limits(index, batch, rows, companies, config)
    keys = _join(rows, companies, index)
    strong = information >= min_information
    kept = (strong | (overlap >= min_overlap)) & ~are_in(certain, keys)
    strong = (strong | (overlap >= MIN_OVERLAP_UNKNOWN))[kept]
    keys, overlap = keys[kept], overlap[kept]
    weak = _best_per_row(keys[~strong], overlap[~strong], index, config.max_candidates_per_name)
    return np.union1d(keys[strong], weak)


def name_queries(index: CompanyIndex, batch: Prepared, config: CandidateConfig) -> tuple[Ints, tuple[Any, ...]]:
    """Return (query of each name of ``batch.name_rows``, arguments of ``similar_names`` without ``block_limit``)."""
    width = len(index.states.texts) + 1
    by_state = batch.name_ids * width + (_likely_states(index, batch)[batch.name_rows] + 1)
    queries, query_of, counts = np.unique(by_state, return_inverse=True, return_counts=True)
    states = queries % width - 1
    searched = (queries // width, states, counts, batch.tokens, index.vocabulary.index)
    return query_of, (*searched, UNKNOWN_WEIGHT, _scope_limits(index, config))


def _scope_limits(index: CompanyIndex, config: CandidateConfig) -> Ints:
    """Return the argument ``limits`` of ``similar_names``."""
    town, (near, anywhere) = round(1000 * config.min_name_overlap), chance_information(index)
    limits = np.zeros((SCOPES, 3), dtype=np.int64)
    limits[IN_STATE] = town, near, MIN_SHARE
    limits[STATELESS] = MIN_OVERLAP_UNKNOWN, near, MIN_SHARE_STATELESS
    limits[ELSEWHERE] = max(town, MIN_OVERLAP_CONFLICT), NO_INFORMATION, MIN_SHARE
    limits[ANYWHERE] = max(town, MIN_OVERLAP_UNKNOWN), anywhere, MIN_SHARE
    return limits


def _likely_states(index: CompanyIndex, batch: Prepared) -> Ints:
    """Return the state code of each recipient, from its ZIP code if it has no state, -1 for unknown."""
    states, zips = batch.states, batch.zips.codes
    by_zip = states.missing & (zips >= 0)
    found = states.codes.copy()
    found[by_zip] = index.zip_states[zips[by_zip]]
    return found


def chance_information(index: CompanyIndex) -> tuple[int, int]:
    """Return the weight of words that one name has by chance: among the companies' names, and the background as well.

    It is log2 of the number of names, in bits: words of this weight are in one of so many names.
    """
    counts = len(index.names.texts), len(index.names.texts) + background_size()
    near, anywhere = (math.ceil(WEIGHT_PER_BIT * math.log2(max(count, 2))) for count in counts)
    return near, anywhere


def _limits(
    index: CompanyIndex, batch: Prepared, rows: Ints, companies: Ints, config: CandidateConfig
) -> tuple[Ints, Ints]:
    """Return the minimum overlap of each pair, and the information at which it does not matter."""
    state, city, zip_code = batch.place_agreements(rows, companies)
    town = (city == Agreement.AGREE) | (zip_code == Agreement.AGREE)
    near, anywhere = chance_information(index)
    stateless = index.states.codes.counts(companies) == 0
    by_state = state - Agreement.CONFLICT  # conflict, unknown, agree
    floor = np.choose(by_state, [MIN_OVERLAP_CONFLICT, MIN_OVERLAP_UNKNOWN, MIN_OVERLAP_STATE])
    information = np.choose(by_state, [NO_INFORMATION, anywhere, near])
    return (
        np.where(town, round(1000 * config.min_name_overlap), floor),
        np.where(town | stateless, near, information),
    )


def _best_per_row(keys: Ints, overlaps: Ints, index: CompanyIndex, limit: int) -> Ints:
    """Return the keys of the best ``limit`` companies of each row."""
    # Sort the best pair of names of each key first, and keep it.
    order = np.lexsort((-overlaps, keys))
    keys, overlaps = keys[order], overlaps[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[1:] != keys[:-1]
    keys, overlaps = keys[first], overlaps[first]
    rows, companies = _split(keys, index)
    order = np.lexsort((companies, -overlaps, rows))
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return keys[order][rank < limit]


def _join(rows: Ints, companies: Ints, index: CompanyIndex) -> Ints:
    return np.asarray(rows.astype(np.int64) * index.company_count + companies)


def _split(keys: Ints, index: CompanyIndex) -> tuple[Ints, Ints]:
    count = max(index.company_count, 1)
    return keys // count, keys % count
