"""The scored candidates of the latest result, opened again from the files of the run.

Covers finding the files that the result was made from, weights as the result estimated them, and the candidates of a
few companies with their rivals and probabilities. Everything is read only. Views, weights and probabilities are those
of ``reduce`` and ``matching``. Files that the result was not made from are refused: what they would tell is not why the
result is as it is. Does not cover what is told of the candidates (``explain``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from enrich_dist import schema
from enrich_dist.core.database import DRIVER_MEMORY_MB, connect
from enrich_dist.core.files import read_json
from enrich_dist.errors import StateError
from enrich_dist.matching.decisions import prior_odds
from enrich_dist.matching.index import CompanyIndex, open_index
from enrich_dist.matching.weights import Weights, estimate
from enrich_dist.results import overrides, reduce
from enrich_dist.store.artifacts import open_unverified
from enrich_dist.store.checkpoints import Checkpoint, CheckpointStore
from enrich_dist.store.run_directory import Output, RunDirectory

_REMEDY = "Run `enrich-dist run` again; then explain its result."


@dataclass(frozen=True)
class ReopenedResult:
    """The latest result with its candidates.

    ``connection`` has the views ``candidates`` and ``scored``, and the result's ``companies``, ``company_matches``,
    ``enriched_awards`` and ``overrides``; ``counts`` are those of all chunks (``reduce.read_counts``).
    """

    connection: duckdb.DuckDBPyConnection
    path: Path
    scratch: Path
    index: CompanyIndex
    metrics: Mapping[str, Any]
    counts: Mapping[str, Mapping[int, int]]
    weights: Weights

    @property
    def prior_odds(self) -> float:
        """Odds of one recipient being a company's partner, before anything is compared."""
        return prior_odds(self.metrics["model"]["partner_share"], self.weights.recipients)

    @contextmanager
    def of_companies(self, company_ids: Sequence[int]) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection on the candidates of these companies alone.

        Views ``weighed`` (with the rejected pairs) and ``scored``; tables ``companies``, ``rivals`` (the organisation
        of each candidate) and ``judged`` (``company_id``, ``source_row``, ``place``, ``probability`` of each
        organisation by its best row).
        """
        with connect(memory_mb=DRIVER_MEMORY_MB, scratch=self.scratch) as connection:
            for name in ("candidates", "companies"):
                rows = self.connection.sql(
                    f"from {name} where company_id in (select unnest($ids))",
                    params={"ids": list(map(int, company_ids))},
                ).to_arrow_table()
                connection.from_arrow(rows).create(name)
            connection.from_arrow(self.connection.sql("from overrides").to_arrow_table()).create("overrides")
            reduce.create_scored(connection, self.weights)
            # The share of companies with a partner is the result's, not that of these few.
            reduce.judge_organisations(connection, self.weights.recipients, self.metrics["model"]["partner_share"])
            yield connection


@contextmanager
def reopen_result(directory: RunDirectory) -> Iterator[ReopenedResult]:
    """Open the latest result of the run directory with its candidates.

    Raises ``StateError`` when there is no result, or when the files of now are not those it was made from.
    """
    path = directory.output(Output.RESULT)
    with connect(memory_mb=DRIVER_MEMORY_MB, scratch=directory.scratch) as connection:
        try:
            result = _open(connection, directory, path)
        except (duckdb.Error, FileNotFoundError) as error:
            raise StateError(
                f"The files of the run are not those of a whole one of this version ({str(error).splitlines()[0]}).",
                remedy=_REMEDY,
            ) from error
        yield result


def _open(connection: duckdb.DuckDBPyConnection, directory: RunDirectory, path: Path) -> ReopenedResult:
    index = open_index(directory.output(Output.INDEX))
    finished = _finished(directory)
    database = str(path / "enrich_dist.duckdb").replace("'", "''")
    connection.execute(f"attach '{database}' as result (read_only)")
    for table in ("companies", "company_matches", "enriched_awards", "overrides"):
        connection.execute(f"create view {table} as from result.{table}")
    _require_same_companies(connection, directory)
    checkpoints = [checkpoint.candidates for checkpoint in finished]
    reduce.create_candidates(connection, checkpoints)
    if len(further := _confirmed(connection, directory)):
        reduce.create_candidates(connection, checkpoints, further)
    counts = reduce.read_counts(connection, [checkpoint.counts for checkpoint in finished])
    weights = estimate(counts, reduce.count_identified_pairs(connection), index.vocabulary)
    metrics = read_json(path / "metrics.json")
    _require_same_model(weights, metrics["model"], path)
    reduce.create_scored(connection, weights)
    return ReopenedResult(
        connection=connection,
        path=path,
        scratch=directory.scratch,
        index=index,
        metrics=metrics,
        counts=counts,
        weights=weights,
    )


def _finished(directory: RunDirectory) -> list[Checkpoint]:
    """The valid checkpoints of the latest plan."""
    chunks, location = directory.latest_farm()
    if not chunks:
        raise StateError(f"{directory.root} has no plan of its chunks.", remedy=_REMEDY)
    keys = [chunk["checkpoint_key"] for chunk in chunks]
    found, _ = CheckpointStore(location).find_tables(keys, directory.checkpoint_copies)
    return list(found.values())


def _confirmed(connection: duckdb.DuckDBPyConnection, directory: RunDirectory) -> pa.Table:
    """Pairs that a person confirmed and no search found."""
    [(count,)] = connection.execute("select count(*) from overrides where decision = 'confirm'").fetchall()
    if not count:
        return schema.CANDIDATE.empty_table()
    return overrides.confirmed_candidates(connection, open_unverified(directory.output(Output.CHUNKS)))


def _require_same_companies(connection: duckdb.DuckDBPyConnection, directory: RunDirectory) -> None:
    """The index belongs to the companies of its step: are they the result's?"""
    file = directory.output(Output.COMPANIES) / "companies.parquet"
    connection.read_parquet(str(file)).create_view("indexed_companies")
    digest = "select count(*), bit_xor(hash(company_id, company_key, names, ueis, duns, locations)) from"
    [result], [indexed] = (connection.execute(f"{digest} {t}").fetchall() for t in ("companies", "indexed_companies"))
    if result != indexed:
        raise StateError("The companies were joined anew since the latest result was made.", remedy=_REMEDY)


def _require_same_model(weights: Weights, model: Mapping[str, Any], path: Path) -> None:
    """Weights follow from the checkpoints: equal weights, equal checkpoints."""
    made = {name: value for name, value in weights.document().items() if model.get(name) != value}
    if made:
        raise StateError(
            f"The checkpoints of now are not those that {path.name} was made from (other {', '.join(sorted(made))}): "
            "a run with other inputs, settings or version was started since, or is under way.",
            remedy=_REMEDY,
        )
