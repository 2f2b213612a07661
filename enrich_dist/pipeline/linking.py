"""Link two tables of organisations with the matcher of the main job, on one machine.

The left table has the role of the companies, the right one that of the recipients; weights and probabilities are
estimated from these two tables. Every left organisation gets at most one right one. Does not use a cluster, write
checkpoints or resume: a few million rows take less than a minute.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.database import connect
from enrich_dist.core.files import atomic_path
from enrich_dist.core.ordered_map import ordered_map
from enrich_dist.errors import SourceError
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.matching.index import build_index
from enrich_dist.matching.matcher import OrganisationMatcher
from enrich_dist.results import quality, reduce, scoring
from enrich_dist.sources.columns import RECIPIENT_LAYOUT, plain_header
from enrich_dist.sources.formats import read_headers
from enrich_dist.sources.recipients import RecipientBatch, read_recipients

LINK = pa.schema(
    [
        pa.field("left_id", pa.string()),
        pa.field("right_id", pa.string()),
        pa.field("score", pa.float64()),  # match weight, bits
        pa.field("method", pa.string()),
        pa.field("probability", pa.float64()),
        pa.field("status", pa.string()),  # matched or review
    ]
)

# Column names of this command that differ from the recipients reader.
_COLUMN_NAMES = {"id": "recipient_id", "address": "address_line_1", "zip": "zip5"}
_LEFT, _RIGHT = (
    replace(
        RECIPIENT_LAYOUT,
        setting=option,
        separator=" ",
        called={canonical: name for name, canonical in _COLUMN_NAMES.items()},
    )
    for option in ("--left-column", "--right-column")
)
_OPTIONAL = ("uei", "city", "state", "zip5")
_BATCH_ROWS = 50_000


@dataclass(frozen=True)
class LinkSummary:
    """Rows of the left table: matched + review + unmatched + invalid = all; ``accuracy``: see ``estimate_accuracy``."""

    left_rows: int
    left_invalid: int
    right_rows: int
    right_invalid: int
    matched: int
    review: int
    unmatched: int
    accuracy: Mapping[str, Any]


def link(
    left: Path,
    right: Path,
    out: Path,
    *,
    left_columns: Mapping[str, str | None],
    right_columns: Mapping[str, str | None],
    candidates: CandidateConfig,
    decision: DecisionConfig,
    with_review: bool,
) -> LinkSummary:
    """Link the tables and write the accepted links as CSV or Parquet; ``with_review``: also those in review.

    Raises ``SourceError`` when a table cannot be used or the left ids are not unique.
    """
    organisations, left_read = _left_table(left, column_map(left, left_columns))
    with TemporaryDirectory(prefix="enrich_dist_link_") as name:
        scratch = Path(name)
        build_index(organisations, scratch / "index")
        matcher = OrganisationMatcher(candidates)
        index = matcher.open_index(scratch / "index")
        batches = read_recipients(right, column_map(right, right_columns), batch_rows=_BATCH_ROWS, layout=_RIGHT)
        paths, counts_paths, right_rows, right_invalid = [], [], 0, 0

        def match(_: int, batch: RecipientBatch) -> tuple[RecipientBatch, tuple[pa.Table, pa.Table]]:
            return batch, matcher.match(index, batch.recipients)

        threads = os.cpu_count() or 1  # the kernels release the interpreter lock
        matched = ordered_map(match, batches, threads=threads, max_pending=threads + 1)
        for number, (batch, (found, counts)) in enumerate(matched):
            paths.append(scratch / f"{number:06d}.parquet")
            counts_paths.append(scratch / f"{number:06d}.counts.parquet")
            pq.write_table(found, paths[-1])
            pq.write_table(counts, counts_paths[-1])
            right_rows += batch.rows_read
            right_invalid += batch.rows_read - len(batch.recipients)
        with connect(scratch=scratch / "duckdb") as connection:
            tables = scoring.CandidateTables(
                connection,
                scoring.read_candidates(connection, paths),
                companies=scoring.store_table(connection, "companies", organisations),
                overrides=scoring.store_table(connection, "overrides", schema.OVERRIDE.empty_table()),
            )
            weights = scoring.estimate_weights(tables, scoring.read_counts(connection, counts_paths), index.vocabulary)
            reduce.create_matches(scoring.score(tables, weights), decision)
            by_status = quality.count_by_status(connection, "company_matches")
            accuracy = quality.estimate_accuracy(connection, unreachable_share=weights.unreachable_share)
            statuses = "('matched', 'review')" if with_review else "('matched')"
            links = connection.sql(f"""
                select company_key as left_id, recipient_id as right_id, match_weight as score, match_method as method,
                       match_probability as probability, match_status as status
                from company_matches where match_status in {statuses} order by company_id
            """).to_arrow_table()
    _write(links.cast(LINK), out)
    return LinkSummary(
        left_rows=left_read,
        left_invalid=left_read - len(organisations),
        right_rows=right_rows,
        right_invalid=right_invalid,
        **{status: by_status[status] for status in reduce.STATUSES},
        accuracy=accuracy,
    )


def column_map(path: Path, given: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the column map for the recipients reader.

    It has the given columns, the names of this command (id, address, zip), and None for each optional column that the
    file lacks. Raises ``SourceError`` when the file has no id column.
    """
    wanted = {_COLUMN_NAMES.get(name, name): header for name, header in given.items()}
    headers = read_headers(path)
    normal = {plain_header(header): header for header in headers}
    for name, canonical in _COLUMN_NAMES.items():
        if canonical not in wanted and name in normal:
            wanted[canonical] = normal[name]
    for canonical in (*_OPTIONAL, "recipient_id"):
        names = {plain_header(alias) for alias in (canonical, *RECIPIENT_LAYOUT.aliases[canonical])}
        if canonical not in wanted and not names & set(normal):
            if canonical == "recipient_id":
                raise SourceError("no column 'id'.", path=path, remedy="Name the id column: id=THE_COLUMN.")
            wanted[canonical] = None
    return wanted


