"""The object that drivers hand to workers: it opens the index and matches recipients against it.

Covers the order of the steps, batch by batch, and the shape of the result. Does not cover the steps themselves
(``blocking``, ``compare``) nor where index and recipients come from. What is heavy is imported where it is used:
the object is unpickled in many processes that never match.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from enrich_dist import schema
from enrich_dist.files import text_digest
from enrich_dist.matching.config import ENGINE_VERSION, CandidateConfig

if TYPE_CHECKING:
    from enrich_dist.matching.index import CompanyIndex


@dataclass(frozen=True)
class OrganisationMatcher:
    """Finds the candidates of recipients among companies. Immutable, picklable, equal if its config is."""

    config: CandidateConfig = field(default_factory=CandidateConfig)

    def key(self) -> str:
        """SHA-256 of what, besides companies and recipients, the candidates depend on."""
        return text_digest(ENGINE_VERSION, self.config.digest())

    def open_index(self, directory: Path) -> CompanyIndex:
        """Open the files that ``index.build_index`` wrote, by mapping them into memory."""
        from enrich_dist.matching.index import open_index

        return open_index(directory)

    def match(self, index: CompanyIndex, recipients: pa.Table) -> pa.Table:
        """Candidates (``schema.CANDIDATE``) of recipients (``schema.RECIPIENT``), whose ``source_row`` are distinct.

        One row per (company_id, source_row), in that order. The candidates of a recipient do not depend on the
        other recipients, so matching parts of a table and joining the results gives the same rows.
        """
        parts = list(self._parts(index, recipients))
        if not parts:
            return schema.CANDIDATE.empty_table()
        return pa.concat_tables(parts).sort_by([("company_id", "ascending"), ("source_row", "ascending")])

    def _parts(self, index: CompanyIndex, recipients: pa.Table) -> Iterator[pa.Table]:
        """Candidates batch by batch, in the order of the recipients."""
        if index.company_count == 0:
            return
        from enrich_dist.matching import blocking, compare, grams

        for start in range(0, recipients.num_rows, self.config.batch_rows):
            recipients_part = recipients.slice(start, self.config.batch_rows)
            batch = blocking.prepare(index, recipients_part)
            vectors = grams.vectors(batch.names, index.idf)
            rows, companies = blocking.candidate_pairs(index, batch, vectors, self.config)
            comparison = compare.compare(index, batch, vectors, rows, companies)
            taken = recipients_part.take(pa.array(rows))
            columns = {
                "company_id": pa.array(companies, pa.int32()),
                **dict(zip(comparison.column_names, comparison.columns, strict=True)),
                **dict(zip(taken.column_names, taken.columns, strict=True)),
            }
            yield pa.table([columns[f.name] for f in schema.CANDIDATE], schema=schema.CANDIDATE)
