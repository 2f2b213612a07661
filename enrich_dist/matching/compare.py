"""The comparison vector of a pair: the columns of ``schema.COMPARISON``.

Covers agreement of identifiers, places and streets, and similarity of names: a level (``schema.NameLevel``) and the
agreeing share of the company's name, weighted by the rarity of its words. Does not cover which pairs are compared
(``blocking``) nor match weights (``weights``).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from enrich_dist import schema
from enrich_dist.matching.arrays import Lists, text_buffers
from enrich_dist.matching.blocking import UNKNOWN_WEIGHT, Pairs, Prepared
from enrich_dist.matching.index import CompanyIndex
from enrich_dist.matching.kernels.comparison import compare_names
from enrich_dist.matching.kernels.streets import street_levels
from enrich_dist.matching.kernels.text import Ints
from enrich_dist.matching.normalise import normalise_streets
from enrich_dist.matching.vocabulary import COMMON_SHARE, WEIGHT_PER_BIT
from enrich_dist.matching.words import sibling_words
from enrich_dist.schema import Agreement, NameKind, PlaceLevel, SiblingLevel

# Words of at most this weight are common: like a legal form, they hardly distinguish organisations.
COMMON_WEIGHT = round(-WEIGHT_PER_BIT * np.log2(COMMON_SHARE))

# A name of at least this weight identifies an organisation within a longer name: one name in a million has its words by
# chance. Argued; 16 to 24 bits give the same F1 within 0.0002 on generated data and the labels.
CONTAINED_WEIGHT = 20 * WEIGHT_PER_BIT

# One in this many recipients is compared with a random company.
RANDOM_ROWS = 4

# Pairs of texts compared at a time, to bound memory.
SLICE_PAIRS = 200_000


def compare(index: CompanyIndex, batch: Prepared, pairs: Pairs) -> pa.Table:
    """Return the comparison vectors (``schema.COMPARISON``) of the pairs, in their order."""
    rows, companies = pairs.rows, pairs.companies
    state, city, zip_code = batch.place_agreements(rows, companies)
    address_level, address_companies = pairs.same_places.of(rows * index.company_count + companies)
    columns = {
        "uei_agreement": batch.ueis.agreement(rows, companies),
        "duns_agreement": batch.duns.agreement(rows, companies),
        **_compare_names(index, batch, pairs),
        "state_agreement": state,
        "city_agreement": city,
        "zip_agreement": zip_code,
        "place_level": place_level(state, city, zip_code),
        "street_level": _compare_streets(index, batch, rows, companies),
        "address_level": address_level,
        "address_companies": address_companies,
    }
    arrays = [pa.array(columns[field.name], type=field.type) for field in schema.COMPARISON]
    return pa.table(arrays, schema=schema.COMPARISON)


def place_level(state: Ints, city: Ints, zip_code: Ints) -> npt.NDArray[np.int8]:
    """Return the ``PlaceLevel`` from the ``Agreement`` of state, city and ZIP code."""
    agree, conflict, unknown = Agreement.AGREE, Agreement.CONFLICT, Agreement.UNKNOWN
    rules = [  # the first that applies
        (PlaceLevel.SAME_CITY_AND_ZIP, (city == agree) & (zip_code == agree)),
        (PlaceLevel.SAME_ZIP, zip_code == agree),
        (PlaceLevel.SAME_CITY, (city == agree) & (zip_code == unknown)),
        (PlaceLevel.SAME_CITY_DIFFERENT_ZIP, city == agree),
        (PlaceLevel.SAME_STATE, (state == agree) & (city == unknown)),
        (PlaceLevel.DIFFERENT_CITY, state == agree),
        (PlaceLevel.DIFFERENT_STATE, (state == conflict) | (city == conflict) | (zip_code == conflict)),
    ]
    chosen = np.select([applies for _, applies in rules], [level for level, _ in rules], PlaceLevel.UNKNOWN)
    return chosen.astype(np.int8)


def random_places(index: CompanyIndex, batch: Prepared, source_rows: Ints) -> Ints:
    """Return the counts of each place level between recipients and random companies: int64.

    Samples one in ``RANDOM_ROWS`` recipients. A hash of the source row draws recipients and companies, so the counts do
    not depend on the chunks.
    """
    if not index.company_count:
        return np.zeros(len(PlaceLevel), dtype=np.int64)
    mixed = source_rows.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(31)
    rows = np.flatnonzero(mixed % np.uint64(RANDOM_ROWS) == 0)
    companies = ((mixed[rows] >> np.uint64(8)) % np.uint64(index.company_count)).astype(np.int64)
    return np.bincount(place_level(*batch.place_agreements(rows, companies)), minlength=len(PlaceLevel))


def _compare_names(index: CompanyIndex, batch: Prepared, pairs: Pairs) -> dict[str, Ints]:
    """Return the columns of names, of the best pair of names of both sides."""
    rows, companies = pairs.rows, pairs.companies
    width = max(len(index.names.texts), 1)
    best = np.full(len(rows), -1, dtype=np.int64)
    names = Lists.of_positions(batch.name_rows, batch.row_count)
    sizes = names.counts(rows) * index.names.codes.counts(companies)
    for begin, end in _slices(sizes):
        at, entry = names.expand(rows[begin:end])
        at_name, code = index.names.codes.expand(companies[begin:end][at])
        entry, pair = entry[at_name], begin + at[at_name]
        # Many recipients share a name, so compare each pair of names once.
        keys, inverse = np.unique(batch.name_ids[entry] * width + code, return_inverse=True)
        level, agreed, similarity, sibling = _compare_distinct(index, batch, pairs, keys // width, keys % width)
        # One integer that sorts by level, agreement, similarity, siblings, kind and code, and contains them all.
        rank = ((level.astype(np.int64) * 1001 + agreed) * 1001 + similarity) * len(SiblingLevel)
        rank = (rank + (len(SiblingLevel) - 1 - sibling))[inverse]
        rank = (rank * len(NameKind) + (NameKind.PARENT - batch.name_kinds[entry])) * width + (width - 1 - code)
        np.maximum.at(best, pair, rank)
    nameless = best < 0
    nothing = (len(SiblingLevel) - 1) * len(NameKind) + NameKind.PARENT
    best = np.where(nameless, nothing * width + width - 1, best)  # nothing in common, by no name
    best, code = best // width, width - 1 - best % width
    best, kind = best // len(NameKind), NameKind.PARENT - best % len(NameKind)
    best, sibling = best // len(SiblingLevel), len(SiblingLevel) - 1 - best % len(SiblingLevel)
    best, similarity = best // 1001, best % 1001
    return {
        "name_level": best // 1001,
        "name_agreement": (best % 1001 / 1000).astype(np.float32),
        "name_similarity": (similarity / 1000).astype(np.float32),
        "name_kind": kind,
        "sibling_level": sibling,
        "name_code": np.where(nameless, -1, code),
    }


def _compare_distinct(index: CompanyIndex, batch: Prepared, pairs: Pairs, names: Ints, codes: Ints) -> Any:
    """Return (level, agreement, similarity, sibling level) of pairs of names.

    ``names``: positions in ``batch.names``; ``codes``: in ``index.names``.
    """
    keys = names * max(len(index.names.texts), 1) + codes
    return compare_names(
        names,
        codes,
        batch.tokens,
        index.vocabulary.compared,
        text_buffers(batch.names),
        text_buffers(index.names.texts),
        (UNKNOWN_WEIGHT, COMMON_WEIGHT, CONTAINED_WEIGHT),
        batch.name_codes[names] == codes,
        np.isin(keys, pairs.cut_names),
        sibling_words(),
    )


def _compare_streets(index: CompanyIndex, batch: Prepared, rows: Ints, companies: Ints) -> npt.NDArray[np.int8]:
    """Return the ``StreetLevel`` of the pairs, the best over the company's streets."""
    levels = np.zeros(len(rows), dtype=np.int8)
    first, second = batch.streets
    with_street = first.is_valid().to_numpy(zero_copy_only=False) | second.is_valid().to_numpy(zero_copy_only=False)
    compared = np.flatnonzero(with_street[rows] & (index.streets.codes.counts(companies) > 0))
    # Normalise only the streets of recipients in a pair.
    needed, position = np.unique(rows[compared], return_inverse=True)
    streets = normalise_streets(first.take(pa.array(needed)), second.take(pa.array(needed)))
    known, lists = text_buffers(index.streets.texts), index.streets.codes
    levels[compared] = street_levels(
        text_buffers(streets), position, known, companies[compared], lists.starts, lists.values
    )
    return levels


def _slices(sizes: Ints) -> list[tuple[int, int]]:
    """Return bounds of runs of pairs that expand to about ``SLICE_PAIRS`` each, or more for a single huge pair."""
    if not len(sizes):
        return []
    block = np.cumsum(sizes) // SLICE_PAIRS
    cuts = np.flatnonzero(np.diff(block)) + 1
    bounds = [0, *cuts.tolist(), len(sizes)]
    return list(itertools.pairwise(bounds))
