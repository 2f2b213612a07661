"""Which pairs of recipient and company are worth comparing.

Covers equal identifiers, equal normalised names (alternate names included) and similar names by 3-gram cosine.
Does not cover how alike a pair is (``compare``) nor whether it is a match (``scoring``). Every rule looks at one
recipient alone, so the candidates of a recipient never depend on its neighbours in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching import grams
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.index import (
    DUNS_PATTERN,
    STATE_PATTERN,
    UEI_PATTERN,
    ZIP_PATTERN,
    CompanyIndex,
    Relation,
    join_city,
)
from enrich_dist.matching.normalise import normalise_cities, normalise_codes, normalise_names, normalise_streets

# A fuzzy pair needs a higher cosine the less its places support it. Half of all recipients may lack a place, and
# such a pair can reach review at most, so a chunk's output is kept small here.
MIN_COSINE_STATE_UNKNOWN = 0.75
MIN_COSINE_STATE_CONFLICT = 0.85

# Names fetched per name before places are looked at: common names of other states must not push out the one in
# the recipient's own state.
FETCH_FACTOR = 6

Ints = npt.NDArray[Any]


@dataclass(frozen=True)
class Codes:
    """Index codes of one text column of the recipients."""

    codes: Ints  # int64 per recipient, -1 where no company bears the text
    missing: npt.NDArray[np.bool_]  # the recipient bears none

    @classmethod
    def of(cls, texts: pa.Array, relation: Relation) -> Codes:
        """Look the texts up, one per recipient."""
        return cls(relation.look_up(texts), texts.is_null().to_numpy(zero_copy_only=False))

    def agreement(self, relation: Relation, rows: Ints, companies: Ints) -> npt.NDArray[np.int8]:
        """Agreement 1, -1 or 0 of the pairs (recipient row, company)."""
        return relation.agreement(self.codes[rows], self.missing[rows], companies)


@dataclass(frozen=True)
class Prepared:
    """A batch of recipients, normalised and looked up in the index. Rows are counted from 0 within the batch."""

    row_count: int
    names: pa.Array  # distinct normalised names, legal and alternate, without nulls
    name_codes: Ints  # of ``names`` in the index, int64, -1 where no company bears the name
    name_rows: Ints  # one entry per name that a row bears, ordered by row, the legal name first
    name_ids: Ints  # position in ``names``, parallel to ``name_rows``
    name_alternate: npt.NDArray[np.bool_]  # parallel to ``name_rows``
    ueis: Codes
    duns: Codes
    states: Codes
    cities: Codes
    zips: Codes
    streets: pa.Array


def prepare(index: CompanyIndex, recipients: pa.Table) -> Prepared:
    """Normalise a batch of recipients (``schema.RECIPIENT``) and look its texts up."""
    column = {name: _whole(recipients[name]) for name in recipients.column_names}
    legal = normalise_names(column["name"])
    rows = pc.list_parent_indices(column["alternate_names"]).to_numpy(zero_copy_only=False).astype(np.int64)
    alternate = normalise_names(pc.list_flatten(column["alternate_names"]))
    names = pa.concat_arrays([legal, alternate])
    present = names.is_valid().to_numpy(zero_copy_only=False)
    rows = np.concatenate([np.arange(len(legal)), rows])[present]
    order = np.argsort(rows, kind="stable")
    encoded = pc.dictionary_encode(names.drop_null())
    states = normalise_codes(column["state"], STATE_PATTERN)
    return Prepared(
        row_count=recipients.num_rows,
        names=encoded.dictionary,
        name_codes=index.names.look_up(encoded.dictionary),
        name_rows=rows[order],
        name_ids=encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)[order],
        name_alternate=(np.arange(len(names)) >= len(legal))[present][order],
        ueis=Codes.of(normalise_codes(column["uei"], UEI_PATTERN), index.ueis),
        duns=Codes.of(normalise_codes(column["duns"], DUNS_PATTERN), index.duns),
        states=Codes.of(states, index.states),
        cities=Codes.of(join_city(states, normalise_cities(column["city"])), index.cities),
        zips=Codes.of(normalise_codes(column["zip5"], ZIP_PATTERN), index.zips),
        streets=normalise_streets(column["address_line_1"], column["address_line_2"]),
    )


def candidate_pairs(index: CompanyIndex, batch: Prepared, vectors: Any, config: CandidateConfig) -> tuple[Ints, Ints]:
    """All pairs of the batch: (row, company), int64, ordered by row and company, each pair once.

    ``vectors``: 3-gram vectors of ``batch.names``.
    """
    certain = np.unique(np.concatenate([identifier_keys(index, batch), exact_name_keys(index, batch)]))
    keys = np.union1d(certain, fuzzy_keys(index, batch, vectors, config, certain))
    return _split(keys, index)


def identifier_keys(index: CompanyIndex, batch: Prepared) -> Ints:
    """Pairs with an equal UEI or DUNS, as keys (row * companies + company); may repeat."""
    keys = []
    for codes, relation in ((batch.ueis, index.ueis), (batch.duns, index.duns)):
        rows = np.flatnonzero(codes.codes >= 0)
        at, companies = relation.companies.expand(codes.codes[rows])
        keys.append(_join(rows[at], companies, index))
    return np.concatenate(keys)


def exact_name_keys(index: CompanyIndex, batch: Prepared) -> Ints:
    """Pairs with an equal normalised name, legal or alternate, as keys; may repeat."""
    codes = batch.name_codes[batch.name_ids]
    known = np.flatnonzero(codes >= 0)
    at, companies = index.names.companies.expand(codes[known])
    return _join(batch.name_rows[known[at]], companies, index)


def fuzzy_keys(index: CompanyIndex, batch: Prepared, vectors: Any, config: CandidateConfig, certain: Ints) -> Ints:
    """Pairs with similar names, as keys: the best ``max_candidates_per_name`` companies of each recipient.

    Ranked by cosine, equal ones by company id. Pairs that are ``certain`` already take no place in the ranking.
    """
    if not vectors.nnz or not index.gram_vectors.nnz:
        return np.zeros(0, dtype=np.int64)
    from sparse_dot_topn import sp_matmul_topn

    # Ties at the kernel's own cut are broken by the order in which it meets the names, which is a function of
    # the row's vector and the index alone. The threshold is exclusive, hence - 1.
    similar = sp_matmul_topn(
        vectors,
        index.gram_vectors,
        top_n=config.max_candidates_per_name * FETCH_FACTOR,
        threshold=int(np.ceil(config.min_name_cosine * grams.COSINE_SCALE)) - 1,
        # Room for one hit per name at first (the kernel enlarges it): most recipients resemble no company.
        density=1 / (config.max_candidates_per_name * FETCH_FACTOR),
        n_threads=1,
    )
    hits = similar.indptr.astype(np.int64)
    hit_count = np.diff(hits)[batch.name_ids]
    bearer = np.repeat(np.arange(len(batch.name_ids)), hit_count)
    within = np.arange(len(bearer)) - np.repeat(np.cumsum(hit_count) - hit_count, hit_count)
    hit = np.repeat(hits[batch.name_ids], hit_count) + within
    at, companies = index.names.companies.expand(similar.indices[hit])
    rows = batch.name_rows[bearer[at]]
    dots = similar.data[hit[at]].astype(np.int64)

    place = batch.states.agreement(index.states, rows, companies)
    least = np.choose(place + 1, [MIN_COSINE_STATE_CONFLICT, MIN_COSINE_STATE_UNKNOWN, 0.0])
    keys = _join(rows, companies, index)
    kept = (dots >= least * grams.COSINE_SCALE) & ~_contains(certain, keys)
    return _best_per_row(keys[kept], dots[kept], index, config.max_candidates_per_name)


def _best_per_row(keys: Ints, dots: Ints, index: CompanyIndex, limit: int) -> Ints:
    """The keys of the best ``limit`` companies of each row."""
    # Best pair of names first within a key; then the first of each key is its best.
    order = np.lexsort((-dots, keys))
    keys, dots = keys[order], dots[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[1:] != keys[:-1]
    keys, dots = keys[first], dots[first]
    rows, companies = _split(keys, index)
    order = np.lexsort((companies, -dots, rows))
    rows = rows[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return keys[order][rank < limit]


def _join(rows: Ints, companies: Ints, index: CompanyIndex) -> Ints:
    return np.asarray(rows.astype(np.int64) * index.company_count + companies)


def _split(keys: Ints, index: CompanyIndex) -> tuple[Ints, Ints]:
    count = max(index.company_count, 1)
    return keys // count, keys % count


def _contains(ascending: Ints, keys: Ints) -> npt.NDArray[np.bool_]:
    """Which of the keys occur in the ascending array."""
    if not len(ascending):
        return np.zeros(len(keys), dtype=bool)
    at = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    return np.asarray(ascending[at] == keys)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
