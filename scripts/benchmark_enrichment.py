"""Measure whole runs of ``enrich-dist run`` and keep the figures in ``reports/benchmarks/``.

    python scripts/benchmark_enrichment.py demo     the bundled sample, first run and run again
    python scripts/benchmark_enrichment.py scale    300,000 and 900,000 generated recipients, memory and speed
    python scripts/benchmark_enrichment.py full     3,300,000 generated recipients, the size of the real table
    python scripts/benchmark_enrichment.py growth   ten times the recipients, and four times the companies
    python scripts/benchmark_enrichment.py huge     33,000,000 recipients beside 3,300,000: memory must be the same
    python scripts/benchmark_enrichment.py          demo and scale

Runs the installed console script as a user does, in a process of its own and without the caller's ENRICH_DIST_* and
DAGSTER_HOME variables; reads the figures from the run directory. Reports medians of ``--repeats`` runs. Files hold
no path and no host name. Beside every run of generated data the floor (scripts/floor.py) is measured, so that figures
can be compared across machines as multiples of it; not beside ``huge``, which does not fit that one process. Does not
judge: comparing with a baseline, and failing on a
regression, is what `enrich-dist bench` does.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from enrich_dist.core.files import write_json
from enrich_dist.farm.worker_memory import memory_per_worker
from enrich_dist.settings import ENV_PREFIX, Settings
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import RunDirectory
from scripts.generator.generate import write_awards, write_recipients

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample" / "recipients.parquet"
COMMAND = Path(sys.executable).parent / "enrich-dist"
CODE = ("enrich_dist", "dagster_defs", "config", "scripts")
LIBRARIES = ("dagster", "dask", "distributed", "duckdb", "numba", "numpy", "pyarrow", "rapidfuzz", "scipy")

SCALE_RECIPIENTS = (300_000, 900_000)
SCALE_COMPANIES = 20_000
FULL_RECIPIENTS = (3_300_000,)
FULL_COMPANIES = 40_000
GROWTH_CASES = ((330_000, 40_000), (3_300_000, 40_000), (3_300_000, 10_000))
HUGE_CASES = ((3_300_000, 40_000), (33_000_000, 40_000))
SCALE_WORKERS = 2
SCALE_SEED = 1
QUICK_DIVISOR = 30

MB = 1_000_000


@dataclass(frozen=True)
class Measured:
    """One run: wall seconds of the whole command, and what its steps recorded."""

    wall_seconds: float
    steps: Mapping[str, Mapping[str, Any]]
    workers: Sequence[Mapping[str, Any]]
    floor_seconds: float | None = None

    @property
    def driver_peak_mb(self) -> float:
        """Most resident memory of the driver during any step."""
        return max(float(step["peak_memory_mb"]) for step in self.steps.values())

    @property
    def worker_peak_mb(self) -> float:
        """Most resident memory of any worker during a chunk; 0 where no chunk was computed."""
        return max((float(worker["peak_memory_mb"]) for worker in self.workers), default=0.0)

    def seconds_of(self, step: str) -> float:
        """Wall seconds of a step."""
        return float(self.steps[step]["seconds"])


def main() -> None:
    """Run the scenarios asked for, write a file for each and print what it says."""
    options = _options()
    console = Console()
    started = datetime.now(UTC)
    scratch = Path(tempfile.mkdtemp(prefix="enrich-bench-", dir=options.scratch))
    try:
        for scenario in ALL if options.scenario == "all" else [options.scenario]:
            report = {
                "scenario": scenario,
                "quick": options.quick,
                "timestamp": started.isoformat(timespec="seconds"),
                **surroundings(),
                **SCENARIOS[scenario](options, scratch),
            }
            final = options.output / f"{started:%Y%m%dT%H%M%SZ}-{scenario}.json"
            write_json(final, report)
            _print(console, report)
            console.print(f"Written to {final}", soft_wrap=True, highlight=False)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def demo(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The command behind ``make demo`` on the bundled sample: in a fresh run directory, and in the finished one."""
    repeats = options.repeats or (1 if options.quick else 3)
    arguments = ["--config", "config/sample.yaml"]
    fresh: list[Measured] = []
    again: list[Measured] = []
    for number in range(repeats):
        work_dir = scratch / f"demo-{number}"
        fresh.append(_run(f"demo, fresh {number + 1}/{repeats}", arguments, work_dir))
        again.append(_run(f"demo, again {number + 1}/{repeats}", arguments, work_dir))
        shutil.rmtree(work_dir)
    return {"repeats": repeats, "cases": [_case("fresh", fresh, {}), _case("again", again, {})], "ratios": {}}


