"""``enrich-dist preflight``: is everything there that production needs? Checked, reported, and kept for the gate."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.errors import EXIT_NOT_READY
from enrich_dist.settings import LoadedSettings, load_settings


class Environment(StrEnum):
    """As the setting of the same name."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


def preflight(
    env: Annotated[Environment | None, typer.Option("--env", help="The setting environment.")] = None,
    config: Config = None,
    overrides: Overrides = None,
    output_dir: Annotated[Path | None, typer.Option(help="Also write the report here, as JSON and Markdown.")] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Run the smoke test even if it has passed lately.")] = False,
    send_test_notification: Annotated[
        bool, typer.Option("--send-test-notification", help="Send a test message to every address of urls_file.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Check nothing: may a run of these settings begin?")] = False,
    checklist: Annotated[bool, typer.Option("--checklist", help="Print the checklist as Markdown, no more.")] = False,
) -> None:
    """Check what a run in production needs. Exit code 0 when all critical items hold, else 5.

    The report is kept in readiness/ of paths.work_dir: with environment: production no run begins without one that is
    fresh, passed, and of the same code and settings.
    """
    if checklist:
        from enrich_dist.preflight.checklist import checklist as written

        typer.echo(written(), nl=False)
        return
    loaded = load_settings(config, [*(overrides or []), *([] if env is None else [f"environment={env}"])])
    if verify:
        _verify(loaded, asked_for=env is not None)
    elif not _preflight(loaded, output_dir, smoke=smoke, send=send_test_notification, as_json=as_json):
        raise typer.Exit(EXIT_NOT_READY)


def _verify(loaded: LoadedSettings, *, asked_for: bool) -> None:
    from enrich_dist.preflight.readiness_file import verify

    if loaded.settings.environment != "production" and not asked_for:
        # What starts runs asks whatever its settings are.
        typer.echo("Nothing to verify: runs of environment: development need no readiness file (--env asks for it).")
        return
    found = verify(loaded.settings)
    typer.echo(f"Ready for {found['environment']}: checked at {found['timestamp']} on revision {found['revision']}.")


def _preflight(loaded: LoadedSettings, output_dir: Path | None, *, smoke: bool, send: bool, as_json: bool) -> bool:
    from enrich_dist.preflight.context import PreflightContext
    from enrich_dist.preflight.readiness_file import READINESS_FILE, readiness_folder, write_readiness
    from enrich_dist.preflight.report import markdown, print_report, to_document
    from enrich_dist.preflight.runner import run_checks

    told = Console(stderr=True)
    with PreflightContext(loaded, smoke_anew=smoke, send_test_notification=send) as context, told.status("") as line:
        report = run_checks(context, lambda item: line.update(f"{item.title} …"))
    document = to_document(report)
    if as_json:
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        print_report(Console(highlight=False), report)
    text = markdown(report)
    kept = readiness_folder(loaded.settings.paths.work_dir)
    try:
        write_readiness(kept, document, text)
        if output_dir is not None:
            write_readiness(output_dir.absolute(), document, text)
    except OSError as error:  # storage that cannot be written to is one of the items, and was told
        if report.ready:
            raise
        told.print(f"The report could not be kept: {error}.", style="yellow", markup=False)
    else:
        if not as_json:
            typer.echo(f"Report  {kept / READINESS_FILE} and .md")
    return report.ready
