"""``enrich-dist link``: two tables of organisations, linked by the matcher of the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from enrich_dist.cli.options import Config, Overrides, column_maps
from enrich_dist.settings import load_settings

Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=HEADER", help="Another column name, for example id=vendor_no; can be repeated."),
]


def link(
    left: Annotated[Path, typer.Argument(help="Organisations to find a partner for: Parquet or CSV with id and name.")],
    right: Annotated[Path, typer.Argument(help="Organisations to search: Parquet or CSV with id and name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Links: .csv or .parquet.")],
    left_column: Columns = None,
    right_column: Columns = None,
    all_: Annotated[bool, typer.Option("--all", help="Also write undecided links (status review).")] = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Link two tables of organisations: one best right one per left one, with its probability.

    Columns: id, name and, where there are, address, city, state, zip, uei, duns, alternate_names.
    """
    matching = load_settings(config, overrides or []).settings.matching
    from enrich_dist.pipeline.linking import link as link_tables
    from enrich_dist.results.report import accuracy_sentence

    summary = link_tables(
        left,
        right,
        out,
        left_columns=column_maps(left_column),
        right_columns=column_maps(right_column),
        candidates=matching.candidates(),
        decision=matching.decision(),
        with_review=all_,
    )
    console = Console()
    console.print(
        f"{summary.left_rows:,} left rows: {summary.matched:,} matched, {summary.review:,} for review, "
        f"{summary.unmatched:,} unmatched, {summary.left_invalid:,} invalid. "
        f"{summary.right_rows:,} right rows, {summary.right_invalid:,} invalid.",
        highlight=False,
    )
    console.print(accuracy_sentence({"accuracy": summary.accuracy}), highlight=False)
    console.print(f"Links  {escape(str(out))}", soft_wrap=True, highlight=False)
