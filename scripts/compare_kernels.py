"""Ways of finding the pairs of names that are worth comparing, measured on the same names.

    python -m scripts.compare_kernels --case DIRECTORY          a case as ``scripts.peers.cases`` reads it

All companies are the index, random recipients are looked up in it. Every kernel gets the distinct names of both sides
in the project's normal form (legal, alternate and those behind DBA; made outside the clock) and answers with pairs of
recipient and company. Each runs in a process of its own on one thread, some times over, of which the least CPU time
counts: the machine may be busy. Building the index of the companies counts apart, importing and compiling not at all.
Reported are CPU seconds, the memory taken beyond inputs and libraries (peak of the first time; Linux only), pairs kept,
and the share of the true partners, of all and of the findable ones, that are among the pairs. A kernel that compares
too many pairs is asked for a part of the recipients; its times are extrapolated in proportion and marked with a tilde.

Not covered: how pairs are scored and decided (``compare_peers``, ``measure_accuracy``), identifiers, tuning of the
rivals beyond what ``name_kernels`` tells, more than one thread. A kernel whose library is missing is not measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist.core.files import write_json
from scripts.name_kernels import KERNELS, Ints, Kernel, Pairs, Side
from scripts.peers.answers import COLUMNS
from scripts.peers.cases import Known, read_case
from scripts.peers.process import measure

ROOT: Final = Path(__file__).resolve().parents[1]
RECIPIENTS: Final = 50_000
SAMPLE: Final = 2_000
REPEATS: Final = 3
MB: Final = 1_000_000
FEW: Final = 100
"""Rows of the warm-up, which imports and compiles what there is."""

T = TypeVar("T")


def main() -> None:
    """Measure the kernels one after the other, print and write what came out."""
    options = _options()
    if options.child:
        _child(options)
        return
    case = read_case(options.case, companies=None, recipients=None, seed=options.seed)
    with tempfile.TemporaryDirectory(prefix="enrich-kernels-") as name:
        scratch = Path(name)
        right = case.right.slice(0, options.recipients)  # shuffled already
        pq.write_table(case.left, scratch / "left.parquet")
        pq.write_table(right, scratch / "right.parquet")
        rows = []
        for kernel in options.only or KERNELS:
            print(f"{kernel} ...", file=sys.stderr, flush=True)
            rows.append(_measured(kernel, scratch, options, Truth.of(case.known, case.left, right)))
    report = {
        "case": options.case.name,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "seed": options.seed,
        "companies": len(case.left),
        "recipients": len(right),
        "repeats": options.repeats,
        "kernels": rows,
        "cpu_count": os.cpu_count(),
        "load_average_at_end": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
    if options.output:
        write_json(options.output, report)
    print(markdown(report))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", type=Path, required=True, help="directory with organisations, recipients and truth")
    parser.add_argument("--recipients", type=int, default=RECIPIENTS, help=f"random recipients [{RECIPIENTS}]")
    parser.add_argument("--sample", type=int, default=SAMPLE, help=f"of them, where pairs are too many [{SAMPLE}]")
    parser.add_argument("--repeats", type=int, default=REPEATS, help=f"of which the best counts [{REPEATS}]")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of recipients [1]")
    parser.add_argument("--only", nargs="+", choices=list(KERNELS), metavar="NAME", help=", ".join(KERNELS))
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each kernel [600]")
    parser.add_argument("--output", type=Path, help="JSON file to write the figures to")
    parser.add_argument("--child", choices=list(KERNELS), help=argparse.SUPPRESS)
    return parser.parse_args()


@dataclass(frozen=True)
class Truth:
    """Pairs of rows that belong together, as keys ``recipient * companies + company``, and whose partner is findable.

    ``companies``: rows of the companies that have a partner among the recipients.
    """

    keys: Ints
    companies: Ints
    findable: Ints
    width: int

    @classmethod
    def of(cls, known: Mapping[str, Known], left: pa.Table, right: pa.Table) -> Truth:
        """What is known of the companies, as far as it concerns these recipients."""
        recipient = {identity: row for row, identity in enumerate(right["id"].to_pylist())}
        keys, findable, width = [], [], max(len(left), 1)
        for company, identity in enumerate(left["id"].to_pylist()):
            facts = known[identity]
            keys += [recipient[other] * width + company for other in facts.acceptable if other in recipient]
            findable += [company] if facts.findable else []
        ascending = np.sort(np.array(keys, dtype=np.int64))
        companies = np.unique(ascending % width)
        return cls(ascending, companies, np.intersect1d(companies, np.array(findable, dtype=np.int64)), width)

    def among(self, recipients: int) -> Truth:
        """The part that concerns the first recipients."""
        keys = self.keys[self.keys < recipients * self.width]
        companies = np.unique(keys % self.width)
        return Truth(keys, companies, np.intersect1d(companies, self.findable), self.width)

    def recall(self, pairs: Pairs) -> dict[str, Any]:
        """Share of the companies with a partner of which one is among the pairs."""
        hit = np.intersect1d(self.keys, pairs.recipients * self.width + pairs.companies) % self.width
        return {
            "partners": len(self.companies),
            "findable": len(self.findable),
            "recall": _share(hit, self.companies),
            "recall_findable": _share(hit, self.findable),
        }


def _share(hit: Ints, wanted: Ints) -> float | None:
    return round(float(np.isin(wanted, hit).mean()), 4) if len(wanted) else None


def _measured(name: str, scratch: Path, options: argparse.Namespace, truth: Truth) -> dict[str, Any]:
    """The figures of one kernel, as they go into the JSON."""
    kernel = KERNELS[name]
    row: dict[str, Any] = {"name": name, "title": kernel.title, "how": kernel.how}
    try:
        row["libraries"] = {library: version(library) for library in kernel.libraries}
    except PackageNotFoundError as error:
        return {**row, "end": f"not measured: {error.name} is not installed"}
    count = min(options.recipients, options.sample) if kernel.sampled else options.recipients
    command: list[str | Path] = [sys.executable, "-m", "scripts.compare_kernels", "--child", name, "--case", scratch]
    command += ["--recipients", str(count), "--repeats", str(options.repeats)]
    # One thread, whatever library would take more.
    alone = {f"{prefix}_NUM_THREADS": "1" for prefix in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    measured = measure(command, cwd=ROOT, timeout=options.timeout, environment={**os.environ, **alone})
    if measured.end != "finished":
        return {**row, "end": measured.end, "said": measured.tail.strip().splitlines()[-1:]}
    found = pq.read_table(scratch / f"{name}.parquet")
    pairs = Pairs(found["recipient"].to_numpy(), found["company"].to_numpy())
    record = json.loads((scratch / f"{name}.json").read_text("utf-8"))
    scale = options.recipients / count
    return {
        **row,
        **record,
        "end": measured.end,
        "asked": count,
        "cpu_seconds_all": round(record["cpu_seconds"] * scale, 3),
        "pairs": len(found),
        "pairs_per_recipient": round(len(found) / max(count, 1), 3),
        **truth.among(count).recall(pairs),
    }


def _child(options: argparse.Namespace) -> None:
    """Run a kernel in this process and leave its pairs and its figures beside the inputs."""
    scratch: Path = options.case
    pa.set_cpu_count(1)
    companies = Side.of(pq.read_table(scratch / "left.parquet", schema=COLUMNS))
    table = pq.read_table(scratch / "right.parquet", schema=COLUMNS).slice(0, options.recipients)
    with tempfile.TemporaryDirectory(dir=scratch) as own:
        pairs, record = run(KERNELS[options.child], companies, Side.of(table), Path(own), options.repeats)
    pq.write_table(
        pa.table({"recipient": pairs.recipients, "company": pairs.companies}), scratch / f"{options.child}.parquet"
    )
    (scratch / f"{options.child}.json").write_text(json.dumps(record), "utf-8")


def run(
    kernel: Kernel, companies: Side, recipients: Side, scratch: Path, repeats: int
) -> tuple[Pairs, dict[str, float | None]]:
    """Build the index and ask it, both ``repeats`` times; (pairs, least CPU seconds, memory that the first took)."""
    warm_up = scratch / "warm-up"
    warm_up.mkdir()
    few = [Side.of(side.table.slice(0, FEW)) for side in (companies, recipients)]
    kernel.build(few[0], warm_up)(few[1]).ask()
    builds, asks, wholes = [], [], []
    before = _forget_peak()
    peak = None
    for number in range(repeats):
        directory = scratch / str(number)
        directory.mkdir()
        seconds, index = _timed(partial(kernel.build, companies, directory))
        builds.append(seconds)
        question = index(recipients)
        seconds, pairs = _timed(question.ask)
        asks.append(seconds)
        peak = peak if number else _peak()
        if question.from_text:
            wholes.append(_timed(question.from_text)[0])
    return pairs, {
        "build_cpu_seconds": round(min(builds), 3),
        "cpu_seconds": round(min(asks), 3),
        "cpu_seconds_greatest": round(max(asks), 3),
        "cpu_seconds_with_normalising": round(min(wholes), 3) if wholes else None,
        "memory_mb": round((peak - before) / MB) if before is not None and peak is not None else None,
        "names": len(recipients.names),
        "company_names": len(companies.names),
    }


def _forget_peak() -> int | None:
    """Memory of this process now, from which on its peak is counted; None where the system cannot do that."""
    pa.default_memory_pool().release_unused()
    try:
        Path("/proc/self/clear_refs").write_text("5", "ascii")
    except OSError:
        return None
    return _peak()


def _peak() -> int | None:
    """The most memory this process had, in bytes, since its peak was forgotten."""
    status = Path("/proc/self/status")
    lines = status.read_text("ascii").splitlines() if status.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)


def _timed(function: Callable[[], T]) -> tuple[float, T]:
    """CPU seconds of all threads of this process, and what came out."""
    started = time.process_time()
    result = function()
    return time.process_time() - started, result


HEADERS: Final = (
    "kernel",
    "CPU s",
    "times ours",
    "index CPU s",
    "memory MB",
    "pairs per recipient",
    "recall, findable",
    "recall, all",
)


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a table and what its rows are."""
    kernels: Sequence[Mapping[str, Any]] = report["kernels"]
    ours = next((row.get("cpu_seconds_all") for row in kernels if row["name"] == "ours"), None)
    rows = [HEADERS, ("---", *("---:" for _ in HEADERS[1:])), *(_row(row, ours) for row in kernels)]
    lines = [
        f"{report['case']}: {report['recipients']:,} random recipients against {report['companies']:,} companies; one "
        f"thread, best of {report['repeats']}; {report['cpu_count']} cores, load {report['load_average_at_end']}.",
        "",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
    ]
    for row in kernels:
        libraries = ", ".join(f"{name} {number}" for name, number in row.get("libraries", {}).items())
        lines.append(f"- {row['title']} ({libraries or 'library missing'}): {row['how']}.")
        if row.get("partners"):
            lines[-1] += (
                f" Asked: {row['asked']:,} recipients, {row['partners']:,} partners, {row['findable']:,} findable."
            )
        if row.get("cpu_seconds_with_normalising"):
            lines[-1] += f" With normalising and places: {row['cpu_seconds_with_normalising']:.2f} CPU s."
    if any(row.get("asked", report["recipients"]) < report["recipients"] for row in kernels):
        lines += [
            "",
            "~ extrapolated in proportion from the recipients that were asked; memory, pairs and recall are theirs.",
        ]
    return "\n".join(lines)


def _row(row: Mapping[str, Any], ours: float | None) -> Sequence[str]:
    if "cpu_seconds" not in row:
        return (f"{row['title']}: {row['end']}", *("–" for _ in HEADERS[1:]))
    mark = "~" if row["cpu_seconds_all"] != row["cpu_seconds"] else ""
    recalls = [row[name] for name in ("recall_findable", "recall")]
    return (
        row["title"],
        f"{mark}{row['cpu_seconds_all']:.2f}",
        f"{mark}{row['cpu_seconds_all'] / ours:.1f}" if ours else "–",
        f"{row['build_cpu_seconds']:.2f}",
        "–" if row["memory_mb"] is None else f"{row['memory_mb']:,}",
        f"{row['pairs_per_recipient']:.2f}",
        *("–" if value is None else f"{value:.3f}" for value in recalls),
    )


if __name__ == "__main__":
    main()
