"""A session: the configured job several times over, each time from nothing, with a record of each.

Every repeat is the command that a user would run, in a process of its own and an empty work directory; beside it the
machine's speed of the moment is measured. Does not cover what the records say (``compare``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from enrich_dist.errors import EXIT_BLOCKED, EXIT_PUBLISHED, BenchmarkError
from enrich_dist.history.archive import read_archive, write_record
from enrich_dist.history.records import RunRecord
from enrich_dist.history.yardstick import yardstick_seconds

DEFAULT_REPEATS = 7
"""As many as all figures of a comparison need to be told from chance (``compare.least_repeats``), and one to spare."""
_COMMAND = "from enrich_dist.cli.command import command; command()"
_TOLD_LINES = 12

Command = Callable[[Sequence[str], dict[str, str]], tuple[int, str]]
"""Runs arguments of ``enrich-dist`` in an environment; gives exit code and output."""


def run_session(
    *,
    config: Path | None,
    overrides: Sequence[str],
    scratch: Path,
    archive: Path,
    repeats: int,
    command: Command | None = None,
) -> Iterator[RunRecord]:
    """Run the job ``repeats`` times; yield each record when it lies in the archive.

    Work directories are made in ``scratch`` and removed. Checkpoints of a shared location are not used, as they would
    spare the work that is to be measured, and runs do not enter the history of $DAGSTER_HOME.
    Raises ``BenchmarkError`` when a run fails, or leaves no record of the whole work.
    """
    session = uuid.uuid4().hex[:12]
    scratch.mkdir(parents=True, exist_ok=True)
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as directory:
            speed = yardstick_seconds()
            record, wall_seconds = _run_once(Path(directory), config, overrides, command or _in_a_process)
            record = replace(record, session=session, wall_seconds=round(wall_seconds, 3), yardstick_seconds=speed)
            write_record(archive, record)
            yield record


def _run_once(
    directory: Path, config: Path | None, overrides: Sequence[str], command: Command
) -> tuple[RunRecord, float]:
    arguments = ["run", *([] if config is None else ["--config", str(config)])]
    own = [
        *overrides,
        f"paths.work_dir={directory / 'work'}",
        f"paths.benchmarks={directory / 'records'}",
        "paths.checkpoints=null",
        "notifications.urls_file=null",
    ]
    arguments += [part for text in own for part in ("--set", text)]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    started = time.perf_counter()
    code, output = command(arguments, environment)
    wall_seconds = time.perf_counter() - started
    if code not in (EXIT_PUBLISHED, EXIT_BLOCKED):  # a blocked run has done all of the work, too
        lines = output.strip().splitlines()[-_TOLD_LINES:]
        raise BenchmarkError(
            f"A run ended with exit code {code}, so nothing more is measured. It said last:\n" + "\n".join(lines),
            remedy="Run the same settings by `enrich-dist run` and mend what it tells.",
        )
    records = read_archive(directory / "records").records
    if not records:
        raise BenchmarkError(
            "A run ended well but left no record.", remedy="Look at its warnings by `enrich-dist run`."
        )
    return records[-1], wall_seconds


def _in_a_process(arguments: Sequence[str], environment: dict[str, str]) -> tuple[int, str]:
    process = subprocess.run(
        [sys.executable, "-c", _COMMAND, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return process.returncode, process.stdout
