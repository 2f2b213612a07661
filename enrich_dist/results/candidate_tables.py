"""Candidates and counts of all chunks, from their checkpoints to tables of one connection.

Large tables stay on disk: DuckDB reads candidates from Parquet in every stage that needs them. Does not cover their
weights and probabilities (``scoring``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.database import parquet_sql, read_parquet, scratch_of
from enrich_dist.results.candidate_parts import CandidateParts
from enrich_dist.results.shared_identifiers import candidates_sql, find_shared_keys, without_shared_sql
from enrich_dist.results.tables import Table, create_table, create_view, new_name, store_table

Counts = Mapping[str, Mapping[int, int]]
"""Counts of all chunks by kind and key (``schema.COUNT``)."""

# DuckDB keeps the files of a view open: each takes a descriptor and the memory of its metadata.
MAX_OPEN_FILES = 128
_ROW_GROUP_ROWS = 100_000


@dataclass(frozen=True)
class CandidateTables:
    """Tables of one connection: ``schema.CANDIDATE``, companies (id, key, name), and ``schema.OVERRIDE``.

    ``parts``: the same candidates by company range, where they are many.
    """

    connection: duckdb.DuckDBPyConnection
    candidates: Table
    companies: Table
    overrides: Table
    parts: CandidateParts | None = None

    def by_range(self) -> Iterator[CandidateTables]:
        """Yield the candidates of each range of companies in turn, with the columns ``candidate_parts.NUMBERS``."""
        if self.parts is None:
            yield self
            return
        name = new_name("part")
        for part in self.parts.read():
            self.connection.register(name, part)
            yield replace(self, candidates=name, parts=None)
            self.connection.unregister(name)

    def rows(self, pairs: str) -> Table:
        """Return the candidates with these pairs of ``company_id`` and ``source_row`` (SQL), with their texts."""
        if self.parts is None:
            query = f"from {self.candidates} semi join ({pairs}) using (company_id, source_row)"
            return create_table(self.connection, "rows", query)
        wanted = self.connection.execute(f"select company_id, source_row from ({pairs})").fetchnumpy()
        found = self.parts.read_rows(np.asarray(wanted["company_id"]), np.asarray(wanted["source_row"]))
        return store_table(self.connection, "rows", found)


def read_candidates(connection: duckdb.DuckDBPyConnection, checkpoints: Sequence[Path]) -> Table:
    """Return a view of the candidates in these files, in which shared identifiers are unknown.

    More than ``MAX_OPEN_FILES`` are copied into one file first.
    """
    return create_view(connection, "candidates", candidates_sql(connection, candidates_source(connection, checkpoints)))


def candidates_source(connection: duckdb.DuckDBPyConnection, checkpoints: Sequence[Path]) -> str:
    """Return the SQL source of the candidates in these files, of which at most ``MAX_OPEN_FILES`` are kept open."""
    if not checkpoints:
        return store_table(connection, "candidates", schema.CANDIDATE.empty_table())
    files = checkpoints if len(checkpoints) <= MAX_OPEN_FILES else [_copy_to_one(connection, checkpoints)]
    return parquet_sql(*files)


def _copy_to_one(connection: duckdb.DuckDBPyConnection, checkpoints: Sequence[Path]) -> Path:
    """Copy the candidates into one file, with one checkpoint and one row group in memory at a time."""
    path = scratch_of(connection) / f"{new_name('candidates')}.parquet"
    with pq.ParquetWriter(path, schema.CANDIDATE, compression="lz4") as writer:
        pending, rows = [], 0
        for checkpoint in checkpoints:
            with pq.ParquetFile(checkpoint) as file:
                pending.append(file.read(use_threads=False))
            rows += len(pending[-1])
            if rows >= _ROW_GROUP_ROWS:
                writer.write_table(pa.concat_tables(pending))
                pending, rows = [], 0
        if pending:
            writer.write_table(pa.concat_tables(pending))
    return path


def read_counts(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path]) -> Counts:
    """Add up the counts (``schema.COUNT``) of all chunks."""
    counts: dict[str, Counter[int]] = {kind: Counter() for kind in schema.COUNT_KINDS}
    for start in range(0, len(paths), MAX_OPEN_FILES):
        source = read_parquet(connection, paths[start : start + MAX_OPEN_FILES])
        for kind, key, number in source.aggregate("kind, key, sum(count)::bigint", "kind, key").fetchall():
            counts[kind][int(key)] += int(number)
    return counts


def split_candidates(
    connection: duckdb.DuckDBPyConnection,
    checkpoints: Sequence[Path],
    *,
    companies: Table,
    overrides: Table,
    part_rows: int | None = None,
) -> CandidateTables:
    """Return the tables of the candidates in these files, of which one range of companies is in memory at a time.

    ``part_rows``: candidates of a range; None: ``candidate_parts.PART_ROWS``.

    The view of all their columns opens every file: for a few companies, see ``read_candidates``.
    """
    parts = CandidateParts.split(checkpoints, scratch_of(connection) / new_name("parts"), part_rows)
    shared = find_shared_keys(connection, parts.identified, parts.read_rows)
    source = (
        parquet_sql(*checkpoints) if checkpoints else store_table(connection, "none", schema.CANDIDATE.empty_table())
    )
    candidates = create_view(connection, "candidates", without_shared_sql(connection, source))
    return CandidateTables(connection, candidates, companies, overrides, replace(parts, shared=shared))
