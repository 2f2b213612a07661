"""``enrich-dist link``: link any two tables of organisations with the matcher of the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enrich_dist.cli.options import Config, Overrides, plain_console
from enrich_dist.errors import SettingsError
from enrich_dist.settings import load_settings

Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=HEADER", help="Another column name, for example id=vendor_no; can be repeated."),
]


def link(
    left: Annotated[Path, typer.Argument(help="Organisations to link: Parquet or CSV with id and name.")],
    right: Annotated[Path, typer.Argument(help="Organisations to search: Parquet or CSV with id and name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Links: .csv or .parquet.")],
    left_column: Columns = None,
    right_column: Columns = None,
    all_: Annotated[bool, typer.Option("--all", help="Also write unresolved links (status review).")] = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Link two tables of organisations: at most one right row per left row, with its match probability.

    Columns: id and name; optionally address, city, state, zip, uei, duns, alternate_names.

    Example: `enrich-dist link vendors.csv recipients.parquet --out links.csv --left-column id=vendor_no`
    """
    matching = load_settings(config, overrides or []).settings.matching
    from enrich_dist.pipeline.linking import link as link_tables
    from enrich_dist.results.report import accuracy_sentence

    summary = link_tables(
        left,
        right,
        out,
        left_columns=_column_map(left_column),
        right_columns=_column_map(right_column),
        candidates=matching.candidates(),
        decision=matching.decision(),
        with_review=all_,
    )
    plain_console().print(
        f"{summary.left_rows:,} left rows: {summary.matched:,} matched, {summary.review:,} for review, "
        f"{summary.unmatched:,} unmatched, {summary.left_invalid:,} invalid. "
        f"{summary.right_rows:,} right rows, {summary.right_invalid:,} invalid.",
        accuracy_sentence({"accuracy": summary.accuracy}),
        f"Links  {out}",
        sep="\n",
    )


def _column_map(texts: list[str] | None) -> dict[str, str | None]:
    """Return ``COLUMN=HEADER`` texts as a map; an empty header means that the file has no such column."""
    found: dict[str, str | None] = {}
    for text in texts or []:
        column, separator, header = text.partition("=")
        if not separator:
            raise SettingsError(f"'{text}' has no '='.", remedy="Write COLUMN=HEADER.")
        found[column.strip()] = header.strip() or None
    return found
