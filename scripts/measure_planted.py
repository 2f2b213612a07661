"""Measure how often a planted regression and the same code are reported as a regression.

    python -m scripts.measure_planted        -> reports/benchmarks/TIMESTAMP-planted.json

After a baseline of seven runs of the bundled sample, runs of the same code alternate with runs whose matcher uses 15%
more CPU time and 25% more memory (``tests.support.planted``). Every seven consecutive runs of either kind are compared
with the baseline like a session of ``enrich-dist bench compare``. The report contains no path and no host name.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from enrich_dist.runs.baseline import Verdict, compare
from enrich_dist.runs.environment import this_machine
from enrich_dist.runs.metrics import worker_peak_bytes
from enrich_dist.runs.records import RunRecord
from enrich_dist.runs.session import DEFAULT_REPEATS, command_of, run_session
from scripts.measuring import BENCHMARKS, ROOT, write_record

MORE_CPU, MORE_MEMORY = 0.15, 0.25
RUNS = 20


def one_run(folder: Path, burn_seconds: float, hold_bytes: int) -> RunRecord:
    """Run the sample; each call of the matcher burns CPU and holds memory."""
    planted = [sys.executable, "-m", "tests.support.planted", str(burn_seconds), str(hold_bytes)]
    [record] = run_session(
        config=ROOT / "config" / "sample.yaml",
        overrides=[],
        scratch=folder / "scratch",
        archive=folder / "archive",
        repeats=1,
        command=command_of(planted),
    )
    return record


def sessions(baseline: Sequence[RunRecord], runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Compare every ``DEFAULT_REPEATS`` consecutive runs; return how often each metric was a regression."""
    comparisons = [compare(baseline, runs[at : at + DEFAULT_REPEATS]) for at in range(len(runs) - DEFAULT_REPEATS + 1)]
    changes = [change for comparison in comparisons for change in comparison.metrics]
    flagged = Counter(change.metric.name for change in changes if change.verdict is Verdict.REGRESSION)
    percents: dict[str, list[float]] = {change.metric.name: [] for change in changes}
    visible: dict[str, list[float]] = {name: [] for name in percents}
    for change in changes:
        percents[change.metric.name].append(change.percent)
        visible[change.metric.name].append(100 * change.shift.smallest_visible)
    return {
        "runs": len(runs),
        "sessions": len(comparisons),
        "flagged": sum(comparison.verdict is Verdict.REGRESSION for comparison in comparisons),
        "flagged_by_figure": dict(sorted(flagged.items())),
        "percent_median": {name: round(statistics.median(of), 1) for name, of in sorted(percents.items())},
        "smallest_visible_percent_median": {
            name: round(statistics.median(of), 1) for name, of in sorted(visible.items())
        },
    }


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each kind")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="planted-") as name:
        folder = Path(name)
        baseline = [one_run(folder, 0.0, 0) for _ in range(DEFAULT_REPEATS)]
        cpu_seconds = statistics.median(record.cpu_seconds or 0.0 for record in baseline)
        peak_bytes = statistics.median(worker_peak_bytes(record) or 0.0 for record in baseline)
        burn_seconds = MORE_CPU * cpu_seconds / baseline[0].chunks
        same, planted = [], []
        for number in range(options.runs):
            same.append(one_run(folder, 0.0, 0))
            planted.append(one_run(folder, burn_seconds, round(MORE_MEMORY * peak_bytes)))
            print(f"{number + 1} of {options.runs}", flush=True)
    machine = this_machine()
    figures = {
        "about": (__doc__ or "").split("\n\n")[2],
        "machine": {"processor": machine.cpu_model, "cores": machine.cores},
        "load": round(os.getloadavg()[2], 1),
        "baseline": {
            "runs": len(baseline),
            "wall_seconds": statistics.median(record.wall_seconds or 0.0 for record in baseline),
            "cpu_seconds": cpu_seconds,
            "worker_peak_memory_bytes": peak_bytes,
        },
        "same": sessions(baseline, same),
        "planted": sessions(baseline, planted),
    }
    write_record(BENCHMARKS, "planted", figures)


if __name__ == "__main__":
    main()
