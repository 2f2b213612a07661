"""``enrich-dist dedupe``: cluster the rows of a table of organisations."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from enrich_dist.cli.link import Columns, column_map
from enrich_dist.cli.options import Config, Overrides, load_settings
from enrich_dist.core.console import PlainConsole

_LISTED = 10  # shared identifiers
_SECONDS_BETWEEN = 5.0


def dedupe(
    table: Annotated[Path, typer.Argument(help="Organisations: a table with id and name, or a folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Clusters: .csv, .parquet, .jsonl or .xlsx.")],
    column: Columns = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Cluster the rows of a table by organisation: every row gets the id of its cluster and a probability.

    Columns: id and name; optionally address, city, state, zip, uei, duns, alternate_names. Rows join at
    `matching.accept_probability`.

    Example: `enrich-dist dedupe vendors.csv --out clusters.csv --column id=vendor_no`
    """
    matching = load_settings(config, overrides or []).settings.matching
    from enrich_dist.pipeline.deduplication import deduplicate
    from enrich_dist.sources.shared_identifiers import describe_shared

    summary = deduplicate(
        table,
        out,
        columns=column_map(column),
        candidates=matching.candidates(),
        accept_probability=matching.decision().accept_probability,
        progress=_Progress(),
    )
    PlainConsole().print(
        f"{summary.rows:,} rows: {summary.clusters:,} organisations, {summary.duplicates:,} duplicate rows, "
        f"{summary.invalid:,} invalid. The largest organisation has {summary.largest:,} rows.",
        *summary.warnings,
        *map(describe_shared, summary.shared_identifiers.slice(0, _LISTED).to_pylist()),
        f"Clusters  {out}",
        sep="\n",
    )


class _Progress:
    """Prints the rows matched and the time remaining, at most every few seconds."""

    def __init__(self) -> None:
        self._started = self._printed = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._printed < _SECONDS_BETWEEN and done < total:
            return
        self._printed = now
        remaining = (now - self._started) / done * (total - done) if done else 0.0
        PlainConsole(stderr=True).print(
            f"{done:,} of {total:,} rows compared ({done / max(total, 1):.1%}), about {remaining:.0f} s remaining."
        )
