"""``enrich-dist plan``: what a run would compare, before it starts."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Member, Overrides, Recipients, recipient_values
from enrich_dist.settings import load_settings, override_texts


def plan(
    sample_rows: Annotated[int, typer.Option(min=1, help="Recipients that are matched to tell: the first rows.")] = (
        100_000
    ),
    config: Config = None,
    overrides: Overrides = None,
    recipients: Recipients = None,
    member: Member = None,
) -> None:
    """Tell candidate counts and the largest blocks, from the companies and a sample of the recipients.

    Awards, companies and index are kept: the run that follows does not make them again.
    """
    given = override_texts(recipient_values(recipients, member))
    settings = load_settings(config, [*(overrides or []), *given]).settings

    # Bad input is told before what takes seconds to import.
    from enrich_dist.sources.inputs import check_inputs

    check_inputs(settings.inputs)

    from enrich_dist.observe.events import listening
    from enrich_dist.observe.planned import print_plan
    from enrich_dist.observe.terminal import TerminalListener, open_console
    from enrich_dist.run_plan import make_plan

    with TerminalListener(open_console(), settings.farm.progress_interval_seconds) as terminal, listening(terminal):
        made = make_plan(settings, sample_rows)
    print_plan(Console(highlight=False), made)
