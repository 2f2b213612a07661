"""Build a result directory: reduce the candidates, enrich the awards, measure, judge and report.

A result has the enriched awards (as Parquet, and as a DuckDB database with the other tables), metrics, verdict and
report. Its content does not depend on when or where it was built. Whether it may be published is decided by
``publish``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.core.database import connect, read_parquet
from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.owned_files import write_new
from enrich_dist.core.table_files import write_table
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.vocabulary import Vocabulary
from enrich_dist.results import estimation, overrides, quality, reduce, reliability, scoring, shared_identifiers
from enrich_dist.results.candidate_parts import PART_ROWS
from enrich_dist.results.candidate_tables import CandidateTables, Counts, read_counts, split_candidates
from enrich_dist.results.report import render
from enrich_dist.results.tables import Table
from enrich_dist.sources import chunks, column_statistics, companies
from enrich_dist.store.artifacts import Artifact

DATABASE = "enrich_dist.duckdb"
DRIVER_MEMORY_MB: Final = 2_000
"""Memory budget of the driver with which half for DuckDB and ``candidate_parts.PART_ROWS`` were chosen."""
STAGES: Final = (0.1, 0.4, 0.55, 0.75, 1.0)
"""Share of the time after which candidates are read and scored, matches and awards stored, and the result judged. For
the progress only; measured on the bundled sample."""


@dataclass(frozen=True)
class ResultInputs:
    """Inputs of a result.

    ``chunk_rows``: per chunk with a checkpoint the rows planned, with candidates, without, and quarantined;
    ``candidates_written``: candidates by the records of the checkpoints. ``vocabulary``: of the index that the
    candidates were found with. ``checkpoint_digests``: of all planned chunks, "missing" for one without a checkpoint.
    ``overrides`` (``schema.OVERRIDE``): human review decisions; ``quarantined`` (``schema.REJECT``): quarantined
    recipients.
    """

    awards: Artifact
    company: Artifact
    plan: Artifact
    checkpoints: list[Path]
    counts: list[Path]
    checkpoint_digests: list[str]
    vocabulary: Vocabulary
    overrides: pa.Table
    quarantined: pa.Table
    chunk_rows: list[tuple[int, int, int, int]]
    candidates_written: int


def open_candidates(
    connection: duckdb.DuckDBPyConnection, inputs: ResultInputs, *, part_rows: int | None = None
) -> CandidateTables:
    """Create tables ``companies`` and ``overrides``, and open the candidates of all checkpoints; ``part_rows``: as for
    ``candidate_tables.split_candidates``."""
    read_parquet(connection, [inputs.company.path / "companies.parquet"]).create("companies")
    connection.from_arrow(inputs.overrides).create("overrides")
    return split_candidates(
        connection,
        inputs.checkpoints,
        companies=Table("companies"),
        overrides=Table("overrides"),
        part_rows=part_rows,
    )


def score_candidates(found: CandidateTables, inputs: ResultInputs, *, places: int) -> tuple[scoring.Scores, Counts]:
    """Score the candidates and the confirmed pairs that blocking did not find; return the counts, too. ``places``: see
    ``scoring.rank_organisations``."""
    tables = overrides.add_confirmed(found, inputs.plan.path)
    counts = read_counts(tables.connection, inputs.counts)
    weights = estimation.estimate_weights(tables, counts, inputs.vocabulary)
    return scoring.score(tables, weights, places=places), counts


def build_result(
    directory: Path,
    inputs: ResultInputs,
    decision: DecisionConfig,
    gate: quality.Gate,
    *,
    scratch: Path,
    driver_memory_mb: int = DRIVER_MEMORY_MB,
    on_stage: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write the result's files into ``directory``; return metrics and verdict.

    ``driver_memory_mb``: budget of this process; it never changes the result. DuckDB has half of it before it spills.
    ``on_stage``: called after each of ``STAGES``.
    """
    part_rows = max(1, min(PART_ROWS, PART_ROWS * driver_memory_mb // DRIVER_MEMORY_MB))
    awards, company, plan = inputs.awards, inputs.company, inputs.plan
    of_sources = [pq.read_table(stored.path / chunks.REJECTS_FILE) for stored in (awards, plan)]
    rejects = pa.concat_tables([*of_sources, inputs.quarantined])
    with connect(directory / DATABASE, scratch=scratch, memory_mb=driver_memory_mb // 2) as connection:
        connection.from_arrow(rejects).create("rejects")
        found = open_candidates(connection, inputs, part_rows=part_rows)
        by_recipients = connection.sql(f"from {shared_identifiers.TABLE}").to_arrow_table()
        shared = pa.concat_tables(
            [pq.read_table(company.path / companies.SHARED_FILE), by_recipients.cast(schema.SHARED_IDENTIFIER)]
        )
        connection.from_arrow(shared).create("shared_identifiers")
        candidates_read = found.parts.rows if found.parts else 0
        on_stage()
        scores, counts = score_candidates(found, inputs, places=2)
        on_stage()
        reduce.create_matches(scores, decision)
        on_stage()
        reduce.store_enriched_awards(
            connection,
            awards.path / "awards.parquet",
            company.path / "award_companies.parquet",
            directory / "enriched_awards.parquet",
        )
        on_stage()
        metrics = quality.measure(connection)
        accuracy = quality.estimate_accuracy(connection, unreachable_share=scores.weights.unreachable_share)
        metrics["accuracy"] = accuracy | reliability.assess(connection, scores.companies)
        metrics["overrides"] = overrides.count_effects(scores.tables)
        metrics["model"] = {
            **scores.weights.document(),
            "partner_share": scores.partner_share,
            "blocks_left_out": counts["blocks_left_out"].get(0, 0),
            "pairs_left_out": counts["pairs_left_out"].get(0, 0),
            "addresses_left_out": counts["addresses_left_out"].get(0, 0),
        }
        matches = connection.sql("from company_matches order by company_id").to_arrow_table()
    metrics["reconciliation"] = quality.reconcile(
        metrics["awards"],
        awards.facts,
        plan.facts,
        chunks=inputs.chunk_rows,
        candidates_written=inputs.candidates_written,
        candidates_read=candidates_read,
    )
    sources = {"awards": awards, "recipients": plan}
    metrics["columns"] = {name: read_json(stored.path / column_statistics.FILE) for name, stored in sources.items()}
    # Not the number of chunks: the result does not depend on the chunk size.
    metrics["completeness"] = {"chunks_missing": len(inputs.checkpoint_digests) - len(inputs.checkpoints)}
    verdict = quality.judge(metrics, gate)
    pq.write_table(matches, directory / "company_matches.parquet", compression="zstd")
    write_table(rejects, directory / "rejects.csv")
    write_json(directory / "metrics.json", metrics)
    write_json(directory / "verdict.json", verdict)
    write_new(directory / "report.md", render(metrics, verdict).encode("utf-8"))
    on_stage()
    return {"metrics": metrics, "verdict": verdict}
