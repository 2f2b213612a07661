"""A test set for equal names in different places: where the place decides between namesakes, and where it does not.

2 to 50 organisations share each name. Most records to be linked have a place that agrees with exactly one of them; the
others have no place, a place of several of them, or a place of none. Covers names that are equal except for style. Does
not cover similar names, or streets that decide within a ZIP code.
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
"""Share of the organisations in the town of a namesake."""


def write_common_names(directory: Path, *, sample: Path, seed: int) -> None:
    """Write ``right.parquet`` and ``left.parquet`` (id, name, address, city, state, zip), and ``truth.parquet``.

    ``truth``: left_id, right_id (null if the place does not decide) and decided. The sizes of the groups follow a power
    law with exponent 2, as in the real list. Raises ``ValueError`` if the sample has no names or places.
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
    # Pareto with exponent 1: twice as many groups of half the size.
    sizes = np.minimum(2 / (1 - uniform(group_keys, "size")), MAX_PLACES).astype(np.int64)
    group = np.repeat(np.arange(NAMES), sizes)
    inside = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    keys = keys_of(np.arange(len(group)), seed, "bearer of common name")
    crowded = (inside > 0) & chance(keys, "crowded", CROWDED_SHARE)
    # Crowded organisations are in the town of the previous one that is not.
    place_keys = _before(keys, crowded)
    place = models.places.draw_domestic(place_keys)
    name = _distinct(group_keys, models.names).take(pa.array(group))
    right = _table("R", _restyled(keys, name), models.places.street(keys), place)
    return right, group


def _before(keys: Keys, mask: Flags) -> Keys:
    """The keys; where the mask is true, the key of the last row before where it is false."""
    last = np.maximum.accumulate(np.where(mask, 0, np.arange(len(keys))))
    return keys[last]


def _distinct(keys: Keys, model: NameModel) -> pa.Array:
    """Distinct names: a name that repeats another receives a new beginning."""
    names = model.coin(keys)
    encoded = pc.replace_substring_regex(names, "[^A-Z0-9]", "").dictionary_encode().indices.to_numpy()
    _, first = np.unique(encoded, return_index=True)
    repeats = np.ones(len(keys), dtype=bool)
    repeats[first] = False
    return where(repeats, pc.binary_join_element_wise(model.beginnings(mix(keys, "apart")), names, " "), names)


def _left(seed: int, right: pa.Table, group: Ints, models: Models) -> tuple[pa.Table, pa.Table]:
    """Records to be linked, and their truth."""
    town = pc.binary_join_element_wise(right["state"], right["city"], "|").combine_chunks()
    code = town.dictionary_encode().indices.to_numpy().astype(np.int64)
    _, which, sizes = np.unique(group * (code.max() + 1) + code, return_inverse=True, return_counts=True)
    alone = sizes[which] == 1
    decided_count = round(LEFT * DECIDED_SHARE)
    third = (LEFT - decided_count) // 3
    order = np.argsort(keys_of(np.arange(len(right)), seed, "chosen"), kind="stable")
    single, crowd = order[alone[order]], order[~alone[order]]
    # If the crowd is smaller than its share, its rows are used several times.
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
    organisation = right.take(pa.array(chosen))
    place = _left_place(keys, case, organisation, models.places, _towns(right, group), group[chosen])
    street = where(
        (case == 0) & chance(keys, "same street", 0.5),
        organisation["address"].combine_chunks(),
        models.places.street(mix(keys, "street")),
    )
    left = _table("L", _restyled(keys, pa.concat_arrays(organisation["name"].chunks)), where(case != 1, street), place)
    decided = case == 0
    right_id = where(decided, pa.concat_arrays(organisation["id"].chunks))
    return left, pa.table({"left_id": left["id"], "right_id": right_id, "decided": decided})


def _towns(right: pa.Table, group: Ints) -> pa.Array:
    """Pairs of name and state that occur, as texts."""
    return pc.unique(pc.binary_join_element_wise(number_texts(group), pa.concat_arrays(right["state"].chunks), "|"))


def _left_place(
    keys: Keys, case: Ints, organisation: pa.Table, places: Places, taken: pa.Array, group: Ints
) -> dict[str, pa.Array]:
    """The organisation's place (one in three only its town), none, or one in a state without the name."""
    near = {
        "city": pa.concat_arrays(organisation["city"].chunks),
        "state": pa.concat_arrays(organisation["state"].chunks),
        "zip5": pa.concat_arrays(organisation["zip"].chunks),
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
