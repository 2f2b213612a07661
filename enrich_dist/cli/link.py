"""``enrich-dist link``: link any two tables of organisations with the matcher of the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enrich_dist.cli.options import Config, Overrides, load_settings
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import SettingsError

Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=HEADER", help="Another column name, for example id=vendor_no; can be repeated."),
]


_LISTED = 10  # shared identifiers


def link(
    left: Annotated[Path, typer.Argument(help="Organisations to link: a table with id and name, or a folder.")],
    right: Annotated[Path, typer.Argument(help="Organisations to search: a table with id and name, or a folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Links: .csv, .parquet, .jsonl or .xlsx.")],
    left_column: Columns = None,
    right_column: Columns = None,
    names: Annotated[
        list[Path] | None,
        typer.Option(help="Names of the right organisations over time, by UEI: award downloads; can be repeated."),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also write unresolved links (status review).")] = False,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Link two tables of organisations: at most one right row per left row, with its match probability.

    Columns: id and name; optionally address, city, state, zip, uei, duns, alternate_names.

    Example: `enrich-dist link vendors.csv recipients.parquet --out links.csv --left-column id=vendor_no`
    """
    matching = load_settings(config, overrides).settings.matching
    from enrich_dist.pipeline.linking import link as link_tables
    from enrich_dist.results.report import accuracy_sentence
    from enrich_dist.sources.shared_identifiers import describe_shared

    summary = link_tables(
        left,
        right,
        out,
        left_columns=column_map(left_column),
        right_columns=column_map(right_column),
        candidates=matching.candidates(),
        decision=matching.decision(),
        with_review=all_,
        names=names or (),
    )
    PlainConsole().print(
        f"{summary.left_rows:,} left rows: {summary.matched:,} matched, {summary.review:,} for review, "
        f"{summary.unmatched:,} unmatched, {summary.left_invalid:,} invalid. "
        f"{summary.right_rows:,} right rows, {summary.right_invalid:,} invalid.",
        accuracy_sentence({"accuracy": summary.accuracy}),
        *summary.warnings,
        *map(describe_shared, summary.shared_identifiers.slice(0, _LISTED).to_pylist()),
        f"Links  {out}",
        sep="\n",
    )


def column_map(texts: list[str] | None) -> dict[str, str | None]:
    """Return ``COLUMN=HEADER`` texts as a map; an empty header means that the file has no such column."""
    found: dict[str, str | None] = {}
    for text in texts or []:
        column, separator, header = text.partition("=")
        if not separator:
            raise SettingsError(f"'{text}' has no '='.", remedy="Write COLUMN=HEADER.")
        found[column.strip()] = header.strip() or None
    return found
