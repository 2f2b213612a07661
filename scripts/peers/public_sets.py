"""Sets with a known truth, made from public records, by name: ``read_set(name, data)``.

``data`` is a directory with ``labels_dev.csv``, ``recipients.parquet``, ``name_variants.csv`` and ``other_tables/``.
Sets that are not labelled by hand take a real record and its real other spelling, or write the record again with edits
that real records show (``edits``); their entities are halved by a checksum. The half ``dev`` is for development. The
half ``kept`` measures what was not looked at: use it for final figures only.

Does not cover renamed organisations, except those of ``labels_*`` and ``variants_*``. Edited copies lack what no
observed pair shows.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scripts.peers import families
from scripts.peers.answers import COLUMNS
from scripts.peers.cases import Case, hide_case, read_labels, right_columns
from scripts.peers.edits import Edits, is_address_spelling, is_name_spelling, learn
from scripts.peers.records import Record, as_table, in_half, known_of, letters, place_key

HALVES: Final = ("dev", "kept")
SEED: Final = 16
NO_PARTNER_SHARE: Final = 0.25
"""Share of the entities of a set whose right record is left out."""
NAME_EDITS: Final = 0.5
NAME_ONLY_EDITS: Final = 0.8
STREET_EDITS: Final = 0.5
"""Shares of copies with an edited name (in sets with and without streets) and an edited street."""
COPIES: Final = 3
LEFT_ROWS: Final = 8_000
FEW: Final = 150


def read_set(name: str, data: Path, half: str = "dev") -> Case:
    """Return a set. Raises ``ValueError`` for an unknown name, or the kept half of a set that has none."""
    if name not in SETS:
        raise ValueError(f"unknown set {name}; one of {', '.join(SETS)}")
    if half not in HALVES or (half == "kept" and name in WHOLE):
        raise ValueError(f"{name} has no half {half}")
    case = SETS[name](data, half)
    return Case(name if half == "dev" else f"{name}-{half}", case.left, case.right, case.known)


def _labels_uei(data: Path, _: str) -> Case:
    return read_labels(data / "labels_dev.csv", data / "recipients.parquet", seed=0)


def _labels_all(data: Path, _: str) -> Case:
    return read_labels(data / "labels_dev.csv", data / "recipients.parquet", seed=0, with_name_only=True)


def _applicants(data: Path, _: str) -> Case:
    """Names only: spellings of patent applicants and one spelling of each organisation."""
    directory = data / "other_tables"
    truth = {row["left_id"]: row["right_id"] for row in _rows(directory / "applicants_truth.csv")}
    left, right = (
        as_table([Record(row["id"], row["name"]) for row in _rows(directory / f"applicants_{side}.csv")])
        for side in ("left", "right")
    )
    acceptable = {identity: frozenset({found} - {""}) for identity, found in truth.items()}
    return hide_case("applicants", left, right, known_of(acceptable, left, right, ambiguous=False), 0)


def _variants(source: str) -> Callable[[Path, str], Case]:
    def read(data: Path, half: str) -> Case:
        """Real pairs: the records of an entity against its most frequent record and all other recipients."""
        spellings: dict[str, dict[Record, int]] = defaultdict(lambda: defaultdict(int))
        for row in _rows(data / "name_variants.csv"):
            if row["source"] == source and in_half(row["entity"], half):
                for side in "12":
                    spellings[row["entity"]][_variant(row, side)] += 1
        rng = np.random.default_rng([SEED, len(source)])
        lefts, rights, acceptable = [], [], {}
        for entity, counted in spellings.items():
            right = max(counted, key=lambda record: counted[record])
            partner = bool(rng.random() >= NO_PARTNER_SHARE)
            if partner:
                rights.append(right.renamed(f"right-{entity}"))
            for number, record in enumerate(record for record in counted if record != right):
                lefts.append(record.renamed(f"{entity}-{number}"))
                acceptable[lefts[-1].identity] = frozenset({f"right-{entity}"} if partner else ())
        table = _with_uei(data)
        if source == "recipient_uei":
            others = table.filter(pc.invert(pc.is_in(table["uei"], pa.array(list(spellings)))))
            decoys = right_columns(others)
        else:  # Entities are DUNS numbers: recipients of an equal name may be the same firm.
            names = {letters(record.name) for counted in spellings.values() for record in counted}
            decoys = right_columns(table)
            decoys = decoys.filter(pa.array([letters(name) not in names for name in decoys["name"].to_pylist()]))
        left, right_table = as_table(lefts), pa.concat_tables([as_table(rights), decoys])
        return hide_case(source, left, right_table, known_of(acceptable, left, right_table), 0)

    return read


def _sites(data: Path, half: str) -> Case:
    """Copies of recipients whose name has several sites, against all recipients with a UEI."""
    return _site_copies("sites", data, half, lambda record: letters(record.name))


def _families(data: Path, half: str) -> Case:
    """The same for names that begin with the same two words: subsidiaries, divisions and others."""
    return _site_copies("families", data, half, lambda record: families.first_words(record.name, 2))


def _site_copies(name: str, data: Path, half: str, family_of: Callable[[Record], str]) -> Case:
    records = [record for record in _records(right_columns(_with_uei(data))) if record.city]
    family: dict[str, set[str]] = defaultdict(set)
    for record in records:
        family[family_of(record)].add(place_key(record))
    chosen = [record for record in records if len(family[family_of(record)]) > 1]
    return _copies(name, chosen, records, half, us_edits(data), rows=2)


def _groups(data: Path, half: str) -> Case:
    """Names only: legal entities of company families, the right table with one row each."""
    members, others = families.group_names(_all_names(data), np.random.default_rng([SEED, 3]))
    return _copies("groups", members, [*members, *others], half, _spelling(names_abroad(data), us_names(data)), rows=1)


def _international(data: Path, half: str) -> Case:
    """Organisations of other countries: other legal forms, accents, scripts; some with a street and a town."""
    rng = np.random.default_rng([SEED, 4])
    table = pq.read_table(data / "recipients.parquet")
    members, others = families.international_names(_records(right_columns(table)), table["country_code"], rng)
    return _copies(
        "international", members, [*members, *others], half, (names_abroad(data), us_edits(data)[1]), rows=1,
        rewrite=families.foreign_spelling,
    )  # fmt: skip


def _small(data: Path, half: str) -> Case:
    """120 records against 120, real pairs: 80 have a partner."""
    whole = _variants("recipient_uei")(data, half)
    rng = np.random.default_rng([SEED, 5])
    order = [whole.left["id"][int(row)].as_py() for row in rng.permutation(len(whole.left))]
    with_partner = [left for left in order if whole.known[left].acceptable][:80]
    lefts = {*with_partner, *[left for left in order if not whole.known[left].acceptable][:40]}
    wanted = set().union(*(whole.known[left].acceptable for left in lefts))
    ids = whole.right["id"].to_pylist()
    others = [ids[int(row)] for row in rng.permutation(len(ids)) if ids[int(row)] not in wanted]
    rights = {*wanted, *others[: 120 - len(wanted)]}
    left, right = (
        side.filter(pc.is_in(side["id"], pa.array(sorted(kept))))
        for side, kept in ((whole.left, lefts), (whole.right, rights))
    )
    return hide_case("small", left, right, {identity: whole.known[identity] for identity in lefts}, 1)


def _large_left(data: Path, half: str) -> Case:
    """8,000 records against 150: three copies of each of these, and copies of other recipients."""
    records = [record for record in _records(right_columns(_with_uei(data))) if in_half(record.identity, half)]
    rng = np.random.default_rng([SEED, 6])
    rows = rng.permutation(len(records))
    rights = [records[int(row)] for row in rows[:FEW]]
    sources = rights * COPIES + [records[int(row)] for row in rows[FEW:LEFT_ROWS]]
    return _written("large_left", sources, rights, us_edits(data), rng)


def _copies(
    name: str,
    chosen: list[Record],
    records: list[Record],
    half: str,
    edits: tuple[Edits, Edits],
    *,
    rows: int,
    rewrite: Callable[[Record, np.random.Generator], Record] | None = None,
) -> Case:
    """Edited copies of the chosen records of a half, some of which are left out on the right.

    ``rows``: maximum number of rows of the right table that are one site; more are ambiguous and not chosen.
    """
    rng = np.random.default_rng([SEED, len(name), len(records)])
    sites: dict[tuple[str, str], int] = defaultdict(int)
    for record in records:
        sites[letters(record.name), place_key(record)] += 1
    chosen = [
        record
        for record in chosen
        if in_half(letters(record.name) + place_key(record), half)
        and sites[letters(record.name), place_key(record)] <= rows
    ]
    absent = {
        (letters(record.name), place_key(record)) for record in chosen if rng.random() < NO_PARTNER_SHARE
    }  # fmt: skip
    rights = [record for record in records if (letters(record.name), place_key(record)) not in absent]
    return _written(name, chosen, rights, edits, rng, rewrite)


def _written(
    name: str,
    sources: list[Record],
    rights: list[Record],
    edits: tuple[Edits, Edits],
    rng: np.random.Generator,
    rewrite: Callable[[Record, np.random.Generator], Record] | None = None,
) -> Case:
    """The sources written again on the left; right are the rows of the same name at the same place."""
    same: dict[tuple[str, str], list[str]] = defaultdict(list)
    for record in rights:
        same[letters(record.name), place_key(record)].append(record.identity)
    lefts, acceptable = [], {}
    for number, source in enumerate(sources):
        record = _again(source, edits, rng).renamed(f"{number}-{source.identity}")
        lefts.append(rewrite(record, rng) if rewrite else record)
        acceptable[record.identity] = frozenset(same[letters(source.name), place_key(source)])
    left, right = as_table(lefts), as_table(rights)
    return hide_case(name, left, right, known_of(acceptable, left, right), 0)


def _again(record: Record, edits: tuple[Edits, Edits], rng: np.random.Generator) -> Record:
    """The record as another source writes it."""
    names, streets = edits
    name, street = record.name, record.address
    if rng.random() < (NAME_EDITS if street else NAME_ONLY_EDITS):
        name = names.apply(name, rng)
    if street and rng.random() < STREET_EDITS:
        street = streets.apply(street, rng)
    # Missing cells as often as in the observed pairs: a street in 6%, a ZIP code in 17%; other records have a ZIP+4.
    street = None if rng.random() < 0.06 else street
    zip_code = record.zip
    if zip_code:
        kind = rng.random()
        zip_code = None if kind < 0.17 else f"{zip_code}-{rng.integers(1, 9999):04d}" if kind < 0.5 else zip_code
    if rng.random() < 0.5:
        name, street = _capitals(name), street and _capitals(street)
    return Record(record.identity, name, street, record.city, record.state, zip_code)


def _capitals(text: str) -> str:
    """The text in lower case with capitals, except short words, which are mostly abbreviations."""
    return re.sub(r"[^\W\d_]{4,}", lambda word: word[0].capitalize(), text)


def us_edits(data: Path) -> tuple[Edits, Edits]:
    """Return the edits of names and streets in American records."""
    streets = learn((row["address_1"], row["address_2"]) for row in _rows(data / "name_variants.csv"))
    return us_names(data).only(is_name_spelling), streets.only(is_address_spelling)


def us_names(data: Path) -> Edits:
    """Return the edits of names by DUNS, UEI and label, and as many between equal names of vendors."""
    pairs = [(row["name_1"], row["name_2"]) for row in _rows(data / "name_variants.csv")]
    names = dict(_labelled_names(data))
    labels = ((row["sbir_company"], names.get(row["recipient_hash"], "")) for row in _rows(data / "labels_dev.csv"))
    pairs = [pair for pair in [*pairs, *labels] if pair[0] != pair[1]]
    equal: dict[str, list[str]] = defaultdict(list)
    for record in _all_names(data):
        equal[letters(record.name)].append(record.name)
    vendors = [(some[0], some[1]) for some in equal.values() if len(set(some)) > 1 and some[0] != some[1]]
    order = np.random.default_rng([SEED, 7]).permutation(len(vendors))[: len(pairs)]
    return learn([*pairs, *(vendors[int(at)] for at in order)])


def names_abroad(data: Path) -> Edits:
    """Return the edits of names between the spellings of patent applicants."""
    directory = data / "other_tables"
    left, right = (
        {row["id"]: row["name"] for row in _rows(directory / f"applicants_{side}.csv")} for side in ("left", "right")
    )
    truth = [row for row in _rows(directory / "applicants_truth.csv") if row["right_id"]]
    # Five pairs of an organisation at most, so that the largest does not decide.
    seen: dict[str, int] = defaultdict(int)
    pairs = []
    for row in truth:
        seen[row["right_id"]] += 1
        if seen[row["right_id"]] <= 5:
            pairs.append((left[row["left_id"]], right[row["right_id"]]))
    return learn(pairs).only(is_name_spelling)


def _spelling(*some: Edits) -> tuple[Edits, Edits]:
    edits = Edits(
        tuple(edit for one in some for edit in one.edits), tuple(count for one in some for count in one.counts)
    ).only(is_name_spelling)
    return edits, edits


def _labelled_names(data: Path) -> Iterable[tuple[str, str]]:
    table = pq.read_table(data / "recipients.parquet", columns=["recipient_hash", "legal_business_name"])
    return zip(table["recipient_hash"].to_pylist(), table["legal_business_name"].to_pylist(), strict=True)


def _all_names(data: Path) -> list[Record]:
    table = pq.read_table(data / "recipients.parquet", columns=["recipient_hash", "legal_business_name", "uei"])
    table = table.filter(pc.is_null(table["uei"]))
    return [Record(identity, name) for identity, name, _ in zip(*table.to_pydict().values(), strict=True) if name]


def _with_uei(data: Path) -> pa.Table:
    table = pq.read_table(data / "recipients.parquet")
    return table.filter(pc.is_valid(table["uei"]))


def _records(table: pa.Table) -> list[Record]:
    columns = [table[name].to_pylist() for name in COLUMNS.names if name != "alternate_names"]
    return [Record(*values) for values in zip(*columns, strict=True) if values[1]]


def _variant(row: dict[str, str], side: str) -> Record:
    values = {name: row[f"{name}_{side}"].strip() for name in ("name", "address", "city", "state", "zip")}
    return Record("", values.pop("name"), *(None if value in {"", "-"} else value for value in values.values()))


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


SETS: Final[dict[str, Callable[[Path, str], Case]]] = {
    "labels_uei": _labels_uei,
    "labels_all": _labels_all,
    "applicants": _applicants,
    "variants_recipients": _variants("recipient_uei"),
    "variants_sbir": _variants("sbir_duns"),
    "sites": _sites,
    "families": _families,
    "groups": _groups,
    "international": _international,
    "small": _small,
    "large_left": _large_left,
}
WHOLE: Final = ("labels_uei", "labels_all", "applicants")
"""Sets labelled by hand: they have no kept half."""
