"""Partial results of a run: likely matches after every chunk, and accepted companies by chunk for the projection.

Finished chunks are scored as a whole run is (``results.scoring``), as if the other recipients were like those seen:
counts and the share of companies with a partner are scaled up. Rivals in chunks to come are unknown, so slightly more
companies are accepted than at the end. Does not cover what is projected from it (``projection``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from enrich_dist.core.database import connect, read_parquet
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.index import open_index
from enrich_dist.progress.projection import AcceptedByChunk, Projection, project
from enrich_dist.results.candidate_tables import read_counts, split_candidates
from enrich_dist.results.estimation import estimate_weights
from enrich_dist.results.overrides import read_decisions
from enrich_dist.results.scoring import score
from enrich_dist.results.tables import Table, store_table
from enrich_dist.schema import MIN_SAME_STATE, Agreement, NameLevel, SiblingLevel
from enrich_dist.store.checkpoints import Checkpoint, CheckpointStore
from enrich_dist.store.run_directory import Output, RunDirectory


class MatchedAwardCounter:
    """Counts awards whose company has a likely match in the checkpoints seen so far.

    A quick estimate after every chunk: a pair with a common identifier, or with the same name in a place that does not
    conflict. Which candidates are accepted is known when all chunks are done.
    """

    _COLUMNS: Final = ["company_id", "uei_agreement", "duns_agreement", "name_level", "sibling_level", "place_level"]

    def __init__(self, award_counts: npt.NDArray[np.int32]) -> None:
        """``award_counts``: awards of every company, by company id."""
        self._award_counts = award_counts
        self._seen = np.zeros(len(award_counts), dtype=bool)

    def add(self, checkpoints: Sequence[Path]) -> None:
        """Count the candidates of finished chunks."""
        for path in checkpoints:
            # read_table prepares to read many files, which takes longer than reading this one.
            with pq.ParquetFile(path) as file:
                table = file.read(columns=self._COLUMNS, use_threads=False)
            company, uei, duns, name, sibling, place = (table[column].to_numpy() for column in self._COLUMNS)
            identified = (uei == Agreement.AGREE) | (duns == Agreement.AGREE)
            near = (name >= NameLevel.SPELLING_VARIANT) & (sibling == SiblingLevel.NONE) & (place >= MIN_SAME_STATE)
            self._seen[company[identified | near]] = True

    def awards(self) -> int:
        """Return the awards of the companies seen."""
        return int(self._award_counts[self._seen].sum())


@dataclass(frozen=True)
class MatchRateProjector:
    """Projects the final match rate of the run with the latest plan in the directory."""

    directory: RunDirectory
    store: CheckpointStore
    decision: DecisionConfig
    award_counts: npt.NDArray[np.int32]
    """Awards of every company, by company id."""
    chunks_total: int

    def __call__(self, keys: Sequence[str], share_done: float) -> Projection:
        """Project from the chunks with these checkpoints, which have ``share_done`` of the recipients.

        Raises the errors of DuckDB, Arrow and the system where files cannot be read.
        """
        finished, _ = self.store.find_tables(keys, self.directory.checkpoint_copies)
        accepted = self._find_accepted(list(finished.values()), share_done)
        return project(accepted, self.award_counts, chunks_total=self.chunks_total)

    def _find_accepted(self, finished: Sequence[Checkpoint], share_done: float) -> AcceptedByChunk:
        """Return the companies that the finished chunks would accept, by chunk."""
        directory = self.directory
        checkpoints = [tables.candidates for tables in finished]
        counts = [tables.counts for tables in finished]
        vocabulary = open_index(directory.output(Output.INDEX)).vocabulary
        companies = directory.output(Output.COMPANIES) / "companies.parquet"
        with connect(scratch=directory.scratch) as connection:
            read_parquet(connection, [companies]).select("company_id, company_key, name").create("companies")
            tables = split_candidates(
                connection,
                checkpoints,
                companies=Table("companies"),
                overrides=store_table(connection, "overrides", read_decisions(directory.overrides)),
            )
            weights = estimate_weights(tables, read_counts(connection, counts), vocabulary, seen_share=share_done)
            scores = score(tables, weights, seen_share=share_done)
            rows = connection.execute(
                f"""
                with accepted as (
                    select company_id, source_row from {scores.judged} where place = 1 and probability >= $accept
                )
                select company_id, source_row from accepted
                union
                select company_id, source_row from {scores.rivals}
                where company_id in (select company_id from accepted)
                  and $prior * pow(2, match_weight) >= $accept * (1 + $prior * pow(2, match_weight))
                """,
                {"accept": self.decision.accept_probability, "prior": scores.prior_odds},
            ).fetchnumpy()
        # A chunk is a range of source rows, so the first row of its candidates identifies it.
        first = sorted(row for path in checkpoints if (row := _first_row(path)) is not None)
        chunk = np.searchsorted(np.array(first, dtype=np.int64), np.asarray(rows["source_row"]), side="right") - 1
        pairs = np.unique(np.column_stack([np.asarray(rows["company_id"], dtype=np.int64), chunk]), axis=0)
        return AcceptedByChunk(company=pairs[:, 0], chunk=pairs[:, 1], chunks=len(checkpoints))


def _first_row(checkpoint: Path) -> int | None:
    with pq.ParquetFile(checkpoint) as file:
        rows = file.read(columns=["source_row"], use_threads=False)["source_row"].to_numpy()
    return int(rows.min()) if len(rows) else None
