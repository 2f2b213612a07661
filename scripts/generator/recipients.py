"""Recipients of any number: a Parquet file in the shape of USAspending ``recipient_lookup``.

Every value is a function of the seed and the row number. So rows are generated in batches of ``BATCH_ROWS`` in constant
memory, and a shorter file is the beginning of a longer one. Most rows are separate organisations. The others take
values from an earlier row or a chain: chains and franchises (one name in many places), second registrations (the same
name and place, with the same UEI, the same parent, or no link), neighbours (a similar name in the same town),
subsidiaries, and firms with a shared street address. The file does not contain these roles; ``truth`` derives the
acceptable recipients.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist.core.files import atomic_path
from scripts.generator import shares
from scripts.generator.draws import (
    DIGITS,
    HEXADECIMAL,
    Flags,
    Ints,
    Keys,
    below,
    chance,
    codes,
    column,
    duns,
    flags,
    keys_of,
    mix,
    number_texts,
    ueis,
    uniform,
    weighted,
    where,
)
from scripts.generator.errors import NAME_ERRORS, initials, respell_legal, respell_marks
from scripts.generator.names import NameModel
from scripts.generator.places import COLUMNS, Places

BATCH_ROWS: Final = 50_000

_TEXTS: Final = (
    *("recipient_hash", "legal_business_name", "duns", "uei", "parent_uei", "address_line_1", "address_line_2"),
    *("city", "state", "zip5", "zip4", "country_code", "congressional_district"),
)
RECIPIENTS: Final = pa.schema([*((name, pa.string()) for name in _TEXTS), ("alternate_names", pa.list_(pa.string()))])

_SAMPLE_COLUMNS: Final = ("legal_business_name", "address_line_1", *COLUMNS)
_SAMPLE_ROWS: Final = 100_000
_ROLES: Final = {
    **shares.SECOND_SHARES,
    "neighbour": shares.NEIGHBOUR_SHARE,
    "subsidiary": shares.SUBSIDIARY_SHARE,
    "shared_address": shares.SHARED_ADDRESS_SHARE,
}
_SECOND_LINE_SHARE: Final = 0.025
_ZIP4_SHARE: Final = 0.92


@dataclass(frozen=True)
class Models:
    """Models learned from the sample."""

    names: NameModel
    places: Places

    @classmethod
    def of(cls, sample: Path) -> Models:
        """Learn from the first rows of a recipients file. Raises ``ValueError`` without names, places or streets."""
        with pq.ParquetFile(sample) as file:
            batches = file.iter_batches(_SAMPLE_ROWS, columns=list(_SAMPLE_COLUMNS), use_threads=False)
            real = pa.Table.from_batches([next(batches)])
        return cls(names=NameModel.of(column(real, "legal_business_name")), places=Places.of(real))


def write_recipients(path: Path, *, rows: int, seed: int, sample: Path) -> None:
    """Write ``rows`` recipients in the columns of ``RECIPIENTS``, one row group per batch.

    ``sample``: a real recipients file, for its names, streets and places. Raises ``ValueError`` if ``rows`` is less
    than 1 or the sample has none of these.
    """
    if rows < 1:
        raise ValueError("rows must be at least 1")
    models = Models.of(sample)
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, RECIPIENTS, compression="zstd") as writer:
        for start in range(0, rows, BATCH_ROWS):
            batch = _recipients(np.arange(start, min(start + BATCH_ROWS, rows)), seed, models)
            writer.write_table(batch, row_group_size=BATCH_ROWS)


@dataclass(frozen=True)
class _Origin:
    """The keys from which rows take each part: their own, or those of another row or chain."""

    head: Keys
    tail: Keys
    place: Keys
    street: Keys
    identity: Keys
    parent: pa.Array
    new_words: Flags
    """The name has the beginning of another name, and a different end."""
    restyled: Flags


def _recipients(numbers: Ints, seed: int, models: Models) -> pa.Table:
    """The recipients with these numbers."""
    keys = keys_of(numbers, seed, "recipient")
    origin = _origins(numbers, keys, seed)
    name = models.names.coin(origin.head, origin.tail, words_after=origin.new_words)
    restyled = where(chance(keys, "restyled in marks", 0.5), respell_marks(keys, name), respell_legal(keys, name))
    name = where(origin.restyled, restyled, name)
    has_place = chance(keys, "has place", shares.PLACE_SHARE)
    place = models.places.draw(origin.place)
    suite = pc.binary_join_element_wise("STE", number_texts(below(keys, "suite", 900) + 100), " ")
    has_zip4 = chance(keys, "has zip4", _ZIP4_SHARE) & has_place
    columns: dict[str, Any] = {
        "recipient_hash": codes(keys, "hash", *[HEXADECIMAL] * 32),
        "legal_business_name": name,
        "duns": where(_has_duns(origin.identity), duns(origin.identity)),
        "uei": where(_has_uei(origin.identity), ueis(origin.identity)),
        "parent_uei": origin.parent,
        "address_line_1": where(has_place, models.places.street(origin.street)),
        "address_line_2": where(has_place & chance(keys, "second line", _SECOND_LINE_SHARE), suite),
        "zip4": pc.if_else(
            pc.is_valid(place["zip5"]),
            where(has_zip4, codes(keys, "zip4", *[DIGITS] * 4)),
            pa.scalar(None, pa.string()),
        ),
        "alternate_names": _alternate_names(keys, name, models.names),
        **{label: where(has_place, values) for label, values in place.items()},
    }
    return pa.table([columns[label] for label in RECIPIENTS.names], schema=RECIPIENTS)


def _origins(numbers: Ints, keys: Keys, seed: int) -> _Origin:
    slot, chain = _chains(numbers, seed)
    role = np.where(slot, -1, _role(keys))
    # The origin is an earlier separate organisation; a row without one is a separate organisation itself.
    target = below(keys, "origin", numbers)
    target_keys = keys_of(target, seed, "recipient")
    fits = (role >= 0) & (numbers > 0) & ~_chain_slots(target, seed) & (_role(target_keys) < 0)
    named = {label: fits & (role == number) for number, label in enumerate(_ROLES)}
    for label in ("same_uei", "same_parent", "subsidiary"):
        named[label] &= _has_uei(target_keys)  # the link is recorded by UEI
    second = named["same_uei"] | named["same_parent"] | named["unrelated"]
    alike = named["neighbour"] | named["subsidiary"]
    same_street = named["shared_address"] | (second & chance(keys, "same street", 0.6))
    corporate = slot & chance(chain, "corporate", shares.CHAIN_PARENT_SHARE)
    parent = where(corporate, ueis(chain))
    parent = where(named["same_parent"] | named["subsidiary"], ueis(target_keys), parent)
    own = np.where(slot, chain, keys)
    return _Origin(
        head=np.where(second | alike, target_keys, own),
        tail=np.where(second, target_keys, own),
        place=np.where(second | named["neighbour"] | named["shared_address"], target_keys, keys),
        street=np.where(same_street, target_keys, keys),
        identity=np.where(named["same_uei"], target_keys, keys),
        parent=parent,
        new_words=alike,
        restyled=(second & chance(keys, "restyled", 0.5)) | (slot & chance(keys, "restyled", 0.3)),
    )


def _role(keys: Keys) -> Ints:
    """The number of the role in ``_ROLES``, -1 for a separate organisation."""
    role = np.searchsorted(np.cumsum(list(_ROLES.values())), uniform(keys, "role"), side="right")
    return np.where(role < len(_ROLES), role, -1).astype(np.int64)


def _chain_slots(numbers: Ints, seed: int) -> Flags:
    """A random one of every ``CHAIN_EVERY`` rows belongs to a chain."""
    blocks = numbers // shares.CHAIN_EVERY
    place = below(keys_of(blocks, seed, "chain slot"), "place", shares.CHAIN_EVERY)
    return np.asarray(numbers % shares.CHAIN_EVERY == place)


def _chains(numbers: Ints, seed: int) -> tuple[Flags, Keys]:
    """Which rows belong to a chain, and the key of the chain, which determines its name."""
    slot = _chain_slots(numbers, seed)
    block = numbers // shares.CHAIN_EVERY
    # The chain of a block is new or that of an earlier block, which may also take it from an earlier one.
    following = np.flatnonzero(slot)
    while len(following):
        block_keys = keys_of(block[following], seed, "chain")
        copies = ~chance(block_keys, "new", shares.CHAIN_NEW_SHARE) & (block[following] > 0)
        following, block_keys = following[copies], block_keys[copies]
        block[following] = below(block_keys, "earlier", block[following])
    return slot, keys_of(block, seed, "chain")


def _has_uei(identity: Keys) -> Flags:
    return chance(identity, "has uei", shares.UEI_SHARE)


def _has_duns(identity: Keys) -> Flags:
    return chance(identity, "has duns", shares.DUNS_SHARE)


def _alternate_names(keys: Keys, names: pa.Array, model: NameModel) -> pa.Array:
    """Lists of other names for a few rows, empty for the others."""
    has_alternates = chance(keys, "alternates", shares.ALTERNATE_SHARE)
    counts = np.where(has_alternates, weighted(keys, "alternate count", list(shares.ALTERNATE_COUNTS)) + 1, 0)
    starts = np.concatenate([[0], np.cumsum(counts)])
    own = np.repeat(np.arange(len(keys)), counts)
    inside = np.arange(starts[-1]) - np.repeat(starts[:-1], counts)
    other_keys = mix(keys[own] + inside.astype(np.uint64), "alternate")
    name = names.take(pa.array(own))
    kind = weighted(other_keys, "alternate kind", list(shares.ALTERNATE_KINDS.values()))
    former = model.coin(other_keys)
    variant = NAME_ERRORS["word_added"].change(other_keys, name, model)
    changed = pc.choose(
        pa.array(kind),
        respell_legal(other_keys, name),
        variant,
        initials(other_keys, name, model),
        former,
    )
    # A name of two words has no initials.
    changed = where(flags(pc.equal(changed, name)), former, changed)
    return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), changed)
