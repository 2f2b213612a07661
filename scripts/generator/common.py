"""A set of its own for equal names in different places: what decides between namesakes, and what does not.

Each name is borne by 2 to 50 organisations. Of the records to be linked, most have a place that agrees with exactly
one of them; the others have no place, one where several of the name stand, or one where none does. Covers names equal
but for style. Does not cover near-equal names, nor streets that decide within a ZIP code.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist.core.files import atomic_path
from scripts.generator.draws import (
    Flags,
    Ints,
    Keys,
    chance,
    flags,
    keys_of,
    mix,
    number_texts,
    uniform,
    where,
)
from scripts.generator.errors import respell_legal, respell_marks
from scripts.generator.names import NameModel
from scripts.generator.places import Places
from scripts.generator.recipients import Models

NAMES: Final = 700
LEFT: Final = 1_000
MAX_PLACES: Final = 50
DECIDED_SHARE: Final = 0.7
CROWDED_SHARE: Final = 0.10
"""Of the organisations those that stand in the town of one of their name."""


def write_common_names(directory: Path, *, sample: Path, seed: int) -> None:
    """Write ``right.parquet`` and ``left.parquet`` (id, name, address, city, state, zip), and ``truth.parquet``.

    ``truth``: left_id, right_id (null where nothing decides) and decided. The sizes of the groups of one name fall with
    the second power, as in the real list. Raises ``ValueError`` when the sample has no names or places.
    """
    models = Models.of(sample)
    right, group = _right(seed, models)
    left, truth = _left(seed, right, group, models)
    for name, table in (("right", right), ("left", left), ("truth", truth)):
        with atomic_path(directory / f"{name}.parquet") as temporary:
            pq.write_table(table, temporary, compression="zstd")


def _right(seed: int, models: Models) -> tuple[pa.Table, Ints]:
    """The organisations, and the number of the name of each."""
    group_keys = keys_of(np.arange(NAMES), seed, "common name")
    # Pareto with exponent 1: twice as many of half the size.
    sizes = np.minimum(2 / (1 - uniform(group_keys, "size")), MAX_PLACES).astype(np.int64)
    group = np.repeat(np.arange(NAMES), sizes)
    inside = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    keys = keys_of(np.arange(len(group)), seed, "bearer of common name")
    crowded = (inside > 0) & chance(keys, "crowded", CROWDED_SHARE)
    # The town of the one before, whichever that took its own from.
    place_keys = _before(keys, crowded)
    place = models.places.draw_domestic(place_keys)
    name = _distinct(group_keys, models.names).take(pa.array(group))
    right = _table("R", _restyled(keys, name), models.places.street(keys), place)
    return right, group


def _before(keys: Keys, mask: Flags) -> Keys:
    """The keys, where the mask is true that of the last row before where it is not."""
    last = np.maximum.accumulate(np.where(mask, 0, np.arange(len(keys))))
    return keys[last]


def _distinct(keys: Keys, model: NameModel) -> pa.Array:
    """Names of which none is another's: a beginning drawn anew in front where one is."""
    names = model.coin(keys)
    encoded = pc.replace_substring_regex(names, "[^A-Z0-9]", "").dictionary_encode().indices.to_numpy()
    _, first = np.unique(encoded, return_index=True)
    again = np.ones(len(keys), dtype=bool)
    again[first] = False
    return where(again, pc.binary_join_element_wise(model.beginnings(mix(keys, "apart")), names, " "), names)


def _left(seed: int, right: pa.Table, group: Ints, models: Models) -> tuple[pa.Table, pa.Table]:
    """Records to be linked, and what is right for them."""
    town = pc.binary_join_element_wise(right["state"], right["city"], "|").combine_chunks()
    code = town.dictionary_encode().indices.to_numpy().astype(np.int64)
    _, which, standing = np.unique(group * (code.max() + 1) + code, return_inverse=True, return_counts=True)
    alone = standing[which] == 1
    decided_count = round(LEFT * DECIDED_SHARE)
    third = (LEFT - decided_count) // 3
    order = np.argsort(keys_of(np.arange(len(right)), seed, "chosen"), kind="stable")
    single, crowd = order[alone[order]], order[~alone[order]]
    # A crowd may be smaller than its share: then its rows stand for several records.
    chosen = np.concatenate(
        [
            single[:decided_count],
            single[decided_count : decided_count + third],
            np.resize(crowd, third),
            single[-(LEFT - decided_count - 2 * third) :],
        ]
    )
    case = np.repeat(np.arange(4), [decided_count, third, third, LEFT - decided_count - 2 * third])
    keys = keys_of(np.arange(LEFT), seed, "left")
    bearer = right.take(pa.array(chosen))
    place = _left_place(keys, case, bearer, models.places, _towns(right, group), group[chosen])
    street = where(
        (case == 0) & chance(keys, "same street", 0.5),
        bearer["address"].combine_chunks(),
        models.places.street(mix(keys, "street")),
    )
    left = _table("L", _restyled(keys, pa.concat_arrays(bearer["name"].chunks)), where(case != 1, street), place)
    decided = case == 0
    right_id = where(decided, pa.concat_arrays(bearer["id"].chunks))
    return left, pa.table({"left_id": left["id"], "right_id": right_id, "decided": decided})


def _towns(right: pa.Table, group: Ints) -> pa.Array:
    """Which name stands in which state, as texts."""
    return pc.unique(pc.binary_join_element_wise(number_texts(group), pa.concat_arrays(right["state"].chunks), "|"))


def _left_place(
    keys: Keys, case: Ints, bearer: pa.Table, places: Places, taken: pa.Array, group: Ints
) -> dict[str, pa.Array]:
    """The bearer's place (its town alone in one of three), none, or one in a state where none of the name stands."""
    near = {
        "city": pa.concat_arrays(bearer["city"].chunks),
        "state": pa.concat_arrays(bearer["state"].chunks),
        "zip5": pa.concat_arrays(bearer["zip"].chunks),
    }
    town_only = chance(keys, "town only", 1 / 3)
    near["zip5"] = where(town_only, places.zip_in(keys, near["city"], near["state"]), near["zip5"])
    far = places.draw_domestic(mix(keys, "far 0"))
    for attempt in range(1, 12):
        occupied = flags(pc.is_in(pc.binary_join_element_wise(number_texts(group), far["state"], "|"), value_set=taken))
        other = places.draw_domestic(mix(keys, f"far {attempt}"))
        far = {part: where(occupied, other[part], far[part]) for part in far}
    return {part: where(case != 1, where(case == 3, far[part], near[part])) for part in near}


def _restyled(keys: Keys, names: pa.Array) -> pa.Array:
    restyled = where(chance(keys, "legal", 0.5), respell_legal(keys, names), respell_marks(keys, names))
    return where(chance(keys, "restyled", 0.3), restyled, names)


def _table(prefix: str, names: pa.Array, streets: pa.Array, place: dict[str, pa.Array]) -> pa.Table:
    numbers = pc.utf8_lpad(number_texts(np.arange(1, len(names) + 1)), width=6, padding="0")
    return pa.table(
        {
            "id": pc.binary_join_element_wise(prefix, numbers, ""),
            "name": names,
            "address": streets,
            "city": place["city"],
            "state": place["state"],
            "zip": place["zip5"],
        }
    )
