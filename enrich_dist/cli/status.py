"""``enrich-dist status``: the state of a run, from files alone, while it works and after."""

from __future__ import annotations

from rich.console import Console

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.settings import load_settings


def status(config: Config = None, overrides: Overrides = None) -> None:
    """Tell what is done, what is left and what was judged in paths.work_dir."""
    from enrich_dist.reporting.summary import print_status
    from enrich_dist.store.run_directory import RunDirectory
    from enrich_dist.store.status import read_status

    directory = RunDirectory(load_settings(config, overrides or []).settings.paths.work_dir)
    print_status(Console(), directory.root, read_status(directory))