def scale(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Generated recipients of two sizes against the same companies: memory must not grow, time in proportion."""
    return _generated(options, scratch, [(rows, SCALE_COMPANIES) for rows in SCALE_RECIPIENTS])


def full(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """As many recipients and companies as the real tables have."""
    return _generated(options, scratch, [(rows, FULL_COMPANIES) for rows in FULL_RECIPIENTS])


def growth(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """What more recipients, and what more companies cost."""
    report = _generated(options, scratch, GROWTH_CASES)
    small, large, few = (case["medians"] for case in report["cases"])

    def work(medians: Mapping[str, float]) -> float:
        return medians["recipient_chunks_seconds"] + medians["farm_seconds"] + medians["enriched_awards_seconds"]

    report["ratios"] = {
        "recipients": large["recipients"] / small["recipients"],
        "seconds_by_recipients": round(work(large) / work(small), 3),
        "worker_peak_memory_by_recipients": round(large["worker_peak_mb"] / small["worker_peak_mb"], 3),
        "companies": large["companies"] / few["companies"],
        "seconds_by_companies": round(work(large) / work(few), 3),
    }
    return report


def huge(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Ten times the real table, beside it."""
    return _generated(options, scratch, HUGE_CASES, floor=False)


def _generated(
    options: argparse.Namespace, scratch: Path, sizes: Sequence[tuple[int, int]], *, floor: bool = True
) -> dict[str, Any]:
    repeats = options.repeats or 1
    divisor = QUICK_DIVISOR if options.quick else 1
    sizes = [(rows // divisor, companies // divisor) for rows, companies in sizes]
    chunk_size = Settings().chunk_size // divisor
    cases = []
    for rows, companies in sizes:
        awards = scratch / f"awards-{companies}.csv"
        recipients = scratch / f"recipients-{rows}.parquet"
        _say(f"generating {rows:,} recipients")
        write_recipients(recipients, rows=rows, seed=SCALE_SEED, sample=SAMPLE)
        if not awards.exists():
            # From the smallest file, whose rows the larger ones begin with: the same work in all but for their size.
            write_awards(awards, companies=companies, recipients=recipients, seed=SCALE_SEED)
        arguments = ["--config", "config/base.yaml", "--awards", str(awards), "--recipients", str(recipients)]
        arguments += ["--workers", str(SCALE_WORKERS), "--chunk-size", str(chunk_size)]
        arguments += ["--set", "match_rate_threshold=0"]
        runs = []
        for number in range(repeats):
            work_dir = scratch / f"scale-{rows}-{number}"
            floor_seconds = _floor(recipients, awards) if floor else None
            run = _run(f"{rows:,} recipients {number + 1}/{repeats}", arguments, work_dir)
            runs.append(replace(run, floor_seconds=floor_seconds))
            shutil.rmtree(work_dir)
        recipients.unlink()
        sizes_of_case = {"recipients": rows, "companies": companies, "chunk_size": chunk_size}
        cases.append(_case(f"{rows:,} x {companies:,}", runs, {**sizes_of_case, "workers": SCALE_WORKERS}))
    if len(cases) == 1:
        return {"repeats": repeats, "seed": SCALE_SEED, "cases": cases, "ratios": {}}
    small, large = cases[0]["medians"], cases[-1]["medians"]
    ratios = {
        name: round(large[key] / small[key], 3)
        for name, key in (
            ("recipients", "recipients"),
            ("worker_peak_memory", "worker_peak_mb"),
            ("driver_peak_memory", "driver_peak_mb"),
            ("farm_seconds", "farm_seconds"),
            ("wall_seconds", "wall_seconds"),
        )
    }
    return {"repeats": repeats, "seed": SCALE_SEED, "cases": cases, "ratios": ratios}


SCENARIOS = {"demo": demo, "scale": scale, "full": full, "growth": growth, "huge": huge}
ALL = ("demo", "scale")  # the others take many minutes


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("scenario", nargs="?", choices=[*SCENARIOS, "all"], default="all", help="[default: all]")
    parser.add_argument("--quick", action="store_true", help=f"sizes divided by {QUICK_DIVISOR}, demo once: a trial")
    parser.add_argument("--repeats", type=int, help="runs of each case [default: demo 3, scale 1]")
    parser.add_argument("--output", type=Path, default=ROOT / "reports" / "benchmarks", help="directory of the files")
    parser.add_argument("--scratch", type=Path, help="existing directory for inputs and runs; all is removed after")
    options = parser.parse_args()
    if options.repeats is not None and options.repeats < 1:
        parser.error("--repeats must be at least 1")
    return options


def _run(what: str, arguments: Iterable[str], work_dir: Path) -> Measured:
    """Run the command once. Ends the script with the command's own words when it fails."""
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME" and not k.startswith(ENV_PREFIX)}
    _say(what)
    started = time.perf_counter()
    process = subprocess.run(
        [COMMAND, "run", *arguments, "--work-dir", work_dir],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    wall_seconds = time.perf_counter() - started
    if process.returncode != 0:
        sys.exit(f"{process.stdout[-4_000:]}\nenrich-dist run ended with code {process.returncode} ({what}).")
    return measured_run(RunDirectory(work_dir), wall_seconds)


def measured_run(directory: RunDirectory, wall_seconds: float) -> Measured:
    """What the run that ended in ``directory`` has recorded."""
    steps = {
        name: {
            "seconds": step.seconds,
            "rows": step.rows,
            "rows_per_second": round(step.rows_per_second, 1),
            "peak_memory_mb": round(step.peak_memory_bytes / MB, 1),
            "reused": step.reused,
            "numbers": step.numbers,
        }
        for name, step in directory.all_latest().items()
    }
    workers = []
    if not steps["chunk_matches"]["reused"]:
        chunks, location = directory.latest_farm()
        records, _ = CheckpointStore(location).find(chunk["checkpoint_key"] for chunk in chunks)
        workers = [
            {
                "worker": worker.worker,
                "chunks": worker.chunks,
                "records": worker.records,
                "busy_seconds": round(worker.busy_seconds, 3),
                "peak_memory_mb": round(worker.peak_memory_bytes / MB, 1),
                "memory_method": worker.memory_method,
            }
            for worker in memory_per_worker(records.values())
        ]
    return Measured(wall_seconds, steps, workers)


def _case(name: str, runs: Sequence[Measured], settings: Mapping[str, int]) -> dict[str, Any]:
    """Medians over the runs, and the runs themselves."""

    def median(values: Iterable[float]) -> float:
        return round(statistics.median(values), 3)

    # Without the wait for the cluster, which the step's own seconds hold; 0 where every chunk was done already.
    farm_seconds = median(run.steps["chunk_matches"]["numbers"]["farm_seconds"] for run in runs)
    farm_rows = runs[0].steps["chunk_matches"]["rows"]
    medians = {
        **settings,
        "wall_seconds": median(run.wall_seconds for run in runs),
        "outside_steps_seconds": median(run.wall_seconds - sum(map(run.seconds_of, run.steps)) for run in runs),
        **{f"{step}_seconds": median(run.seconds_of(step) for run in runs) for step in runs[0].steps},
        "worker_peak_mb": median(run.worker_peak_mb for run in runs),
        "driver_peak_mb": median(run.driver_peak_mb for run in runs),
        "farm_seconds": farm_seconds,
        "farm_records_per_second": round(farm_rows / farm_seconds, 1) if farm_seconds else 0.0,
        **_over_floor(runs),
    }
    return {
        "case": name,
        "settings": dict(settings),
        "medians": medians,
        "runs": [
            {"wall_seconds": round(run.wall_seconds, 3), "steps": run.steps, "workers": run.workers} for run in runs
        ],
    }


def _floor(recipients: Path, awards: Path) -> float:
    """Wall seconds of scripts/floor.py, start of the process included."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "floor.py", recipients, awards], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def _over_floor(runs: Sequence[Measured]) -> dict[str, float]:
    """Medians of the floor, and of each run's times as multiples of the floor measured just before it."""
    measured = [(run, run.floor_seconds) for run in runs if run.floor_seconds is not None]
    if not measured:
        return {}

    def median(values: Iterable[float]) -> float:
        return round(statistics.median(values), 3)

    return {
        "floor_seconds": median(floor for _, floor in measured),
        "wall_over_floor": median(run.wall_seconds / floor for run, floor in measured),
        "chunks_to_verdict_over_floor": median(
            (run.seconds_of("chunk_matches") + run.seconds_of("enriched_awards")) / floor for run, floor in measured
        ),
    }


def surroundings() -> dict[str, Any]:
    """What the figures depend on besides the code and the settings."""
    return {
        "git_revision": _git("rev-parse", "HEAD"),
        "git_modified": bool(_git("status", "--porcelain", "--", *CODE)),
        "cpu_count": os.cpu_count(),
        "memory_mb": round(psutil.virtual_memory().total / MB),
        "load_average_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }


def _git(*arguments: str) -> str | None:
    """What git answers, or None without git or outside a repository."""
    try:
        process = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()


def _print(console: Console, report: Mapping[str, Any]) -> None:
    cases = report["cases"]
    table = Table(title=f"{report['scenario']}: medians of {report['repeats']} run(s)", title_justify="left")
    table.add_column("figure")
    for case in cases:
        table.add_column(case["case"], justify="right")
    figures = list(cases[0]["medians"])
    for figure in figures:
        table.add_row(figure.replace("_", " "), *(f"{case['medians'][figure]:,}" for case in cases))
    console.print(table)
    for case in cases:
        for worker in case["runs"][-1]["workers"]:
            console.print(
                f"{case['case']}: worker {worker['worker']} matched {worker['records']:,} records in "
                f"{worker['busy_seconds']} s, peak {worker['peak_memory_mb']} MB ({worker['memory_method']})",
                highlight=False,
                soft_wrap=True,
            )
    if report["ratios"]:
        ratios = ", ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in report["ratios"].items())
        console.print(f"Largest over smallest: {ratios}", highlight=False, soft_wrap=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
