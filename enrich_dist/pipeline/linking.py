"""Link two tables of organisations with the matcher of the main job, on one machine.

The left table has the role of the companies, the right one that of the recipients; weights and probabilities are
estimated from these two tables. Every left organisation gets at most one right one. Does not use a cluster, write
checkpoints or resume: a few million rows take less than a minute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.database import connect
from enrich_dist.core.ordered_map import ordered_map
from enrich_dist.core.owned_files import require_replaceable
from enrich_dist.core.table_files import require_format, write_table
from enrich_dist.errors import SourceError
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.matching.index import build_index
from enrich_dist.matching.matcher import OrganisationMatcher
from enrich_dist.results import estimation, quality, reduce, reliability, scoring, shared_identifiers
from enrich_dist.results.candidate_tables import read_counts, split_candidates
from enrich_dist.results.tables import store_table
from enrich_dist.sources.column_statistics import ColumnTally
from enrich_dist.sources.columns import RECIPIENT_LAYOUT, Layout, plain_header
from enrich_dist.sources.formats import has_columns, open_source, read_headers
from enrich_dist.sources.former_names import add_names
from enrich_dist.sources.name_history import NameHistory, NameInput
from enrich_dist.sources.protocol import ReadOptions
from enrich_dist.sources.recipients import RecipientBatch, read_recipients
from enrich_dist.sources.shared_identifiers import KINDS, find_shared, without_shared

LINK = pa.schema(
    [
        *(
            pa.field(f"{side}_{name}", pa.string())
            for side in ("left", "right")
            for name in ("id", "name", "address", "city", "state", "zip")  # ids byte for byte, the rest as it was read
        ),
        pa.field("score", pa.float64()),  # match weight, bits
        pa.field("method", pa.string()),
        pa.field("probability", pa.float64()),
        pa.field("status", pa.string()),  # matched or review
        pa.field("right_cluster_id", pa.string()),  # see schema.MATCHED_RECIPIENT
        pa.field("right_cluster_members", pa.string()),  # ids of the right rows of this organisation, the first 100
    ]
)

# Column names of this command that differ from the recipients reader.
_COLUMN_NAMES = {"id": "recipient_id", "address": "address_line_1", "zip": "zip5"}


def table_layout(option: str) -> Layout:
    """Return the layout of a table of organisations whose columns are named by this option."""
    return replace(
        RECIPIENT_LAYOUT,
        setting=option,
        separator=" ",
        called={canonical: name for name, canonical in _COLUMN_NAMES.items()},
        exact_ids=True,
    )


_LEFT, _RIGHT = map(table_layout, ("--left-column", "--right-column"))
_OPTIONAL = ("uei", "city", "state", "zip5")
BATCH_ROWS = 50_000
_LISTED_MEMBERS = 100
_LEFT_PLACE = ", ".join(f"locations[1].{field.name}" for field in schema.LOCATION)
_RIGHT_ADDRESS = "nullif(concat_ws(', ', recipient_address_line_1, recipient_address_line_2), '')"


@dataclass(frozen=True)
class LinkSummary:
    """Rows of the left table: matched + review + unmatched + invalid = all; ``accuracy``: see ``estimate_accuracy``
    and ``reliability.assess``.

    ``shared_identifiers``: schema.SHARED_IDENTIFIER of both tables. ``warnings``: columns that are not understood.
    """

    left_rows: int
    left_invalid: int
    right_rows: int
    right_invalid: int
    matched: int
    review: int
    unmatched: int
    accuracy: Mapping[str, Any]
    shared_identifiers: pa.Table
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class LinkedTables:
    """Two linked tables. The connection of ``scores`` also has ``company_matches``.

    ``recipients``: Parquet files of the right rows (``schema.RECIPIENT``), none unless they were to be kept.
    """

    summary: LinkSummary
    scores: scoring.Scores
    recipients: tuple[Path, ...]

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection that the tables are on."""
        return self.scores.connection


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
    names: Sequence[str | Path] = (),
) -> LinkSummary:
    """Link the tables and write the accepted links (see ``table_files``); ``with_review``: also those in review.
    ``names``: files of names over time (``name_history``) of the right organisations, joined by UEI or DUNS number.

    Raises ``SourceError`` when a table cannot be used or the left ids are not unique, ``SettingsError`` where ``out``
    exists and is no earlier output of this function, or has the ending of no format.
    """
    require_format(out, "--out")
    require_replaceable(out, option="--out", is_ours=has_columns("left_id", "right_id", "status"), inputs=(left, right))
    with linked_tables(
        left,
        right,
        left_columns=left_columns,
        right_columns=right_columns,
        candidates=candidates,
        decision=decision,
        names=names,
    ) as linked:
        statuses = "('matched', 'review')" if with_review else "('matched')"
        links = linked.connection.sql(f"""
            select m.company_key, company_name, {_LEFT_PLACE},
                   recipient_id, recipient_name, {_RIGHT_ADDRESS}, recipient_city, recipient_state, recipient_zip5,
                   match_weight, match_method, match_probability, match_status, recipient_cluster_id,
                   array_to_string(recipient_cluster_members[1:{_LISTED_MEMBERS}], '; ')
            from company_matches m join {linked.scores.tables.companies} using (company_id)
            where match_status in {statuses} order by company_id
        """).to_arrow_table()
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(links.rename_columns(LINK.names).cast(LINK), out, keys=("left_id", "right_id"))
    return linked.summary


