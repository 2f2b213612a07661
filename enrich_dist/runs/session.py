"""A session: the configured job several times over, each time from nothing, with a record of each.

Every repeat is the command that a user would run, in a process of its own and an empty work directory; beside it the
machine's speed of the moment is measured. Does not cover what the records say (``compare``).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from enrich_dist.core.files import read_json
from enrich_dist.errors import EXIT_BLOCKED, EXIT_PUBLISHED, BenchmarkError
from enrich_dist.runs.archive import read_archive, write_record
from enrich_dist.runs.calibration import CalibrationWorkload, calibration_seconds
from enrich_dist.runs.records import RunRecord

DEFAULT_REPEATS = 7
"""As many as all figures of a comparison need to be told from chance (``compare.min_repeats``), and one to spare."""
_COMMAND = (sys.executable, "-c", "from enrich_dist.cli.command import command; command()")
_TOLD_LINES = 12
_SHOTS = 8  # of the CPU yardstick, on either side of a run; they scatter more than the run itself


@dataclass(frozen=True)
class Finished:
    """A command that has ended. ``cpu_seconds``: of all its processes; None where they cannot be counted."""

    code: int
    output: str
    wall_seconds: float
    cpu_seconds: float | None


Command = Callable[[Sequence[str], dict[str, str]], Finished]
"""Runs arguments of ``enrich-dist`` in an environment."""


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
    cpu = CalibrationWorkload()
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="bench-", dir=scratch) as directory:
            speed = calibration_seconds()
            shots = [cpu.seconds() for _ in range(_SHOTS)]
            record, done = _run_once(Path(directory), config, overrides, command or command_of(_COMMAND))
            shots += [cpu.seconds() for _ in range(_SHOTS)]
            record = replace(
                record,
                session=session,
                wall_seconds=round(done.wall_seconds, 3),
                calibration_seconds=speed,
                cpu_seconds=None if done.cpu_seconds is None else round(done.cpu_seconds, 3),
                calibration_cpu_seconds=round(statistics.mean(shots), 6),
            )
            write_record(archive, record)
            yield record


def _run_once(
    directory: Path, config: Path | None, overrides: Sequence[str], command: Command
) -> tuple[RunRecord, Finished]:
    arguments = ["run", *([] if config is None else ["--config", str(config)])]
    own = [
        *overrides,
        f"paths.work_dir={directory / 'work'}",
        f"paths.benchmarks={directory / 'records'}",
        "paths.checkpoints=null",
        "notifications.urls_file=null",
        "environment=development",  # a measurement publishes nothing that anybody relies on
    ]
    arguments += [part for text in own for part in ("--set", text)]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    done = command(arguments, environment)
    if done.code not in (EXIT_PUBLISHED, EXIT_BLOCKED):  # a blocked run has done all of the work, too
        lines = done.output.strip().splitlines()[-_TOLD_LINES:]
        raise BenchmarkError(
            f"A run ended with exit code {done.code}, so nothing more is measured. It said last:\n" + "\n".join(lines),
            remedy="Run the same settings by `enrich-dist run` and mend what it tells.",
        )
    records = read_archive(directory / "records").records
    if not records:
        raise BenchmarkError(
            "A run ended well but left no record.", remedy="Look at its warnings by `enrich-dist run`."
        )
    return records[-1], done


def command_of(program: Sequence[str]) -> Command:
    """``program`` with the arguments behind it, in a process of its own, with all that it starts (``tree``)."""

    def run(arguments: Sequence[str], environment: dict[str, str]) -> Finished:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            figures = Path(directory) / "figures.json"
            process = subprocess.run(
                [sys.executable, "-m", "enrich_dist.runs.process_tree", str(figures), *program, *arguments],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                check=False,
            )
            if not figures.exists():
                raise BenchmarkError(
                    f"A run could not be measured:\n{process.stdout[-2_000:]}", remedy="Run it by `enrich-dist run`."
                )
            return Finished(process.returncode, process.stdout, **read_json(figures))

    return run
