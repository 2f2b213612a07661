"""``enrich-dist status``, ``doctor``, ``explain`` and ``report``: the latest run, read from its files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from enrich_dist.cli.options import Config, Overrides, WorkDir, load_settings, run_directory
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import SettingsError


def status(config: Config = None, overrides: Overrides = None) -> None:
    """Show what is done, what is left and the verdict of the run in paths.work_dir.

    It reads files only, so it works during a run, after it, and from another machine.

    Example: `enrich-dist status --set paths.work_dir=/shared/run`
    """
    from enrich_dist.reporting.summary import print_status
    from enrich_dist.store.status import read_status

    directory = run_directory(config, overrides)
    print_status(PlainConsole(wrap=True), directory.root, read_status(directory))


def doctor(
    chunk: Annotated[int | None, typer.Argument(help="Number of a chunk, to show all of its attempts.")] = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Show the state of each chunk in paths.work_dir, why attempts failed, and what to do next.

    Use it after a failed run, or during one that makes no progress.

    Example: `enrich-dist doctor 7`
    """
    from enrich_dist.farm.diagnosis import examine, find_chunk
    from enrich_dist.reporting.diagnosis import print_chunk, print_findings

    diagnosis = examine(run_directory(config, overrides))
    if chunk is None:
        print_findings(PlainConsole(wrap=True), diagnosis)
    else:
        print_chunk(PlainConsole(wrap=True), find_chunk(diagnosis, chunk))


def explain(
    award: Annotated[
        str | None, typer.Option(metavar="ID", help="An award: award_id, agency tracking number or contract number.")
    ] = None,
    company: Annotated[str | None, typer.Option(metavar="KEY_OR_NAME", help="A company: company_key or name.")] = None,
    recipient: Annotated[
        str | None, typer.Option(metavar="ID_OR_UEI", help="A recipient: the companies it was a candidate of.")
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Number of candidates to show, the best first.")] = 5,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Show a company's candidates, the match weight of each comparison, and why one or none was accepted.

    It reads the latest result. Weights are in bits: one bit doubles the odds, and the weights add up from the prior.

    Example: `enrich-dist explain --company "KITWARE INC"`
    """
    if sum(option is not None for option in (award, company, recipient)) != 1:
        raise SettingsError("Nothing to explain.", remedy="Give one of --award, --company and --recipient.")
    from enrich_dist.reporting.explanation import print_appearances, print_explanation
    from enrich_dist.results.explain import explain_company, explain_recipient
    from enrich_dist.results.lookup import find_awards, find_company
    from enrich_dist.results.reopen import reopen_result
    from enrich_dist.store.run_directory import RunDirectory

    settings = load_settings(config, overrides).settings
    directory = RunDirectory(settings.paths.work_dir)
    console = PlainConsole(wrap=True)
    with reopen_result(directory) as result:
        if recipient is not None:
            print_appearances(console, explain_recipient(result, recipient))
            return
        awards = [] if award is None else find_awards(result, award)
        company_id = find_company(result, awards[0].company_key if awards else company or "")
        decision = settings.matching.decision()
        print_explanation(console, explain_company(result, decision, company_id, candidates=candidates), awards)


def report(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Output file. Default: report.html in the work directory.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write it as Markdown, for a pull request.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="RUN", help="Also compare with this run: its id in `enrich-dist runs ls`.")
    ] = None,
    work_dir: WorkDir = None,
    config: Config = None,
    overrides: Overrides = None,
) -> None:
    """Write the report of the latest run, published or blocked: charts, tables, and changes since the previous run.

    Every run writes it when it ends. This command writes it again from the files of the run.

    Example: `enrich-dist report --markdown report.md`
    """
    from enrich_dist.reporting.html import make_report
    from enrich_dist.reporting.terminal import shown_path

    directory = run_directory(config, overrides, work_dir)
    html = out or directory.html_report
    make_report(directory, html=html, markdown=markdown, against=against)
    for label, path in (("Report", html), ("Markdown", markdown)):
        if path is not None:
            PlainConsole().print(f"{label:<10} {shown_path(path)}")
