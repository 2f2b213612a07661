"""Which companies would be accepted by what is finished of a run, and in which chunks their partners lie.

What is finished is judged as a whole run would be, with the weights, rivals and thresholds of the reduce, as if the
recipients that are left were like those seen: counts of words are scaled up, and so is the share of companies with a
partner. A rival that lies in a chunk to come is not known, so that slightly more are accepted than in the end.

Covers the latest plan of a run directory. Does not cover what is concluded (``projection``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.core.database import DRIVER_MEMORY_MB, connect
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import MAX_PARTNER_SHARE, prior_odds
from enrich_dist.matching.index import open_index
from enrich_dist.matching.vocabulary import Vocabulary
from enrich_dist.matching.weights import estimate
from enrich_dist.progress.projection import AcceptedByChunk, Projection, project
from enrich_dist.results import reduce
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import Output, RunDirectory


class MatchRateProjector:
    """Projects the final match rate of the run whose plan is the latest in the directory."""

    def __init__(
        self,
        directory: RunDirectory,
        store: CheckpointStore,
        decision: DecisionConfig,
        award_counts: npt.NDArray[np.int32],
        *,
        chunks_total: int,
    ) -> None:
        """``award_counts``: awards of every company, by company id."""
        self._directory = directory
        self._store = store
        self._decision = decision
        self._award_counts = award_counts
        self._chunks_total = chunks_total

    def __call__(self, keys: Sequence[str], share_done: float) -> Projection:
        """The projection from the chunks with these checkpoints, which hold ``share_done`` of the recipients.

        Raises what DuckDB, Arrow or the system raise where files cannot be read.
        """
        directory = self._directory
        finished, _ = self._store.find_tables(keys, directory.checkpoint_copies)
        index = open_index(directory.output(Output.INDEX))
        found = find_accepted(
            [checkpoint.candidates for checkpoint in finished.values()],
            [checkpoint.counts for checkpoint in finished.values()],
            companies=directory.output(Output.COMPANIES) / "companies.parquet",
            overrides=directory.read_overrides(),
            vocabulary=index.vocabulary,
            decision=self._decision,
            share_done=share_done,
            scratch=directory.scratch,
        )
        return project(found, self._award_counts, chunks_total=self._chunks_total)


def find_accepted(
    checkpoints: Sequence[Path],
    counts: Sequence[Path],
    *,
    companies: Path,
    overrides: pa.Table,
    vocabulary: Vocabulary,
    decision: DecisionConfig,
    share_done: float,
    scratch: Path,
) -> AcceptedByChunk:
    """Judge the finished chunks.

    ``checkpoints``, ``counts``: their tables, in any order; ``companies``: the table of all (``schema.COMPANY``);
    ``share_done``: their share of the recipients.
    """
    with connect(memory_mb=DRIVER_MEMORY_MB, scratch=scratch) as connection:
        connection.read_parquet(str(companies)).select("company_id, company_key").create("companies")
        connection.from_arrow(overrides).create("overrides")
        reduce.create_candidates(connection, checkpoints)
        # What counts of a word are in all recipients, not in those seen.
        scaled = {
            kind: {key: round(count / share_done) for key, count in found.items()}
            for kind, found in reduce.read_counts(connection, counts).items()
        }
        weights = estimate(scaled, reduce.count_identified_pairs(connection), vocabulary)
        reduce.create_scored(connection, weights)
        reduce.rank_organisations(connection, weights.recipients)
        # Seen are the partners that lie in these chunks.
        share = min(reduce.estimated_share(connection) / share_done, MAX_PARTNER_SHARE)
        reduce.judge_ranked(connection, weights.recipients, share)
        rows = connection.execute(
            """
            with accepted as (
                select company_id, source_row from judged where place = 1 and probability >= $accept
            )
            select company_id, source_row from accepted
            union
            select company_id, source_row from rivals
            where company_id in (select company_id from accepted)
              and $prior * pow(2, match_weight) >= $accept * (1 + $prior * pow(2, match_weight))
            """,
            {"accept": decision.accept_probability, "prior": prior_odds(share, weights.recipients)},
        ).fetchnumpy()
    # A chunk is a piece of the source: its first candidate's row is above all of the piece before.
    first = sorted(row for path in checkpoints if (row := _first_row(path)) is not None)
    chunk = np.searchsorted(np.array(first, dtype=np.int64), np.asarray(rows["source_row"]), side="right") - 1
    pairs = np.unique(np.column_stack([np.asarray(rows["company_id"], dtype=np.int64), chunk]), axis=0)
    return AcceptedByChunk(company=pairs[:, 0], chunk=pairs[:, 1], chunks=len(checkpoints))


def _first_row(checkpoint: Path) -> int | None:
    with pq.ParquetFile(checkpoint) as file:
        rows = file.read(columns=["source_row"], use_threads=False)["source_row"].to_numpy()
    return int(rows.min()) if len(rows) else None
