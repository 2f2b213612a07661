"""Dumps of PostgreSQL in the directory format, as USAspending publishes its database: one table read where it lies.

``toc`` tells which table is in which file, ``archive`` opens the files, ``copy_text`` reads the rows, ``source`` makes
recipients of them. Does not restore anything.
"""

from __future__ import annotations

from enrich_dist.sources.pg_dump.source import DumpSource, open_source

__all__ = ["DumpSource", "open_source"]
