"""Entry point of ``enrich-dist``: the commands, and errors as one line with an exit code (``errors``).

Commands import heavy packages when they run, so that ``--help`` is fast.
"""

from __future__ import annotations

import gc
import importlib
import sys
import traceback
from collections.abc import Iterable
from typing import Final, NoReturn

import typer
from rich.text import Text

from enrich_dist import __version__
from enrich_dist.core.console import PlainConsole
from enrich_dist.errors import EXIT_FAILED, EnrichError, RunInterruptedError
from enrich_dist.plain_text import printable

_TYPER_INTERRUPTED = 130

# Module and name of each command or group of commands, in the order of the help.
_COMMANDS: Final = {
    "run": "run.run",
    "link": "link.link",
    "dedupe": "dedupe.dedupe",
    "names": "names.names",
    "status": "inspect.status",
    "runs": "runs.app",
    "doctor": "inspect.doctor",
    "explain": "inspect.explain",
    "evaluate": "evaluate.evaluate",
    "plan": "run.plan",
    "preflight": "preflight.preflight",
    "rejudge": "review.rejudge",
    "bench": "bench.app",
    "report": "inspect.report",
    "review": "review.app",
    "checkpoints": "checkpoints.app",
    "cluster": "cluster.app",
    "config": "config.app",
    "notify": "preflight.notify",
}


def make_app(names: Iterable[str] = _COMMANDS) -> typer.Typer:
    """Return the command line with these commands only: those that are not used need not be imported."""
    made = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        help="Link SBIR awards to USAspending recipients on a Dask cluster, with resumable runs and a quality gate.",
    )
    made.callback(invoke_without_command=True)(_options)
    for name in names:
        module, _, attribute = _COMMANDS[name].partition(".")
        found = getattr(importlib.import_module(f"enrich_dist.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made


def __getattr__(name: str) -> typer.Typer:
    """Return ``app``, the command line with all commands, made on first use."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = make_app()
    return made


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
    asked = next((argument for argument in arguments if not argument.startswith("-")), "")
    try:
        app = make_app([asked]) if asked in _COMMANDS else make_app()
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
