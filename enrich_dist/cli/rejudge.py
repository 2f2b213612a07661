"""``enrich-dist rejudge``: a finished run with other thresholds or new decisions, in seconds and without a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from enrich_dist.cli.options import Config, Overrides, print_overrides
from enrich_dist.errors import EXIT_BLOCKED
from enrich_dist.settings import load_settings

if TYPE_CHECKING:
    from enrich_dist.pipeline.rejudge import RejudgedResult


def rejudge(
    config: Config = None,
    overrides: Overrides = None,
    publish: Annotated[bool, typer.Option("--publish", help="Also publish the result, if it passes.")] = False,
) -> None:
    """Reduce and judge the finished run anew: other thresholds, another gate, decisions of persons."""
    loaded = load_settings(config, overrides or [])
    print_overrides(Console(stderr=True, soft_wrap=True), loaded)
    from enrich_dist.pipeline.rejudge import rejudge as judge_anew
    from enrich_dist.preflight.readiness_file import require_ready
    from enrich_dist.reporting.terminal import shown_path
    from enrich_dist.run_lifecycle import report_run
    from enrich_dist.store.run_directory import Output

    if publish:
        require_ready(loaded.settings)
    done = judge_anew(loaded)
    console = Console(soft_wrap=True, highlight=False)
    _print_outcome(console, done)
    result = done.step.path(Output.RESULT)
    try:
        if publish:
            done.pipeline.publish_awards()  # refuses a blocked result
            result = done.pipeline.directory.published / "current"
    finally:
        report_run(done.pipeline)
    console.print(f"{'Published' if publish else 'Result'}  {escape(shown_path(result))}")
    if not done.passed:
        raise typer.Exit(EXIT_BLOCKED)
    if not publish:
        console.print("To publish it: the same command with --publish")


def _print_outcome(console: Console, done: RejudgedResult) -> None:
    """Rates before and after, decisions of persons, and the verdict with its reasons."""
    from enrich_dist.core.tables import percent
    from enrich_dist.results.report import decisions_text

    def estimate(name: str) -> Callable[[Mapping[str, Any]], str]:
        def text(metrics: Mapping[str, Any]) -> str:
            share = metrics["accuracy"][name]["estimate"]
            return "none accepted" if share is None else percent(share)

        return text

    rows: list[tuple[str, Callable[[Mapping[str, Any]], str]]] = [
        ("match rate", lambda metrics: percent(metrics["match_rate"])),
        ("estimated precision", estimate("precision")),
        ("estimated recall", estimate("recall")),
        *((f"awards {status}", _count(status)) for status in ("matched", "review", "unmatched")),
    ]
    before, after = done.before, done.after
    table = Table("", box=None, pad_edge=False)
    for title in ("before", "", "after"):
        table.add_column(title, justify="right")
    for title, text in rows:
        table.add_row(title, text(before.metrics) if before else "no result", "→", text(after.metrics))
    table.add_row("verdict", before.verdict["status"] if before else "", "→", after.verdict["status"])
    console.print(table)
    kept = ", the same result was there already" if done.step.reused else ""
    console.print(f"Reduced and judged in {done.step.seconds:.1f} s; no chunk was touched{kept}.")
    if decisions := decisions_text(after.metrics["overrides"]):
        console.print(f"Human review decisions: {escape(decisions)}")
    for reason in after.verdict["reasons"]:
        console.print(f"[bold red]Blocked:[/] {escape(reason)}")


def _count(status: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda metrics: f"{metrics['awards'][status]:,}"
