"""``enrich-dist notify``: test the addresses of operators."""

from __future__ import annotations

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.errors import EXIT_FAILED
from enrich_dist.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Notifications: test the addresses of operators.")


@app.callback()
def _group() -> None:
    """Keep ``test`` a subcommand although it is the only one."""


@app.command()
def test(config: Config = None, overrides: Overrides = None) -> None:
    """Send a test message to every address of notifications.urls_file; exit code 1 if one does not accept it."""
    from enrich_dist.monitoring.notify import send_test_message

    console = Console(soft_wrap=True, highlight=False)
    deliveries = send_test_message(load_settings(config, overrides or []).settings)
    for delivery in deliveries:
        outcome = "sent" if delivery.problem is None else f"not sent: {delivery.problem}"
        console.print(f"{delivery.address.label}: {outcome}", markup=False)
    if any(delivery.problem for delivery in deliveries):
        raise typer.Exit(EXIT_FAILED)
