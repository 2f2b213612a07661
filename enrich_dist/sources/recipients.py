"""The recipient table (in the shape of USAspending ``recipient_lookup``) as a stream of ``schema.RECIPIENT`` batches.

Covers one Parquet or CSV file of any length, in memory that depends on the batch size only: what a value means, and
which rows cannot be taken. Does not cover databases or directories of files, and drops no duplicates.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from enrich_dist import schema
from enrich_dist.sources.ahead import map_ahead
from enrich_dist.sources.clean import clean_duns, clean_state, clean_uei, clean_zip, clean_zip4
from enrich_dist.sources.columns import RECIPIENT_LAYOUT, Layout
from enrich_dist.sources.letters import per_distinct
from enrich_dist.sources.lists import as_lists
from enrich_dist.sources.recipient_files import RawBatch, open_raw, reading
from enrich_dist.sources.rejects import REJECTED, REPAIRED, RejectLog
from enrich_dist.sources.text import clean_text, null_words_as_null

_AHEAD: Final = 2  # batches: one that is cleaned, one that is read
_TEXT_NULL: Final = pa.scalar(None, pa.string())
# Postal codes of other countries are no ZIP codes; these share the US system or are its name.
_ZIP_COUNTRIES: Final = ("USA", "US", "UNITED STATES", "UNITED STATES OF AMERICA", "PRI", "GUM", "VIR", "ASM", "MNP")


class RecipientBatch(NamedTuple):
    """Consecutive rows of the source; ``rows_read == len(recipients) + rejected rows``.

    ``recipients``: ``schema.RECIPIENT``, in source order. ``rejects``: ``schema.REJECT``, by source_row and column.
    """

    recipients: pa.Table
    rejects: pa.Table
    rows_read: int


def check_recipients(path: Path, column_map: Mapping[str, str | None]) -> None:
    """Open the file and read its header (or footer) and first rows.

    Raises ``SourceError`` when it cannot be opened, is neither Parquet nor CSV, is empty, or lacks a required column.
    """
    with closing(read_recipients(path, column_map, batch_rows=1)) as batches:
        next(batches)


def read_recipients(
    path: Path, column_map: Mapping[str, str | None], *, batch_rows: int, layout: Layout = RECIPIENT_LAYOUT
) -> Generator[RecipientBatch, None, None]:
    """Stream the file in batches of exactly ``batch_rows`` source rows; the last may be shorter.

    ``column_map`` maps columns of ``schema.RECIPIENT`` to columns of the file, or to None where it has none; others
    are recognised by their usual names. The batches depend on the file's content and ``batch_rows`` only. A thread
    cleans one batch while the next is read; it ends with the stream, also when that is closed before its end.
    ``layout`` says what messages call the columns. Raises ``SourceError`` at once when the file cannot be used, and
    while streaming when it turns out damaged.
    """
    if batch_rows < 1:
        raise ValueError("batch_rows must be at least 1")

    def clean(_: int, raw: RawBatch) -> RecipientBatch:
        with reading(path):
            return _clean_batch(raw, path)

    return map_ahead(clean, open_raw(path, column_map, batch_rows, layout), threads=1, ahead=_AHEAD)


def _clean_batch(batch: RawBatch, path: Path) -> RecipientBatch:
    log = RejectLog(path)
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
    columns["state"] = per_distinct(raw["state"], lambda some: clean_state(null_words_as_null(clean_text(some))))
    columns["country_code"] = per_distinct(raw["country_code"], _clean_country)
    abroad = _is_abroad(columns["country_code"])
    columns["zip5"], columns["zip4"], repairs["zip5"], repairs["zip4"] = _clean_zips(raw["zip5"], raw["zip4"], abroad)
    columns["recipient_id"] = null_words_as_null(clean_text(raw["recipient_id"]))
    if columns["recipient_id"].null_count:
        row_ids = pc.binary_join_element_wise("row", pc.cast(source_rows, pa.string()), ":")
        columns["recipient_id"] = pc.coalesce(columns["recipient_id"], columns["uei"], row_ids)

    nobody = pc.and_(pc.is_null(columns["name"]), pc.and_(pc.is_null(columns["uei"]), pc.is_null(columns["duns"])))
    reasons = pc.if_else(nobody, "no name and no valid identifier", _TEXT_NULL)
    rejected = pc.if_else(batch.swallowed, "a cell holds whole other rows: a quote may be left open", reasons)
    log.add(REJECTED, source_rows, rejected, column=None, values=columns["recipient_id"])
    log.add(
        REJECTED,
        pa.array([record.source_row for record in batch.bad_records], pa.int64()),
        pa.array([record.reason for record in batch.bad_records], pa.string()),
        column=None,
        values=pa.array([record.text for record in batch.bad_records], pa.string()),
    )
    kept = pc.is_null(rejected)
    for name, reasons in repairs.items():
        log.add(REPAIRED, source_rows, pc.if_else(kept, reasons, _TEXT_NULL), column=name, values=raw[name])
    recipients = pa.table([columns[name] for name in schema.RECIPIENT.names], schema=schema.RECIPIENT)
    if rejected.null_count < count:
        recipients = recipients.filter(kept)
    return RecipientBatch(recipients, log.table(), batch.rows_read)


def _clean_country(values: pa.Array) -> pa.Array:
    country = pc.utf8_upper(null_words_as_null(clean_text(values)))
    return pc.if_else(pc.equal(country, "NAN"), _TEXT_NULL, country)  # pandas' word, in capitals


def _is_abroad(countries: pa.Array) -> pa.Array:
    known = pc.is_in(countries, value_set=pa.array(_ZIP_COUNTRIES))
    return pc.and_(pc.is_valid(countries), pc.invert(known))


def _clean_zips(zip5: pa.Array, zip4: pa.Array, abroad: pa.Array) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """zip5, zip4, and why either was lost. zip4 may stand in its own column or after the five digits.

    A postal code from abroad is taken only where it is five digits as it stands, and is never counted as lost.
    """
    (five, five_reasons), four_of_five = clean_zip(zip5)
    four, four_reasons = clean_zip4(zip4)
    if four_of_five.null_count < len(four_of_five):
        four = pc.coalesce(four, four_of_five)
    if not pc.any(abroad).as_py():
        return five, four, five_reasons, four_reasons
    return (
        pc.if_else(pc.and_(abroad, pc.not_equal(five, clean_text(zip5))), _TEXT_NULL, five),
        pc.if_else(abroad, _TEXT_NULL, four),
        pc.if_else(abroad, _TEXT_NULL, five_reasons),
        pc.if_else(abroad, _TEXT_NULL, four_reasons),
    )
