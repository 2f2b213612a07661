"""``enrich-dist explain``: why a company has its recipient, or none."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from enrich_dist.cli.options import Config, Overrides
from enrich_dist.errors import SettingsError
from enrich_dist.settings import load_settings


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
    settings = load_settings(config, overrides or []).settings

    from enrich_dist.reporting.explanation import print_appearances, print_explanation
    from enrich_dist.results.explain import explain_company, explain_recipient
    from enrich_dist.results.lookup import find_awards, find_company
    from enrich_dist.results.reopen import reopen_result
    from enrich_dist.store.run_directory import RunDirectory

    directory = RunDirectory(settings.paths.work_dir)
    console = Console(highlight=False)
    with reopen_result(directory) as result:
        if recipient is not None:
            print_appearances(console, explain_recipient(directory, result, recipient))
            return
        awards = [] if award is None else find_awards(result, award)
        company_id = find_company(result, awards[0].company_key if awards else company or "")
        decision = settings.matching.decision()
        print_explanation(
            console, explain_company(directory, result, decision, company_id, candidates=candidates), awards
        )
