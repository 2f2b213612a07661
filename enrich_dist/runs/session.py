"""A benchmark session: run the configured job several times from scratch, and record each run.

Every repeat runs the command of a user in a separate process and an empty work directory. Calibration workloads before
and after it measure the current speed of the machine, in wall time and in CPU time: neighbours or a lower clock rate
can make it slower in one session than in another. Does not cover disks.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from enrich_dist.core.files import read_json
from enrich_dist.errors import EXIT_BLOCKED, EXIT_PUBLISHED, BenchmarkError
from enrich_dist.runs.archive import read_archive, write_record
from enrich_dist.runs.calibration import calibration_seconds
from enrich_dist.runs.records import RunRecord

DEFAULT_REPEATS = 7
"""One more than a comparison of all metrics needs (``baseline.min_repeats``)."""
_COMMAND = (sys.executable, "-c", "from enrich_dist.cli.command import command; command()")
_SHOWN_LINES = 12
_SHOTS = 8  # of the CPU calibration workload, before and after a run; they vary more than the run
_SORTED, _COUNTED, _GATHERED = 1_500_000, 120_000, 1_500_000
_SPREAD = 4_000_000  # values of 8 bytes: larger than the cache of a core


@dataclass(frozen=True)
class Finished:
    """A finished command. ``cpu_seconds``: of all its processes; None where they cannot be measured."""

    code: int
    output: str
    wall_seconds: float
    cpu_seconds: float | None


Command = Callable[[Sequence[str], dict[str, str]], Finished]
"""Runs ``enrich-dist`` with arguments and an environment."""


def run_session(
    *,
    config: Path | None,
    overrides: Sequence[str],
    scratch: Path,
    archive: Path,
    repeats: int,
    command: Command | None = None,
) -> Iterator[RunRecord]:
    """Run the job ``repeats`` times; yield each record after it was added to the archive.

    Work directories are created in ``scratch`` and deleted. Shared checkpoints and $DAGSTER_HOME are not used.
    Raises ``BenchmarkError`` when a run fails or has no record.
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
        "environment=development",  # the result is not used
    ]
    arguments += [part for text in own for part in ("--set", text)]
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    done = command(arguments, environment)
    if done.code not in (EXIT_PUBLISHED, EXIT_BLOCKED):  # a blocked run did the same work
        lines = done.output.strip().splitlines()[-_SHOWN_LINES:]
        raise BenchmarkError(
            f"A run failed with exit code {done.code}, so the session stops. Its last output:\n" + "\n".join(lines),
            remedy="Run the same settings with `enrich-dist run` and fix the error.",
        )
    records = read_archive(directory / "records").records
    if not records:
        raise BenchmarkError(
            "A run succeeded but has no record.", remedy="Run `enrich-dist run` and read its warnings."
        )
    return records[-1], done


def command_of(program: Sequence[str]) -> Command:
    """Return a command that runs ``program`` and measures it with all its processes (``process_tree``)."""

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
                    f"A run could not be measured:\n{process.stdout[-2_000:]}", remedy="Run it with `enrich-dist run`."
                )
            return Finished(process.returncode, process.stdout, **read_json(figures))

    return run


class CalibrationWorkload:
    """Fixed work like that of a run: sorting, random memory access and pure Python; about 0.3 CPU seconds."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._values = random.random(_SORTED)
        self._memory = np.arange(_SPREAD)
        self._places = random.integers(0, _SPREAD, _GATHERED)

    def seconds(self) -> float:
        """Run the workload; return the CPU seconds of this process."""
        started = time.process_time()
        np.sort(self._values)
        self._memory[self._places].sum()
        counts: dict[str, int] = {}
        for number in range(_COUNTED):
            name = str(number * 2_654_435_761 % 65_536)
            counts[name] = counts.get(name, 0) + len(name)
        return time.process_time() - started
