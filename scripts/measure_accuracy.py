"""Measure accuracy and calibration of the matcher where the truth is known.

    python -m scripts.measure_accuracy                      planted truth, 300,000 x 40,000, and equal names
    python -m scripts.measure_accuracy --data DIRECTORY     the public sets as well (scripts/peers/public_sets.py)

Identifiers are hidden. ``scripts.generator`` plants the truth. Reports, at the default threshold, precision, recall (of
all partners and of the findable ones), F1 and the share of companies without a partner that were matched; recall of
candidate generation; and calibration of the match probability: expected calibration error (Naeini, Cooper and
Hauskrecht 2015), and a diagram as SVG. Does not compare with other tools:
``compare_peers`` does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from enrich_dist.core.tables import markdown_table
from enrich_dist.evaluation.evaluate import evaluate
from enrich_dist.evaluation.figures import BEST_F1, FLOOR, PRECISION_FLOOR
from enrich_dist.evaluation.subjects import open_tables
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.pipeline.linking import LinkSummary, link
from scripts.generator.generate import write_common_names
from scripts.measuring import SAMPLE, benchmark_parser, generate_case, write_record
from scripts.peers.cases import Case, read_case
from scripts.peers.public_sets import HALVES, SETS, WHOLE, read_set
from scripts.peers.scoring import count_companies


def main() -> None:
    """Measure the cases, print the figures and write a record."""
    options = _options()
    report: dict[str, Any] = {"cases": {}}
    with tempfile.TemporaryDirectory(prefix="enrich-accuracy-", dir=options.scratch) as name:
        scratch = Path(name)
        directory = options.case or generate_case(
            scratch / f"planted-{options.recipients}x{options.companies}",
            recipients=options.recipients,
            companies=options.companies,
            seed=options.seed,
        )
        for case in _cases(directory, options.data):
            report["cases"][case.name] = measured = measure(case, scratch / "links" / case.name)
            print(_table(case.name, measured))
            if options.diagrams:
                options.diagrams.mkdir(parents=True, exist_ok=True)
                title = f"{case.name}, calibration error {measured['ece']:.3f}"
                svg = reliability_svg(measured["reliability"], title)
                (options.diagrams / f"reliability-{case.name}.svg").write_text(svg, "utf-8")
        report["equal_names"] = equal_names(scratch / "equal", options.seed)
        print(f"equal names in different places: {report['equal_names']}\n\n{summary_table(report['cases'])}")
    write_record(options.output, "accuracy", report, quick=options.quick)


def _options() -> argparse.Namespace:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--case", type=Path, help="a case directory; without it one is generated")
    parser.add_argument("--recipients", type=int, help="recipients to generate [300000]")
    parser.add_argument("--companies", type=int, help="companies to generate [40000]")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--data", type=Path, help="directory with the public data")
    parser.add_argument("--diagrams", type=Path, help="directory for the reliability diagrams")
    options = parser.parse_args()
    options.recipients = options.recipients or (3_000 if options.quick else 300_000)
    options.companies = options.companies or (600 if options.quick else 40_000)
    return options


def _cases(directory: Path, data: Path | None) -> Iterator[Case]:
    """The planted case, and both halves of the public sets."""
    yield read_case(directory, companies=None, recipients=None, seed=0)
    if data:
        for name in SETS:
            for half in HALVES[:1] if name in WHOLE else HALVES:
                yield read_set(name, data, half)


def measure(case: Case, scratch: Path) -> dict[str, Any]:
    """Link the case, evaluate the result and return its figures."""
    scratch.mkdir(parents=True)
    left, right = case.write(scratch)
    names: Mapping[str, str | None] = {}
    with open_tables(
        left,
        right,
        left_columns=names,
        right_columns=names,
        candidates=CandidateConfig(),
        decision=DecisionConfig(),
    ) as subject:
        found = evaluate(subject, case.labels(), floor=PRECISION_FLOOR)
    own, floor = found.own, found.points[FLOOR]
    blocking, estimated = found.blocking_findable, found.estimated or {}
    return {
        **count_companies(case.known, case.known),
        "recipients": len(case.right),
        "precision": own.precision,
        "recall": own.recall,
        "recall_findable": own.recall_findable,
        "f1": own.f1,
        "intervals": {
            "precision": own.precision_interval,
            "recall": own.recall_interval,
            "f1": own.f1_interval,
            "no_match_wrong": own.no_match_wrong_interval,
        },
        "f1_findable": own.f1_findable,
        "no_match_wrong": own.no_match_wrong,
        "recall_by_kind": dict(own.recall_by_kind),
        "wrong_by_kind": dict(own.wrong_by_kind),
        "best_f1": found.points[BEST_F1].f1,
        "recall_at_98": floor.recall,
        "recall_findable_at_98": floor.recall_findable,
        "estimated": {name: estimated[name] for name in ("precision", "recall", "reliable", "reasons")},
        "reliability": [
            {
                "companies": item.companies,
                "probability": round(item.mean_probability, 4),
                "right": round(item.correct / item.companies, 4),
            }
            for item in found.bins
        ],
        "ece": round(found.calibration_error or 0.0, 4),
        "candidate_recall": round(blocking.value or 0.0, 4) if blocking else 0.0,
    }


def _link(
    left: Path, right: Path, scratch: Path, decision: DecisionConfig, *, with_review: bool
) -> tuple[LinkSummary, dict[str, dict[str, Any]]]:
    """Link two tables; return the summary, and the links by left id."""
    out = scratch / "links.parquet"
    summary = link(
        left,
        right,
        out,
        left_columns={},
        right_columns={},
        candidates=CandidateConfig(),
        decision=decision,
        with_review=with_review,
    )
    return summary, {row["left_id"]: row for row in pq.read_table(out).to_pylist()}


def equal_names(scratch: Path, seed: int) -> dict[str, Any]:
    """Measure names that many organisations share: where the place decides, and where it does not."""
    write_common_names(scratch, sample=SAMPLE, seed=seed)
    files = scratch / "left.parquet", scratch / "right.parquet"
    _, links = _link(*files, scratch, DecisionConfig(), with_review=False)
    truth = pq.read_table(scratch / "truth.parquet").to_pylist()
    decided = [row for row in truth if row["decided"]]
    undecided = [row for row in truth if not row["decided"]]
    accepted = [row for row in decided if row["left_id"] in links]
    right = sum(links[row["left_id"]]["right_id"] == row["right_id"] for row in accepted)
    return {
        "decided": len(decided),
        "accepted": len(accepted),
        "right_of_accepted": round(right / max(len(accepted), 1), 4),
        "right_of_decided": round(right / max(len(decided), 1), 4),
        "undecided": len(undecided),
        "undecided_accepted": sum(row["left_id"] in links for row in undecided),
    }


def reliability_svg(bins: Sequence[Mapping[str, float]], title: str) -> str:
    """Draw the share of right matches over match probability; dots are as large as their bins."""
    size, margin = 320, 48
    largest = max((item["companies"] for item in bins), default=1)

    def at(x: float, y: float) -> tuple[float, float]:
        return round(margin + x * size, 1), round(margin + (1 - y) * size, 1)

    points = [at(item["probability"], item["right"]) for item in bins]
    line = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="{3 + 6 * (item["companies"] / largest) ** 0.5:.1f}" fill="#1f6feb"/>'
        for (x, y), item in zip(points, bins, strict=True)
    )
    ticks = "".join(
        f'<text x="{at(value, 0)[0]}" y="{margin + size + 18}" text-anchor="middle">{value:g}</text>'
        f'<text x="{margin - 8}" y="{at(0, value)[1] + 4}" text-anchor="end">{value:g}</text>'
        for value in (0, 0.25, 0.5, 0.75, 1)
    )
    (x0, y0), (x1, y1) = at(0, 0), at(1, 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size + 2 * margin} {size + 2 * margin}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#fff"/><text x="{margin}" y="24" font-size="14">{title}</text>'
        f'<rect x="{x0}" y="{y1}" width="{size}" height="{size}" fill="none" stroke="#888"/>'
        f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}" stroke="#888" stroke-dasharray="4"/>'
        f'<polyline points="{line}" fill="none" stroke="#1f6feb" stroke-width="2"/>{dots}{ticks}'
        f'<text x="{margin + size / 2}" y="{margin + size + 38}" text-anchor="middle">match probability</text>'
        f'<text x="14" y="{margin + size / 2}" text-anchor="middle" '
        f'transform="rotate(-90 14 {margin + size / 2})">share of right matches</text></svg>\n'
    )


def summary_table(cases: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one row per case: figures at the default threshold with 95% intervals, and the calibration."""
    head = ("set", "left × right", "precision", "recall", "F1", "estimated − true precision", "ECE", "blocking recall")
    rows = []
    for name, one in cases.items():
        figures = [
            f"{one[figure] or 0:.3f} ({one['intervals'][figure][0]:.3f}–{one['intervals'][figure][1]:.3f})"
            for figure in ("precision", "recall", "f1")
        ]
        estimate = one["estimated"]["precision"]["estimate"]
        gap = f"{estimate - one['precision']:+.3f}" if estimate is not None and one["precision"] is not None else "–"
        gap += "" if one["estimated"]["reliable"] else " (not reliable here)"
        size = f"{one['companies']:,} × {one['recipients']:,}"
        rows.append((name, size, *figures, gap, f"{one['ece']:.3f}", f"{one['candidate_recall']:.3f}"))
    return markdown_table(head, rows)


def _table(name: str, measured: Mapping[str, Any]) -> str:
    figures = [
        (figure.replace("_", " "), value if isinstance(value, int) else f"{value or 0:.4f}")
        for figure, value in measured.items()
        if not isinstance(value, dict | list)
    ]
    bins = [
        (f"{item['probability']:.3f}", f"{item['right']:.3f}", item["companies"]) for item in measured["reliability"]
    ]
    head = ("match probability", "share right", "companies")
    return f"{markdown_table(('figure', name), figures)}\n\n{markdown_table(head, bins)}\n"


if __name__ == "__main__":
    main()
