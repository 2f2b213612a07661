"""Makes a result directory: candidates reduced, awards enriched, measured, judged and reported.

A result holds the enriched awards (Parquet, and a DuckDB database with the tables a user would query), the metrics,
the verdict on them and the written report; nothing in it depends on when or where it was made. Whether it may leave
the system is decided by ``publish``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from enrich_dist.core.database import DRIVER_MEMORY_MB, connect
from enrich_dist.core.files import write_json
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.vocabulary import Vocabulary
from enrich_dist.matching.weights import Weights, estimate
from enrich_dist.results import overrides, quality, reduce
from enrich_dist.results.report import render
from enrich_dist.sources import chunks
from enrich_dist.store.artifacts import Artifact


@dataclass(frozen=True)
class ResultInputs:
    """What a result is made from.

    ``chunk_rows``: per reduced chunk the rows planned, with candidates, without, and quarantined;
    ``candidates_written``: candidates in all of them, by their records. ``vocabulary``: that of the index the
    candidates were found with. ``checkpoint_digests``: of all planned chunks, "missing" for one without a checkpoint.
    ``overrides`` (``schema.OVERRIDE``): decisions of persons; ``quarantined`` (``schema.REJECT``): recipients that
    were set aside.
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
    chunks_planned: int


def open_candidates(connection: duckdb.DuckDBPyConnection, inputs: ResultInputs) -> int:
    """Tables ``companies`` and ``overrides``, and view ``candidates``, in which confirmed pairs that no search found
    stand, too; return the candidates without these."""
    connection.read_parquet(str(inputs.company.path / "companies.parquet")).create("companies")
    connection.from_arrow(inputs.overrides).create("overrides")
    reduce.create_candidates(connection, inputs.checkpoints)
    [(found,)] = connection.execute("select count(*) from candidates").fetchall()
    further = overrides.confirmed_candidates(connection, inputs.plan)
    if len(further):
        reduce.create_candidates(connection, inputs.checkpoints, further)
    return int(found)


def weigh_candidates(
    connection: duckdb.DuckDBPyConnection, inputs: ResultInputs
) -> tuple[Weights, dict[str, dict[int, int]]]:
    """View ``scored``, with the weights of this very run; return these and the counts of all chunks. Needs what
    ``open_candidates`` makes."""
    counts = reduce.read_counts(connection, inputs.counts)
    weights = estimate(counts, reduce.count_identified_pairs(connection), inputs.vocabulary)
    reduce.create_scored(connection, weights)
    return weights, counts


def build_result(
    directory: Path, inputs: ResultInputs, decision: DecisionConfig, gate: quality.Gate, *, scratch: Path
) -> dict[str, Any]:
    """Write the result's files into ``directory``; return metrics and verdict."""
    awards, company, plan = inputs.awards, inputs.company, inputs.plan
    rejects = pa.concat_tables(
        [pq.read_table(awards.path / "rejects.parquet"), chunks.read_rejects(plan), inputs.quarantined]
    )
    enriched = directory / "enriched_awards.parquet"
    database = directory / "enrich_dist.duckdb"
    with connect(database, memory_mb=DRIVER_MEMORY_MB, scratch=scratch) as connection:
        connection.from_arrow(rejects).create("rejects")
        connection.read_parquet(str(awards.path / "awards.parquet")).create_view("awards")
        connection.read_parquet(str(company.path / "award_companies.parquet")).create_view("award_companies")
        candidates_read = open_candidates(connection, inputs)
        weights, counts = weigh_candidates(connection, inputs)
        partner_share = reduce.create_matches(connection, decision, weights.recipients)
        reduce.store_enriched_awards(connection, enriched)
        decided = overrides.effects(connection)
        # Views lead to files of the run directory; the database must stand alone.
        for view in ("scored", "weighed", "candidates", "awards", "award_companies"):
            connection.execute(f"drop view {view}")
        for table in ("w", "name_information"):
            connection.execute(f"drop table {table}")
        metrics = quality.measure(connection)
        metrics["accuracy"] = quality.estimate_accuracy(connection, unreachable_share=weights.unreachable_share)
        metrics["overrides"] = decided
        metrics["model"] = {
            **weights.document(),
            "partner_share": partner_share,
            "blocks_left_out": counts["blocks_left_out"].get(0, 0),
            "pairs_left_out": counts["pairs_left_out"].get(0, 0),
        }
        matches = connection.sql("from company_matches order by company_id").to_arrow_table()
    metrics["reconciliation"] = quality.reconcile(
        award_rows_read=awards.facts["rows_read"],
        award_rows_rejected=awards.facts["rows_rejected"],
        metrics=metrics,
        recipient_source_rows=plan.facts["source_rows"],
        recipient_rows_rejected=plan.facts["rejected_rows"],
        recipient_rows_merged=plan.facts.get("merged_rows", 0),
        chunks=inputs.chunk_rows,
        candidates_written=inputs.candidates_written,
        candidates_read=candidates_read,
    )
    # Not the number of chunks: the same result must not tell how it was cut.
    metrics["completeness"] = {"chunks_missing": inputs.chunks_planned - len(inputs.checkpoints)}
    verdict = quality.judge(metrics, gate)
    pq.write_table(matches, directory / "company_matches.parquet", compression="zstd")
    pa.csv.write_csv(rejects, directory / "rejects.csv")
    write_json(directory / "metrics.json", metrics)
    write_json(directory / "verdict.json", verdict)
    (directory / "report.md").write_text(render(metrics, verdict), "utf-8")
    return {"metrics": metrics, "verdict": verdict}
