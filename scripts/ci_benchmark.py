"""Compare CPU time and memory of this code with the committed baseline, in minutes and on any machine.

    python -m scripts.ci_benchmark             measure and compare; exit code 4 on a regression
    python -m scripts.ci_benchmark --strict    exit code 1 where noise does not allow a verdict
    python -m scripts.ci_benchmark --record    measure several times and write the baseline

The bundled sample runs through every step in one process per core (at most two), so that each core is always busy. The
CPU time of a step is divided by that of the calibration workload just before and after it, because a slower or busy
machine changes this ratio far less than the seconds. The whole command is also run for its CPU time and memory peaks. A
regression is confirmed by a second measurement. Where a change as large as the limit could not be distinguished from
the measured noise, the verdict is "cannot tell", with the smallest change that could.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from distributed import Client
from rich.console import Console
from rich.table import Table

from enrich_dist.core.files import read_json, write_json
from enrich_dist.errors import EXIT_FAILED, EXIT_PUBLISHED, EXIT_REGRESSION, BenchmarkError
from enrich_dist.farm.worker import run_chunk
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.runs.baseline import shift
from enrich_dist.runs.environment import Machine, this_code, this_machine, usable_cores
from enrich_dist.runs.metrics import cpu_calibration_units, driver_peak_bytes, worker_peak_bytes
from enrich_dist.runs.noise import noise_of
from enrich_dist.runs.session import CalibrationWorkload, run_session
from enrich_dist.settings import load_settings
from scripts.measuring import BENCHMARKS, ROOT

BASELINE = BENCHMARKS / "ci-baseline.json"
CONFIG = ROOT / "config" / "sample.yaml"

TIME_LIMITS: Final = {"all steps": 1.10, "whole command": 1.40}
"""Ratio to the baseline from which a metric is a regression; ``STEP_LIMIT`` for a step."""
STEP_LIMIT: Final = 1.30
MEMORY_LIMIT: Final = 1.20
FALSE_ALARM: Final = 0.01
"""Maximum probability of a false alarm on a machine in a constant state."""
_STEPS = ("awards", "companies", "chunks", "matching", "reduce")
_MEMORY = ("peak per worker", "peak of the driver")
_HEADLINES = ("all steps", *_MEMORY)  # of the specification; without a verdict on them there is none
_OTHER_MACHINE = 0.10  # by which ratios to the calibration workload may differ between machines
_SESSION_SCATTER = 0.015  # of sessions before it is measured; an assumption, which three sessions begin to replace
_MIN_SESSIONS = 3  # of the baseline, to know how much sessions differ
_MAX_PROCESSES = 2


class Verdict(StrEnum):
    """Verdict on a metric, or on the whole comparison."""

    REGRESSION = "regression"
    PASSED = "passed"
    CANNOT_TELL = "cannot tell"


Session = dict[str, list[float]]
"""Values of one measurement by metric: ratios to the calibration workload, and bytes."""


def main() -> None:
    """Measure and compare, or record."""
    options = _options()
    console = Console(soft_wrap=True, highlight=False)
    if options.process:
        json.dump(measure_steps(options.repeats, plant=options.plant), sys.stdout)
        return
    started = time.perf_counter()
    if options.record:
        sessions = [_measure(console, options, number) for number in range(1, options.sessions + 1)]
        write_json(options.baseline, baseline_document(sessions))
        console.print(f"Baseline of {len(sessions)} measurements in {options.baseline}")
        return
    baseline = read_baseline(options.baseline)
    found = compare(baseline, _measure(console, options, 1))
    if verdict_of(found) is Verdict.REGRESSION:
        console.print("A limit is exceeded. Measuring again to confirm.")
        found = confirmed(found, compare(baseline, _measure(console, options, 2)))
    _print(console, baseline, found)
    console.print(f"{time.perf_counter() - started:.0f} seconds in total")
    verdict = verdict_of(found)
    if options.output:
        write_json(options.output, {"verdict": verdict, "figures": found, **_surroundings()})
    console.print(f"Verdict: {verdict}", *reasons(found), sep="\n")
    sys.exit(exit_code(verdict, strict=options.strict))


def measure_steps(repeats: int, *, plant: float = 1.0) -> Session:
    """Run every step on the sample in this process, ``repeats`` times after a warm-up.

    Return the CPU time of each step over that of the calibration workload. ``plant``: factor on the CPU time of
    matching.
    """
    calibration = CalibrationWorkload()
    found: Session = {name: [] for name in (*_STEPS, "all steps")}
    for number in range(repeats + 1):
        with tempfile.TemporaryDirectory(prefix="ci-benchmark-") as folder:
            ratios, seconds, units = {}, 0.0, []
            speed = calibration.seconds()
            for name, step in _steps_of(Path(folder), plant).items():
                began = time.process_time()
                step()
                taken = time.process_time() - began
                speed, before = calibration.seconds(), speed
                unit = (speed + before) / 2
                ratios[name] = taken / unit
                seconds += taken
                units.append(unit)
        if number:
            ratios["all steps"] = seconds / statistics.mean(units)
            for name, ratio in ratios.items():
                found[name].append(round(ratio, 4))
    return found


def measure_command(repeats: int) -> Session:
    """Run the whole command; return its CPU time over that of the calibration workload, and its memory peaks."""
    found: Session = {"whole command": [], **{name: [] for name in _MEMORY}}
    with tempfile.TemporaryDirectory(prefix="ci-benchmark-") as folder:
        scratch, archive = Path(folder) / "scratch", Path(folder) / "records"
        for record in run_session(config=CONFIG, overrides=[], scratch=scratch, archive=archive, repeats=repeats):
            for name, value in (
                ("whole command", cpu_calibration_units(record)),
                ("peak per worker", worker_peak_bytes(record)),
                ("peak of the driver", driver_peak_bytes(record)),
            ):
                if value is None:
                    raise BenchmarkError(f"The {name} of the run could not be measured.", remedy="Measure on Linux.")
                found[name].append(round(value, 4))
    return found


def baseline_document(sessions: Sequence[Session]) -> dict[str, Any]:
    """Return the baseline document: all values by measurement and metric."""
    return {"sessions": list(sessions), **_surroundings()}


def read_baseline(path: Path) -> dict[str, Any]:
    """Return the baseline of a file.

    Raises ``BenchmarkError`` where there is none.
    """
    try:
        return read_json(path)
    except FileNotFoundError as error:
        raise BenchmarkError(
            f"There is no baseline {path}.", remedy="Record it: python -m scripts.ci_benchmark --record"
        ) from error


def compare(
    baseline: Mapping[str, Any], session: Session, *, same_machine: bool | None = None
) -> dict[str, dict[str, Any]]:
    """Compare each metric with the baseline.

    ``same_machine``: whether the session is of the baseline's kind of machine; None: look. Return medians, their ratio,
    its limit, the spread of the baseline's measurements, the smallest change that is detectable (0.08: 8%; infinite:
    too few repeats), and the verdict. A regression is at or above the limit, and more than the variation of repeats,
    sessions and machines.
    """
    if same_machine is None:
        same_machine = Machine(**baseline["machine"]) == this_machine()
    found = {}
    for name, values in session.items():
        sessions = [kept[name] for kept in baseline["sessions"]]
        medians = [statistics.median(kept) for kept in sessions]
        ratio = statistics.median(values) / statistics.median(medians)
        moved = shift([value for kept in sessions for value in kept], values, FALSE_ALARM)
        limit = limit_of(name)
        # With too few repeats there is no interval and the limit decides; memory hardly varies.
        is_real, detectable = moved.low == 0 or moved.low > 1, moved.smallest_visible
        if name in _MEMORY and math.isinf(detectable):
            detectable = limit - 1
        if len(sessions) >= _MIN_SESSIONS and name not in _MEMORY:
            visible = noise_of(medians, prior_scatter=_SESSION_SCATTER).visible
            is_real, detectable = is_real and ratio - 1 >= visible, max(detectable, visible)
        if not same_machine and name not in _MEMORY:
            is_real = is_real and ratio >= limit + _OTHER_MACHINE
            detectable = max(detectable, limit - 1 + _OTHER_MACHINE)
        if ratio >= limit and is_real:
            verdict = Verdict.REGRESSION
        else:
            can_tell = ratio < limit and detectable <= limit - 1
            verdict = Verdict.PASSED if can_tell else Verdict.CANNOT_TELL
        found[name] = {
            "baseline": statistics.median(medians),
            "now": statistics.median(values),
            "ratio": round(ratio, 4),
            "limit": limit,
            "baseline_spread": round(max(medians) / min(medians) - 1, 4),
            "smallest_detectable": None if math.isinf(detectable) else round(detectable, 4),
            "verdict": verdict,
            "regression": verdict is Verdict.REGRESSION,
        }
    return found


def confirmed(first: Mapping[str, Mapping[str, Any]], again: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the second comparison, whose regressions count only where the first one has them, too."""
    for name, item in again.items():
        if item["regression"] and not first[name]["regression"]:
            item |= {"verdict": Verdict.CANNOT_TELL, "regression": False}
    return again


