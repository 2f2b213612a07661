"""Compare this project's matcher with other tools: accuracy, time and peak memory on the same inputs.

    python -m scripts.compare_peers                      a generated case (--companies, --recipients, --seed)
    python -m scripts.compare_peers --case DIRECTORY     an existing case; with sizes, a part of it
    python -m scripts.compare_peers --data DIRECTORY     the public sets (scripts/peers/public_sets.py), --sets for some

Every method receives the same two Parquet files, without UEI and DUNS, in random order, and runs in its own process.
Peers use the environments of ``--environments`` (``make compare-peers`` installs them). Prints Markdown tables with 95%
intervals and writes a record. A method that compares every pair receives random companies only; its time for all is
extrapolated and marked with a tilde. A method that exceeds ``--timeout`` is measured on the companies that it has
answered, which are random, and marked. ``--reuse RECORD`` takes over the methods that are not measured again, where the
inputs are the same.

Does not cover the spread of repeated runs, tuning of the peers, or identifiers. Time includes the start of the process
and reading the inputs, but not installation and compilation.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from enrich_dist.core.files import file_digest, read_json, write_json
from enrich_dist.core.tables import markdown_table
from enrich_dist.evaluation.figures import PRECISION_FLOOR, Point
from scripts.measuring import (
    COMMAND,
    MB,
    ROOT,
    ProcessResult,
    benchmark_parser,
    generate_case,
    machine_facts,
    measure_process,
    show_progress,
    write_record,
)
from scripts.peers.answers import read_answers
from scripts.peers.cases import Case, read_case
from scripts.peers.methods import PEERS
from scripts.peers.public_sets import HALVES, SETS, WHOLE, read_set
from scripts.peers.run import RECORD
from scripts.peers.scoring import Answer, count_companies, score

OURS: Final = "enrich-dist"
OURS_HOW: Final = "enrich-dist link, default settings; swept by probability, then score; accepts what it calls matched"
METHODS: Final = (OURS, *PEERS)
COMPANIES: Final = 4_000
RECIPIENTS: Final = 30_000
TIE_BREAK: Final = 1e-9
"""Weight of a link's score compared with its probability, which is rounded to six digits."""


@dataclass(frozen=True)
class Outcome:
    """How a method ended, its answers, and what its process recorded (empty if it ended before)."""

    process: ProcessResult
    answers: list[Answer]
    record: dict[str, Any]


def main() -> None:
    """Prepare the cases, run every method, print tables and write a record."""
    options = _options()
    facts = machine_facts()
    earlier = {case["case"]: case for case in read_json(options.reuse)["cases"]} if options.reuse else {}
    reports: list[dict[str, Any]] = []
    record: Path | None = None
    with tempfile.TemporaryDirectory(prefix="enrich-peers-", dir=options.scratch) as directory:
        for case in _cases(options, Path(directory)):
            reports.append(_compare(case, options, Path(directory) / case.name, earlier.get(case.name)))
            print(_markdown(reports[-1]), flush=True)
            document = {
                **facts,
                "seed": options.seed,
                "precision_floor": PRECISION_FLOOR,
                "timeout_seconds": options.timeout,
                "cases": reports,
            }
            # After every case, because all take hours.
            if record is None:
                name = "public" if options.data else case.name
                record = write_record(options.output, f"peers-{name}", document, quick=options.quick)
            else:
                write_json(record, {**read_json(record), **document})
    if len(reports) > 1:
        print(summary_table(reports))


def _compare(case: Case, options: argparse.Namespace, scratch: Path, earlier: dict[str, Any] | None) -> dict[str, Any]:
    """The report of a case. ``earlier``: a report whose methods are taken over if it has the same inputs."""
    scratch.mkdir()
    inputs = case.write(scratch)
    digest = "-".join(file_digest(path)[:16] for path in inputs)
    known = {method["name"]: method for method in earlier["contestants"]} if earlier else {}
    if earlier and earlier["inputs"] != digest:
        raise SystemExit(f"--reuse: {case.name} has other inputs in the earlier record.")
    methods = []
    for name in METHODS:
        if name in options.only:
            show_progress(f"{case.name}: {name} ...")
            outcome = _run(name, inputs, scratch / name, case, options)
            methods.append(_figures(name, outcome, case))
            show_progress(f"{case.name}: {name}: {outcome.process.end} after {outcome.process.wall_seconds:.1f} s")
        elif name in known:
            methods.append(known[name])
    return {
        "case": case.name,
        "inputs": digest,
        "sizes": {"recipients": len(case.right), **count_companies(case.known, case.known)},
        "contestants": methods,
    }


