"""Measure how accurate plans are: `enrich-dist plan`, then `enrich-dist run`, in processes of their own.

    python -m scripts.measure_plan          -> reports/planning/validate.json
    python -m scripts.measure_plan show     the table of docs/explanation/scaling.md

Every case runs twice in the same benchmark archive: the first run has no earlier run to learn from, the second has one.
The file holds no path and no host name.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from enrich_dist.core.files import read_json, write_json
from enrich_dist.core.tables import markdown_table
from enrich_dist.runs.environment import this_machine
from enrich_dist.settings import ENV_PREFIX
from scripts.generator.generate import write_awards, write_recipients

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "reports" / "planning" / "validate.json"
SAMPLE = ROOT / "data" / "sample" / "recipients.parquet"
COMMAND = Path(sys.executable).parent / "enrich-dist"
SEED = 1
RUNS = 2


@dataclass(frozen=True)
class Case:
    """Recipients, companies, rows of a chunk and workers of a run."""

    recipients: int
    companies: int
    chunk_size: int
    workers: int


CASES = (
    Case(100_000, 5_000, 10_000, 1),
    Case(100_000, 5_000, 50_000, 2),
    Case(300_000, 20_000, 50_000, 1),
    Case(300_000, 5_000, 20_000, 2),
    Case(1_000_000, 20_000, 50_000, 2),
)


def measure(cases: Sequence[Case]) -> None:
    """Plan and run each case ``RUNS`` times; write the file after each run."""
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="measure-plan-") as folder:
        for number, case in enumerate(cases):
            for repeat in range(RUNS):
                run = one_run(case, Path(folder), archive=Path(folder) / f"archive-{number}")
                runs.append({"case": asdict(case), "earlier_runs": repeat, **run})
                print(json.dumps({name: runs[-1][name] for name in ("case", "wall", "planned")}), flush=True)
                machine = {"processor": this_machine().cpu_model, "cores": this_machine().cores}
                written = datetime.now(UTC).isoformat(timespec="seconds")
                write_json(REPORT, {"timestamp": written, "machine": machine, "runs": runs})


def one_run(case: Case, folder: Path, archive: Path) -> dict[str, Any]:
    """Return wall seconds, the planned interval and the comparison of one planned run."""
    recipients, awards = inputs(case, folder)
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    settings = {
        "inputs.awards": awards,
        "inputs.recipients": recipients,
        "paths.work_dir": work,
        "paths.benchmarks": archive,
        "chunk_size": case.chunk_size,
        "cluster.n_workers": case.workers,
        "match_rate_threshold": 0,
    }
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    planned = json.loads(command(["plan", "--json", *arguments]))["seconds"]["next_run"]["total"]
    load = os.getloadavg()[0]
    started = time.perf_counter()
    command(["run", *arguments])
    wall = time.perf_counter() - started
    figures = json.loads(command(["plan", "--compare", "--json", *arguments]))["figures"]
    peak = next(item for item in figures if item["name"] == "worker_peak_memory_bytes")
    return {"load": round(load, 2), "wall": round(wall, 3), "planned": planned, "peak_error": peak["error"]}


def inputs(case: Case, folder: Path) -> tuple[Path, Path]:
    """Return the generated files of a case, made once."""
    recipients, awards = folder / f"r{case.recipients}.parquet", folder / f"a{case.companies}.csv"
    smallest = folder / "r100000.parquet"
    for path, rows in ((smallest, 100_000), (recipients, case.recipients)):
        if not path.exists():
            write_recipients(path, rows=rows, seed=SEED, sample=SAMPLE)
    if not awards.exists():
        write_awards(awards, companies=case.companies, recipients=smallest, seed=SEED)
    return recipients, awards


def command(arguments: Iterable[str]) -> str:
    """Return the standard output of the installed command, run without the caller's variables."""
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME" and not k.startswith(ENV_PREFIX)}
    done = subprocess.run([COMMAND, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}\nenrich-dist exited with {done.returncode}.")
    return done.stdout


def show() -> str:
    """Return the table of planned and actual wall times."""
    report = read_json(REPORT)
    rows = []
    for run in report["runs"]:
        case, planned = Case(**run["case"]), run["planned"]
        inside = planned["low"] <= run["wall"] <= planned["high"]
        rows.append(
            (
                f"{case.recipients:,} × {case.companies:,}, chunks of {case.chunk_size:,}, {case.workers} workers",
                run["earlier_runs"],
                f"{planned['seconds']:.1f}",
                f"{planned['low']:.1f} – {planned['high']:.1f}",
                f"{run['wall']:.1f}",
                "yes" if inside else "no",
                f"{100 * run['peak_error']:+.0f}%",
            )
        )
    head = ("run", "earlier runs", "planned s", "interval s", "actual s", "inside", "peak memory error")
    return markdown_table(head, rows)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", nargs="?", choices=("measure", "show"), default="measure")
    if parser.parse_args().action == "measure":
        measure(CASES)
    print(show())


if __name__ == "__main__":
    main()
