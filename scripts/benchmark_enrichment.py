"""Measure whole runs of ``enrich-dist run`` and record the figures in ``reports/benchmarks/``.

    python -m scripts.benchmark_enrichment demo       the bundled sample, first run and repeated run
    python -m scripts.benchmark_enrichment scale      300,000 and 900,000 generated recipients
    python -m scripts.benchmark_enrichment full       3,300,000 generated recipients, the size of the real table
    python -m scripts.benchmark_enrichment growth     10 times the recipients, and 4 times the companies
    python -m scripts.benchmark_enrichment huge       33,000,000 recipients compared with 3,300,000
    python -m scripts.benchmark_enrichment settings   settings of chunks, batches and workers, at two sizes
    python -m scripts.benchmark_enrichment            demo and scale
    python -m scripts.benchmark_enrichment regression measure, set or compare with the baseline, and report

Every run is the installed command in a process of its own; the figures come from its run directory. Before each run of
generated data except ``huge`` and ``settings``, ``scripts/floor.py`` is measured, so that figures can be compared
across machines. ``settings`` compares CPU seconds of all processes and requires the same published bytes from all
profiles. ``regression`` calls ``enrich-dist bench``: its first session on a machine becomes the baseline; a later one
is compared with it, and reported in HTML and Markdown. Its exit code is that of ``bench compare``: 4 for a regression.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import file_digest, read_json
from enrich_dist.core.tables import markdown_table
from enrich_dist.errors import StateError
from enrich_dist.farm.worker_memory import memory_per_worker
from enrich_dist.runs.archive import baseline_for, latest_session, read_archive
from enrich_dist.settings import Settings
from enrich_dist.store.checkpoints import CheckpointStore
from enrich_dist.store.run_directory import CURRENT, RunDirectory
from scripts.generator.generate import write_awards, write_recipients
from scripts.measuring import (
    COMMAND,
    MB,
    ROOT,
    SAMPLE,
    benchmark_parser,
    clean_environment,
    machine_facts,
    median,
    show_progress,
    write_record,
)

SEED: Final = 1
WORKERS: Final = 2
QUICK_DIVISOR: Final = 30
# Recipients and companies of each case.
GENERATED: Final = {
    "scale": ((300_000, 20_000), (900_000, 20_000)),
    "full": ((3_300_000, 40_000),),
    "growth": ((330_000, 40_000), (3_300_000, 40_000), (3_300_000, 10_000)),
    "huge": ((3_300_000, 40_000), (33_000_000, 40_000)),
}
SETTINGS_SIZES: Final = {"small": (100_000, 5_000), "medium": (1_000_000, 20_000)}
SCENARIOS: Final = ("demo", *GENERATED, "settings", "regression")


@dataclass(frozen=True)
class Profile:
    """Settings to measure, and their purpose."""

    name: str
    purpose: str
    settings: Mapping[str, int]


DEFAULT: Final = "default"
PROFILES: Final = (
    Profile(DEFAULT, "as config/base.yaml has it", {}),
    Profile("one worker", "leaves a core to others", {"cluster.n_workers": 1}),
    Profile("small chunks", "less to repeat after a crash", {"chunk_size": 10_000}),
    Profile("large chunks", "fewer checkpoints", {"chunk_size": 200_000}),
    Profile("small batches", "less memory at once", {"matching.batch_rows": 4_096}),
    Profile(
        "memory-constrained",
        "minimum memory",
        {"cluster.n_workers": 1, "memory_threshold_mb": 400, "chunk_size": 10_000, "matching.batch_rows": 4_096},
    ),
    Profile(
        "performance-optimised",
        "one worker per core, large chunks and batches",
        {
            "cluster.n_workers": os.cpu_count() or 1,
            "memory_threshold_mb": 3_000,
            "chunk_size": 100_000,
            "matching.batch_rows": 100_000,
        },
    ),
)


@dataclass(frozen=True)
class MeasuredRun:
    """One run: seconds of the whole command, and what its steps recorded."""

    wall_seconds: float
    cpu_seconds: float | None
    steps: Mapping[str, Mapping[str, Any]]
    workers: Sequence[Mapping[str, Any]]
    floor_seconds: float | None = None

    @property
    def driver_peak_mb(self) -> float:
        """Peak resident memory of the driver during any step."""
        return max(float(step["peak_memory_mb"]) for step in self.steps.values())

    @property
    def worker_peaks_mb(self) -> list[float]:
        """Peak resident memory of each worker; [0] if no chunk was computed."""
        return [float(worker["peak_memory_mb"]) for worker in self.workers] or [0.0]

    def seconds_of(self, *steps: str) -> float:
        """Wall seconds of some steps together."""
        return sum(float(self.steps[step]["seconds"]) for step in steps)


def main() -> None:
    """Run the scenarios, write a record of each and print its medians."""
    options = _options()
    if options.scenario == "regression":
        sys.exit(regression(options.config, options.output, options.repeats))
    scratch = Path(tempfile.mkdtemp(prefix="enrich-bench-", dir=options.scratch))
    try:
        for scenario in ("demo", "scale") if options.scenario == "all" else [options.scenario]:
            facts = machine_facts()
            if scenario == "demo":
                document = _demo(options, scratch)
            elif scenario == "settings":
                document = _settings(options, scratch)
            else:
                document = _generated(options, scratch, scenario)
            write_record(options.output, scenario, {**facts, **document}, quick=options.quick)
            print(_summary(document))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _options() -> argparse.Namespace:
    parser = benchmark_parser(__doc__)
    parser.add_argument("scenario", nargs="?", choices=[*SCENARIOS, "all"], default="all")
    parser.add_argument("--repeats", type=int, help="runs of each case [regression 7, demo 3, settings 2, else 1]")
    parser.add_argument("--config", type=Path, default=ROOT / "config" / "sample.yaml", help="settings of regression")
    options = parser.parse_args()
    if options.repeats is not None and options.repeats < 1:
        parser.error("--repeats must be at least 1")
    default = 1 if options.quick else {"regression": 7, "demo": 3, "all": 3, "settings": 2}.get(options.scenario, 1)
    options.repeats = options.repeats or default
    return options


def regression(config: Path, archive: Path, repeats: int) -> int:
    """Measure a session, make it the baseline or compare it with that, and write the reports to the archive.

    Return the exit code of the step that failed, else that of the comparison.
    """
    own = ("--config", str(config), "--set", f"paths.benchmarks={archive.absolute()}")

    def bench(*arguments: str) -> int:
        return subprocess.run(
            [str(COMMAND), "bench", *arguments], cwd=ROOT, env=clean_environment(), check=False
        ).returncode

    if code := bench("run", *own, "--repeats", str(repeats)):
        return code
    records = read_archive(archive).records
    try:
        baseline_for(archive, latest_session(records), records)
    except StateError:  # the first session of this machine, size and settings
        return bench("baseline", *own)
    reports = {name: str(archive / f"comparison.{end}") for name, end in (("html", "html"), ("markdown", "md"))}
    code = bench("compare", *own, *(part for name, path in reports.items() for part in (f"--{name}", path)))
    return bench("trend", *own, "--html", str(archive / "trend.html")) or code


def _demo(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """The command behind ``make demo``: in a new run directory, and again in the completed one."""
    fresh: list[MeasuredRun] = []
    again: list[MeasuredRun] = []
    for number in range(options.repeats):
        for what, runs in (("fresh", fresh), ("again", again)):
            label = f"demo, {what} {number + 1}/{options.repeats}"
            runs.append(_run(label, ["--config", "config/sample.yaml"], scratch / "demo"))
        shutil.rmtree(scratch / "demo")
    return {"repeats": options.repeats, "cases": [_case("fresh", fresh, {}), _case("again", again, {})]}


def _generated(options: argparse.Namespace, scratch: Path, scenario: str) -> dict[str, Any]:
    """Generated recipients and companies of each size of the scenario."""
    divisor = QUICK_DIVISOR if options.quick else 1
    chunk_size = Settings().chunk_size // divisor
    cases = []
    for rows, companies in GENERATED[scenario]:
        rows, companies = rows // divisor, companies // divisor
        # Awards of a size are written once, from the smallest recipients: larger files begin with the same rows.
        awards, recipients = _inputs(scratch, rows, companies)
        arguments = [*_input_arguments(awards, recipients), "--workers", str(WORKERS), "--chunk-size", str(chunk_size)]
        runs = []
        for number in range(options.repeats):
            floor_seconds = None if scenario == "huge" else _floor_seconds(recipients, awards)
            run = _run(f"{rows:,} recipients {number + 1}/{options.repeats}", arguments, scratch / "work")
            runs.append(replace(run, floor_seconds=floor_seconds))
            shutil.rmtree(scratch / "work")
        recipients.unlink()
        sizes = {"recipients": rows, "companies": companies, "chunk_size": chunk_size, "workers": WORKERS}
        cases.append(_case(f"{rows:,} x {companies:,}", runs, sizes))
    return {"repeats": options.repeats, "seed": SEED, "cases": cases}


def _settings(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """All profiles in turn on the same inputs, so that a slow hour of the machine slows all of them."""
    sizes = {}
    for size, counts in SETTINGS_SIZES.items():
        recipients, companies = (count // (10 if options.quick else 1) for count in counts)
        inputs = _input_arguments(*_inputs(scratch, recipients, companies))
        runs: dict[str, list[MeasuredRun]] = {profile.name: [] for profile in PROFILES}
        published = set()
        for number in range(options.repeats):
            for profile in PROFILES:
                arguments = [part for key, value in profile.settings.items() for part in ("--set", f"{key}={value}")]
                label = f"{recipients:,} recipients, {profile.name} {number + 1}/{options.repeats}"
                runs[profile.name].append(_run(label, [*inputs, *arguments], scratch / "work"))
                files = sorted((scratch / "work" / "published" / CURRENT).glob("*.parquet"))
                published.add(tuple(map(file_digest, files)))
                shutil.rmtree(scratch / "work")
        if len(published) != 1:
            sys.exit("The profiles published different bytes.")
        medians = {name: _profile_medians(measured) for name, measured in runs.items()}
        sizes[size] = {
            "recipients": recipients,
            "companies": companies,
            "rounds": options.repeats,
            "profiles": {
                name: {
                    "medians": figures,
                    "ratios": {
                        key: round(value / medians[DEFAULT][key], 3)
                        for key, value in figures.items()
                        if medians[DEFAULT][key]
                    },
                }
                for name, figures in medians.items()
            },
        }
    profiles = {profile.name: {"purpose": profile.purpose, "settings": dict(profile.settings)} for profile in PROFILES}
    return {"profiles": profiles, "sizes": sizes}


def _inputs(scratch: Path, rows: int, companies: int) -> tuple[Path, Path]:
    awards, recipients = scratch / f"awards-{companies}.csv", scratch / f"recipients-{rows}.parquet"
    show_progress(f"generating {rows:,} recipients")
    write_recipients(recipients, rows=rows, seed=SEED, sample=SAMPLE)
    if not awards.exists():
        write_awards(awards, companies=companies, recipients=recipients, seed=SEED)
    return awards, recipients


def _input_arguments(awards: Path, recipients: Path) -> list[str]:
    files = ["--awards", str(awards), "--recipients", str(recipients)]
    return ["--config", "config/base.yaml", *files, "--set", "match_rate_threshold=0"]


def _run(label: str, arguments: Iterable[str], work_dir: Path) -> MeasuredRun:
    """Run the command once. Exits with the end of its output if it fails."""
    show_progress(label)
    figures = work_dir.with_name("figures.json")
    measured = [sys.executable, "-m", "enrich_dist.runs.process_tree", str(figures)]
    process = subprocess.run(
        [*measured, str(COMMAND), "run", *arguments, "--work-dir", str(work_dir)],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if process.returncode != 0:
        sys.exit(f"{process.stdout[-4_000:]}\nenrich-dist run ended with code {process.returncode} ({label}).")
    taken = read_json(figures)
    return _recorded_run(RunDirectory(work_dir), taken["wall_seconds"], taken["cpu_seconds"])


def _recorded_run(directory: RunDirectory, wall_seconds: float, cpu_seconds: float | None) -> MeasuredRun:
    steps: dict[str, dict[str, object]] = {
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
    return MeasuredRun(wall_seconds, cpu_seconds, steps, workers)


def _floor_seconds(recipients: Path, awards: Path) -> float:
    """Wall seconds of scripts/floor.py, including the start of its process."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, ROOT / "scripts" / "floor.py", recipients, awards], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - started


