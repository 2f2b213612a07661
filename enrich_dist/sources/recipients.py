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
from enrich_dist.sources.clean_fields import clean_duns, clean_state, clean_uei, clean_zip, clean_zip4
from enrich_dist.sources.clean_text import clean_text, null_words_as_null
from enrich_dist.sources.columns import RECIPIENT_LAYOUT, Layout
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.protocol import RawBatch, ReadOptions, Source
from enrich_dist.sources.rejects import REJECTED, REPAIRED, RejectLog, RowRange
from enrich_dist.sources.source_file import translate_read_errors
from enrich_dist.sources.string_bytes import TEXT_NULL, apply_to_distinct

_MAX_PENDING: Final = 2  # batches: one is cleaned while the next is read
# Countries with ZIP codes; postal codes of other countries are not ZIP codes.
_ZIP_COUNTRIES: Final = ("USA", "US", "UNITED STATES", "UNITED STATES OF AMERICA", "PRI", "GUM", "VIR", "ASM", "MNP")


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
) -> Generator[RecipientBatch, None, None]:
    """Stream a source in batches of ``batch_rows`` source rows; the last may be shorter.

    The other arguments are those of ``ReadOptions``; columns that ``column_map`` does not name are recognised by their
    usual names. The batches depend on the source's content and ``batch_rows`` only. A thread cleans one batch while the
    next is read. Raises ``SourceError`` at once when the source is not usable, and while streaming at damaged data.
    """
    if batch_rows < 1:
        raise ValueError("batch_rows must be at least 1")
    opened = _as_source(source)

    def clean(_: int, raw: RawBatch) -> RecipientBatch:
        with translate_read_errors(opened.where):
            return _clean_batch(raw)

    batches = opened.stream(ReadOptions(column_map, batch_rows, scratch or Path(gettempdir()), layout))
    return ordered_map(clean, batches, threads=1, max_pending=_MAX_PENDING)


def _as_source(source: str | Path | Source) -> Source:
    return source if isinstance(source, Source) else open_source(source)


def _clean_batch(batch: RawBatch) -> RecipientBatch:
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
    for name in ("parent_name", "address_line_1", "address_line_2", "city", "congressional_district"):
        columns[name] = null_words_as_null(clean_text(raw[name]))
    columns["name"] = clean_text(raw["name"])
    columns["alternate_names"] = raw["alternate_names"]
    columns["uei"], repairs["uei"] = clean_uei(raw["uei"])
    columns["parent_uei"], repairs["parent_uei"] = clean_uei(raw["parent_uei"])
    columns["duns"], repairs["duns"] = clean_duns(raw["duns"])
    columns["state"] = apply_to_distinct(raw["state"], lambda some: clean_state(null_words_as_null(clean_text(some))))
    columns["country_code"] = apply_to_distinct(raw["country_code"], _clean_country)
    with_zip = pc.is_in(columns["country_code"], value_set=pa.array(_ZIP_COUNTRIES))
    abroad = pc.and_not(pc.is_valid(columns["country_code"]), with_zip)
    columns["zip5"], columns["zip4"], repairs["zip5"], repairs["zip4"] = _clean_zips(raw["zip5"], raw["zip4"], abroad)
    columns["recipient_id"] = null_words_as_null(clean_text(raw["recipient_id"]))
    if columns["recipient_id"].null_count:
        row_ids = pc.binary_join_element_wise("row", pc.cast(source_rows, pa.string()), ":")
        columns["recipient_id"] = pc.coalesce(columns["recipient_id"], columns["uei"], row_ids)

    nameless = pc.and_(pc.is_null(columns["name"]), pc.and_(pc.is_null(columns["uei"]), pc.is_null(columns["duns"])))
    reasons = pc.if_else(nameless, "no name and no valid identifier", TEXT_NULL)
    rejected = pc.coalesce(batch.unusable, reasons)
    log.add(REJECTED, source_rows, rejected, column=None, values=columns["recipient_id"])
    log.add_bad_records(batch.bad_records)
    kept = pc.is_null(rejected)
    for name, reasons in repairs.items():
        log.add(REPAIRED, source_rows, pc.if_else(kept, reasons, TEXT_NULL), column=name, values=raw[name])
    recipients = pa.table([columns[name] for name in schema.RECIPIENT.names], schema=schema.RECIPIENT)
    if rejected.null_count < count:
        recipients = recipients.filter(kept)
    return RecipientBatch(recipients, log.table(), batch.rows_read, batch.rows_merged, batch.row_ranges)


def _clean_country(values: pa.Array) -> pa.Array:
    country = pc.utf8_upper(null_words_as_null(clean_text(values)))
    return pc.if_else(pc.equal(country, "NAN"), TEXT_NULL, country)  # pandas' null, in capitals


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
