"""The comparison vector of a pair: the columns of ``schema.COMPARISON``.

Covers the agreement of identifiers and places and the likeness of names and streets. Does not cover which pairs
are compared (``blocking``) nor what the vector is worth (``scoring``).

Likeness of two normalised names, symmetric, in [0, 1]:

    1                          if they are equal once spaces are removed (``PHYSICALSCIENCES``)
    (edit + cosine) / 2        otherwise

``edit`` is the normalised Levenshtein similarity of the names without spaces; ``cosine`` that of their 3-gram
TF-IDF vectors. Edits alone hold ``MS TECHNOLOGIES`` and ``EMS TECHNOLOGIES`` for the same (0.93), since they do not
know that TECHNOLOGIES says nothing; the cosine does, since it weighs grams by how rare they are among companies.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.matching import grams
from enrich_dist.matching.blocking import Codes, Prepared
from enrich_dist.matching.index import CompanyIndex, Lists, Relation

# Two streets with other house numbers are at most this much alike, however long the street's name is.
MAX_SIMILARITY_OTHER_NUMBER = 0.75

# Pairs of texts compared at a time: bounds memory where recipients and companies with many names meet.
SLICE_PAIRS = 200_000

Ints = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


def compare(index: CompanyIndex, batch: Prepared, vectors: Any, rows: Ints, companies: Ints) -> pa.Table:
    """Comparison vectors (``schema.COMPARISON``) of the pairs, in their order.

    ``rows`` (of the batch) and ``companies`` run in parallel; ``vectors`` are the 3-gram vectors of
    ``batch.names``.
    """
    exact, similarity, alternate = _compare_names(index, batch, vectors, rows, companies)
    street, street_missing = _compare_streets(index, batch, rows, companies)

    def agreement(codes: Codes, relation: Relation) -> npt.NDArray[np.int8]:
        return codes.agreement(relation, rows, companies)

    columns = {
        "uei_agreement": agreement(batch.ueis, index.ueis),
        "duns_agreement": agreement(batch.duns, index.duns),
        "name_exact": exact,
        "name_similarity": similarity,
        "alternate_name": alternate,
        "state_agreement": agreement(batch.states, index.states),
        "city_agreement": agreement(batch.cities, index.cities),
        "zip_agreement": agreement(batch.zips, index.zips),
        "street_similarity": pa.array(street, mask=street_missing),
    }
    arrays = [pa.array(columns[field.name], type=field.type) for field in schema.COMPARISON]
    return pa.table(arrays, schema=schema.COMPARISON)


def _compare_names(
    index: CompanyIndex, batch: Prepared, vectors: Any, rows: Ints, companies: Ints
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """(exact, similarity, alternate) of the pairs: the best over all names of both sides."""
    count = len(rows)
    exact = np.zeros(count, dtype=bool)
    legal_best = np.zeros(count)
    alternate_best = np.zeros(count)
    borne = _group(batch.name_rows, batch.row_count)
    sizes = borne.counts(rows) * index.names.codes.counts(companies)
    for begin, end in _slices(sizes):
        at, bearer = borne.expand(rows[begin:end])
        at_name, code = index.names.codes.expand(companies[begin:end][at])
        bearer, pair = bearer[at_name], begin + at[at_name]
        # Many recipients share a name: each pair of names is compared once.
        width = len(index.names.texts)
        keys, inverse = np.unique(batch.name_ids[bearer] * width + code, return_inverse=True)
        name_ids, codes = (keys // max(width, 1)), (keys % max(width, 1))
        likeness = _name_likeness(index, batch, vectors, name_ids, codes)[inverse]
        np.logical_or.at(exact, pair, (batch.name_codes[name_ids] == codes)[inverse])
        is_alternate = batch.name_alternate[bearer]
        np.maximum.at(legal_best, pair[~is_alternate], likeness[~is_alternate])
        np.maximum.at(alternate_best, pair[is_alternate], likeness[is_alternate])
    similarity = np.maximum(legal_best, alternate_best).astype(np.float32)
    return exact, similarity, alternate_best > legal_best


def _name_likeness(index: CompanyIndex, batch: Prepared, vectors: Any, name_ids: Ints, codes: Ints) -> Floats:
    """Likeness of the pairs of names (position in ``batch.names``, code in ``index.names``): four decimals."""
    left = pc.replace_substring(batch.names.take(pa.array(name_ids)), " ", "")
    right = pc.replace_substring(index.names.texts.take(pa.array(codes)), " ", "")
    edit = _edit_similarity(left, right)
    cosine = grams.pair_cosines(vectors, name_ids, index.name_vectors, codes)
    # One is kept for texts that are equal: rounding must not lift others to it.
    mixed = np.minimum(np.round((edit + cosine) / 2, 4), 0.9999)
    return np.where(pc.equal(left, right).to_numpy(zero_copy_only=False), 1.0, mixed)


def _edit_similarity(left: pa.Array, right: pa.Array) -> Floats:
    """Normalised Levenshtein similarity of parallel texts: 1 - distance / length of the longer one."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cpdist

    texts = (side.to_numpy(zero_copy_only=False) for side in (left, right))
    return np.asarray(cpdist(*texts, scorer=Levenshtein.normalized_similarity, dtype=np.float64, workers=1))


def _compare_streets(
    index: CompanyIndex, batch: Prepared, rows: Ints, companies: Ints
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """(similarity, missing) of the pairs: the best over the company's streets, written without spaces."""
    has_street = batch.streets.is_valid().to_numpy(zero_copy_only=False)[rows]
    missing = ~has_street | (index.streets.codes.counts(companies) == 0)
    best = np.zeros(len(rows))
    comparable = np.flatnonzero(~missing)
    for begin, end in _slices(index.streets.codes.counts(companies[comparable])):
        pairs = comparable[begin:end]
        at, codes = index.streets.codes.expand(companies[pairs])
        left = batch.streets.take(pa.array(rows[pairs[at]]))
        right = index.streets.texts.take(pa.array(codes))
        likeness = _edit_similarity(pc.replace_substring(left, " ", ""), pc.replace_substring(right, " ", ""))
        other_number = pc.fill_null(pc.not_equal(_house_number(left), _house_number(right)), False)
        limit = np.where(other_number.to_numpy(zero_copy_only=False), MAX_SIMILARITY_OTHER_NUMBER, 1.0)
        np.maximum.at(best, pairs[at], np.round(np.minimum(likeness, limit), 4))
    return best.astype(np.float32), missing


def _house_number(streets: pa.Array) -> pa.Array:
    """The digits a street begins with, null where it begins otherwise."""
    return pc.struct_field(pc.extract_regex(streets, r"^(?P<number>[0-9]+)"), "number")


def _group(rows: Ints, row_count: int) -> Lists:
    """Positions of each row in an ascending array of rows."""
    starts = np.searchsorted(rows, np.arange(row_count + 1))
    return Lists(starts.astype(np.int64), np.arange(len(rows)))


def _slices(sizes: Ints) -> list[tuple[int, int]]:
    """Bounds of runs of pairs that expand to about ``SLICE_PAIRS`` each, and to more for a single huge pair."""
    if not len(sizes):
        return []
    block = np.cumsum(sizes) // SLICE_PAIRS
    cuts = np.flatnonzero(np.diff(block)) + 1
    bounds = [0, *cuts.tolist(), len(sizes)]
    return list(itertools.pairwise(bounds))
