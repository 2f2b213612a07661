"""Read labelled companies: what names the company, and its right recipients or none.

A file has a row per right recipient of a company, and one row without a recipient for a company without a partner.
Columns are found by their usual headers (``LAYOUT``), as in inputs; ``--column`` names others. Does not cover which
company and recipients of a result a row names (``resolve``).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist.core.database import OFFLINE
from enrich_dist.core.tables import counted
from enrich_dist.errors import SourceError
from enrich_dist.sources.columns import Layout, resolve_columns
from enrich_dist.sources.delimited import Records
from enrich_dist.sources.parquet import open_parquet, open_text_table
from enrich_dist.sources.source_file import SourceFile
from enrich_dist.sources.table_file import open_table

LEFT: Final = ("left_id", "company_key", "award", "company")
RIGHT: Final = ("right_id", "right_uei")
LAYOUT: Final = Layout(
    setting="--column",
    separator=" ",
    aliases={
        "left_id": ("id",),
        "company_key": (),
        "award": ("award_id", "agency_tracking_number", "contract", "contract_number"),
        "company": ("company_name", "sbir_company", "firm", "name", "left_name"),
        "city": ("company_city",),
        "state": ("company_state", "state_code"),
        "zip": ("zip5", "zip_code", "postal_code"),
        "right_id": ("recipient_id", "recipient_hash"),
        "right_uei": ("recipient_uei", "uei"),
        "kind": (),
        "segment": (),
        "findable": (),
    },
    required=(),
    indispensable=(),
)
_EXACT: Final = ("left_id", "right_id")  # ids are compared byte for byte
_LISTED: Final = 10
_TRUE: Final = ("1", "true", "t", "yes", "y")
_FALSE: Final = ("", "0", "false", "f", "no", "n")


def read_labels(path: Path, columns: Mapping[str, str | None]) -> pa.Table:
    """Read CSV, Parquet, JSON or XLSX: ``row`` (int64, as a spreadsheet counts) and the columns of ``LAYOUT``.

    Text is trimmed, except ids; null where a cell is empty or the file has no such column. ``right_uei`` is in upper
    case, ``findable`` is a bool or null. Raises ``SourceError`` for a file without rows or columns, with rows that
    cannot be split, and for a ``findable`` that is neither true nor false.
    """
    with _open(path) as opened:
        positions = resolve_columns(opened.header, columns, LAYOUT, path)
        _require(positions, path)
        parts = []
        for block in opened.blocks():
            usable = block.unusable.is_null()
            if not pc.all(usable).as_py():
                first = pc.index(usable, False).as_py()
                raise SourceError(f"{block.unusable[first]}.", path=path, row=int(block.source_rows[first]))
            texts = [_text(name, block.cells[at]) for name, at in positions.items()]
            parts.append(pa.table([pa.array(block.source_rows), *texts], ["row", *positions]))
        if opened.bad_records:
            bad = opened.bad_records[0]
            raise SourceError(
                f"{bad.reason}.", path=path, row=bad.source_row, remedy="Put text with a delimiter into quotes."
            )
    table = pa.concat_tables(parts).combine_chunks() if parts else None
    if table is not None:
        named = [table[name] for name in LAYOUT.aliases if name in positions]
        table = table.filter(pc.is_valid(pc.coalesce(*named)))  # blank rows
    if table is None or not len(table):
        raise SourceError("has no labels.", path=path, remedy="Add a row per company and right recipient.")
    for name in LAYOUT.aliases:
        if name not in positions:
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
    findable = _as_flags(table, path) if "findable" in positions else pa.nulls(len(table), pa.bool_())
    table = table.set_column(table.schema.get_field_index("findable"), "findable", findable)
    _require_consistent(table, path)
    return table.select(["row", *LAYOUT.aliases])


def _require_consistent(table: pa.Table, path: Path) -> None:
    """Raise ``SourceError`` where a company has rows with a right recipient and rows that say that it has none."""
    with duckdb.connect(config=OFFLINE) as connection:
        left = ", ".join((*LEFT, "city", "state", "zip"))
        connection.register("labels", table)
        found = connection.execute(f"""
            select min(row) filter (partner), min(row) filter (not partner) as without
            from (select *, coalesce(right_id, right_uei) is not null as partner from labels
                  where coalesce({", ".join(LEFT)}) is not null)
            group by {left} having count(distinct partner) > 1 order by without
        """).fetchall()
    if found:
        lines = [f"row {partner} names a recipient, row {without} none" for partner, without in found[:_LISTED]]
        more = f", the first {_LISTED}" if len(found) > _LISTED else ""
        raise SourceError(
            f"{counted(len(found), 'company has', 'companies have')} contradictory labels{more}:",
            path=path,
            details=lines,
            remedy="Correct or remove these rows.",
        )


def make_labels(columns: Mapping[str, pa.Array]) -> pa.Table:
    """Return labels from memory in the form of ``read_labels``; ``columns``: some of ``LAYOUT``, of one length."""
    count = len(next(iter(columns.values())))
    empty = {name: pa.nulls(count, pa.bool_() if name == "findable" else pa.string()) for name in LAYOUT.aliases}
    return pa.table({"row": pa.array(range(1, count + 1), pa.int64()), **empty, **columns})


def _open(path: Path) -> AbstractContextManager[Records]:
    file = SourceFile(path)
    if file.path is not None and not file.path.exists():
        raise SourceError("the file does not exist.", path=path, remedy="Check the path.")
    if open_parquet(file) is not None:
        return open_text_table(file)
    known = {name: name for canonical, names in LAYOUT.aliases.items() for name in (canonical, *names)}
    return open_table(file, None, known)


def _require(positions: Mapping[str, int], path: Path) -> None:
    for what, columns in (("the company", LEFT), ("its right recipient", RIGHT)):
        if not any(name in positions for name in columns):
            raise SourceError(
                f"no column for {what}: {', '.join(columns)}.",
                path=path,
                remedy=f"Add one, or name it: --column {columns[0]}=HEADER.",
            )


def _text(name: str, cells: pa.Array) -> pa.Array:
    text = cells.cast(pa.string())
    trimmed = pc.utf8_trim_whitespace(text)
    if name == "right_uei":
        trimmed = pc.utf8_upper(trimmed)
    missing = pc.equal(trimmed, "")
    return pc.if_else(missing, pa.scalar(None, pa.string()), text if name in _EXACT else trimmed)


def _as_flags(table: pa.Table, path: Path) -> pa.Array:
    words = pc.utf8_lower(pc.fill_null(table["findable"], ""))
    is_true, is_false = (pc.is_in(words, value_set=pa.array(known)) for known in (_TRUE, _FALSE))
    understood = pc.or_(is_true, is_false)
    if not pc.all(understood).as_py():
        first = pc.index(understood, False).as_py()
        raise SourceError(
            f"'{table['findable'][first]}' is neither true nor false.",
            path=path,
            column="findable",
            row=table["row"][first].as_py(),
        )
    return pc.if_else(table["findable"].is_null(), pa.scalar(None, pa.bool_()), is_true)
