"""Keys of recipients: hashes of their texts, by which the reduce groups and orders candidates without any text.

Equal texts have equal keys, whatever the chunk; of different texts that are compared (the candidates of one company),
one pair in 10**15 has. Does not cover which keys make two rows one organisation (``results.organisations``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.matching.arrays import as_array, text_buffers
from enrich_dist.matching.kernels.text import hash_texts
from enrich_dist.matching.normalise import normalise_cities, normalise_names, normalise_streets

_BYTES = 8  # of a number


def recipient_keys(recipients: pa.Table) -> pa.Table:
    """Return the keys (``schema.RECIPIENT_KEY``) of rows of ``schema.RECIPIENT``, in their order."""
    column = {name: as_array(recipients[name]) for name in recipients.column_names}
    state, city, zip5, street = (column[name] for name in ("state", "city", "zip5", "address_line_1"))
    towns = pc.binary_join_element_wise(pc.fill_null(state, ""), _distinct(city, normalise_cities), "|")
    streets = normalise_streets(street, pa.nulls(len(street), pa.string()))
    has = {name: column[name].is_valid().to_numpy(zero_copy_only=False).astype(np.int8) for name in column}
    has_town = has["city"] | has["zip5"]
    keys = {
        "id_start": _bytes(column["recipient_id"], 0),
        "id_middle": _bytes(column["recipient_id"], _BYTES),
        "id_key": text_keys(column["recipient_id"]),
        "uei_key": text_keys(column["uei"]),
        "duns_key": text_keys(column["duns"]),
        "name_key": text_keys(pc.replace_substring(normalise_names(column["name"]), " ", "")),
        "raw_name_key": text_keys(column["name"]),
        "state_key": text_keys(state),
        "town_key": text_keys(towns),
        "zip_key": text_keys(zip5),
        "street_key": text_keys(streets),
        "street_name_key": text_keys(_street_names(streets)),
        "is_placeless": (has_town | has["state"]) == 0,
        "documentation": 8 * has["uei"] + 4 * has["duns"] + has["address_line_1"] + has_town + has["state"],
    }
    return pa.table([pa.array(keys[field.name], field.type) for field in schema.RECIPIENT_KEY], schema.RECIPIENT_KEY)


def text_keys(texts: pa.Array) -> npt.NDArray[np.int64]:
    """Return the key of each text, 0 for null."""
    keys: npt.NDArray[np.int64] = hash_texts(*text_buffers(texts), False).view(np.int64)
    return np.where(texts.is_valid().to_numpy(zero_copy_only=False), keys, 0)


def _bytes(texts: pa.Array, first: int) -> npt.NDArray[np.uint64]:
    """Return the eight bytes from ``first`` on of each text as a number that sorts as they do."""
    data, starts = text_buffers(texts)
    numbers = np.zeros(len(texts), dtype=np.uint64)
    for number in range(_BYTES):
        at = starts[:-1] + first + number
        byte = np.where(at < starts[1:], data[np.minimum(at, len(data) - 1)], 0).astype(np.uint64)
        numbers |= byte << np.uint64(8 * (_BYTES - 1 - number))
    return numbers


def _distinct(texts: pa.Array, normalise: Any) -> pa.Array:
    """Return the normalised texts; each distinct text is normalised once."""
    encoded = pc.dictionary_encode(texts)
    return normalise(encoded.dictionary).take(encoded.indices)


def _street_names(streets: pa.Array) -> pa.Array:
    """Return normalised streets without the house number, null for a PO box."""
    is_box = pc.match_substring_regex(streets, r"^(?:PO )?BOX\b")
    names = pc.replace_substring_regex(streets, r"^[0-9]+[A-Z]? (?:[0-9]+ )?", "")
    return pc.if_else(is_box, pa.scalar(None, pa.string()), names)
