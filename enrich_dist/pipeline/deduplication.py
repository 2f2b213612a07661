"""Cluster the rows of one table by organisation: the table is linked with itself.

Each row is matched against the index of all rows, with the blocking, comparisons and weights of the main job; words are
as frequent as in this table, and a name of many rows is at most as rare as the rows beyond ``FIRM_ROWS``. Rows match if
one identifier agrees, or their names are equal, spelling variants or a typing error apart: of 148 pairs of real
recipients in one town whose names differ by an additional common word, none had one UEI. Names of siblings (Fund II and
III) match by an identifier only.

A row joins the cluster of the best documented row that it matches, if the probability is high enough compared with all
clusters that it could join (``matching.kernels.clusters``); a row that fits several clusters equally stays alone. All
members match the representative, or a row with its UEI, so chains of weak links do not grow. Does not use a cluster of
machines.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.database import connect
from enrich_dist.core.ordered_map import ordered_map
from enrich_dist.core.owned_files import require_replaceable
from enrich_dist.core.table_files import require_format, write_table
from enrich_dist.errors import SourceError
from enrich_dist.matching.arrays import Lists
from enrich_dist.matching.config import CandidateConfig
from enrich_dist.matching.decisions import IDENTIFIED_METHODS, partner_share, prior_odds
from enrich_dist.matching.index import CompanyIndex, build_index
from enrich_dist.matching.kernels.clusters import assign_clusters
from enrich_dist.matching.matcher import OrganisationMatcher, add_counts
from enrich_dist.pipeline.linking import BATCH_ROWS, column_map, column_warnings, read_organisations, table_layout
from enrich_dist.results import estimation, scoring
from enrich_dist.results.candidate_tables import CandidateTables, read_candidates
from enrich_dist.results.tables import store_table
from enrich_dist.schema import NameKind, NameLevel, SiblingLevel
from enrich_dist.sources.column_statistics import ColumnTally
from enrich_dist.sources.formats import has_columns
from enrich_dist.sources.recipients import RecipientBatch, read_recipients

CLUSTERS = pa.schema(
    [
        pa.field("id", pa.string()),  # byte for byte
        pa.field("cluster_id", pa.string()),  # id of the representative
        pa.field("cluster_size", pa.int64()),  # rows
        pa.field("is_representative", pa.bool_()),  # the best documented row
        pa.field("probability", pa.float64()),  # that the row belongs to the cluster; 1 for the representative
        *(pa.field(name, pa.string()) for name in ("name", "address", "city", "state", "zip")),
    ]
)

BYTES_PER_ROW = 4_000
"""Memory of the table, its index and its pairs, per row. Measured: see docs/how-to/dedupe.md."""
FIRM_ROWS = 5
"""Rows with one name that may be one firm. Of pairs of real recipients with one name in two towns of a state, 67 to 90
in 100 have one UEI where the table has 2 to 5 rows of the name, and 7 where it has more."""
_LAYOUT = table_layout("--column")
# Weaker pairs neither join nor compete.
_MIN_ODDS, _MAX_ODDS = 0.05, 1e12

Ints = npt.NDArray[np.int64]
Progress = Callable[[int, int], None]
"""Called with the rows matched so far and all rows."""


@dataclass(frozen=True)
class DedupeSummary:
    """Rows of the table: ``rows`` = ``invalid`` + rows in ``clusters``; ``duplicates`` are not representatives.

    ``largest``: rows of the largest cluster; ``pairs``: matching pairs; ``warnings``: columns that are not understood.
    """

    rows: int
    invalid: int
    clusters: int
    duplicates: int
    largest: int
    pairs: int
    shared_identifiers: pa.Table
    warnings: tuple[str, ...]


def deduplicate(
    table: Path,
    out: Path,
    *,
    columns: Mapping[str, str | None],
    candidates: CandidateConfig,
    accept_probability: float,
    progress: Progress = lambda *_: None,
) -> DedupeSummary:
    """Cluster the rows of ``table`` and write ``CLUSTERS``, a row per valid row in the order of the table.

    The clusters depend neither on the order of the rows nor on the number of threads. Raises ``SourceError`` when the
    table cannot be used, its ids are not unique or it does not fit into memory, ``SettingsError`` where ``out`` exists
    and is no earlier output of this function, or has the ending of no format.
    """
    require_format(out, "--out")
    is_ours = has_columns("id", "cluster_id", "is_representative")
    require_replaceable(out, option="--out", is_ours=is_ours, inputs=(table,))
    names = column_map(table, columns)
    tally = ColumnTally()
    rows, read, shared = read_organisations(table, names, tally, _LAYOUT)
    _require_memory(table, len(rows))
    with TemporaryDirectory(prefix="enrich_dist_dedupe_") as folder:
        scratch = Path(folder)
        build_index(rows, scratch / "index")
        matcher = OrganisationMatcher(candidates)
        index = matcher.open_index(scratch / "index")
        paths, counts = _match_itself(table, names, matcher, index, scratch, len(rows), progress)
        one, other, odds = _pairs(rows, index, paths, counts, scratch)
    cluster, probability = _clusters(rows, index, one, other, odds, accept_probability)
    found = _output(rows, cluster, probability)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_table(found, out, keys=("id", "cluster_id"))
    sizes = np.bincount(cluster, minlength=len(rows))
    return DedupeSummary(
        rows=read,
        invalid=read - len(rows),
        clusters=int((sizes > 0).sum()),
        duplicates=len(rows) - int((sizes > 0).sum()),
        largest=int(sizes.max(initial=0)),
        pairs=len(one),
        shared_identifiers=shared,
        warnings=tuple(column_warnings(tally, table, names, _LAYOUT)),
    )


def _require_memory(table: Path, rows: int) -> None:
    needed, available = rows * BYTES_PER_ROW, psutil.virtual_memory().available
    if needed > available:
        raise SourceError(
            f"{rows:,} rows need about {needed / 1e9:.1f} GB of memory, {available / 1e9:.1f} GB are available.",
            path=table,
            remedy="Use a machine with more memory, or split the table, for example by state.",
        )


def _match_itself(
    table: Path,
    names: Mapping[str, str | None],
    matcher: OrganisationMatcher,
    index: CompanyIndex,
    scratch: Path,
    count: int,
    progress: Progress,
) -> tuple[list[Path], pa.Table]:
    """Return files of candidates, without each row itself and with row numbers as ``source_row``; and the counts."""

    def match(_: int, batch: RecipientBatch) -> tuple[RecipientBatch, tuple[pa.Table, pa.Table]]:
        return batch, matcher.match(index, batch.recipients)

    threads = os.cpu_count() or 1
    batches = read_recipients(table, names, batch_rows=BATCH_ROWS, layout=_LAYOUT, tally=ColumnTally())
    paths, counts, done = [], [schema.COUNT.empty_table()], 0
    for number, (batch, (found, counted)) in enumerate(
        ordered_map(match, batches, threads=threads, max_pending=threads + 1)
    ):
        # Rows of a batch ascend by source row.
        row = done + np.searchsorted(batch.recipients["source_row"].to_numpy(), found["source_row"].to_numpy())
        found = found.set_column(
            found.schema.get_field_index("source_row"), schema.CANDIDATE.field("source_row"), [row]
        )
        found = found.filter(pa.array(row != found["company_id"].to_numpy()))
        paths.append(scratch / f"{number:06d}.parquet")
        pq.write_table(found, paths[-1])
        counts = [add_counts(pa.concat_tables([*counts, counted]))]
        done += len(batch.recipients)
        progress(done, count)
    return paths, counts[0]


def _pairs(
    rows: pa.Table, index: CompanyIndex, paths: list[Path], counts: pa.Table, scratch: Path
) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Return the matching pairs: the number of each row, and the odds that they are one organisation."""
    with connect(scratch=scratch / "duckdb") as connection:
        tables = CandidateTables(
            connection,
            read_candidates(connection, paths),
            companies=store_table(connection, "companies", rows.select(["company_id", "company_key", "name"])),
            overrides=store_table(connection, "overrides", schema.OVERRIDE.empty_table()),
        )
        counted: dict[str, dict[int, int]] = {kind: {} for kind in schema.COUNT_KINDS}
        for kind, key, number in zip(*(column.to_pylist() for column in counts.columns), strict=True):
            counted[kind][key] = number
        counted["concept"] = _concept_counts(index)
        weights = estimation.estimate_weights(tables, counted, index.vocabulary)
        weighed = scoring.weigh_candidates(tables, weights)
        # A name of many rows is at most as rare as that, however rare its words.
        others = np.bincount(index.names.codes.values, minlength=len(weights.name_bits)) - FIRM_ROWS
        many = np.flatnonzero(others > 0)
        limits = {"name_code": many.astype(np.int32), "max_bits": np.log2(len(rows) / others[many])}
        rarity = store_table(connection, "rarity", pa.table(limits))
        found = connection.execute(f"""
            select least(company_id, source_row) as one, greatest(company_id, source_row) as other,
                   max(match_weight - greatest(name_weight - coalesce(max_bits, name_weight), 0.0)) as bits
            from {weighed} left join {rarity} using (name_code)
            where match_method in {IDENTIFIED_METHODS} or (name_level >= {NameLevel.TYPO}
                  and sibling_level = {SiblingLevel.NONE} and name_kind <> {NameKind.PARENT})
            group by all order by all
        """).fetchnumpy()
    one, other, bits = (np.asarray(found[name]) for name in ("one", "other", "bits"))
    one, other = one.astype(np.int64), other.astype(np.int64)
    weight = np.exp2(bits.astype(np.float64))
    best = np.zeros(len(rows))
    for side in (one, other):
        np.maximum.at(best, side, weight)
    odds = prior_odds(partner_share(best / max(len(rows), 1)), max(len(rows), 1)) * weight
    kept = odds >= _MIN_ODDS
    return one[kept], other[kept], np.minimum(odds[kept], _MAX_ODDS)


