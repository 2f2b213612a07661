"""``enrich-dist notify``: test the addresses of operators."""

from __future__ import annotations

import typer

from enrich_dist.cli.options import Config, Overrides, plain_console
from enrich_dist.errors import EXIT_FAILED
from enrich_dist.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Notifications: test the addresses of operators.")


@app.callback()
def _group() -> None:
    """Keep ``test`` a subcommand although it is the only one."""


@app.command()
def test(config: Config = None, overrides: Overrides = None) -> None:
    """Send a test message to every address of notifications.urls_file. Exit code 1 if one does not accept it.

    Example: `enrich-dist notify test --set notifications.urls_file=/etc/enrich/urls`
    """
    from enrich_dist.monitoring.notify import send_test_message

    deliveries = send_test_message(load_settings(config, overrides or []).settings)
    for delivery in deliveries:
        outcome = "sent" if delivery.problem is None else f"not sent: {delivery.problem}"
        plain_console().print(f"{delivery.address.label}: {outcome}")
    if any(delivery.problem for delivery in deliveries):
        raise typer.Exit(EXIT_FAILED)
