"""``enrich-dist run`` and ``plan``: the whole job, and its estimate before it starts."""

from __future__ import annotations

from typing import Annotated

import typer

from enrich_dist.cli.options import (
    Config,
    Json,
    Overrides,
    WorkDir,
    load_settings,
    override_texts,
    print_json,
    print_overrides,
)
from enrich_dist.core.console import PlainConsole

Recipients = Annotated[
    list[str] | None,
    typer.Option(help="Recipients; the setting inputs.recipients. Can be repeated for several sources."),
]
Member = Annotated[
    str | None,
    typer.Option(help="Table or file within a source that has several; the setting inputs.recipients_member."),
]


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
    from enrich_dist.events import listening
    from enrich_dist.reporting.terminal import TerminalListener, open_console

    console = open_console()
    texts = [
        *(overrides or []),
        *_recipient_overrides(recipients, member),
        *override_texts([("inputs.awards", awards), ("paths.work_dir", work_dir)]),
        *override_texts([("cluster.n_workers", workers), ("chunk_size", chunk_size)]),
    ]
    loaded = load_settings(config, texts)
    print_overrides(console, loaded)

    # Bad input is reported before Dagster is imported and a cluster is started. Meanwhile workers import.
    with TerminalListener(console, 0.0) as terminal, listening(terminal):
        terminal.note("Checking settings and inputs")
        from enrich_dist.preflight.runner import admit, preload_workers

        preload_workers(loaded.settings)
        admit(loaded.settings)

    from enrich_dist.errors import ProjectedToFailError, PublicationBlockedError
    from enrich_dist.reporting.summary import print_summary
    from enrich_dist.store.run_directory import RunDirectory

    settings = loaded.settings
    directory = RunDirectory(settings.paths.work_dir)
    import psutil

    from enrich_dist.planning.plan_vs_actual import add_report_seconds

    began_seconds = psutil.Process().create_time()
    log_level = "INFO" if verbose else "CRITICAL"
    try:
        with TerminalListener(console, settings.farm.progress_interval_seconds) as terminal, listening(terminal):
            terminal.note("Starting Dagster and the cluster")
            from dagster_defs.launch import launch

            launch(settings, config=config, overrides=texts, log_level=log_level, began_seconds=began_seconds)
    except ProjectedToFailError:
        raise  # there is no result to summarise
    except PublicationBlockedError:
        print_summary(PlainConsole(wrap=True), directory, published=False)
        add_report_seconds(directory, began_seconds)
        raise
    print_summary(PlainConsole(wrap=True), directory, published=True)
    add_report_seconds(directory, began_seconds)


def plan(
    sample_rows: Annotated[
        int, typer.Option(min=1, help="Recipients to match: spread over a Parquet file, else the first ones.")
    ] = 100_000,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers to estimate for; more than the cores here: on equal machines.")
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
    settings = load_settings(config, [*(overrides or []), *_recipient_overrides(recipients, member)]).settings
    console = PlainConsole(wrap=True)
    if compare:
        from enrich_dist.planning.plan_vs_actual import read_comparison
        from enrich_dist.reporting.plan_vs_actual import comparison_document, print_comparison
        from enrich_dist.store.run_directory import RunDirectory

        comparison = read_comparison(RunDirectory(settings.paths.work_dir))
        if as_json:
            print_json(comparison_document(comparison))
        else:
            print_comparison(console, comparison)
        return

    # Bad input is reported before the slow imports.
    from enrich_dist.sources.inputs import check_inputs

    check_inputs(settings.inputs)

    from enrich_dist.events import listening
    from enrich_dist.planning.run_plan import make_plan
    from enrich_dist.reporting.plan import plan_document, print_plan
    from enrich_dist.reporting.terminal import TerminalListener, open_console

    with TerminalListener(open_console(), settings.farm.progress_interval_seconds) as terminal, listening(terminal):
        made = make_plan(settings, sample_rows, workers=workers)
    if as_json:
        print_json(plan_document(made))
    else:
        print_plan(console, made)


def _recipient_overrides(recipients: list[str] | None, member: str | None) -> list[str]:
    """Return the overrides of ``--recipients`` and ``--member``."""
    location = recipients if recipients and len(recipients) > 1 else next(iter(recipients or ()), None)
    return override_texts([("inputs.recipients", location), ("inputs.recipients_member", member)])
