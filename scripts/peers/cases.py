"""Cases with a known truth, as the two tables without identifiers that every method receives.

A case is either a directory (``organisations.parquet``, ``recipients.parquet``, ``truth.parquet``, as
``scripts.generator`` writes them), or a CSV of labelled companies with a recipients file. Rows are shuffled and ids
replaced, so that neither contains information; UEI, DUNS and the parent's UEI are removed. All rows are in memory: for
up to some million rows.
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

from enrich_dist.evaluation.labels import make_labels
from scripts.peers.answers import COLUMNS, TEXTS
from scripts.peers.methods import plain_name

UNFINDABLE_KIND: Final = "unrelated"
"""Kind of a label whose two names have nothing in common."""
NO_PARTNER_TIER: Final = "_nomatch"


@dataclass(frozen=True)
class Known:
    """The truth about one company: its right recipients, none if it has no partner.

    ``kind``: how it differs from its partner; without a partner, which recipient it resembles.
    """

    acceptable: frozenset[str]
    findable: bool
    kind: str


@dataclass(frozen=True)
class Case:
    """Both tables in ``COLUMNS``, with replaced ids, and the truth about every company on the left."""

    name: str
    left: pa.Table
    right: pa.Table
    known: dict[str, Known]

    def labels(self) -> pa.Table:
        """Return the truth as labels for ``enrich_dist.evaluation``."""
        none: tuple[None] = (None,)
        rows = [
            (company, recipient, facts.kind or None, facts.findable)
            for company, facts in self.known.items()
            for recipient in (sorted(facts.acceptable) or none)
        ]
        columns = map(pa.array, zip(*rows, strict=True))
        return make_labels(dict(zip(("left_id", "right_id", "kind", "findable"), columns, strict=True)))

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Write both tables and return their paths."""
        paths = directory / "left.parquet", directory / "right.parquet"
        pq.write_table(self.left, paths[0])
        pq.write_table(self.right, paths[1])
        return paths


def read_case(directory: Path, *, companies: int | None, recipients: int | None, seed: int) -> Case:
    """Read a case directory, or a random part of it.

    A part contains the recipients of its companies, and random others up to ``recipients``. A part is easier than the
    whole, because it has fewer similar names.
    """
    organisations = pq.read_table(directory / "organisations.parquet")
    left = _as_columns({name: organisations[name] for name in COLUMNS.names})
    right = right_columns(pq.read_table(directory / "recipients.parquet"))
    known = _known_of_truth(pq.read_table(directory / "truth.parquet"))
    some_left, some_right = _part(left, right, known, companies, recipients, seed)
    whole = (len(some_left), len(some_right)) == (len(left), len(right))
    name = directory.name if whole else f"{directory.name}-part-{len(some_right)}x{len(some_left)}"
    return hide_case(name, some_left, some_right, known, seed)


def read_labels(labels: Path, recipients: Path, *, seed: int, with_name_only: bool = False) -> Case:
    """Read labelled companies, and the recipients with a UEI, because labels name recipients by their UEI.

    ``with_name_only``: recipients without a UEI as well, except those whose name is that of a labelled company or of
    its recipient, because they may be the same firm and no label says so.

    Raises ``ValueError`` for a company whose tier contradicts its recipient.
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
            raise ValueError(f"{labels.name}: {company} must have either a recipient or a no-match tier")
    left = _left_of_labels(list(companies.values()))
    table = pq.read_table(recipients)
    kept = pc.is_valid(table["uei"])
    if with_name_only:
        kept = pc.or_(kept, pa.array(_with_other_names(table, left, set().union(*hashes.values()))))
    name = f"{labels.stem}-{'all' if with_name_only else 'uei'}"
    return hide_case(name, left, right_columns(table.filter(kept)), known, seed)


def _with_other_names(table: pa.Table, left: pa.Table, labelled: set[str]) -> list[bool]:
    """Whether a recipient has another name than each company and each labelled recipient, without spaces."""
    ids, names = table["recipient_hash"].to_pylist(), table["legal_business_name"].to_pylist()
    known = {_letters(name) for name in left["name"].to_pylist()}
    known |= {_letters(name) for identity, name in zip(ids, names, strict=True) if identity in labelled}
    return [_letters(name) not in known for name in names]


def _letters(name: str | None) -> str:
    return plain_name(name).replace(" ", "")


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


def right_columns(table: pa.Table) -> pa.Table:
    """Return a table in the shape of ``recipient_lookup`` in ``COLUMNS``."""
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
    """Random companies, their recipients, and random other recipients."""
    rng = np.random.default_rng([seed, 1])
    if companies is not None and companies < len(left):
        left = left.take(pa.array(rng.choice(len(left), size=companies, replace=False)))
    if recipients is not None and recipients < len(right):
        wanted = set().union(*(known[company].acceptable for company in left["id"].to_pylist()))
        partners = np.array([identity in wanted for identity in right["id"].to_pylist()])
        others = np.flatnonzero(~partners)
        count = min(len(others), max(0, recipients - int(partners.sum())))
        kept = np.concatenate([np.flatnonzero(partners), rng.choice(others, size=count, replace=False)])
        right = right.take(pa.array(kept))
    return left, right


def hide_case(name: str, left: pa.Table, right: pa.Table, known: dict[str, Known], seed: int) -> Case:
    """Return the case in another order and with other ids.

    Raises ``ValueError`` if an id occurs twice or a recipient of the truth is not in the table.
    """
    rng = np.random.default_rng([seed, 2])
    left, lefts = _renamed(left, "L", rng)
    right, rights = _renamed(right, "R", rng)
    hidden = {}
    for old, new in lefts.items():
        facts = known[old]
        acceptable = frozenset(rights[identity] for identity in facts.acceptable if identity in rights)
        if bool(acceptable) != bool(facts.acceptable):
            raise ValueError(f"{name}: the recipients file does not contain the recipients of company {old}")
        hidden[new] = Known(acceptable, facts.findable, facts.kind)
    return Case(name, left, right, hidden)


def _renamed(table: pa.Table, prefix: str, rng: np.random.Generator) -> tuple[pa.Table, dict[str, str]]:
    """The shuffled rows with new ids, and the new id by the old one."""
    table = table.take(pa.array(rng.permutation(len(table)))).combine_chunks()
    old = table["id"].to_pylist()
    new = [f"{prefix}{row:08d}" for row in range(len(old))]
    names = dict(zip(old, new, strict=True))
    if len(names) != len(old):
        raise ValueError(f"ids of the {'companies' if prefix == 'L' else 'recipients'} are not unique")
    return table.set_column(0, "id", pa.array(new, pa.string())), names
