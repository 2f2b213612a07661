"""``enrich-dist doctor``: what state each chunk is in, why it failed and what helps, from files alone."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.settings import load_settings


def doctor(
    chunk: Annotated[int | None, typer.Argument(help="Number of a chunk, for its whole story.")] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Tell what state each chunk of paths.work_dir is in, why attempts failed, and what to do next."""
    from enrich_dist.farm.diagnosis import examine, find_chunk
    from enrich_dist.reporting.diagnosis import print_chunk, print_findings
    from enrich_dist.store.run_directory import RunDirectory

    findings = examine(RunDirectory(load_settings(config, overrides or []).settings.paths.work_dir))
    if chunk is None:
        print_findings(Console(), findings)
    else:
        print_chunk(Console(), find_chunk(findings, chunk))
