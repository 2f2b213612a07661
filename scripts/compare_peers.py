"""Compare this project's matcher with its peers: accuracy, wall time and peak memory on the same inputs in one run.

    python -m scripts.compare_peers                      a generated case (--companies, --recipients, --seed)
    python -m scripts.compare_peers --case DIRECTORY     a case that is there; with sizes, a part of it
    python -m scripts.compare_peers --labels L.csv --recipients-file R.parquet     labelled companies

Every contestant gets the same two Parquet files, without UEI and DUNS, in random order, and runs in a process of its
own; peers under the interpreter ``--python``, which needs the dependency group ``peers`` only. Prints a Markdown
table and writes all figures as JSON, without a path or host name. A method that compares every pair is asked for
random companies only; its wall time for all is extrapolated in proportion and marked with a tilde. One that fails or
reaches a limit stays in the table with what it had.

Not covered: repeated runs and their spread, tuning of the peers, identifiers (all contestants match by text alone).
Reading the inputs and starting the process counts for everyone; installing and compiling of code does not.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from enrich_dist.core.files import write_json
from scripts.generator.generate import write_awards, write_recipients
from scripts.peers.answers import read_answers
from scripts.peers.cases import Case, Known, read_case, read_labels
from scripts.peers.process import Measured, measure
from scripts.peers.registry import PEERS
from scripts.peers.run import RECORD
from scripts.peers.scoring import PRECISION_FLOOR, Answer, counts, score

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "data" / "sample" / "recipients.parquet"
COMMAND = Path(sys.executable).parent / "enrich-dist"
OURS = "enrich-dist"
OURS_HOW = "enrich-dist link, default settings; swept by probability, then score; accepts what it calls matched"
CONTESTANTS = (OURS, *PEERS)

COMPANIES = 4_000
RECIPIENTS = 30_000
MB = 1_000_000
TIE_BREAK = 1e-9
"""Weight of a link's score beside its probability, which tells more but is rounded to six digits."""


@dataclass(frozen=True)
class Files:
    """Where a contestant's inputs lie and its results go."""

    left: Path
    right: Path
    out: Path


@dataclass(frozen=True)
class Attempt:
    """What a contestant did. ``record``: what its process noted; empty where it did not come so far."""

    measured: Measured
    answers: list[Answer]
    record: dict[str, Any]


def main() -> None:
    """Prepare the case, run every contestant, print and write what came out."""
    options = _options()
    started = datetime.now(UTC)
    with tempfile.TemporaryDirectory(prefix="enrich-peers-", dir=options.scratch) as directory:
        scratch = Path(directory)
        case = _case(options, scratch)
        left, right = case.write(scratch)
        contestants = []
        for name in options.only or CONTESTANTS:
            _say(f"{name} ...")
            attempt = _attempt(name, Files(left, right, scratch / name), case, options)
            contestants.append(_figures(name, attempt, case, options.floor))
            _say(f"{name}: {attempt.measured.end} after {attempt.measured.wall_seconds:.1f} s")
    report = {
        "case": case.name,
        "date": f"{started:%Y-%m-%d}",
        "seed": options.seed,
        "precision_floor": options.floor,
        "sizes": {"companies": len(case.left), "recipients": len(case.right), **_truth(case.known)},
        "limits": {"timeout_seconds": options.timeout, "memory_mb": options.memory_mb},
        "contestants": contestants,
        **_surroundings(),
    }
    final = options.output or ROOT / "reports" / "benchmarks" / f"peers-{case.name}-{started:%Y%m%d}.json"
    write_json(final, report)
    print(_markdown(report))
    _say(f"Written to {final}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", type=Path, help="directory with organisations, recipients and truth as Parquet")
    parser.add_argument("--labels", type=Path, help="CSV of labelled companies; needs --recipients-file")
    parser.add_argument("--recipients-file", type=Path, help="Parquet file in the shape of recipient_lookup")
    parser.add_argument("--with-uei-only", action="store_true", help="with --labels: only recipients that bear a UEI")
    parser.add_argument("--companies", type=int, help=f"companies to generate [{COMPANIES}] or to take from the case")
    parser.add_argument("--recipients", type=int, help=f"recipients, likewise [{RECIPIENTS}]")
    parser.add_argument("--seed", type=int, default=1, help="of generated cases, parts and samples [1]")
    parser.add_argument("--only", nargs="+", choices=CONTESTANTS, metavar="NAME", help=", ".join(CONTESTANTS))
    parser.add_argument("--sample", type=int, help="companies asked of methods that compare every pair [by a budget]")
    parser.add_argument("--timeout", type=float, default=3_600, help="seconds for each contestant [3600]")
    parser.add_argument("--memory-mb", type=int, help="memory limit for each contestant [none]")
    parser.add_argument("--python", type=Path, default=Path(sys.executable), help="interpreter of the peers [this one]")
    parser.add_argument("--floor", type=float, default=PRECISION_FLOOR, help=f"least precision [{PRECISION_FLOOR}]")
    parser.add_argument("--output", type=Path, help="JSON file [reports/benchmarks/peers-CASE-DATE.json]")
    parser.add_argument("--scratch", type=Path, help="existing directory for inputs and answers; all is removed after")
    options = parser.parse_args()
    if bool(options.labels) != bool(options.recipients_file) or (options.labels and options.case):
        parser.error("give either --case, or --labels with --recipients-file, or none of them")
    return options


