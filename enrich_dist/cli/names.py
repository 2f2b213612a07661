"""``enrich-dist names``: names of organisations over time from award downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enrich_dist.core.console import PlainConsole


def names(
    files: Annotated[
        list[str], typer.Argument(help="Award downloads, SAM extracts, earlier outputs; files, folders or patterns.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Names over time: .parquet.")],
) -> None:
    """Collect the names that organisations had, with the dates, from any number of award downloads.

    `inputs.name_history` accepts the output, and the files themselves. A small file instead of many large ones saves
    time when recipients change often.

    Example: `enrich-dist names "downloads/*.zip" --out names.parquet`
    """
    from enrich_dist.events import Event, Notice, listening
    from enrich_dist.sources.name_history import write_names

    console = PlainConsole()

    def show(event: Event) -> None:
        if isinstance(event, Notice):
            console.print(event.message)

    with listening(show):
        found = write_names(files, out)
    console.print(
        f"{found['names']:,} names of {found['organisations']:,} organisations; {found['with_several_names']:,} have "
        "several names of their own.",
        f"{found['rows']:,} rows: {found['rows_unreadable']:,} unreadable, {found['rows_without_names']:,} without a "
        "name or a valid identifier.",
        f"Not valid: {found['dates_lost']:,} dates, {found['identifiers_lost']:,} identifiers.",
        f"Names  {out}",
        sep="\n",
    )
