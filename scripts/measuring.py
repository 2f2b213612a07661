"""Shared by the benchmarks: generated inputs, a measured process, machine facts, and records under ``reports/``.

A record is a JSON file named ``<UTC time>-<scenario>.json``. It contains no path and no host name. This module imports
little, because worker processes import the script that started them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil

from enrich_dist.core.files import read_json, write_json
from enrich_dist.settings import ENV_PREFIX

ROOT: Final = Path(__file__).resolve().parents[1]
SAMPLE: Final = ROOT / "data" / "sample" / "recipients.parquet"
BENCHMARKS: Final = ROOT / "reports" / "benchmarks"
COMMAND: Final = Path(sys.executable).parent / "enrich-dist"
MB: Final = 1_000_000
_CODE: Final = ("enrich_dist", "dagster_defs", "config", "scripts")
_LIBRARIES: Final = ("dagster", "dask", "distributed", "duckdb", "numba", "numpy", "pyarrow", "rapidfuzz", "scipy")
_SAMPLE_SECONDS: Final = 0.25
_TAIL_CHARACTERS: Final = 4_000


def benchmark_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small inputs, for a trial")
    parser.add_argument("--output", type=Path, default=BENCHMARKS, help="directory of the record")
    parser.add_argument("--scratch", type=Path, help="existing directory for temporary inputs and runs")
    return parser


def show_progress(text: str) -> None:
    """Print to standard error."""
    print(text, file=sys.stderr, flush=True)


def generate_case(directory: Path, *, recipients: int, companies: int, seed: int) -> Path:
    """Write recipients, awards, organisations and truth; the same sizes and seed give the same files."""
    from scripts.generator.generate import write_awards, write_recipients

    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "recipients.parquet"
    write_recipients(file, rows=recipients, seed=seed, sample=SAMPLE)
    write_awards(
        directory / "awards.csv",
        companies=companies,
        recipients=file,
        seed=seed,
        truth=directory / "truth.parquet",
        organisations=directory / "organisations.parquet",
    )
    return directory


def clean_environment() -> dict[str, str]:
    """Return the environment without the caller's ENRICH_DIST_* and DAGSTER_HOME variables."""
    return {key: value for key, value in os.environ.items() if key != "DAGSTER_HOME" and not key.startswith(ENV_PREFIX)}


def median(values: Iterable[float]) -> float:
    """Return the median, rounded to milliseconds or kilobytes."""
    return round(statistics.median(values), 3)


def machine_facts() -> dict[str, Any]:
    """Return what figures depend on apart from settings: revision, machine, load, library versions."""
    return {
        "git_revision": _git("rev-parse", "HEAD"),
        "git_modified": bool(_git("status", "--porcelain", "--", *_CODE)),
        "cpu_count": os.cpu_count(),
        "memory_mb": round(psutil.virtual_memory().total / MB),
        "load_average": round(psutil.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def write_record(directory: Path, scenario: str, document: Mapping[str, Any], *, quick: bool = False) -> Path:
    """Write a record of this moment and return its path. Call ``machine_facts`` before measuring."""
    now = datetime.now(UTC)
    path = directory / f"{now:%Y%m%dT%H%M%SZ}-{scenario}.json"
    write_json(path, {"scenario": scenario, "quick": quick, "timestamp": now.isoformat(timespec="seconds"), **document})
    show_progress(f"Written to {path}")
    return path


def latest_record(scenario: str, directory: Path = BENCHMARKS) -> tuple[Path, dict[str, Any]]:
    """Return the latest record of a scenario, without trials. Raises ``FileNotFoundError``."""
    for path in sorted(directory.glob(f"*-{scenario}.json"), reverse=True):
        document = read_json(path)
        if not document["quick"]:
            return path, document
    raise FileNotFoundError(f"{directory} has no record of scenario {scenario}")


@dataclass(frozen=True)
class ProcessResult:
    """How a process ended.

    ``end``: finished, failed or time limit. ``cpu_seconds``: of the process and the children it waited
    for. ``peak_bytes``: peak memory of the process tree. ``tail``: end of its output on both streams.
    """

    end: str
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    tail: str


def measure_process(command: Sequence[str | Path], *, cwd: Path, timeout: float) -> ProcessResult:
    """Run a command to its end; at the time limit its whole process group is killed.

    Memory is the sampled proportional set size (resident memory where the system has none) of the tree, so that shared
    pages count once, or the kernel's peak of its largest process if that is greater. A child that starts its own
    session and outlives its parent is neither measured nor killed.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        end, peak = "finished", 0
        try:
            while not (waited := os.wait4(process.pid, os.WNOHANG))[0]:
                elapsed = time.perf_counter() - started
                peak = max(peak, _tree_bytes(process.pid))
                if elapsed > timeout:
                    end = "time limit"
                    os.killpg(process.pid, signal.SIGKILL)
                    waited = os.wait4(process.pid, 0)
                    break
                time.sleep(min(_SAMPLE_SECONDS, 0.01 + elapsed / 50))
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        wall_seconds = time.perf_counter() - started
        _, status, usage = waited
        process.returncode = os.waitstatus_to_exitcode(status)
        if end == "finished" and process.returncode != 0:
            end = "failed"
        # The kernel's peak of the largest process misses no moment. A new process inherits that of its parent.
        if usage.ru_maxrss > resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:
            peak = max(peak, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        output.seek(0)
        tail = output.read().decode("utf-8", "replace")[-_TAIL_CHARACTERS:]
    return ProcessResult(end, wall_seconds, usage.ru_utime + usage.ru_stime, peak, tail)


def _tree_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                full = process.memory_full_info()
                total += getattr(full, "pss", 0) or full.rss
    return total


def _git(*arguments: str) -> str | None:
    """Return what git prints, or None without git or outside a repository."""
    try:
        process = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()
