"""Readers: the SBIR.gov awards file and the USAspending recipient table, as the tables of ``enrich_dist.schema``.

Covers local files: awards as CSV (plain, gzip or zip), recipients as Parquet. Does not cover object storage,
databases or matching, and knows no settings: callers hand over a path and a column map.
"""

from __future__ import annotations

from enrich_dist.sources.awards import AwardTable, check_awards, read_awards
from enrich_dist.sources.recipients import RecipientBatch, check_recipients, read_recipients

__all__ = ["AwardTable", "RecipientBatch", "check_awards", "check_recipients", "read_awards", "read_recipients"]