def _options() -> argparse.Namespace:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--case", type=Path, help="directory with organisations, recipients and truth as Parquet")
    parser.add_argument("--data", type=Path, help="directory with the public data")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), metavar="NAME", help=f"of {', '.join(SETS)} [all]")
    parser.add_argument("--half", choices=HALVES, default="kept", help="half of the sets that have two [kept]")
    parser.add_argument("--companies", type=int, help=f"companies to generate [{COMPANIES}] or to take from the case")
    parser.add_argument("--recipients", type=int, help=f"recipients, likewise [{RECIPIENTS}]")
    parser.add_argument("--seed", type=int, default=1, help="seed of generated cases, parts and samples [1]")
    parser.add_argument(
        "--only", nargs="+", choices=METHODS, metavar="NAME", default=METHODS, help=f"of {', '.join(METHODS)} [all]"
    )
    parser.add_argument("--reuse", type=Path, help="an earlier record, for the methods that --only leaves out")
    parser.add_argument("--sample", type=int, help="companies for methods that compare every pair [by a budget]")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for each method and case [600]")
    parser.add_argument(
        "--environments",
        type=Path,
        help="directory of the peers' virtual environments [this interpreter]",
    )
    options = parser.parse_args()
    if options.data and options.case:
        parser.error("give either --case or --data, or none of them")
    return options


def _cases(options: argparse.Namespace, scratch: Path) -> Iterator[Case]:
    if options.data:
        for name in options.sets or SETS:
            yield read_set(name, options.data, HALVES[0] if name in WHOLE else options.half)
    elif options.case:
        yield read_case(options.case, companies=options.companies, recipients=options.recipients, seed=options.seed)
    else:
        divisor = 10 if options.quick else 1
        companies, recipients = options.companies or COMPANIES // divisor, options.recipients or RECIPIENTS // divisor
        directory = scratch / f"input-generated-{recipients}x{companies}-seed{options.seed}"
        generate_case(directory, companies=companies, recipients=recipients, seed=options.seed)
        yield read_case(directory, companies=None, recipients=None, seed=options.seed)


def _run(name: str, inputs: tuple[Path, Path], out: Path, case: Case, options: argparse.Namespace) -> Outcome:
    out.mkdir()
    if name == OURS:
        links = out / "links.csv"
        # In a directory of its own, so that it finds no settings and leaves no files in the repository.
        process = measure_process([COMMAND, "link", *inputs, "--out", links, "--all"], cwd=out, timeout=options.timeout)
        answers = our_answers(links, case.left["id"].to_pylist())
        return Outcome(process, answers, {"libraries": {"enrich_dist": _own_version()}})
    environments = options.environments
    python = environments / PEERS[name].environment / "bin" / "python" if environments else sys.executable
    command: list[str | Path] = [python, "-m", "scripts.peers.run", name, *inputs, out]
    command += ["--seed", str(options.seed), *(["--sample", str(options.sample)] if options.sample else [])]
    process = measure_process(command, cwd=ROOT, timeout=options.timeout)
    record = out / RECORD
    answers = [Answer(**row) for row in read_answers(out).to_pylist()]
    return Outcome(process, answers, json.loads(record.read_text("utf-8")) if record.exists() else {})


def our_answers(path: Path, companies: Sequence[str]) -> list[Answer]:
    """Return the best link of each company; an empty list without a file."""
    if not path.exists():
        return []
    best: dict[str, Answer] = {}
    with path.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            if not row["right_id"]:
                continue
            rank = float(row["probability"]) + TIE_BREAK * float(row["score"])
            answer = Answer(row["left_id"], row["right_id"], rank, row["status"] == "matched")
            known = best.setdefault(answer.left_id, answer)
            if (answer.accepted, answer.score or 0.0) > (known.accepted, known.score or 0.0):
                best[answer.left_id] = answer
    return [best.get(left, Answer(left, None, None, accepted=False)) for left in companies]


def _figures(name: str, outcome: Outcome, case: Case) -> dict[str, Any]:
    """The record of one method."""
    process, answered = outcome.process, len(outcome.answers)
    whole = whole_seconds(process.wall_seconds, outcome.record, answered, len(case.left))
    points = score(outcome.answers, case.known) if answered else None
    return {
        "name": name,
        "title": "enrich_dist" if name == OURS else PEERS[name].title,
        "how": OURS_HOW if name == OURS else PEERS[name].how,
        "end": process.end,
        "wall_seconds": round(process.wall_seconds, 2),
        "cpu_seconds": round(process.cpu_seconds, 2),
        "wall_seconds_all": round(whole, 2) if whole is not None else None,
        "extrapolated": answered < len(case.left),
        "peak_mb": round(process.peak_bytes / MB, 1),
        "output": "" if process.end == "finished" else _without_paths(process.tail),
        "companies": count_companies((answer.left_id for answer in outcome.answers), case.known),
        "accuracy": {point: _point(value) for point, value in points.items()} if points else None,
        **outcome.record,
    }


