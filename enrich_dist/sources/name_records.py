"""The names in the records of award downloads and other registers, as rows of ``schema.NAME_HISTORY``.

Covers which columns have names, whose they are, and their dates. Does not read files (``name_history``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.sources.clean_fields import Cleaned, clean_date, clean_duns, clean_integer, clean_uei
from enrich_dist.sources.clean_text import clean_text
from enrich_dist.sources.columns import Layout
from enrich_dist.sources.delimited import Block
from enrich_dist.sources.string_bytes import TEXT_NULL

OWN, DBA, PARENT = "recipient", "dba", "parent"
"""Kinds of names: the organisation's own, its "doing business as" name, and its parent's."""

LAYOUT: Final = Layout(
    setting="columns",
    aliases={
        "uei": ("recipient_uei", "sam_uei", "unique_entity_id", "unique_entity_identifier"),
        "duns": ("recipient_duns", "duns_number", "awardee_or_recipient_uniqu", "recipient_unique_id"),
        "name": ("recipient_name", "legal_business_name", "awardee_or_recipient_legal"),
        "name_raw": ("recipient_name_raw",),
        "dba_name": ("recipient_doing_business_as_name", "doing_business_as", "vendor_doing_as_business_n"),
        "parent_uei": ("recipient_parent_uei", "ultimate_parent_uei"),
        "parent_duns": ("recipient_parent_duns", "ultimate_parent_unique_ide"),
        "parent_name": ("recipient_parent_name", "ultimate_parent_legal_enti"),
        "parent_name_raw": ("recipient_parent_name_raw",),
        "action_date": (),
        "latest_action_date": ("award_latest_action_date",),
        "base_action_date": ("award_base_action_date",),
        "start_date": ("period_of_performance_start_date",),
        "kind": (),
        "first_seen": (),
        "last_seen": (),
        "rows": (),
    },
    required=(("uei", "duns"), ("name",)),
    indispensable=("name",),
)
# The first that is given is the date of the names. Those of an award summary are the names on its latest action.
_DATES: Final = ("action_date", "latest_action_date", "base_action_date", "start_date")

_NULLABLE: Final = pa.schema([item.with_nullable(True) for item in schema.NAME_HISTORY])


@dataclass
class Summary:
    """What was read: files; rows, those that could not be split into columns, and those without a name and identifier;
    cells whose date or identifier is not valid."""

    files: int = 0
    rows: int = 0
    rows_unreadable: int = 0
    rows_without_names: int = 0
    dates_lost: int = 0
    identifiers_lost: int = 0


def names_of(block: Block, positions: Mapping[str, int], summary: Summary) -> pa.Table:
    """Return the names in a block: one row (``schema.NAME_HISTORY``) per name of a record. Adds to the summary.

    ``positions``: of the columns of ``LAYOUT``. The name on an award has the date of the award, and so has the current
    name where the table has no names on awards. A parent's name is a name of the parent as well. A parent that is the
    organisation itself is no parent.
    """
    usable = pc.is_null(block.unusable)
    cells = _Cells(
        {name: block.cells[at].filter(usable) for name, at in positions.items()}, pc.sum(usable).as_py() or 0
    )
    own, parent = cells.identifiers("uei", "duns"), cells.identifiers("parent_uei", "parent_duns")
    summary.identifiers_lost += cells.take_lost()
    seen = pc.coalesce(*(cells.cleaned(name, clean_date, pa.date32()) for name in _DATES))
    dates = [pc.coalesce(cells.cleaned(name, clean_date, pa.date32()), seen) for name in ("first_seen", "last_seen")]
    summary.dates_lost += cells.take_lost()
    rows = pc.fill_null(pc.cast(cells.cleaned("rows", clean_integer, pa.int32()), pa.int64()), 1)
    same = [pc.fill_null(pc.equal(*pair), False) for pair in zip(own, parent, strict=True)]
    itself = pc.or_(*same)
    other_parent = [pc.if_else(itself, TEXT_NULL, identifier) for identifier in parent]
    kind = cells.text("kind")
    kind = pc.if_else(pc.fill_null(pc.is_in(kind, value_set=pa.array([DBA, PARENT])), False), kind, OWN)
    parts = []
    for column, holder, kinds in (
        ("name", own, kind),
        ("parent_name", own, pc.if_else(itself, OWN, PARENT)),
        ("parent_name", other_parent, pa.repeat(OWN, cells.count)),
        ("dba_name", own, pa.repeat(DBA, cells.count)),
    ):
        name, on_award = cells.text(column), cells.text(f"{column}_raw")
        current = dates
        if f"{column}_raw" in positions:
            name = pc.if_else(pc.fill_null(pc.equal(name, on_award), False), TEXT_NULL, name)
            current = [pa.nulls(cells.count, pa.date32())] * 2
        parts += [[*holder, on_award, kinds, *dates, rows], [*holder, name, kinds, *current, rows]]
    table = pa.concat_tables([pa.table(part, schema=_NULLABLE) for part in parts])
    kept = pc.and_(pc.is_valid(table["name"]), pc.or_(pc.is_valid(table["uei"]), pc.is_valid(table["duns"])))
    with_name = kept.to_numpy().reshape(len(parts), cells.count).any(axis=0)
    summary.rows += len(usable)
    summary.rows_unreadable += len(usable) - cells.count
    summary.rows_without_names += cells.count - int(np.count_nonzero(with_name))
    return table.filter(kept).cast(schema.NAME_HISTORY)


@dataclass
class _Cells:
    """The cells of some columns: string arrays of ``count`` rows. ``lost``: cells that could not be read so far."""

    columns: Mapping[str, pa.Array]
    count: int
    lost: int = 0

    def text(self, name: str) -> pa.Array:
        """Return a column of text, null where the table has no such column."""
        return clean_text(self.columns[name]) if name in self.columns else pa.nulls(self.count, pa.string())

    def cleaned(self, name: str, clean: Callable[[pa.Array], Cleaned], kind: pa.DataType) -> pa.Array:
        """Return the values of a column."""
        if name not in self.columns:
            return pa.nulls(self.count, kind)
        values, reasons = clean(self.columns[name])
        self.lost += len(reasons) - reasons.null_count
        return values

    def identifiers(self, uei: str, duns: str) -> list[pa.Array]:
        """Return the UEI, and the DUNS number where there is no UEI."""
        ueis = self.cleaned(uei, clean_uei, pa.string())
        return [ueis, pc.if_else(pc.is_valid(ueis), TEXT_NULL, self.cleaned(duns, clean_duns, pa.string()))]

    def take_lost(self) -> int:
        """Return the lost cells since the last call."""
        lost, self.lost = self.lost, 0
        return lost
