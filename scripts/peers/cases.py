"""Inputs with known answers, turned into what every contestant gets: two tables without any identifier.

Two kinds: a case directory (``organisations.parquet``, ``recipients.parquet``, ``truth.parquet``, as the generator in
``scripts.generator`` writes them), and a CSV of labelled companies with a recipients file. Rows are shuffled and ids
replaced, so that neither order nor name of a row tells anything; UEI, DUNS and the parent's UEI are left out. All is
held in memory: for cases up to some million rows.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scripts.peers.answers import COLUMNS, TEXTS

UNFINDABLE_KIND: Final = "unrelated"
"""Kind of a label whose two names have nothing in common: no comparison of names can find it."""
NO_PARTNER_TIER: Final = "_nomatch"


@dataclass(frozen=True)
class Known:
    """What is known of one company: its right recipients (none: it has no partner).

    ``kind``: how it differs from its partner; without one, what tempts a matcher, if anything.
    """

    acceptable: frozenset[str]
    findable: bool
    kind: str


@dataclass(frozen=True)
class Case:
    """Both sides in ``COLUMNS``, hidden, and what is known of every company on the left."""

    name: str
    left: pa.Table
    right: pa.Table
    known: dict[str, Known]

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Write the files that every contestant is given."""
        paths = directory / "left.parquet", directory / "right.parquet"
        pq.write_table(self.left, paths[0])
        pq.write_table(self.right, paths[1])
        return paths


def read_case(directory: Path, *, companies: int | None, recipients: int | None, seed: int) -> Case:
    """A case directory, or a random part of it.

    Of the recipients those are kept that belong to a kept company, and others at random up to ``recipients``. A part
    is easier than the whole: companies meet fewer strangers with similar names.
    """
    left = _left_columns(pq.read_table(directory / "organisations.parquet"))
    right = _right_columns(pq.read_table(directory / "recipients.parquet"))
    known = _known_of_truth(pq.read_table(directory / "truth.parquet"))
    some_left, some_right = _part(left, right, known, companies, recipients, seed)
    whole = (len(some_left), len(some_right)) == (len(left), len(right))
    name = directory.name if whole else f"{directory.name}-part-{len(some_right)}x{len(some_left)}"
    return _hidden(name, some_left, some_right, known, seed)


def read_labels(labels: Path, recipients: Path, *, with_uei_only: bool, seed: int) -> Case:
    """Labelled companies against all of a recipients file, or against its rows that bear a UEI.

    Labels name recipients by their UEI. Where the file also holds the same organisation without one, an answer that
    names that row counts as wrong; without such rows it cannot be given.
    """
    with labels.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    companies: dict[str, dict[str, str]] = {}
    hashes: dict[str, set[str]] = {}
    for row in rows:
        companies.setdefault(row["left_id"], row)
        hashes.setdefault(row["left_id"], set()).update({row["recipient_hash"]} - {""})
    known = {
        company: Known(
            frozenset(hashes[company]), bool(hashes[company]) and row["kind"] != UNFINDABLE_KIND, row["kind"]
        )
        for company, row in companies.items()
    }
    for company, row in companies.items():
        if bool(hashes[company]) == row["tier"].endswith(NO_PARTNER_TIER):
            raise ValueError(f"{labels.name}: {company} has a recipient and a tier that denies it, or neither")
    left = _left_of_labels(list(companies.values()))
    table = pq.read_table(recipients)
    if with_uei_only:
        table = table.filter(pc.is_valid(table["uei"]))
    name = f"{labels.stem}-uei" if with_uei_only else labels.stem
    return _hidden(name, left, _right_columns(table), known, seed)


def _left_of_labels(rows: Sequence[dict[str, str]]) -> pa.Table:
    columns = {name: [row[name] or None for row in rows] for name in ("city", "state", "zip")}
    return pa.table(
        {
            "id": [row["left_id"] for row in rows],
            "name": [row["sbir_company"] or None for row in rows],
            "address": [" ".join(filter(None, (row["address"], row["address2"]))) or None for row in rows],
            **columns,
            "alternate_names": [[] for _ in rows],
        },
        schema=COLUMNS,
    )


