"""``enrich-dist report``: the latest run of a work directory as one HTML file, from its files alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.settings import load_settings, override_texts


def report(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Where to write it. [default: report.html in the work dir]")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write it as Markdown, for a pull request.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Compare with this run, too: its id in `enrich-dist runs ls`."),
    ] = None,
    work_dir: Annotated[Path | None, typer.Option(help="Where the run wrote; the setting paths.work_dir.")] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Write the report of the latest run, published or blocked: charts, tables, and what changed since the last one."""
    settings = load_settings(config, [*(overrides or []), *override_texts([("paths.work_dir", work_dir)])]).settings

    from enrich_dist.reporting.html import make_report
    from enrich_dist.reporting.terminal import shown_path
    from enrich_dist.store.run_directory import RunDirectory

    directory = RunDirectory(settings.paths.work_dir)
    html = out or directory.html_report
    make_report(directory, html=html, markdown=markdown, against=against)
    console = Console(soft_wrap=True, highlight=False)
    for label, path in (("Report", html), ("Markdown", markdown)):
        if path is not None:
            console.print(f"{label:<10} {escape(shown_path(path))}")