def _concept_counts(index: CompanyIndex) -> dict[int, int]:
    """Return the number of rows whose names have each word. The matcher counts only words of names not in the index."""
    starts, tokens = index.vocabulary.take("name_token_starts", "name_tokens")
    holders = np.bincount(index.names.codes.values, minlength=len(starts) - 1)
    found = np.bincount(tokens, weights=np.repeat(holders, np.diff(starts)), minlength=index.vocabulary.concept_count)
    return {int(concept): int(found[concept]) for concept in np.flatnonzero(found)}


def _clusters(
    rows: pa.Table, index: CompanyIndex, one: Ints, other: Ints, odds: npt.NDArray[np.float64], min_share: float
) -> tuple[Ints, npt.NDArray[np.float64]]:
    """Return the row number of the representative, and the probability, of each row."""
    count = len(rows)
    ueis, duns, towns = (_first(relation.codes, count) for relation in (index.ueis, index.duns, index.cities))
    place = rows["locations"].combine_chunks().flatten()
    known = [pc.struct_field(place, name).is_valid().to_numpy(zero_copy_only=False) for name in schema.LOCATION.names]
    names = pc.fill_null(pc.list_value_length(rows["names"].combine_chunks()), 0).to_numpy(zero_copy_only=False)
    ids = pc.rank(rows["company_key"].combine_chunks(), tiebreaker="first").to_numpy()
    # The best documented row first: UEI, DUNS, completeness of the address, further names; then by id.
    order = np.lexsort((ids, -names, -sum(each.astype(np.int64) for each in known), duns < 0, ueis < 0))
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    first, second = rank[one], rank[other]
    later, earlier = np.maximum(first, second), np.minimum(first, second)
    by_later = np.lexsort((earlier, later))
    starts = np.searchsorted(later[by_later], np.arange(count + 1))
    cluster, share = assign_clusters(
        starts, earlier[by_later], odds[by_later], ueis[order], duns[order], towns[order], min_share
    )
    in_file, probability = np.empty(count, dtype=np.int64), np.empty(count)
    in_file[order] = order[cluster]
    # A representative, or a row with its UEI, was not compared.
    probability[order] = np.where(share > 0, share, 1.0)
    return in_file, probability


def _first(codes: Lists, count: int) -> Ints:
    """Return the first code of each row, -1 for none."""
    has = np.diff(codes.starts) > 0
    found = np.full(count, -1, dtype=np.int64)
    found[has] = codes.values[codes.starts[:-1][has]]
    return found


def _output(rows: pa.Table, cluster: Ints, probability: npt.NDArray[np.float64]) -> pa.Table:
    sizes = np.bincount(cluster, minlength=len(rows))
    ids = rows["company_key"].combine_chunks()
    place = rows["locations"].combine_chunks().flatten()
    columns = [
        ids,
        ids.take(pa.array(cluster)),
        pa.array(sizes[cluster]),
        pa.array(cluster == np.arange(len(rows))),
        pa.array(np.round(probability, 6)),
        rows["name"],
        *(pc.struct_field(place, name) for name in schema.LOCATION.names),
    ]
    return pa.table(columns, schema=CLUSTERS)