@contextmanager
def linked_tables(
    left: Path,
    right: Path,
    *,
    left_columns: Mapping[str, str | None],
    right_columns: Mapping[str, str | None],
    candidates: CandidateConfig,
    decision: DecisionConfig,
    names: Sequence[str | Path] = (),
    keep_recipients: bool = False,
) -> Iterator[LinkedTables]:
    """Link the tables, and keep what was computed until the context ends; ``keep_recipients``: also the right rows.
    ``names``: see ``link``.

    Raises ``SourceError`` when a table cannot be used or the left ids are not unique.
    """
    left_map, right_map = column_map(left, left_columns), column_map(right, right_columns)
    left_tally, right_tally = ColumnTally(), ColumnTally()
    organisations, left_read, shared = read_organisations(left, left_map, left_tally, _LEFT)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory(prefix="enrich_dist_link_")))
        build_index(organisations, scratch / "index")
        matcher = OrganisationMatcher(candidates)
        index = matcher.open_index(scratch / "index")
        batches = read_recipients(right, right_map, batch_rows=BATCH_ROWS, layout=_RIGHT, tally=right_tally)
        history = NameHistory([NameInput(file) for file in names])
        further = stack.enter_context(history.open(scratch / "names")) if names else None
        paths, counts_paths, right_rows, right_invalid = [], [], 0, 0
        recipient_paths: list[Path] = []

        def match(_: int, batch: RecipientBatch) -> tuple[RecipientBatch, tuple[pa.Table, pa.Table]]:
            return batch, matcher.match(index, batch.recipients)

        threads = os.cpu_count() or 1  # the kernels release the interpreter lock
        matched = ordered_map(match, add_names(batches, further), threads=threads, max_pending=threads + 1)
        for number, (batch, (found, counts)) in enumerate(matched):
            paths.append(scratch / f"{number:06d}.parquet")
            counts_paths.append(scratch / f"{number:06d}.counts.parquet")
            pq.write_table(found, paths[-1])
            pq.write_table(counts, counts_paths[-1])
            if keep_recipients:
                recipient_paths.append(scratch / f"{number:06d}.recipients.parquet")
                pq.write_table(batch.recipients, recipient_paths[-1])
            right_rows += batch.rows_read
            right_invalid += batch.rows_read - len(batch.recipients)
        with connect(scratch=scratch / "duckdb") as connection:
            tables = split_candidates(
                connection,
                paths,
                companies=store_table(connection, "companies", organisations),
                overrides=store_table(connection, "overrides", schema.OVERRIDE.empty_table()),
            )
            counts = read_counts(connection, counts_paths)
            weights = estimation.estimate_weights(tables, counts, index.vocabulary)
            scores = scoring.score(tables, weights)
            reduce.create_matches(scores, decision)
            by_status = quality.count_by_status(connection, "company_matches")
            accuracy = quality.estimate_accuracy(connection, unreachable_share=weights.unreachable_share)
            accuracy |= reliability.assess(connection, scores.companies)
            by_right = connection.sql(f"from {shared_identifiers.TABLE}").to_arrow_table()
            shared = pa.concat_tables([shared, by_right.cast(schema.SHARED_IDENTIFIER)])
            summary = LinkSummary(
                left_rows=left_read,
                left_invalid=left_read - len(organisations),
                right_rows=right_rows,
                right_invalid=right_invalid,
                **{status: by_status[status] for status in reduce.STATUSES},
                accuracy=accuracy,
                shared_identifiers=shared,
                warnings=(
                    *column_warnings(left_tally, left, left_map, _LEFT),
                    *column_warnings(right_tally, right, right_map, _RIGHT),
                ),
            )
            yield LinkedTables(summary, scores, tuple(recipient_paths))


