"""Reopen the latest result with its candidates, to score a few companies again.

Everything is read only. Weights and share of companies with a partner are those of the result. Files that the result
was not made from are refused, because they do not explain it. Does not cover how a score is explained (``explain``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from enrich_dist.core.database import attach_sql, connect, read_parquet
from enrich_dist.core.files import read_json
from enrich_dist.errors import StateError
from enrich_dist.matching.index import CompanyIndex, open_index
from enrich_dist.matching.weights import Weights
from enrich_dist.results import estimation, overrides, scoring
from enrich_dist.results.build import DATABASE
from enrich_dist.results.candidate_tables import (
    CandidateTables,
    Counts,
    candidates_source,
    read_counts,
    split_candidates,
)
from enrich_dist.results.shared_identifiers import without_shared_sql
from enrich_dist.results.tables import Table, create_table, create_view
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import Output, RunDirectory

_REMEDY = "Run `enrich-dist run` again, then explain its result."


@dataclass(frozen=True)
class ReopenedResult:
    """The latest result: its candidates, index, counts, weights and share of companies with a partner.

    The connection of ``tables`` also has ``companies``, ``company_matches``, ``enriched_awards`` and
    ``shared_identifiers`` of the result's database. ``plan``: directory of the chunk files, which may no longer exist.
    """

    plan: Path
    tables: CandidateTables
    index: CompanyIndex
    counts: Counts
    weights: Weights
    partner_share: float

    @property
    def connection(self) -> duckdb.DuckDBPyConnection:
        """The connection that the tables are on."""
        return self.tables.connection

    def score_companies(self, company_ids: Sequence[int]) -> scoring.Scores:
        """Score the candidates of these companies as the result did."""
        chosen = f"where company_id in ({', '.join(str(int(number)) for number in company_ids) or 'null'})"
        candidates = create_table(self.connection, "candidates", f"from {self.tables.candidates} {chosen}")
        companies = create_table(self.connection, "companies", f"from {self.tables.companies} {chosen}")
        tables = replace(self.tables, candidates=candidates, companies=companies, parts=None)
        return scoring.score(tables, self.weights, partner_share=self.partner_share)


@contextmanager
def reopen_result(directory: RunDirectory) -> Iterator[ReopenedResult]:
    """Open the latest result of the run directory with its candidates.

    Raises ``StateError`` when there is no result, or when the files are no longer those that it was made from.
    """
    path = directory.output(Output.RESULT)
    with connect(scratch=directory.scratch) as connection:
        try:
            result = _open(connection, directory, path)
        except (duckdb.Error, FileNotFoundError) as error:
            raise StateError(
                f"The run in {directory.root} is incomplete or of another version ({str(error).splitlines()[0]}).",
                remedy=_REMEDY,
            ) from error
        yield result


def _open(connection: duckdb.DuckDBPyConnection, directory: RunDirectory, path: Path) -> ReopenedResult:
    index, plan = open_index(directory.output(Output.INDEX)), directory.output(Output.CHUNKS)
    chunks, location = directory.latest_farm()
    if not chunks:
        raise StateError(f"{directory.root} has no plan of its chunks.", remedy=_REMEDY)
    keys = [chunk["checkpoint_key"] for chunk in chunks]
    found, _ = CheckpointStore(location).find_tables(keys, directory.checkpoint_copies)
    connection.execute(attach_sql(path / DATABASE, "result"))
    for table in ("companies", "company_matches", "enriched_awards", "overrides", "shared_identifiers"):
        connection.execute(f"create view {table} as from result.{table}")
    _require_same_companies(connection, directory)
    files = [checkpoint.candidates for checkpoint in found.values()]
    tables = split_candidates(connection, files, companies=Table("companies"), overrides=Table("overrides"))
    # The view of the parts opens every file.
    source = without_shared_sql(connection, candidates_source(connection, files))
    tables = replace(tables, candidates=create_view(connection, "candidates", source))
    tables = overrides.add_confirmed(tables, plan)
    counts = read_counts(connection, [checkpoint.counts for checkpoint in found.values()])
    weights = estimation.estimate_weights(tables, counts, index.vocabulary)
    model = read_json(path / "metrics.json")["model"]
    if changed := sorted(name for name, value in weights.document().items() if model.get(name) != value):
        raise StateError(
            f"The checkpoints are not those of the result {path.name} (different: {', '.join(changed)}): a run with "
            "other inputs, settings or version started later, or is active.",
            remedy=_REMEDY,
        )
    return ReopenedResult(plan, tables, index, counts, weights, model["partner_share"])


def _require_same_companies(connection: duckdb.DuckDBPyConnection, directory: RunDirectory) -> None:
    """Raise ``StateError`` where the companies of the index are not those of the result."""
    file = directory.output(Output.COMPANIES) / "companies.parquet"
    read_parquet(connection, [file]).create_view("indexed_companies")
    digest = "select count(*), bit_xor(hash(company_id, company_key, names, ueis, duns, locations)) from"
    [result], [indexed] = (connection.execute(f"{digest} {t}").fetchall() for t in ("companies", "indexed_companies"))
    if result != indexed:
        raise StateError("The companies changed after the latest result was made.", remedy=_REMEDY)
