"""``enrich-dist plan``: estimate a run before it starts, and compare a run with its estimate."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Json, Member, Overrides, Recipients, print_json, recipient_values
from enrich_dist.settings import Settings, load_settings, override_texts


def plan(
    sample_rows: Annotated[
        int, typer.Option(min=1, help="Recipients to match: spread over a Parquet file, else the first ones.")
    ] = 100_000,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of workers to estimate for; more than the cores here: on equal machines."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare the latest run with the plan made before it.")
    ] = False,
    as_json: Json = False,
    config: Config = None,
    overrides: Overrides = None,
    recipients: Recipients = None,
    member: Member = None,
) -> None:
    """Estimate candidates, largest blocks, memory, run time and disk of a run, and recommend settings.

    Awards, companies and index stay in the work directory, so that the next run reuses them. When it ends, it is
    compared with the plan.

    Example: `enrich-dist plan --config config/sample.yaml`
    """
    given = override_texts(recipient_values(recipients, member))
    settings = load_settings(config, [*(overrides or []), *given]).settings
    console = Console(highlight=False)
    if compare:
        _compare(settings, console, as_json=as_json)
        return

    # Bad input is reported before the slow imports.
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
        print_json(plan_document(made))
    else:
        print_plan(console, made)


def _compare(settings: Settings, console: Console, *, as_json: bool) -> None:
    from enrich_dist.planning.plan_vs_actual import read_comparison
    from enrich_dist.reporting.plan_document import comparison_document, print_comparison
    from enrich_dist.store.run_directory import RunDirectory

    comparison = read_comparison(RunDirectory(settings.paths.work_dir))
    if as_json:
        print_json(comparison_document(comparison))
    else:
        print_comparison(console, comparison)
