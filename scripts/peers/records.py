"""Records of a set, their keys and their truth."""

from __future__ import annotations

import re
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from scripts.peers.answers import COLUMNS
from scripts.peers.cases import UNFINDABLE_KIND, Known
from scripts.peers.methods import plain_name

MIN_COMMON_LETTERS = 5


@dataclass(frozen=True)
class Record:
    """A row of a table; None where a cell is empty."""

    identity: str
    name: str
    address: str | None = None
    city: str | None = None
    state: str | None = None
    zip: str | None = None

    def renamed(self, identity: str) -> Record:
        """Return the record with another id."""
        return replace(self, identity=identity)


def as_table(records: Sequence[Record]) -> pa.Table:
    """Return the records in ``COLUMNS``."""
    columns = [[getattr(record, field.name if field.name != "id" else "identity") for record in records]
               for field in COLUMNS if field.name != "alternate_names"]  # fmt: skip
    return pa.table([*columns, [[] for _ in records]], schema=COLUMNS)


def in_half(entity: str, half: str) -> bool:
    """Return whether the entity is in the half ``dev`` or ``kept``."""
    return (zlib.crc32(entity.encode()) % 2 == 0) == (half == "dev")


def letters(name: str | None) -> str:
    """Return the simple normal form without spaces."""
    return plain_name(name).replace(" ", "")


def place_key(record: Record) -> str:
    """Return the town, the first number and the first longer word of the street."""
    street = (record.address or "").upper()
    number = re.search(r"\d+", street)
    word = re.search(r"[A-Z]{3,}", street)
    return "|".join(
        [
            record.state or "",
            re.sub("[^A-Z]", "", (record.city or "").upper()),
            number[0] if number else "",
            word[0] if word else "",
        ]
    )


def known_of(
    acceptable: Mapping[str, frozenset[str]], left: pa.Table, right: pa.Table, *, ambiguous: bool = True
) -> dict[str, Known]:
    """Return the truth with its kind: exact, variant, unrelated, ambiguous (not findable) or none.

    ``ambiguous``: a recipient of an equal name fits the place as well as the acceptable ones.
    """
    rights = _records_of(right)
    namesakes: dict[str, list[str]] = defaultdict(list)
    for identity, record in rights.items():
        namesakes[letters(record.name)].append(identity)
    known = {}
    for identity, record in _records_of(left).items():
        found = [rights[right_id] for right_id in acceptable[identity]]
        others = [rights[other] for other in namesakes[letters(record.name)] if other not in acceptable[identity]]
        if not found:
            kind = "namesake" if others else "none"
        elif not any(_similar(record.name, one.name) for one in found):
            kind = UNFINDABLE_KIND
        elif ambiguous and others and max(_fit(record, one) for one in found) <= max(_fit(record, o) for o in others):
            kind = "ambiguous"
        else:
            kind = "exact" if any(letters(record.name) == letters(one.name) for one in found) else "variant"
        known[identity] = Known(acceptable[identity], kind in {"exact", "variant"}, kind)
    return known


def _records_of(table: pa.Table) -> dict[str, Record]:
    rows = table.drop_columns(["alternate_names"]).to_pydict()
    return {values[0]: Record(*values) for values in zip(*rows.values(), strict=True)}


def _fit(left: Record, right: Record) -> int:
    """How well two places agree: town and street."""
    first, second = place_key(left).split("|"), place_key(right).split("|")
    if first[:2] != second[:2]:
        return 0
    return 1 + (first[2:] == second[2:] and bool(left.address))


def _similar(first: str, second: str) -> bool:
    """Whether a comparison of names can find the pair: a common word or beginning."""
    one, other = plain_name(first), plain_name(second)
    if not one or not other or not one.isascii():
        return not one.isascii()
    return bool(
        set(one.split()) & set(other.split())
        or one.replace(" ", "")[:MIN_COMMON_LETTERS] == other.replace(" ", "")[:MIN_COMMON_LETTERS]
    )