def whole_seconds(wall_seconds: float, record: dict[str, Any], answered: int, companies: int) -> float | None:
    """Return the wall time for all companies; only the search is extrapolated, not the preparation."""
    if answered == companies:
        return wall_seconds
    if not answered or "answer_seconds" not in record:
        return None
    return float(wall_seconds + record["answer_seconds"] * (companies / answered - 1))


def _point(point: Point) -> dict[str, Any]:
    """The figures of an operating point that a record keeps: without those by kind, and the interval of F1 only."""
    left_out = ("_by_kind", "precision_interval", "recall_interval", "findable_interval", "wrong_interval")
    return {name: _rounded(value) for name, value in asdict(point).items() if not name.endswith(left_out)}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _without_paths(text: str) -> str:
    """The last lines without directories of this machine."""
    lines = text.strip().splitlines()[-5:]
    return "\n".join(" ".join(Path(word).name if "/" in word else word for word in line.split()) for line in lines)


def _own_version() -> str:
    """The version, and the revision if git knows one."""
    git = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return f"{version('enrich_dist')} ({git.stdout.strip() or 'no git'})"


# Columns of the table of a case: operating point and figure.
_CELLS: Final = {
    "F1 best": ("best_f1", "f1"),
    "F1 own": ("own", "f1"),
    "F1 findable best": ("best_f1_findable", "f1_findable"),
    "F1 findable own": ("own", "f1_findable"),
    "precision own": ("own", "precision"),
    "recall own": ("own", "recall"),
    "no-match wrong own": ("own", "no_match_wrong"),
    "recall at floor": ("floor", "recall"),
}


def _markdown(report: dict[str, Any]) -> str:
    sizes = report["sizes"]
    head = ("method", "companies", *_CELLS, "wall seconds", "CPU seconds", "peak MB")
    methods = report["contestants"]
    lines = [
        f"{report['case']}: {sizes['companies']:,} companies ({sizes['with_partner']:,} with a partner, "
        f"{sizes['findable']:,} of them findable, {sizes['no_partner']:,} without) and {sizes['recipients']:,} "
        f"recipients; floor: precision at least {PRECISION_FLOOR}; 95% intervals.\n",
        markdown_table(head, [_row(method, sizes["companies"]) for method in methods]),
        "\n~ extrapolated from the companies that were searched; accuracy is that on those.\n",
    ]
    for method in methods:
        libraries = ", ".join(f"{name} {number}" for name, number in method.get("libraries", {}).items())
        lines.append(f"- {method['title']} ({libraries or 'not known'}): {method['how']}")
    return "\n".join(lines)


def _row(method: dict[str, Any], companies: int) -> Sequence[object]:
    answered = method["companies"]["companies"]
    title = method["title"] if method["end"] == "finished" else f"{method['title']} (not finished: {method['end']})"
    accuracy = method["accuracy"]
    values = [_with_interval(accuracy[point], figure) if accuracy else "–" for point, figure in _CELLS.values()]
    wall = f"{method['wall_seconds']:,.1f}"
    if method["extrapolated"] and method["wall_seconds_all"] is not None:
        wall = f"~{method['wall_seconds_all']:,.0f} ({wall} measured)"
    return (
        title,
        answered if answered == companies else f"{answered:,} of {companies:,}",
        *values,
        wall,
        f"{method['cpu_seconds']:,.1f}",
        f"{method['peak_mb']:,.0f}",
    )


def _with_interval(point: dict[str, Any], figure: str) -> str:
    if point[figure] is None:
        return "–"
    interval = point.get(f"{figure}_interval")
    return f"{point[figure]:.3f}" + (f" ({interval[0]:.3f}–{interval[1]:.3f})" if interval else "")


def summary_table(reports: Sequence[dict[str, Any]]) -> str:
    """Return a table of best F1 and F1 at the own threshold: methods by cases; an asterisk marks a sample."""
    rows = []
    for name in METHODS:
        found = [next((one for one in report["contestants"] if one["name"] == name), None) for report in reports]
        cells = []
        for one in found:
            if one is None or not one["accuracy"]:
                cells.append("–")
                continue
            best, own = (one["accuracy"][point]["f1"] for point in ("best_f1", "own"))
            cells.append(f"{best:.3f} · {own:.3f}{'*' if one['extrapolated'] else ''}")
        if any(found):
            rows.append((next(one["title"] for one in found if one), *cells))
    return markdown_table(("method", *(report["case"] for report in reports)), rows)


if __name__ == "__main__":
    main()
