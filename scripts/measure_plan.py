"""Real runs beside their plans: measures the constants of the cost model, and how right its predictions are.

    python -m scripts.measure_plan calibrate   runs that constants are fitted to -> reports/planning/calibrate.json
    python -m scripts.measure_plan fit         these -> enrich_dist/planning/data/constants.json
    python -m scripts.measure_plan validate    runs of other sizes -> reports/planning/validate.json
    python -m scripts.measure_plan show        what validate.json says

Every case is the installed command in a process of its own: ``enrich-dist plan``, then ``enrich-dist run``. Before and
after each run the yardstick is measured: on a machine with neighbours it tells how much of an error is theirs, as a
prediction is made for the speed that the machine had when the plan was made. Files hold no path and no host name. Does
not judge.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from enrich_dist.cluster.forkserver import UNTOUCHED_BYTES
from enrich_dist.core.files import read_json, write_json
from enrich_dist.events import Step
from enrich_dist.matching.memory import PROCESS_BYTES
from enrich_dist.planning.compare import read_comparison
from enrich_dist.planning.constants import DESCRIPTIONS, FILE, constants
from enrich_dist.planning.machine import contention, yardstick_wall_seconds
from enrich_dist.planning.model import Cluster, Speed, Workload, farm, stage_times
from enrich_dist.planning.predicted import MADE_BY_PLAN, expected_peak, read
from enrich_dist.planning.stages import STAGES
from enrich_dist.runs.machine import this_machine, usable_cores
from enrich_dist.settings import ENV_PREFIX
from enrich_dist.store.run_directory import STEPS, Output, RunDirectory
from scripts.generator.generate import write_awards, write_recipients

ROOT = Path(__file__).resolve().parents[1]
REPORTS = ROOT / "reports" / "planning"
CONSTANTS = ROOT / "enrich_dist" / "planning" / FILE
SAMPLE = ROOT / "data" / "sample" / "recipients.parquet"
COMMAND = Path(sys.executable).parent / "enrich-dist"
SEED = 1
# Of this machine when nothing else was at work, and the runs that were measured then.
IDLE_YARDSTICK_SECONDS = 0.095
IDLE_ROW_SECONDS = 8e-6  # docs/performance/enrichment-benchmarks.md, "Where the time goes"
IDLE_REPORTS = ("20261126T182402Z-scale.json", "20261126T182456Z-growth.json", "20261127T031311Z-full.json")
MEMORY_REPORT = "20261126T124703Z-memory.json"  # its projections are of workers started from nothing
SIMULATION = REPORTS / "simulation.json"


@dataclass(frozen=True)
class Case:
    """A run: recipients, companies, rows of a chunk, workers."""

    recipients: int
    companies: int
    chunk_size: int
    workers: int

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.recipients:,} x {self.companies:,}, chunks of {self.chunk_size:,}, {self.workers} workers"


# None of the sizes of one stands in the other: constants are not judged by what they were fitted to.
CALIBRATE = (
    Case(60_000, 3_000, 10_000, 2),
    Case(200_000, 8_000, 50_000, 1),
    Case(200_000, 8_000, 4_000, 2),
    Case(60_000, 3_000, 1_000, 2),
    Case(500_000, 15_000, 50_000, 2),
    Case(800_000, 8_000, 16_000, 2),
)
VALIDATE = (
    Case(100_000, 5_000, 50_000, 2),
    Case(100_000, 5_000, 10_000, 1),
    Case(300_000, 5_000, 20_000, 2),
    Case(300_000, 20_000, 50_000, 1),
    Case(1_000_000, 20_000, 50_000, 2),
    Case(1_000_000, 5_000, 20_000, 2),
    Case(1_000_000, 20_000, 100_000, 1),
)


def measure(cases: Sequence[Case], repeats: int, name: str, *, fresh_too: bool, keep: bool) -> None:
    """Run all cases in turn, several times over; the file is written after each run."""
    path = REPORTS / f"{name}.json"
    runs: list[dict[str, Any]] = read_json(path)["runs"] if keep and path.exists() else []
    with tempfile.TemporaryDirectory(prefix="measure-plan-") as folder:
        for repeat in range(repeats):
            for case in cases:
                fresh = fresh_too and repeat % 2 == 0
                runs.append(one_run(case, Path(folder), fresh=fresh))
                print(json.dumps({k: runs[-1][k] for k in ("case", "wall", "predicted_wall")}), flush=True)
                machine = {"processor": this_machine().cpu_model, "cores": this_machine().cores}
                written = datetime.now(UTC).isoformat(timespec="seconds")
                write_json(path, {"timestamp": written, "machine": machine, "runs": runs})


def one_run(case: Case, folder: Path, *, fresh: bool) -> dict[str, Any]:
    """Plan, then run; ``fresh``: without what the plan has made already."""
    recipients, awards = inputs(case, folder)
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    settings = {
        "inputs.awards": awards,
        "inputs.recipients": recipients,
        "paths.work_dir": work,
        "paths.benchmarks": work / "benchmarks",
        "chunk_size": case.chunk_size,
        "cluster.n_workers": case.workers,
        "match_rate_threshold": 0,
    }
    arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    told = json.loads(command(["plan", "--json", *arguments]))
    directory = RunDirectory(work)
    prediction = read(directory)
    if fresh:
        for part in (directory.awards, directory.companies, directory.index):
            shutil.rmtree(part)
    before, load = yardstick_wall_seconds(), os.getloadavg()[0]
    started = time.perf_counter()
    command(["run", *arguments])
    wall = time.perf_counter() - started
    after = yardstick_wall_seconds()
    comparison = read_comparison(directory)
    farm = directory.latest(Step.CHUNK_MATCHES).numbers
    result = directory.output(Output.RESULT)
    return {
        "case": asdict(case),
        "fresh": fresh,
        "load": round(load, 2),
        "yardstick_seconds": [round(value, 4) for value in (prediction.basis.speed.yardstick_seconds, before, after)],
        "wall": round(wall, 3),
        "predicted_wall": round(sum(stage.seconds for stage in prediction.stages(() if fresh else MADE_BY_PLAN)), 3),
        "work": asdict(prediction.basis.work),
        "speed": asdict(prediction.basis.speed),
        "stages": {item.name: asdict(item) for item in comparison.stages},
        "farm_seconds": farm["farm_seconds"],
        "candidates": farm["candidates"],
        "worker_peak_bytes": farm["worker_peak_memory_mb"] * 1e6,
        "projected_peak_bytes": farm["worker_projected_peak_memory_mb"] * 1e6,
        "expected_peak_bytes": prediction.expected_peak_bytes,
        "process_bytes": prediction.process_bytes,
        "disk": {item.name: [round(item.predicted), item.actual] for item in comparison.disk},
        "result_bytes": sum(path.stat().st_size for path in result.iterdir()),
        "report_planned_bytes": told["disk_bytes"]["total_bytes"],
    }


def inputs(case: Case, folder: Path) -> tuple[Path, Path]:
    """The generated files of a case, made once."""
    recipients, awards = folder / f"r{case.recipients}.parquet", folder / f"a{case.companies}.csv"
    smallest = folder / f"r{60_000}.parquet"
    for path, rows in ((smallest, 60_000), (recipients, case.recipients)):
        if not path.exists():
            write_recipients(path, rows=rows, seed=SEED, sample=SAMPLE)
    if not awards.exists():
        write_awards(awards, companies=case.companies, recipients=smallest, seed=SEED)
    return recipients, awards


def command(arguments: Iterable[str]) -> str:
    """Standard output of the installed command, without the caller's variables."""
    environment = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME" and not k.startswith(ENV_PREFIX)}
    done = subprocess.run([COMMAND, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(
            f"{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}\nenrich-dist {arguments} ended with {done.returncode}."
        )
    return done.stdout


def fit() -> None:
    """Constants from the calibration, by least squares without negative numbers."""
    report = read_json(REPORTS / "calibrate.json")
    runs = report["runs"]
    values = fitted(runs)
    how = f"{len(runs)} runs of scripts/measure_plan.py calibrate, {report['timestamp'][:10]}"
    again = "python -m scripts.measure_plan calibrate && python -m scripts.measure_plan fit"
    write_json(
        CONSTANTS,
        {
            "measured": {
                "timestamp": report["timestamp"],
                "machine": report["machine"],
                "runs": len(runs),
                "yardstick_seconds": statistics.median(y(run) for run in runs),
            },
            "constants": {
                name: {"value": float(f"{values[name]:.4g}"), "unit": unit, "what": what, "how": how, "again": again}
                for name, (unit, what) in DESCRIPTIONS.items()
            },
        },
    )
    constants.cache_clear()
    print(json.dumps(values, indent=1))


def idle_runs() -> list[dict[str, float]]:
    """Runs of up to 3.3 million recipients that scripts/benchmark_enrichment.py made when nothing else was at work:
    seconds by step, and what they depend on."""
    found = []
    for path in (ROOT / "reports" / "benchmarks" / name for name in IDLE_REPORTS):
        for case in read_json(path)["cases"]:
            for run in case["runs"]:
                steps = run["steps"]
                numbers = steps["chunk_matches"]["numbers"]
                found.append(
                    {
                        "1": 1.0,
                        "awards": float(steps["sbir_awards"]["rows"]),
                        "candidates": float(numbers["candidates"]),
                        "chunks": float(numbers["chunks"]),
                        "recipients": float(steps["recipient_chunks"]["rows"]),
                        "workers": float(numbers["workers"]),
                        "farm_seconds": float(numbers["farm_seconds"]),
                        **{
                            stage: float(steps[stage]["seconds"])
                            for stage in ("sbir_awards", "award_companies", "enriched_awards", "published_awards")
                        },
                    }
                )
    return found


def memory_cases() -> list[tuple[list[float], float]]:
    """Bytes for the worker itself and for the rest, and the peak that scripts/measure_memory.py measured: of chunks and
    batches larger than a calibration has, without which the constants would be stretched to what they never met."""
    process_mb = (PROCESS_BYTES - UNTOUCHED_BYTES) / 1e6
    return [
        ([1e6 * process_mb, 1e6 * (case["projected_mb"] - PROCESS_BYTES / 1e6)], 1e6 * case["measured_mb"])
        for case in read_json(ROOT / "reports" / "benchmarks" / MEMORY_REPORT)["cases"]
    ]


def y(run: dict[str, Any]) -> float:
    """The yardstick while it ran, as far as that is known: the mean of before and after."""
    return statistics.fmean(run["yardstick_seconds"][1:])


def fitted(runs: list[dict[str, Any]]) -> dict[str, float]:
    """Values of all constants. Times are divided by the yardstick of their run first."""
    values: dict[str, float] = {}

    def solve(names: Sequence[str], rows: list[tuple[list[float], float]]) -> None:
        # Weighed by what is explained: an error of a tenth counts the same in a short run and a long one.
        matrix = np.array([[value / max(target, 1e-3) for value in features] for features, target in rows])
        solution, _ = nnls(matrix, np.ones(len(rows)))
        values.update(zip(names, solution.tolist(), strict=True))

    def actual(run: dict[str, Any], stage: str) -> float | None:
        item = run["stages"][stage]
        return None if item["actual"] is None or item["reused"] else item["actual"] / y(run)

    def of(stage: str, *features: str) -> list[tuple[list[float], float]]:
        rows = []
        for run in runs:
            target = actual(run, stage)
            known = {"1": 1.0, "awards": run["work"]["awards"], "candidates": run["candidates"], "chunks": chunks(run)}
            if target is not None:
                rows.append(([known[name] for name in features], target))
        return rows + [
            ([idle[name] for name in features], idle[stage] / IDLE_YARDSTICK_SECONDS)
            for idle in idle_runs()
            if stage in idle
        ]

    values["report_fixed"] = statistics.median(target for _, target in of("report", "1"))
    values["start_up"] = statistics.median(target for _, target in of("start_up", "1"))
    solve(("awards_fixed", "awards_row"), of("sbir_awards", "1", "awards"))
    solve(("companies_fixed", "companies_award"), of("award_companies", "1", "awards"))
    solve(("publish_fixed", "publish_award"), of("published_awards", "1", "awards"))
    solve(
        ("reduce_fixed", "reduce_award", "reduce_candidate", "reduce_chunk"),
        of("enriched_awards", "1", "awards", "candidates", "chunks"),
    )
    solve(
        ("partition_fixed", "partition_beside"),
        [
            ([1.0, run["speed"]["partition_row_seconds"] * run["work"]["source_rows"] / run["yardstick_seconds"][0]], a)
            for run in runs
            if (a := actual(run, "recipient_chunks")) is not None
        ],
    )
    values["reused"] = statistics.median(
        item["actual"] / y(run) for run in runs for item in run["stages"].values() if item["reused"]
    )
    waits = [wait for run in runs if (wait := cluster_wait(run)) is not None]
    values["cluster_start"] = statistics.median(waits) if waits else constants()["cluster_start"].value
    values["driver_chunk"] = driver_chunk()
    solve(("farm_fixed", "farm_beside"), farm_rows(runs, values["driver_chunk"]))
    solve(
        ("result_fixed_bytes", "result_award_bytes"),
        [([1.0, run["work"]["awards"]], run["result_bytes"]) for run in runs],
    )
    peaks = [
        ([float(run["process_bytes"]), run["projected_peak_bytes"] - run["process_bytes"]], run["worker_peak_bytes"])
        for run in runs
    ] + memory_cases()
    solve(("peak_process", "peak_rest"), peaks)
    values["spread_memory"] = max(
        abs(peak / (values["peak_process"] * process + values["peak_rest"] * rest) - 1)
        for (process, rest), peak in peaks
    )
    values.update({f"spread_{stage}": 0.0 for stage in STAGES})
    values.update(spreads(runs, values))
    return values


def chunks(run: dict[str, Any]) -> int:
    """Chunks of a run."""
    return -(-int(run["case"]["recipients"]) // int(run["case"]["chunk_size"]))


def cluster_wait(run: dict[str, Any]) -> float | None:
    """Yardsticks until the cluster was there; None where nobody waited for it."""
    step = run["stages"]["chunk_matches"]["actual"]
    wait = step - run["farm_seconds"]
    before = sum(run["stages"][stage]["actual"] for stage in STEPS[:3])
    return (wait + before) / y(run) if wait > 0.5 else None


def driver_chunk() -> float:
    """Yardsticks of CPU that a chunk takes of driver or scheduler, whichever is more, beside 100 workers and more."""
    if not SIMULATION.exists():
        return constants()["driver_chunk"].value
    shares: list[float] = [
        max(case["driver_cpu_ms_per_chunk"], case["scheduler_cpu_ms_per_chunk"]) / 1e3 / case["yardstick_cpu_seconds"]
        for case in read_json(SIMULATION)["cases"]
        if case["workers"] >= 100
    ]
    return statistics.median(shares)


def farm_rows(runs: list[dict[str, Any]], driver: float) -> list[tuple[list[float], float]]:
    """What farms took, by what their chunks explain; in yardsticks."""
    unit = {"driver_chunk": driver, "farm_beside": 1.0}
    k = {name: replace(constants()["driver_chunk"], value=value) for name, value in unit.items()}
    rows = []
    for run in runs:
        case = Case(**run["case"])
        bounds = farm(Workload(**run["work"]), at_run(run), k, Cluster(case.workers), case.chunk_size)
        rows.append(([1.0, bounds.seconds / y(run)], run["farm_seconds"] / y(run)))
    for idle in idle_runs():
        alone = IDLE_ROW_SECONDS * idle["recipients"] * here_contention() / idle["workers"]
        rows.append(([1.0, alone / IDLE_YARDSTICK_SECONDS], idle["farm_seconds"] / IDLE_YARDSTICK_SECONDS))
    return rows


@cache
def here_contention() -> float:
    """Of this machine; its core count is that of the runs."""
    return contention(usable_cores())


def at_run(run: dict[str, Any]) -> Speed:
    """The speed of the plan, as it would have been measured when the run was under way."""
    speed = Speed(**run["speed"])
    slower = y(run) / run["yardstick_seconds"][0]
    return replace(
        speed,
        contention=min(speed.contention, here_contention()),
        yardstick_seconds=y(run),
        partition_row_seconds=slower * speed.partition_row_seconds,
        match_row_seconds=slower * speed.match_row_seconds,
        chunk_seconds=slower * speed.chunk_seconds,
        measured_seconds={stage: slower * seconds for stage, seconds in speed.measured_seconds.items()},
    )


def spreads(runs: list[dict[str, Any]], values: dict[str, float]) -> dict[str, float]:
    """By stage: how far four of five runs lay from the model at the speed of their moment."""
    k = {name: replace(constants()[name], value=value) for name, value in values.items()}
    logs: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for run in runs:
        case = Case(**run["case"])
        reused = () if run["fresh"] else MADE_BY_PLAN
        speed = replace(at_run(run), measured_seconds={})
        for stage in stage_times(
            Workload(**run["work"]), speed, k, Cluster(case.workers), case.chunk_size, reused=reused
        ):
            item = run["stages"][stage.stage]
            if item["actual"] and not item["reused"] and stage.seconds > 0:
                logs[stage.stage].append(abs(math.log(item["actual"] / stage.seconds)))
    return {f"spread_{stage}": math.exp(float(np.quantile(found, 0.8))) - 1 for stage, found in logs.items() if found}


def memory_error(run: dict[str, Any]) -> float:
    """Of a worker's peak, by the constants of now: whatever they were when the plan was made."""
    return expected_peak(run["projected_peak_bytes"], run["process_bytes"]) / float(run["worker_peak_bytes"]) - 1


def errors(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Errors of a report by case, as medians: of the wall as it was told, and at the machine's speed of the run."""
    by_case: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_case.setdefault(Case(**run["case"]).name, []).append(run)
    rows = []
    for name, group in by_case.items():
        walls = [run["predicted_wall"] / run["wall"] - 1 for run in group]
        adjusted = [run["predicted_wall"] * y(run) / run["yardstick_seconds"][0] / run["wall"] - 1 for run in group]
        memory = [memory_error(run) for run in group]
        disks = [
            sum(item[0] for item in run["disk"].values()) / sum(item[1] for item in run["disk"].values()) - 1
            for run in group
        ]
        rows.append(
            {
                "case": name,
                "runs": len(group),
                "wall_seconds": statistics.median(run["wall"] for run in group),
                "predicted_seconds": statistics.median(run["predicted_wall"] for run in group),
                "wall_error": statistics.median(walls),
                "wall_error_at_speed_of_run": statistics.median(adjusted),
                "memory_error": statistics.median(memory),
                "memory_worst": max(memory, key=abs),
                "disk_error": statistics.median(disks),
            }
        )
    every = [run["predicted_wall"] / run["wall"] - 1 for run in runs]
    adjusted = [run["predicted_wall"] * y(run) / run["yardstick_seconds"][0] / run["wall"] - 1 for run in runs]
    return {
        "cases": rows,
        "runs": len(runs),
        "wall_within_25": sum(abs(error) <= 0.25 for error in every),
        "wall_at_speed_within_25": sum(abs(error) <= 0.25 for error in adjusted),
        "memory_within_15": sum(abs(memory_error(run)) <= 0.15 for run in runs),
        "load": [min(run["load"] for run in runs), max(run["load"] for run in runs)],
        "speed_changes": [
            round(f(max(run["yardstick_seconds"]) / min(run["yardstick_seconds"]) for run in runs), 2)
            for f in (lambda values: statistics.median(values), max)
        ],
    }


def main() -> None:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=["calibrate", "fit", "validate", "show"])
    parser.add_argument("--repeats", type=int, default=4, help="of each case [default: 4]")
    parser.add_argument("--keep", action="store_true", help="add to the runs that the report holds already")
    options = parser.parse_args()
    match options.what:
        case "calibrate":
            measure(CALIBRATE, options.repeats, "calibrate", fresh_too=True, keep=options.keep)
        case "validate":
            measure(VALIDATE, options.repeats, "validate", fresh_too=False, keep=options.keep)
        case "fit":
            fit()
        case _:
            print(json.dumps(errors(read_json(REPORTS / "validate.json")["runs"]), indent=1))


if __name__ == "__main__":
    main()
