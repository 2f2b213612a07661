"""Identifiers that unlike organisations share, such as the UEI of an example that several firms copied.

Firms are renamed, and rows of one firm spell its name differently. So unlike names share an identifier only if nothing
else connects them: neither a street in one town nor another identifier. Four unlike names always do, as of tenants of
an incubator. Such an identifier is no evidence. The rule was chosen on the bundled sample: 18 of its 3,893 DUNS numbers
have several names, 12 of them unlike ones, all at one street (renamed firms, and one with two affiliates).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.matching.normalise import normalise_cities, normalise_names, normalise_streets
from enrich_dist.matching.words import lines

KINDS: Final = ("uei", "duns")
_ALWAYS_SHARED: Final = 4  # unlike names
# Names are alike if the words that they share have at least this part of the information of the shorter one.
_MIN_SHARED_INFORMATION: Final = 0.5
_MIN_SIMILARITY: Final = 0.8  # of the letters: typing errors, words written together
_MAX_COMPARED: Final = 40  # names of an identifier
_MAX_NAMED: Final = 5


def find_shared(rows: pa.Table, side: str) -> pa.Table:
    """Return the identifiers that unlike organisations share: ``schema.SHARED_IDENTIFIER``, sorted.

    ``rows``: name, uei, duns, street and city of each row (string). ``side``: "awards", "recipients" or "left".
    """
    found = [_find_shared(rows, kind, other, side) for kind, other in (KINDS, KINDS[::-1])]
    return pa.concat_tables(found).sort_by([("kind", "descending"), ("identifier", "ascending")])


def without_shared(values: pa.Array | pa.ChunkedArray, shared: pa.Table, kind: str) -> pa.Array | pa.ChunkedArray:
    """Return the identifiers of this kind, null where they are shared."""
    chosen = shared.filter(pc.equal(shared["kind"], kind))["identifier"].combine_chunks()
    return (
        pc.if_else(pc.is_in(values, value_set=chosen), pa.scalar(None, pa.string()), values) if len(chosen) else values
    )


def describe_shared(shared: Mapping[str, Any]) -> str:
    """Return a sentence on a row of ``schema.SHARED_IDENTIFIER``."""
    names = shared["names"]
    holders = "; ".join(names[:_MAX_NAMED]) + ("; …" if len(names) > _MAX_NAMED else "")
    kind, identifier, side = shared["kind"].upper(), shared["identifier"], shared["side"]
    return f"{kind} {identifier} does not count: unlike organisations share it in the {side} table ({holders})."


def _find_shared(rows: pa.Table, kind: str, other: str, side: str) -> pa.Table:
    rows = rows.filter(pc.and_(pc.is_valid(rows[kind]), pc.is_valid(rows["name"])))
    # Only identifiers with several spellings, which are few.
    spellings = rows.group_by(kind).aggregate([("name", "count_distinct")])
    several = spellings.filter(pc.greater(spellings["name_count_distinct"], 1))[kind]
    rows = rows.filter(pc.is_in(rows[kind], value_set=several.combine_chunks()))
    streets = normalise_streets(rows["street"], pa.nulls(len(rows), pa.string()))
    places = pc.binary_join_element_wise(streets, normalise_cities(rows["city"]), "|")
    marks = pa.table([rows[kind], normalise_names(rows["name"]), rows["name"], places, rows[other]], list("inspo"))
    marks = marks.filter(pc.is_valid(marks["n"])).group_by(list("inspo")).aggregate([([], "count_all")])
    by_identifier: dict[str, list[dict[str, str | int | None]]] = defaultdict(list)
    for mark in marks.sort_by([(name, "ascending") for name in "inspo"]).to_pylist():
        by_identifier[mark["i"]].append(mark)
    shared = [
        {
            "kind": kind,
            "identifier": identifier,
            "side": side,
            "names": sorted({str(mark["s"]) for mark in held})[:_MAX_COMPARED],
            "rows": sum(int(mark["count_all"] or 0) for mark in held),
        }
        for identifier, held in by_identifier.items()
        if _are_unlike(held)
    ]
    return pa.Table.from_pylist(shared, schema=schema.SHARED_IDENTIFIER)


def _are_unlike(held: list[dict[str, str | int | None]]) -> bool:
    names = sorted({str(mark["n"]) for mark in held})[:_MAX_COMPARED]
    alike = [(i, k) for i, k in itertools.combinations(range(len(names)), 2) if _are_alike(names[i], names[k])]
    groups = _count_groups(len(names), alike)
    if groups == 1 or groups >= _ALWAYS_SHARED:
        return groups > 1
    first: dict[tuple[str, object], int] = {}  # the first name with a place or another identifier
    position = {name: number for number, name in enumerate(names)}
    for mark, what in itertools.product(held, "po"):
        own = position.get(str(mark["n"]))
        if own is not None and mark[what] is not None:
            alike.append((first.setdefault((what, mark[what]), own), own))
    return _count_groups(len(names), alike) > 1


def _count_groups(count: int, pairs: list[tuple[int, int]]) -> int:
    """Return the number of connected components; by union and find, as the graphs are small."""
    parent = list(range(count))

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = node = parent[parent[node]]
        return node

    for left, right in pairs:
        parent[root(left)] = root(right)
    return sum(node == above for node, above in enumerate(parent))


def _are_alike(left: str, right: str) -> bool:
    """Return whether two normalised names can be spellings of one: words in common, letters, an abbreviation."""
    from rapidfuzz.distance import Levenshtein

    words = [left.split(" "), right.split(" ")]
    shorter = min(map(_information, words))
    if _information(set(words[0]) & set(words[1])) >= _MIN_SHARED_INFORMATION * shorter:
        return True
    joined = [name.replace(" ", "") for name in (left, right)]
    initials = ["".join(word[0] for word in of) for of in words]
    if joined[0].startswith(joined[1]) or joined[1].startswith(joined[0]):
        return True
    if any(len(short) > 1 and short == long for short, long in zip(joined, initials[::-1], strict=True)):
        return True
    return float(Levenshtein.normalized_similarity(*joined)) >= _MIN_SIMILARITY


def _information(of: set[str] | list[str]) -> float:
    """Return the information of words (bits): the rarer among the background names, the more."""
    names, counts = _background()
    return sum(math.log2(names / counts.get(word, 1)) for word in set(of))


@functools.cache
def _background() -> tuple[int, dict[str, int]]:
    counts = {word: int(count) for word, count in (line.split(" ") for line in lines("word_frequencies.txt"))}
    return counts.pop("names"), counts
