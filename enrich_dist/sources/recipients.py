"""Recipients of a source of any format as a stream of cleaned ``schema.RECIPIENT`` batches.

Covers the meaning of values, and which rows are rejected. Memory depends on the batch size only. Does not cover the
formats of sources (``formats``), and does not remove duplicates.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import gettempdir
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.core.ordered_map import ordered_map
from enrich_dist.sources.alternate_names import as_lists
from enrich_dist.sources.clean_fields import clean_duns, clean_uei, clean_zip, clean_zip4
from enrich_dist.sources.clean_places import US_COUNTRIES, clean_country, clean_state
from enrich_dist.sources.clean_text import clean_text, tidy_text
from enrich_dist.sources.column_statistics import ColumnTally, Measured
from enrich_dist.sources.columns import RECIPIENT_LAYOUT, Layout
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.header import REPEATED, names_columns
from enrich_dist.sources.protocol import RawBatch, ReadOptions, Source
from enrich_dist.sources.rejects import REJECTED, REPAIRED, RejectLog, RowRange, all_rejected
from enrich_dist.sources.source_file import translate_read_errors
from enrich_dist.sources.string_bytes import TEXT_NULL

_MAX_PENDING: Final = 2  # batches: one is cleaned while the next is read


class RecipientBatch(NamedTuple):
    """Consecutive rows of the source; ``rows_read == len(recipients) + rejected rows + rows_merged``.

    ``recipients``: ``schema.RECIPIENT``, in source order. ``rejects``: ``schema.REJECT``, sorted by row and column.
    ``rows_merged``: rows that were merged into others of the same recipient. ``row_ranges``: the files of the rows.
    """

    recipients: pa.Table
    rejects: pa.Table
    rows_read: int
    rows_merged: int = 0
    row_ranges: tuple[RowRange, ...] = ()

    @property
    def rows_rejected(self) -> int:
        """Rejected rows."""
        return self.rows_read - self.rows_merged - len(self.recipients)


def check_recipients(
    source: str | Path | Source, column_map: Mapping[str, str | None], *, scratch: Path | None = None
) -> None:
    """Raise ``SourceError`` when the source cannot be read, is empty, or lacks a required column."""
    with closing(_as_source(source)) as opened:
        opened.check(ReadOptions(column_map, 1, scratch or Path(gettempdir())))


def read_recipients(
    source: str | Path | Source,
    column_map: Mapping[str, str | None],
    *,
    batch_rows: int,
    layout: Layout = RECIPIENT_LAYOUT,
    scratch: Path | None = None,
    tally: ColumnTally | None = None,
) -> Generator[RecipientBatch, None, None]:
    """Stream a source in batches of ``batch_rows`` source rows; the last may be shorter.

    The other arguments are those of ``ReadOptions``; columns that ``column_map`` does not name are recognised by their
    usual names. ``tally`` counts the values of the columns. The batches depend on the source's content and
    ``batch_rows`` only. A thread cleans one batch while the next is read. Raises ``SourceError`` at once when the
    source is not usable, and while streaming at damaged data.
    """
    if batch_rows < 1:
        raise ValueError("batch_rows must be at least 1")
    opened = _as_source(source)

    def clean(_: int, raw: RawBatch) -> tuple[RecipientBatch, Measured | None]:
        with translate_read_errors(opened.where):
            return _clean_batch(raw, tally, exact_ids=layout.exact_ids)

    batches = opened.stream(ReadOptions(column_map, batch_rows, scratch or Path(gettempdir()), layout))
    cleaned = ordered_map(clean, batches, threads=1, max_pending=_MAX_PENDING)
    return _require_recipient(_tallied(cleaned, tally), opened)


def _require_recipient(
    batches: Generator[RecipientBatch, None, None], source: Source
) -> Generator[RecipientBatch, None, None]:
    """Yield the batches; raise ``SourceError`` at the end, with the reasons, where all rows were rejected."""
    rejects: list[pa.Table] = [schema.REJECT.empty_table()]
    found = False
    with closing(batches):
        for batch in batches:
            found = found or len(batch.recipients) > 0
            if not found:
                rejects.append(batch.rejects)
            yield batch
    if not found:
        raise all_rejected(pa.concat_tables(rejects), source.where)


def _tallied(
    cleaned: Generator[tuple[RecipientBatch, Measured | None], None, None], tally: ColumnTally | None
) -> Generator[RecipientBatch, None, None]:
    with closing(cleaned):
        for batch, measured in cleaned:
            if tally is not None and measured is not None:
                tally.add(measured)
            yield batch


def _as_source(source: str | Path | Source) -> Source:
    return source if isinstance(source, Source) else open_source(source)


def _clean_batch(
    batch: RawBatch, tally: ColumnTally | None, *, exact_ids: bool
) -> tuple[RecipientBatch, Measured | None]:
    log = RejectLog(batch.row_ranges)
    source_rows, count = batch.source_rows, len(batch.source_rows)
    raw = {
        name: as_lists(array) if name == "alternate_names" else pc.cast(array, pa.string())
        for name, array in batch.cells.items()
    }
    for absent in RECIPIENT_LAYOUT.aliases.keys() - raw.keys():
        raw[absent] = pa.nulls(count, schema.RECIPIENT.field(absent).type)
    repairs: dict[str, pa.Array] = {}
    columns: dict[str, pa.Array] = {"source_row": source_rows}
    columns["name"] = tidy_text(raw["name"])
    for name in ("parent_name", "address_line_1", "address_line_2", "city", "congressional_district"):
        columns[name] = clean_text(raw[name])
    columns["alternate_names"] = raw["alternate_names"]
    columns["name_history"] = pa.nulls(count, schema.RECIPIENT.field("name_history").type)  # see ``former_names``
    columns["uei"], repairs["uei"] = clean_uei(raw["uei"])
    columns["parent_uei"], repairs["parent_uei"] = clean_uei(raw["parent_uei"])
    columns["duns"], repairs["duns"] = clean_duns(raw["duns"])
    columns["country_code"], repairs["country_code"] = clean_country(raw["country_code"])
    columns["state"], repairs["state"] = clean_state(raw["state"], columns["country_code"])
    with_zip = pc.is_in(columns["country_code"], value_set=pa.array(US_COUNTRIES))
    abroad = pc.and_not(pc.is_valid(columns["country_code"]), with_zip)
    columns["zip5"], columns["zip4"], repairs["zip5"], repairs["zip4"] = _clean_zips(raw["zip5"], raw["zip4"], abroad)
    ids = raw["recipient_id"]
    has_id = pc.is_valid(tidy_text(ids))
    columns["recipient_id"] = pc.if_else(has_id, ids, TEXT_NULL) if exact_ids else clean_text(ids)
    measured = None
    if tally is not None:
        measured = tally.measure(source_rows, {name: raw[name] for name in batch.cells}, columns, repairs)
    if columns["recipient_id"].null_count:
        row_ids = pc.binary_join_element_wise("row", pc.cast(source_rows, pa.string()), ":")
        columns["recipient_id"] = pc.coalesce(columns["recipient_id"], columns["uei"], row_ids)

    nameless = pc.and_(pc.is_null(columns["name"]), pc.and_(pc.is_null(columns["uei"]), pc.is_null(columns["duns"])))
    reasons = pc.if_else(nameless, "no name and no valid identifier", TEXT_NULL)
    texts = {name: array for name, array in raw.items() if name in batch.cells and name != "alternate_names"}
    headers = pa.array(names_columns(texts, RECIPIENT_LAYOUT))
    rejected = pc.coalesce(batch.unusable, pc.if_else(headers, REPEATED, reasons))
    log.add(REJECTED, source_rows, rejected, column=None, values=columns["recipient_id"])
    log.add_bad_records(batch.bad_records)
    kept = pc.is_null(rejected)
    for name, reasons in repairs.items():
        log.add(REPAIRED, source_rows, pc.if_else(kept, reasons, TEXT_NULL), column=name, values=raw[name])
    recipients = pa.table([columns[name] for name in schema.RECIPIENT.names], schema=schema.RECIPIENT)
    if rejected.null_count < count:
        recipients = recipients.filter(kept)
    return RecipientBatch(recipients, log.table(), batch.rows_read, batch.rows_merged, batch.row_ranges), measured


def _clean_zips(zip5: pa.Array, zip4: pa.Array, abroad: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """Return zip5, zip4 and why each was lost. zip4 is in its own column or follows the five digits. A postal code of
    another country is used only if it is exactly five digits, and is never reported as lost."""
    (five, five_reasons), four_of_five = clean_zip(zip5)
    four, four_reasons = clean_zip4(zip4)
    if four_of_five.null_count < len(four_of_five):
        four = pc.coalesce(four, four_of_five)
    if not pc.any(abroad).as_py():
        return five, four, five_reasons, four_reasons
    return (
        pc.if_else(pc.and_(abroad, pc.not_equal(five, clean_text(zip5))), TEXT_NULL, five),
        pc.if_else(abroad, TEXT_NULL, four),
        pc.if_else(abroad, TEXT_NULL, five_reasons),
        pc.if_else(abroad, TEXT_NULL, four_reasons),
    )
