"""``enrich-dist preflight`` and ``notify test``: check what production needs; store the result for its runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from enrich_dist.cli.options import Config, Json, Overrides, load_settings, print_json, print_text
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import EXIT_FAILED, EXIT_NOT_READY

if TYPE_CHECKING:
    from enrich_dist.settings import LoadedSettings

notify = typer.Typer(no_args_is_help=True, help="Notifications: test the addresses of operators.")


def preflight(
    env: Annotated[
        Literal["development", "production"] | None, typer.Option("--env", help="The setting environment.")
    ] = None,
    config: Config = None,
    overrides: Overrides = None,
    output_dir: Annotated[Path | None, typer.Option(help="Also write the report here, as JSON and Markdown.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Run the smoke test even if it passed recently.")] = False,
    send_test_notification: Annotated[
        bool, typer.Option("--send-test-notification", help="Send a test message to every address of urls_file.")
    ] = False,
    as_json: Json = False,
    verify: Annotated[bool, typer.Option("--verify", help="Only verify the stored readiness file.")] = False,
    checklist: Annotated[bool, typer.Option("--checklist", help="Only print the checklist as Markdown.")] = False,
) -> None:
    """Check what a production run needs. Exit code 0 if all critical checks hold, else 5.

    The report is stored in readiness/ of paths.work_dir. With environment: production, a run starts only if this file
    is recent, passed, and of the same code and settings. Run the preflight after every installation and every change
    of settings, and daily before a schedule.

    Example: `enrich-dist preflight --env production --config production.yaml`
    """
    if checklist:
        from enrich_dist.preflight.report import checklist as render_checklist

        print_text(render_checklist())
        return
    loaded = load_settings(config, [*(overrides or []), *([] if env is None else [f"environment={env}"])])
    if verify and env is None and loaded.settings.environment != "production":
        PlainConsole().print("Nothing to verify: environment development needs no readiness file (--env requires one).")
    elif verify:
        from enrich_dist.preflight.readiness_file import verify as verify_readiness

        found = verify_readiness(loaded.settings)
        PlainConsole().print(
            f"Ready for {found.environment}: checked at {found.timestamp} on revision {found.revision}."
        )
    elif not _preflight(loaded, output_dir, smoke=smoke, send=send_test_notification, as_json=as_json):
        raise typer.Exit(EXIT_NOT_READY)


def _preflight(loaded: LoadedSettings, output_dir: Path | None, *, smoke: bool, send: bool, as_json: bool) -> bool:
    from enrich_dist.preflight.context import PreflightContext
    from enrich_dist.preflight.readiness_file import CODEC, write_readiness
    from enrich_dist.preflight.report import markdown, print_report
    from enrich_dist.preflight.runner import run_checks

    stderr = PlainConsole(stderr=True, wrap=True)
    with (
        PreflightContext(loaded, repeat_smoke_test=smoke, send_test_notification=send) as context,
        stderr.status("") as status,
    ):
        report = run_checks(context, lambda check: status.update(f"{check.title} …"))
    if as_json:
        print_json(CODEC.to_document(report))
    else:
        print_report(PlainConsole(wrap=True), report)
    text = markdown(report)
    try:
        stored = write_readiness(context.directory.readiness, report, text)
        if output_dir is not None:
            write_readiness(output_dir.absolute(), report, text)
    except OSError as error:  # unwritable storage is one of the checks, and is reported
        if report.ready:
            raise
        stderr.print(f"The report could not be written: {error}.", style="yellow")
    else:
        if not as_json:
            PlainConsole().print(f"Report  {stored} and .md")
    return report.ready


@notify.callback()
def _group() -> None:
    """Keep ``test`` a subcommand although it is the only one."""


@notify.command("test")
def send_test(config: Config = None, overrides: Overrides = None) -> None:
    """Send a test message to every address of notifications.urls_file. Exit code 1 if one does not accept it.

    Example: `enrich-dist notify test --set notifications.urls_file=/etc/enrich/urls`
    """
    from enrich_dist.monitoring.notify import send_test_message

    deliveries = send_test_message(load_settings(config, overrides).settings)
    for item in deliveries:
        PlainConsole().print(f"{item.address.label}: {f'not sent: {item.problem}' if item.problem else 'sent'}")
    if any(delivery.problem for delivery in deliveries):
        raise typer.Exit(EXIT_FAILED)
