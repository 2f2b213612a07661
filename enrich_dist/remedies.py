"""What to do next: the remedies that several errors and reports share, each worded once."""

from __future__ import annotations

from typing import Final

RESUME: Final = "Run the same command again: finished chunks are kept and only the rest is computed."
RUN_FIRST: Final = "Run the job first: enrich-dist run"
RUN_AGAIN: Final = "Run `enrich-dist run` again."
REBUILD: Final = "Delete it and run again: it is rebuilt."
REBUILT_BY_RUN: Final = "Run again: it is rebuilt."
CHUNKS_REBUILT_BY_RUN: Final = "Run `enrich-dist run` again: the chunks are rebuilt."
FREE_SPACE: Final = "Free disk space or fix the permissions, then run the same command again."
DOWNLOAD_AGAIN: Final = "Download it again."
EXPORT_AGAIN: Final = "Export it again."
NAME_MEMBER: Final = "Name one with its schema or path: inputs.recipients_member, or --member."
MEASURE_AGAIN: Final = "Measure again with `enrich-dist bench run`."
PREFLIGHT: Final = (
    "Run `enrich-dist preflight --env production` with the same --config and --set, and fix what it reports "
    "(docs/how-to/preflight.md)."
)
