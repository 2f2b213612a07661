"""``enrich-dist plan``: what a run would compare and take, before it starts; and what became of the prediction."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Member, Overrides, Recipients, recipient_values
from enrich_dist.settings import Settings, load_settings, override_texts


def plan(
    sample_rows: Annotated[
        int,
        typer.Option(min=1, help="Recipients that are matched to tell: from all over a Parquet file, else the first."),
    ] = 100_000,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Tell for so many workers; more than there are cores here: on machines like this one."
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Hold the latest run against the prediction made before it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON document and nothing else.")] = False,
    config: Config = None,
    overrides: Overrides = None,
    recipients: Recipients = None,
    member: Member = None,
) -> None:
    """Tell candidates, largest blocks, memory, wall time and disk of a run, and which settings would be best.

    Awards, companies and index are kept: the run that follows does not make them again, and is compared with the
    prediction when it ends.
    """
    given = override_texts(recipient_values(recipients, member))
    settings = load_settings(config, [*(overrides or []), *given]).settings
    console = Console(highlight=False)
    if compare:
        _compare(settings, console, as_json=as_json)
        return

    # Bad input is told before what takes seconds to import.
    from enrich_dist.sources.inputs import check_inputs

    check_inputs(settings.inputs)

    from enrich_dist.events import listening
    from enrich_dist.planning.run_plan import make_plan
    from enrich_dist.reporting.plan import print_plan
    from enrich_dist.reporting.plan_document import plan_document
    from enrich_dist.reporting.terminal import TerminalListener, open_console

    with TerminalListener(open_console(), settings.farm.progress_interval_seconds) as terminal, listening(terminal):
        made = make_plan(settings, sample_rows, workers=workers)
    if as_json:
        typer.echo(json.dumps(plan_document(made), indent=2, ensure_ascii=False))
    else:
        print_plan(console, made)


def _compare(settings: Settings, console: Console, *, as_json: bool) -> None:
    from enrich_dist.planning.plan_vs_actual import read_comparison
    from enrich_dist.reporting.plan_document import comparison_document, print_comparison
    from enrich_dist.store.run_directory import RunDirectory

    comparison = read_comparison(RunDirectory(settings.paths.work_dir))
    if as_json:
        typer.echo(json.dumps(comparison_document(comparison), indent=2, ensure_ascii=False))
    else:
        print_comparison(console, comparison)
