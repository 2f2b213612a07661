"""Entry point of ``enrich-dist``: the commands, and errors as one line with an exit code (``errors``).

Commands import heavy packages when they run, so that ``--help`` is fast.
"""

from __future__ import annotations

import gc
import sys
import traceback
from typing import NoReturn

import typer
from rich.text import Text

from enrich_dist import __version__
from enrich_dist.cli import (
    bench,
    checkpoints,
    cluster,
    config,
    dedupe,
    evaluate,
    inspect,
    link,
    names,
    preflight,
    review,
    run,
    runs,
)
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import EXIT_FAILED, EnrichError, RunInterruptedError
from enrich_dist.plain_text import printable

_TYPER_INTERRUPTED = 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    help="Link SBIR awards to USAspending recipients on a Dask cluster, with resumable runs and a quality gate.",
)
app.command("run")(run.run)
app.command("link")(link.link)
app.command("dedupe")(dedupe.dedupe)
app.command("names")(names.names)
app.command("status")(inspect.status)
app.add_typer(runs.app, name="runs")
app.command("doctor")(inspect.doctor)
app.command("explain")(inspect.explain)
app.command("evaluate")(evaluate.evaluate)
app.command("plan")(run.plan)
app.command("preflight")(preflight.preflight)
app.command("rejudge")(review.rejudge)
app.add_typer(bench.app, name="bench")
app.command("report")(inspect.report)
app.add_typer(review.app, name="review")
app.add_typer(checkpoints.app, name="checkpoints")
app.add_typer(cluster.app, name="cluster")
app.add_typer(config.app, name="config")
app.add_typer(preflight.notify, name="notify")


@app.callback(invoke_without_command=True)
def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        PlainConsole().print(f"enrich-dist {__version__}")
        raise typer.Exit


def main() -> NoReturn:
    """Run the command line; never returns."""
    # Imported objects are never freed; collecting garbage among them costs a second of start-up.
    gc.set_threshold(200_000, 20, 100)
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        code = app(args=arguments, standalone_mode=False)
        if code == _TYPER_INTERRUPTED:
            code = _report(RunInterruptedError(), debug=debug)
    except Exception as error:  # the last place before the user
        code = _report(error, debug=debug)
    sys.exit(code if isinstance(code, int) else 0)


def _report(error: Exception, *, debug: bool) -> int:
    """Print an error as one line; return its exit code."""
    if hasattr(error, "exit_code") and hasattr(error, "show"):  # a usage error of the command line itself
        vars(error)["message"] = printable(str(getattr(error, "message", "")))
        error.show()
        return int(error.exit_code)
    if debug:
        traceback.print_exc()
    if isinstance(error, typer.Abort):
        error = RunInterruptedError()
    if isinstance(error, EnrichError):
        message = str(error)
    elif isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        message = printable(f"{error.strerror or error}{where}. Fix it and run the same command again.")
    else:
        detail = f"{type(error).__name__}: {error}".splitlines()[0]
        message = printable(f"{detail} (unexpected error; --debug shows the traceback)")
    PlainConsole(stderr=True).print(Text.assemble(("Error:", "bold red"), f" {message}"))
    return error.exit_code if isinstance(error, EnrichError) else EXIT_FAILED