def _case(options: argparse.Namespace, scratch: Path) -> Case:
    if options.labels:
        return read_labels(
            options.labels, options.recipients_file, with_uei_only=options.with_uei_only, seed=options.seed
        )
    if options.case:
        return read_case(options.case, companies=options.companies, recipients=options.recipients, seed=options.seed)
    companies, recipients = options.companies or COMPANIES, options.recipients or RECIPIENTS
    directory = scratch / f"generated-{recipients}x{companies}-seed{options.seed}"
    generate(directory, companies=companies, recipients=recipients, seed=options.seed)
    return read_case(directory, companies=None, recipients=None, seed=options.seed)


def generate(directory: Path, *, companies: int, recipients: int, seed: int) -> None:
    """Write a case of these sizes: the same seed gives the same case."""
    directory.mkdir(parents=True)
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


def _attempt(name: str, files: Files, case: Case, options: argparse.Namespace) -> Attempt:
    if name == OURS:
        command: list[str | Path] = [COMMAND, "link", files.left, files.right, "--out", _our_file(files), "--all"]
    else:
        command = [options.python, "-m", "scripts.peers.run", name, files.left, files.right, files.out]
        command += ["--seed", str(options.seed)]
        command += ["--sample", str(options.sample)] if options.sample else []
    files.out.mkdir()
    limit = options.memory_mb * MB if options.memory_mb else None
    measured = measure(command, cwd=_home(name, files), timeout=options.timeout, memory_bytes=limit)
    if name == OURS:
        return Attempt(
            measured,
            our_answers(_our_file(files), case.left["id"].to_pylist()),
            {"libraries": {"enrich_dist": _own_version()}},
        )
    answers = [Answer(**row) for row in read_answers(files.out).to_pylist()]
    record = files.out / RECORD
    return Attempt(measured, answers, json.loads(record.read_text("utf-8")) if record.exists() else {})


def _home(name: str, files: Files) -> Path:
    """Peers are modules of this repository; ours must not find its settings or leave its files there."""
    return files.out if name == OURS else ROOT


def _our_file(files: Files) -> Path:
    return files.out / "links.csv"


def our_answers(path: Path, companies: Sequence[str]) -> list[Answer]:
    """The best row of each company; a company without row has no candidate. No answers where there is no file."""
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


def _figures(name: str, attempt: Attempt, case: Case, floor: float) -> dict[str, Any]:
    """Everything about one contestant, as it goes into the JSON."""
    measured, asked = attempt.measured, len(attempt.answers)
    failed = measured.end != "finished"
    whole = whole_seconds(measured.wall_seconds, attempt.record, asked, len(case.left))
    return {
        "name": name,
        "title": "enrich_dist" if name == OURS else PEERS[name].title,
        "how": OURS_HOW if name == OURS else PEERS[name].how,
        "end": measured.end,
        "wall_seconds": round(measured.wall_seconds, 2),
        "cpu_seconds": round(measured.cpu_seconds, 2),
        "wall_seconds_all": round(whole, 2) if whole is not None else None,
        "extrapolated": asked < len(case.left),
        "peak_mb": round(measured.peak_bytes / MB, 1),
        "said": _without_paths(measured.tail) if failed else "",
        "companies": counts(attempt.answers, case.known),
        "accuracy": {
            point: _rounded(asdict(value)) for point, value in score(attempt.answers, case.known, floor).items()
        }
        if asked
        else None,
        **attempt.record,
    }