def _case(name: str, runs: Sequence[MeasuredRun], settings: Mapping[str, int]) -> dict[str, Any]:
    """Medians over the runs, and the runs themselves."""
    # Without the wait for the cluster, which the step's own seconds include; 0 where every chunk was done already.
    farm_seconds = median(run.steps["chunk_matches"]["numbers"]["farm_seconds"] for run in runs)
    farm_rows = runs[0].steps["chunk_matches"]["rows"]
    medians = {
        **settings,
        "wall_seconds": median(run.wall_seconds for run in runs),
        "outside_steps_seconds": median(run.wall_seconds - run.seconds_of(*run.steps) for run in runs),
        **{f"{step}_seconds": median(run.seconds_of(step) for run in runs) for step in runs[0].steps},
        "worker_peak_mb": median(max(run.worker_peaks_mb) for run in runs),
        "driver_peak_mb": median(run.driver_peak_mb for run in runs),
        "farm_seconds": farm_seconds,
        "farm_records_per_second": round(farm_rows / farm_seconds, 1) if farm_seconds else 0.0,
    }
    if measured := [(run, run.floor_seconds) for run in runs if run.floor_seconds is not None]:
        judged = ("chunk_matches", "enriched_awards")
        medians |= {
            "floor_seconds": median(floor for _, floor in measured),
            "wall_over_floor": median(run.wall_seconds / floor for run, floor in measured),
            "chunks_to_verdict_over_floor": median(run.seconds_of(*judged) / floor for run, floor in measured),
        }
    recorded = [
        {"wall_seconds": round(run.wall_seconds, 3), "steps": run.steps, "workers": run.workers} for run in runs
    ]
    return {"case": name, "settings": dict(settings), "medians": medians, "runs": recorded}


def _profile_medians(runs: Sequence[MeasuredRun]) -> dict[str, float]:
    return {
        "wall_seconds": median(run.wall_seconds for run in runs),
        "cpu_seconds": median(run.cpu_seconds or 0.0 for run in runs),
        "chunks": median(float(run.steps["chunk_matches"]["numbers"]["chunks"]) for run in runs),
        "worker_peak_mb": median(max(run.worker_peaks_mb) for run in runs),
        "workers_together_peak_mb": median(sum(run.worker_peaks_mb) for run in runs),
        "driver_peak_mb": median(run.driver_peak_mb for run in runs),
    }


def _summary(document: Mapping[str, Any]) -> str:
    """The medians of all cases, or of all profiles at the larger size, as a table."""
    if "cases" in document:
        columns = {case["case"]: case["medians"] for case in document["cases"]}
    else:
        size = list(document["sizes"].values())[-1]
        columns = {name: profile["medians"] for name, profile in size["profiles"].items()}
    figures = next(iter(columns.values()))
    rows = [[figure.replace("_", " "), *(medians[figure] for medians in columns.values())] for figure in figures]
    return markdown_table(["median", *columns], rows)


if __name__ == "__main__":
    main()
