"""Blocking by address: companies and recipients at one house number, whatever their names.

A firm that was renamed or bought often keeps its address, and unlike firms share buildings. So these pairs are proposed
for review and never accepted by their address alone (``decisions``). Does not cover streets as evidence of pairs that
were found by name (``compare``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.matching.arrays import text_buffers
from enrich_dist.matching.kernels.addresses import house_numbers, near_rows
from enrich_dist.matching.kernels.text import Ints
from enrich_dist.matching.normalise import normalise_addresses
from enrich_dist.schema import AddressLevel, Agreement

if TYPE_CHECKING:
    from enrich_dist.matching.blocking import Prepared
    from enrich_dist.matching.index import CompanyIndex

# Companies at a house number, above which its recipients are skipped and counted: the probability of a pair is shared
# by them, and falls below the threshold of the review (``decisions.ADDRESS_SHARE``). In the bundled sample, 2 of 4,253
# house numbers have more: incubators.
MAX_COMPANIES = 6


@dataclass(frozen=True)
class SamePlaces:
    """Pairs at one address.

    ``keys``: row * companies + company, int64, ascending; ``levels`` (int8, ``AddressLevel``) and ``companies`` (int16,
    at this house number) are parallel to them. ``left_out``: recipients at a house number of too many companies.
    """

    keys: Ints
    levels: npt.NDArray[np.int8]
    companies: npt.NDArray[np.int16]
    left_out: int

    def of(self, keys: Ints) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int16]]:
        """Return level and companies of any pairs, 0 for those at different addresses."""
        if not len(self.keys):
            return np.zeros(len(keys), dtype=np.int8), np.zeros(len(keys), dtype=np.int16)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        found = (self.keys[at] == keys).astype(np.int8)
        return self.levels[at] * found, self.companies[at] * found


def same_places(index: CompanyIndex, batch: Prepared) -> SamePlaces:
    """Return the pairs of the batch at one house number in one ZIP code, whose suites do not differ.

    A city replaces a missing ZIP code. A suite on one side only is no difference.
    """
    first, second = batch.streets
    numbers = house_numbers(*text_buffers(first))
    rows = near_rows(numbers, batch.zips.codes, batch.cities.codes, index.address_filter)
    addresses = normalise_addresses(first.take(pa.array(rows)), second.take(pa.array(rows)))
    codes = index.buildings.look_up(pc.replace_substring_regex(addresses, "/.*", ""))
    known = np.flatnonzero(codes >= 0)
    counts = index.buildings.companies.counts(codes[known])
    few = counts <= MAX_COMPANIES
    left_out, known, counts = int((~few).sum()), known[few], counts[few]
    at, companies = index.buildings.companies.expand(codes[known])
    level = _levels(index, batch, rows[known], addresses.take(pa.array(known)), at, companies)
    keys = rows[known][at] * index.company_count + companies
    order = np.argsort(keys)
    order = order[level[order] > AddressLevel.DIFFERENT]
    return SamePlaces(keys[order], level[order], counts[at][order].astype(np.int16), left_out)


def _levels(
    index: CompanyIndex, batch: Prepared, rows: Ints, addresses: pa.Array, at: Ints, companies: Ints
) -> npt.NDArray[np.int8]:
    """Return the ``AddressLevel`` of pairs at one house number; ``at``: their positions in ``rows``, ``addresses``."""
    _, city, zip_code = batch.place_agreements(rows[at], companies)
    near = (zip_code == Agreement.AGREE) | ((zip_code == Agreement.UNKNOWN) & (city == Agreement.AGREE))

    def has(texts: pa.Array) -> npt.NDArray[np.bool_]:
        codes = index.addresses.look_up(texts)
        agreement = index.addresses.agreement(codes, np.zeros(len(codes), dtype=bool), at, companies)
        return np.asarray(agreement == Agreement.AGREE)

    without_suite = pc.ends_with(addresses, "/").to_numpy(zero_copy_only=False)[at]
    missing = without_suite | has(pc.replace_substring_regex(addresses, "/.*", "/"))
    level = np.where(has(addresses), AddressLevel.SAME, np.where(missing, AddressLevel.SAME_STREET, 0))
    return np.where(near, level, AddressLevel.DIFFERENT).astype(np.int8)
