"""Run the console script in a separate process that counts the matcher's calls and, optionally, is killed at a rename.

``python -m tests.support.process LEDGER PAUSE_SECONDS [KILL_AT] -- run …``. KILL_AT is a pattern of the end of a path:
just before the driver renames a file or directory to a path that it matches, the process is killed (SIGKILL), so that
the output is complete under its temporary name and absent under its own. A pattern that begins with "+" lets this
rename happen and kills before the next one. Renames by workers and C libraries are not intercepted. Command line,
Dagster and cluster are real.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

from enrich_dist.core.matcher import Matcher
from enrich_dist.pipeline.steps import Pipeline
from tests.support.matchers import Harmful


def count_calls(ledger: Path, pause_seconds: float) -> None:
    """Make every pipeline of this process count the calls of its matcher."""
    matcher = Pipeline.matcher

    def counting(self: Pipeline) -> Matcher:
        return Harmful(matcher(self), ledger=ledger, victim_row=-1, harm="none", pause_seconds=pause_seconds)

    Pipeline.matcher = counting  # type: ignore[method-assign]


def kill_at(pattern: str) -> None:
    """Kill this process at a rename."""
    passed = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal passed
        if event != "os.rename":
            return
        if passed or re.search(pattern.removeprefix("+") + "$", str(arguments[1])):
            if passed or not pattern.startswith("+"):
                os.kill(os.getpid(), signal.SIGKILL)
            passed = True

    sys.addaudithook(watch)


if __name__ == "__main__":
    ledger, pause, *kill = sys.argv[1 : sys.argv.index("--")]
    sys.argv = ["enrich-dist", *sys.argv[sys.argv.index("--") + 1 :]]
    count_calls(Path(ledger), float(pause))
    for pattern in kill:
        kill_at(pattern)
    from enrich_dist.cli.main import main

    main()