def _left_columns(table: pa.Table) -> pa.Table:
    return _as_columns({name: table[name] for name in COLUMNS.names})


def _right_columns(table: pa.Table) -> pa.Table:
    lines = [pc.fill_null(table[name].cast(pa.string()), "") for name in ("address_line_1", "address_line_2")]
    address = pc.utf8_trim_whitespace(pc.binary_join_element_wise(*lines, " "))
    columns = {
        "id": table["recipient_hash"],
        "name": table["legal_business_name"],
        "address": pc.if_else(pc.equal(address, ""), pa.scalar(None, pa.string()), address),
        "city": table["city"],
        "state": table["state"],
        "zip": table["zip5"],
        "alternate_names": table["alternate_names"],
    }
    return _as_columns(columns)


def _as_columns(columns: dict[str, pa.ChunkedArray]) -> pa.Table:
    texts = {name: columns[name].cast(pa.string()) for name in TEXTS}
    lists = columns["alternate_names"].cast(COLUMNS.field("alternate_names").type)
    return pa.table({**texts, "alternate_names": lists}, schema=COLUMNS).combine_chunks()


def _known_of_truth(truth: pa.Table) -> dict[str, Known]:
    known = {}
    for row in truth.to_pylist():
        acceptable = frozenset({row["recipient_hash"], *(row["acceptable"] or [])} - {None})
        kind = row["kind"] if acceptable else row.get("decoy") or row["kind"]
        known[row["company"]] = Known(acceptable, bool(row["findable"]) and bool(acceptable), kind)
    return known


def _part(
    left: pa.Table, right: pa.Table, known: dict[str, Known], companies: int | None, recipients: int | None, seed: int
) -> tuple[pa.Table, pa.Table]:
    """Random companies, their recipients and random others."""
    rng = np.random.default_rng([seed, 1])
    if companies is not None and companies < len(left):
        left = left.take(pa.array(rng.choice(len(left), size=companies, replace=False)))
    if recipients is not None and recipients < len(right):
        wanted = set().union(*(known[company].acceptable for company in left["id"].to_pylist()))
        mine = np.array([identity in wanted for identity in right["id"].to_pylist()])
        others = np.flatnonzero(~mine)
        count = min(len(others), max(0, recipients - int(mine.sum())))
        kept = np.concatenate([np.flatnonzero(mine), rng.choice(others, size=count, replace=False)])
        right = right.take(pa.array(kept))
    return left, right


def _hidden(name: str, left: pa.Table, right: pa.Table, known: dict[str, Known], seed: int) -> Case:
    """The case in another order and under other ids."""
    rng = np.random.default_rng([seed, 2])
    left, lefts = _renamed(left, "L", rng)
    right, rights = _renamed(right, "R", rng)
    hidden = {}
    for old, new in lefts.items():
        facts = known[old]
        acceptable = frozenset(rights[identity] for identity in facts.acceptable if identity in rights)
        if bool(acceptable) != bool(facts.acceptable):
            raise ValueError(f"{name}: the recipients of company {old} are not in the recipients file")
        hidden[new] = Known(acceptable, facts.findable, facts.kind)
    return Case(name, left, right, hidden)


def _renamed(table: pa.Table, prefix: str, rng: np.random.Generator) -> tuple[pa.Table, dict[str, str]]:
    """The rows shuffled, with new ids, and the new id of each old one."""
    table = table.take(pa.array(rng.permutation(len(table)))).combine_chunks()
    old = table["id"].to_pylist()
    new = [f"{prefix}{row:08d}" for row in range(len(old))]
    names = dict(zip(old, new, strict=True))
    if len(names) != len(old):
        raise ValueError(f"ids of the {'companies' if prefix == 'L' else 'recipients'} are not unique")
    return table.set_column(0, "id", pa.array(new, pa.string())), names