def column_map(path: Path, given: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return the column map for the recipients reader.

    It has the given columns, the names of this command (id, address, zip), and None for each optional column that the
    file lacks. Raises ``SourceError`` when the file has no id column.
    """
    wanted = {_COLUMN_NAMES.get(name, name): header for name, header in given.items()}
    headers = read_headers(path, given.values())
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


def read_organisations(
    path: Path, columns: Mapping[str, str | None], tally: ColumnTally, layout: Layout
) -> tuple[pa.Table, int, pa.Table]:
    """Return the rows as ``schema.COMPANY`` in the order of the file, the number of rows read, and the identifiers that
    unlike organisations share.

    Raises ``SourceError`` when the table cannot be used or its ids are not unique.
    """
    batches = list(read_recipients(path, columns, batch_rows=BATCH_ROWS, layout=layout, tally=tally))
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
    columns_of_rows = (names, *(rows[kind] for kind in KINDS), address, rows["city"])
    shared = find_shared(pa.table(columns_of_rows, ["name", *KINDS, "street", "city"]), "left")
    ueis, duns = (_as_list(without_shared(rows[kind], shared, kind)) for kind in KINDS)
    place = [address, *(rows[name].combine_chunks() for name in ("city", "state", "zip5"))]
    count = len(rows)
    columns_of = {
        "company_id": pa.array(np.arange(count, dtype=np.int32)),
        "company_key": ids,
        "name": names,
        "names": alternates,
        "ueis": ueis,
        "duns": duns,
        "locations": pa.ListArray.from_arrays(
            pa.array(np.arange(count + 1, dtype=np.int32)),
            pa.StructArray.from_arrays(place, fields=list(schema.LOCATION)),
        ),
        "award_count": pa.array(np.ones(count, dtype=np.int32)),
    }
    table = pa.table([columns_of[name] for name in schema.COMPANY.names], schema=schema.COMPANY)
    return table, sum(batch.rows_read for batch in batches), shared


def column_warnings(tally: ColumnTally, path: Path, columns: Mapping[str, str | None], layout: Layout) -> list[str]:
    """Return the warnings of the columns of a table that was read."""
    with closing(open_source(path)) as source:
        headers = source.columns(ReadOptions(columns, 1, Path(gettempdir()), layout))
    return tally.result(*headers).warnings(layout)


def _as_list(column: pa.ChunkedArray) -> pa.Array:
    """Return each value as a list of one, null as an empty list."""
    values = column.combine_chunks()
    starts = np.zeros(len(values) + 1, dtype=np.int32)
    np.cumsum(values.is_valid().to_numpy(zero_copy_only=False), out=starts[1:])
    return pa.ListArray.from_arrays(pa.array(starts), values.drop_null())
