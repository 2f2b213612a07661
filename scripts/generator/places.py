"""Places of the sample's recipients, drawn by frequency, and other places near them or far away.

Covers city, state, ZIP code, country and congressional district, with the gaps of the sample, and streets with other
house numbers. The ZIP code of a city is a real one, or one with other last two digits, so that a town of many
recipients has several codes. Does not cover towns outside the sample.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scripts.generator.draws import (
    DIGITS,
    Flags,
    Ints,
    Keys,
    below,
    chance,
    codes,
    column,
    flags,
    number_texts,
    picked,
    uniform,
    where,
)

COLUMNS: Final = ("city", "state", "zip5", "country_code", "congressional_district")
OWN_ZIP_SHARE: Final = 0.4
"""Share of ZIP codes with drawn last two digits. In the sample, a town of ten recipients or more has one code for every
two or three of them."""
_TRIES: Final = 4


@dataclass(frozen=True)
class Places:
    """The sample's places and streets, and groups of domestic places."""

    rows: pa.Table
    streets: pa.Array
    domestic: pa.Table
    """Places with city, state and ZIP code."""
    cities: _Groups
    areas: _Groups
    """By state and the first three digits of the ZIP code, the area of one sorting centre."""
    states: _Groups

    @classmethod
    def of(cls, sample: pa.Table) -> Places:
        """Learn from a recipients table. Raises ``ValueError`` if it has no places or no streets."""
        rows = sample.filter(pc.is_valid(sample["city"])).select(COLUMNS)
        at_home = sample.filter(pc.equal(sample["country_code"], "USA"))
        streets = pc.replace_substring_regex(column(at_home, "address_line_1").drop_null(), r"^[0-9]+\s*", "")
        complete = pc.and_(
            pc.and_(pc.is_valid(rows["state"]), pc.fill_null(pc.equal(rows["country_code"], "USA"), False)),
            pc.fill_null(pc.match_substring_regex(rows["zip5"], "^[0-9]{5}$"), False),
        )
        domestic = rows.filter(complete).combine_chunks()
        if not len(streets) or not len(domestic):
            raise ValueError("the sample has no streets or places to draw from")
        city, state, zip5 = (column(domestic, name) for name in ("city", "state", "zip5"))
        return cls(
            rows=rows.combine_chunks(),
            streets=streets,
            domestic=domestic,
            cities=_Groups.of(_joined(state, city)),
            areas=_Groups.of(_joined(state, pc.utf8_slice_codeunits(zip5, 0, 3))),
            states=_Groups.of(state),
        )

    def draw(self, keys: Keys) -> dict[str, pa.Array]:
        """Return a place per key, by column."""
        place = self.rows.take(pa.array(below(keys, "place", len(self.rows))))
        drawn = {name: column(place, name) for name in COLUMNS}
        drawn["zip5"] = other_zip(keys, drawn["zip5"], chance(keys, "own zip", OWN_ZIP_SHARE))
        return drawn

    def draw_domestic(self, keys: Keys) -> dict[str, pa.Array]:
        """Return a complete domestic place per key: city, state and ZIP code."""
        return self._take(below(keys, "domestic place", len(self.domestic)), keys)

    def street(self, keys: Keys) -> pa.Array:
        """Return a street with a house number per key."""
        # Squared, because low house numbers are common.
        number = (uniform(keys, "house") ** 2 * 9_999).astype(np.int64) + 1
        return pc.binary_join_element_wise(number_texts(number), picked(keys, "street", self.streets), " ")

    def zip_in(self, keys: Keys, city: pa.Array, state: pa.Array) -> pa.Array:
        """Return a ZIP code of the city, or of the state if the sample lacks the city, else null."""
        in_city = self.cities.draw(keys, "zip of city", _joined(state, city))
        row = np.where(in_city >= 0, in_city, self.states.draw(keys, "zip of state", state))
        codes_ = column(self.domestic, "zip5").take(pa.array(np.maximum(row, 0)))
        return where(row >= 0, other_zip(keys, codes_, chance(keys, "own zip in city", OWN_ZIP_SHARE)))

    def elsewhere(
        self, keys: Keys, city: pa.Array, state: pa.Array, zip5: pa.Array, near: Flags, far: Flags
    ) -> dict[str, pa.Array]:
        """Return another place: in the same area (``near``), in another state (``far``), else in the same state.

        If the sample has no such place, the place is further away.
        """
        area = _joined(state, pc.utf8_slice_codeunits(zip5, 0, 3))
        row = np.full(len(keys), -1, dtype=np.int64)
        for attempt in range(_TRIES):
            for group, key, wanted in ((self.areas, area, near), (self.states, state, ~far)):
                found = group.draw(keys, f"elsewhere {attempt}", key)
                fits = wanted & (row < 0) & (found >= 0) & self._differs(found, city, "city")
                row = np.where(fits, found, row)
        for attempt in range(2 * _TRIES):
            found = below(keys, f"far {attempt}", len(self.domestic))
            row = np.where((row < 0) & self._differs(found, state, "state"), found, row)
        row = np.where(row < 0, below(keys, "anywhere", len(self.domestic)), row)
        return self._take(row, keys)

    def _differs(self, rows: Ints, than: pa.Array, name: str) -> Flags:
        found = column(self.domestic, name).take(pa.array(np.maximum(rows, 0)))
        return flags(pc.fill_null(pc.not_equal(found, than), True))

    def _take(self, rows: Ints, keys: Keys) -> dict[str, pa.Array]:
        place = self.domestic.take(pa.array(rows))
        drawn = {name: column(place, name) for name in ("city", "state", "zip5")}
        drawn["zip5"] = other_zip(keys, drawn["zip5"], chance(keys, "own zip", OWN_ZIP_SHARE))
        return drawn


@dataclass(frozen=True)
class _Groups:
    """Rows by a shared text."""

    names: pa.Array
    order: Ints
    starts: Ints

    @classmethod
    def of(cls, texts: pa.Array) -> _Groups:
        encoded = texts.dictionary_encode()
        codes_ = encoded.indices.to_numpy()
        order = np.argsort(codes_, kind="stable")
        starts = np.searchsorted(codes_[order], np.arange(len(encoded.dictionary) + 1))
        return cls(names=encoded.dictionary, order=order.astype(np.int64), starts=starts.astype(np.int64))

    def draw(self, keys: Keys, purpose: str, texts: pa.Array) -> Ints:
        """Return a row of the group of each text; -1 without one."""
        group = pc.fill_null(pc.index_in(texts, value_set=self.names), -1).to_numpy().astype(np.int64)
        known = np.maximum(group, 0)
        row = self.order[self.starts[known] + below(keys, purpose, np.diff(self.starts)[known])]
        return np.where(group >= 0, row, -1)


def other_zip(keys: Keys, zips: pa.Array, mask: Flags) -> pa.Array:
    """Return ZIP codes with other last two digits where the mask is true and the code has five digits."""
    ending = codes(keys, "zip ending", DIGITS, DIGITS)
    changed = pc.binary_join_element_wise(pc.utf8_slice_codeunits(zips, 0, 3), ending, "")
    domestic = flags(pc.match_substring_regex(zips, "^[0-9]{5}$"))
    return where(mask & domestic, changed, zips)


def _joined(*parts: pa.Array) -> pa.Array:
    """Several texts as one; null where a part is null."""
    return pc.binary_join_element_wise(*parts, "|")