def whole_seconds(wall_seconds: float, record: dict[str, Any], asked: int, companies: int) -> float | None:
    """Wall time for all companies: measured, or in proportion to those asked without the preparation."""
    if asked == companies:
        return wall_seconds
    if not asked or "answer_seconds" not in record:
        return None
    return float(wall_seconds + record["answer_seconds"] * (companies / asked - 1))


def _truth(known: dict[str, Known]) -> dict[str, int]:
    return {
        "with_partner": sum(bool(fact.acceptable) for fact in known.values()),
        "findable": sum(fact.findable for fact in known.values()),
        "no_partner": sum(not fact.acceptable for fact in known.values()),
    }


def _rounded(point: dict[str, Any]) -> dict[str, Any]:
    def short(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: short(inner) for name, inner in value.items()}
        return round(value, 4) if isinstance(value, float) else value

    return {name: short(value) for name, value in point.items()}


def _without_paths(text: str) -> str:
    """The last lines without anything that names a place on this machine."""
    lines = text.strip().splitlines()[-5:]
    return "\n".join(" ".join(Path(word).name if "/" in word else word for word in line.split()) for line in lines)


def _surroundings() -> dict[str, Any]:
    return {
        "cpu_count": os.cpu_count(),
        "memory_mb": round(psutil.virtual_memory().total / MB),
        "load_average_at_end": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _own_version() -> str:
    """Version, and the revision where git knows one."""
    try:
        process = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return version("enrich_dist")
    return f"{version('enrich_dist')} ({process.stdout.strip()})"


_EXTRAPOLATED = "~ extrapolated in proportion from the companies that were asked; accuracy is that on those."
HEADERS = (
    "contestant",
    "companies",
    "F1 best",
    "F1 own",
    "F1 findable best",
    "F1 findable own",
    "precision own",
    "recall own",
    "no-match wrong own",
    "recall at floor, all",
    "recall at floor, findable",
    "no-match wrong at floor",
    "wall s",
    "CPU s",
    "peak MB",
)


def _markdown(report: dict[str, Any]) -> str:
    sizes = report["sizes"]
    rows = [HEADERS, ("---", *("---:" for _ in HEADERS[1:])), *(_row(one, sizes) for one in report["contestants"])]
    lines = [
        f"{report['case']}: {sizes['companies']:,} companies ({sizes['with_partner']:,} with partner, "
        f"{sizes['findable']:,} of them findable, {sizes['no_partner']:,} without) against {sizes['recipients']:,} "
        f"recipients; floor: precision at least {report['precision_floor']}; {report['cpu_count']} cores.",
        "",
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        *([_EXTRAPOLATED, ""] if any(one["extrapolated"] for one in report["contestants"]) else []),
        *(f"- {one['title']} ({_libraries(one)}): {one['how']}" for one in report["contestants"]),
    ]
    return "\n".join(lines)


def _row(one: dict[str, Any], sizes: dict[str, int]) -> Sequence[str]:
    asked = one["companies"]["asked"]
    share = f"{asked:,}" if asked == sizes["companies"] else f"{asked:,} of {sizes['companies']:,}"
    name = one["title"] if one["end"] == "finished" else f"{one['title']} (did not finish: {one['end']})"
    accuracy = one["accuracy"] or {}
    return (name, share, *_cells(accuracy), _wall(one), f"{one['cpu_seconds']:,.1f}", f"{one['peak_mb']:,.0f}")


def _cells(accuracy: dict[str, Any]) -> Sequence[str]:
    picks = (
        ("best_f1", "f1"),
        ("own", "f1"),
        ("best_f1_findable", "f1_findable"),
        ("own", "f1_findable"),
        ("own", "precision"),
        ("own", "recall"),
        ("own", "no_match_wrong"),
        ("floor", "recall"),
        ("floor", "recall_findable"),
        ("floor", "no_match_wrong"),
    )
    values = [accuracy[point][figure] if accuracy else None for point, figure in picks]
    return ["–" if value is None else f"{value:.3f}" for value in values]


def _wall(one: dict[str, Any]) -> str:
    if not one["extrapolated"] or one["wall_seconds_all"] is None:
        return f"{one['wall_seconds']:,.1f}"
    return f"~{one['wall_seconds_all']:,.0f} ({one['wall_seconds']:,.1f} measured)"


def _libraries(one: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in one.get("libraries", {}).items()) or "not known"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
