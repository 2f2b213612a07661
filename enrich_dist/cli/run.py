"""``enrich-dist run``: the whole job, from the inputs to the published result."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Member, Overrides, Recipients, WorkDir, print_overrides, recipient_values
from enrich_dist.settings import load_settings, override_texts


def run(
    config: Config = None,
    overrides: Overrides = None,
    awards: Annotated[
        str | None, typer.Option(help="SBIR.gov bulk file, or its s3:// address; the setting inputs.awards.")
    ] = None,
    recipients: Recipients = None,
    member: Member = None,
    work_dir: WorkDir = None,
    workers: Annotated[int | None, typer.Option(help="Local workers; the setting cluster.n_workers.")] = None,
    chunk_size: Annotated[int | None, typer.Option(help="Recipients per chunk; the setting chunk_size.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also print Dagster's log.")] = False,
) -> None:
    """Run the job: match, judge, publish. To resume an interrupted run, run the same command again.

    Exit codes: 0 published, 1 failed (finished chunks are kept), 2 bad input, 3 blocked by the quality gate, 5 not
    ready for production.

    Example: `enrich-dist run --config config/sample.yaml --work-dir work`
    """
    from enrich_dist.reporting.terminal import TerminalListener, open_console

    console = open_console()
    texts = [
        *(overrides or []),
        *override_texts(
            [
                ("inputs.awards", awards),
                *recipient_values(recipients, member),
                ("paths.work_dir", work_dir),
                ("cluster.n_workers", workers),
                ("chunk_size", chunk_size),
            ]
        ),
    ]
    loaded = load_settings(config, texts)
    print_overrides(console, loaded)

    # Bad input is reported before Dagster is imported and a cluster is started.
    from enrich_dist.events import listening
    from enrich_dist.preflight.admission import admit, preload_workers

    with listening(TerminalListener(console, 0.0)):
        admit(loaded.settings)

    from enrich_dist.errors import ProjectedToFailError, PublicationBlockedError
    from enrich_dist.reporting.summary import print_summary
    from enrich_dist.store.run_directory import RunDirectory

    settings = loaded.settings
    directory = RunDirectory(settings.paths.work_dir)
    preload_workers(settings)
    import psutil

    from enrich_dist.planning.plan_vs_actual import add_report_seconds  # imports much: workers import meanwhile

    began_seconds = psutil.Process().create_time()
    try:
        with TerminalListener(console, settings.farm.progress_interval_seconds) as terminal, listening(terminal):
            terminal.note("Starting Dagster and the cluster")
            from dagster_defs.launch import launch

            launch(
                settings,
                config=config,
                overrides=texts,
                log_level="INFO" if verbose else "CRITICAL",
                began_seconds=began_seconds,
            )
    except ProjectedToFailError:
        raise  # there is no result to summarise
    except PublicationBlockedError:
        print_summary(Console(), directory, published=False)
        add_report_seconds(directory, began_seconds)
        raise
    print_summary(Console(), directory, published=True)
    add_report_seconds(directory, began_seconds)