def _left_table(path: Path, columns: Mapping[str, str | None]) -> tuple[pa.Table, int]:
    """Return the rows as ``schema.COMPANY`` in the order of the file, and the number of rows read."""
    batches = list(read_recipients(path, columns, batch_rows=_BATCH_ROWS, layout=_LEFT))
    rows = pa.concat_tables([batch.recipients for batch in batches]).combine_chunks()
    ids = rows["recipient_id"]
    counts = pc.value_counts(ids.combine_chunks())
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        value = repeated.field("values")[0].as_py()
        row = rows["source_row"][pc.index(ids, value).as_py()].as_py()
        raise SourceError(
            f"the id '{value}' occurs more than once.", path=path, row=row, remedy="Give every row a unique id."
        )
    names = rows["name"].combine_chunks()
    alternates = pc.fill_null(rows["alternate_names"].combine_chunks(), [])
    lines = pc.binary_join_element_wise(rows["address_line_1"], rows["address_line_2"], ", ")
    address = pc.coalesce(lines, rows["address_line_1"], rows["address_line_2"]).combine_chunks()
    place = [address, *(rows[name].combine_chunks() for name in ("city", "state", "zip5"))]
    count = len(rows)
    columns_of = {
        "company_id": pa.array(np.arange(count, dtype=np.int32)),
        "company_key": ids,
        "name": names,
        "names": alternates,
        "ueis": _as_list(rows["uei"]),
        "duns": _as_list(rows["duns"]),
        "locations": pa.ListArray.from_arrays(
            pa.array(np.arange(count + 1, dtype=np.int32)),
            pa.StructArray.from_arrays(place, fields=list(schema.LOCATION)),
        ),
        "award_count": pa.array(np.ones(count, dtype=np.int32)),
    }
    table = pa.table([columns_of[name] for name in schema.COMPANY.names], schema=schema.COMPANY)
    return table, sum(batch.rows_read for batch in batches)


def _as_list(column: pa.ChunkedArray) -> pa.Array:
    """Return each value as a list of one, null as an empty list."""
    values = column.combine_chunks()
    starts = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(values.is_valid().to_numpy(zero_copy_only=False), out=starts[1:])
    return pa.ListArray.from_arrays(pa.array(starts), values.drop_null())


def _write(links: pa.Table, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        if out.suffix.lower() in (".parquet", ".pq"):
            pq.write_table(links, temporary, compression="zstd")
        else:
            pa.csv.write_csv(links, temporary)
