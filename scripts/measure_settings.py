"""What settings of chunks, batches and workers cost and save, at two sizes: the figures of the tuning guide.

    python -m scripts.measure_settings            -> reports/benchmarks/<time>-settings.json (some 15 minutes)
    python -m scripts.measure_settings --quick    a tenth of the rows, once: a trial

Every profile runs the installed command from nothing on the same generated inputs; the profiles are taken in turn,
``ROUNDS`` times, so that an hour in which the machine is slow slows them all. Work is told by the CPU seconds of all
processes of the command, as wall seconds tell of the machine's neighbours, too. Medians, and ratios to the profile
``default``. Also holds the published bytes against each other: no profile may change them.
Does not write a document: ``scripts.benchmarks_document`` does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import file_digest, read_json, write_json
from enrich_dist.results.publish import CURRENT
from enrich_dist.settings import ENV_PREFIX
from enrich_dist.store.run_directory import RunDirectory
from scripts.benchmark_enrichment import COMMAND, ROOT, SAMPLE, Measured, measured_run, surroundings
from scripts.generator.generate import write_awards, write_recipients


@dataclass(frozen=True)
class Profile:
    """Settings to be measured, and in a few words what they are for."""

    name: str
    purpose: str
    settings: Mapping[str, int]

    def arguments(self) -> list[str]:
        """As the command line takes them."""
        return [part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")]


DEFAULT: Final = "default"
PROFILES: Final = (
    Profile(DEFAULT, "as config/base.yaml has it", {}),
    Profile("one worker", "leaves a core to others", {"cluster.n_workers": 1}),
    Profile("small chunks", "less to do again after a crash", {"chunk_size": 10_000}),
    Profile("large chunks", "fewer checkpoints", {"chunk_size": 200_000}),
    Profile("small batches", "less memory at once", {"matching.batch_rows": 4_096}),
    Profile(
        "memory-constrained",
        "the least memory",
        {"cluster.n_workers": 1, "memory_threshold_mb": 400, "chunk_size": 10_000, "matching.batch_rows": 4_096},
    ),
    Profile(
        "performance-optimised",
        "a worker per core, large pieces, memory for both",
        {
            "cluster.n_workers": os.cpu_count() or 1,
            "memory_threshold_mb": 3_000,
            "chunk_size": 100_000,
            "matching.batch_rows": 100_000,
        },
    ),
)
SIZES: Final = {"small": (100_000, 5_000), "medium": (1_000_000, 20_000)}
ROUNDS: Final = 2
_SEED: Final = 1


def main() -> None:
    """Measure and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the rows, one round: a trial")
    parser.add_argument("--output", type=Path, default=ROOT / "reports" / "benchmarks", help="directory of the file")
    options = parser.parse_args()
    started, around = datetime.now(UTC), surroundings()
    scratch = Path(tempfile.mkdtemp(prefix="enrich-settings-"))
    try:
        sizes = {
            name: _measure(scratch, *(count // (10 if options.quick else 1) for count in counts),
                           rounds=1 if options.quick else ROUNDS)
            for name, counts in SIZES.items()
        }  # fmt: skip
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    final = options.output / f"{started:%Y%m%dT%H%M%SZ}-settings.json"
    write_json(
        final,
        {
            "scenario": "settings",
            "quick": options.quick,
            "timestamp": started.isoformat(timespec="seconds"),
            "load_average_at_end": round(os.getloadavg()[0], 2),
            **around,
            "profiles": {
                profile.name: {"purpose": profile.purpose, "settings": dict(profile.settings)} for profile in PROFILES
            },
            "sizes": sizes,
        },
    )
    print(f"Written to {final}")


def _measure(scratch: Path, recipients: int, companies: int, *, rounds: int) -> dict[str, Any]:
    """All profiles on inputs of one size."""
    awards_file, recipients_file = scratch / "awards.csv", scratch / "recipients.parquet"
    write_recipients(recipients_file, rows=recipients, seed=_SEED, sample=SAMPLE)
    write_awards(awards_file, companies=companies, recipients=recipients_file, seed=_SEED)
    inputs = ["--config", "config/base.yaml", "--awards", str(awards_file), "--recipients", str(recipients_file)]
    runs: dict[str, list[tuple[Measured, float]]] = {profile.name: [] for profile in PROFILES}
    published: set[tuple[str, ...]] = set()
    for number in range(rounds):
        for profile in PROFILES:
            work_dir = scratch / "work"
            what = f"{recipients:,} recipients, {profile.name} {number + 1}/{rounds}"
            arguments = [*inputs, "--set", "match_rate_threshold=0", *profile.arguments()]
            runs[profile.name].append(_run(what, arguments, work_dir))
            published.add(
                tuple(file_digest(path) for path in sorted((work_dir / "published" / CURRENT).glob("*.parquet")))
            )
            shutil.rmtree(work_dir)
    if len(published) != 1:
        sys.exit("Profiles published different bytes.")
    figures = {name: _medians(measured) for name, measured in runs.items()}
    return {
        "recipients": recipients,
        "companies": companies,
        "rounds": rounds,
        "profiles": {
            name: {
                "medians": medians,
                "ratios": {
                    key: round(value / figures[DEFAULT][key], 3)
                    for key, value in medians.items()
                    if figures[DEFAULT][key]
                },
            }
            for name, medians in figures.items()
        },
    }


def _run(what: str, arguments: Sequence[str], work_dir: Path) -> tuple[Measured, float]:
    """One run, and the CPU seconds of all its processes."""
    print(what, file=sys.stderr, flush=True)
    figures = work_dir.with_name("figures.json")
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME" and not k.startswith(ENV_PREFIX)}
    process = subprocess.run(
        [sys.executable, "-m", "enrich_dist.runs.process_tree", str(figures), str(COMMAND), "run", *arguments,
         "--work-dir", str(work_dir)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if process.returncode != 0:
        sys.exit(f"{process.stdout[-4_000:]}\nenrich-dist run ended with code {process.returncode} ({what}).")
    taken = read_json(figures)
    return measured_run(RunDirectory(work_dir), taken["wall_seconds"]), float(taken["cpu_seconds"])


def _medians(runs: Sequence[tuple[Measured, float]]) -> dict[str, float]:
    def median(values: Iterable[float]) -> float:
        return round(statistics.median(values), 3)

    measured = [run for run, _ in runs]
    return {
        "wall_seconds": median(run.wall_seconds for run in measured),
        "cpu_seconds": median(cpu for _, cpu in runs),
        "chunks": median(float(run.steps["chunk_matches"]["numbers"]["chunks"]) for run in measured),
        "worker_peak_mb": median(run.worker_peak_mb for run in measured),
        "workers_together_peak_mb": median(
            sum(float(worker["peak_memory_mb"]) for worker in run.workers) for run in measured
        ),
        "driver_peak_mb": median(run.driver_peak_mb for run in measured),
    }


if __name__ == "__main__":
    main()