def verdict_of(found: Mapping[str, Mapping[str, Any]]) -> Verdict:
    """Return a regression if any metric has one; otherwise all steps and the memory peaks decide."""
    if any(item["regression"] for item in found.values()):
        return Verdict.REGRESSION
    unsure = any(found[name]["verdict"] == Verdict.CANNOT_TELL for name in _HEADLINES if name in found)
    return Verdict.CANNOT_TELL if unsure else Verdict.PASSED


def reasons(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each metric that decides the verdict."""
    verdict, sentences = verdict_of(found), []
    for name, item in found.items():
        if verdict is Verdict.PASSED or item["verdict"] != verdict:
            continue
        if verdict is Verdict.CANNOT_TELL and name not in _HEADLINES:
            continue
        smallest = item["smallest_detectable"]
        visible = "no change could be detected" if smallest is None else f"{100 * smallest:.1f}% or more is detectable"
        change, limit = 100 * (item["ratio"] - 1), 100 * (item["limit"] - 1)
        sentences.append(f"  {name}: {change:+.1f}%, limit {limit:+.0f}%; {visible}")
    return sentences


def exit_code(verdict: Verdict, *, strict: bool) -> int:
    """Return the exit code: 4 on a regression, 1 without a verdict where ``strict``, else 0."""
    if verdict is Verdict.REGRESSION:
        return EXIT_REGRESSION
    return EXIT_FAILED if strict and verdict is Verdict.CANNOT_TELL else EXIT_PUBLISHED


def limit_of(name: str) -> float:
    """Return the ratio to the baseline from which the metric is a regression."""
    return MEMORY_LIMIT if name in _MEMORY else TIME_LIMITS.get(name, STEP_LIMIT)


def slowed(step: Callable[[], object], factor: float) -> Callable[[], object]:
    """Return the step with ``factor`` times its CPU time."""

    def slow() -> None:
        began = time.process_time()
        step()
        until = time.process_time() + (factor - 1) * (time.process_time() - began)
        while time.process_time() < until:
            sum(range(1_000))

    return slow


def _steps_of(folder: Path, plant: float) -> dict[str, Callable[[], object]]:
    pipeline = Pipeline(load_settings(CONFIG, [f"paths.work_dir={folder / 'work'}"], {}).settings, "ci")

    def match() -> None:
        for task in pipeline.tasks():
            run_chunk(task, pipeline.matcher())

    def reduce() -> None:
        pipeline.farm_chunks(_no_cluster)  # all chunks are finished
        pipeline.enrich_awards()

    steps = (
        pipeline.ingest_awards,
        pipeline.join_companies,
        pipeline.partition_recipients,
        slowed(match, plant),
        reduce,
    )
    return dict(zip(_STEPS, steps, strict=True))


def _no_cluster() -> Client:
    raise BenchmarkError("A chunk has no checkpoint.")


def _measure(console: Console, options: argparse.Namespace, number: int) -> Session:
    """Measure once: the steps in several processes at once, then the command."""
    began = time.perf_counter()
    arguments = ["--process", "--repeats", str(options.repeats), "--plant", str(options.plant)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "scripts.ci_benchmark", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for _ in range(min(usable_cores(), _MAX_PROCESSES))
    ]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise BenchmarkError("A process that measures the steps failed; its output is above.")
    found: Session = {}
    for name in (*_STEPS, "all steps"):
        found[name] = [value for output in outputs for value in json.loads(output)[name]]
    found |= measure_command(options.commands)
    console.print(f"Measurement {number}: {time.perf_counter() - began:.0f} seconds")
    return found


def _print(console: Console, baseline: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("metric", "baseline", "now", "change", "limit", "spread of the baseline", "verdict"):
        table.add_column(title, justify="left" if title in ("metric", "verdict") else "right")
    for name, item in found.items():
        values = (
            [f"{item[side] / 1e6:,.0f} MB" for side in ("baseline", "now")]
            if name in _MEMORY
            else [f"{item[side]:.2f}" for side in ("baseline", "now")]
        )
        shares = (item["ratio"] - 1, item["limit"] - 1)
        cells = [*values, *(f"{100 * share:+.1f}%" for share in shares), f"{100 * item['baseline_spread']:.1f}%"]
        table.add_row(name, *cells, "[bold red]regression[/]" if item["regression"] else str(item["verdict"]))
    console.print(table)
    console.print("Times are medians of CPU time divided by that of the calibration workload.")
    recorded = Machine(**baseline["machine"])
    if recorded != this_machine():
        console.print(
            f"The baseline is of another machine ({recorded.line()}), so changes of less than "
            f"{100 * _OTHER_MACHINE:.0f}% more than the limit are not regressions."
        )


def _surroundings() -> dict[str, Any]:
    code = this_code()
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": vars(this_machine()),
        "code": {"version": code.version, "revision": code.revision, "modified": code.modified},
        "load_average": round(os.getloadavg()[0], 2),
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", action="store_true", help="record the baseline")
    parser.add_argument("--strict", action="store_true", help="exit code 1 where noise does not allow a verdict")
    parser.add_argument("--sessions", type=int, default=5, help="measurements of a baseline [default: 5]")
    parser.add_argument("--repeats", type=int, default=6, help="of the steps, in each process [default: 6]")
    parser.add_argument("--commands", type=int, default=2, help="repeats of the whole command [default: 2]")
    parser.add_argument("--baseline", type=Path, default=BASELINE, help="file of the baseline")
    parser.add_argument("--output", type=Path, help="also write the comparison to this JSON file")
    parser.add_argument("--plant", type=float, default=1.0, help="factor on the CPU time of matching, for a test")
    parser.add_argument("--process", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except BenchmarkError as error:
        sys.exit(f"Error: {error}")
