"""Measure accuracy and calibration of the matcher where the truth is known.

    python -m scripts.measure_accuracy                              planted truth, 300,000 x 40,000, and equal names
    python -m scripts.measure_accuracy --labels L.csv --recipients-file R.parquet     labelled companies as well

Identifiers are hidden. ``scripts.generator`` plants the truth. Reports, at the default threshold, precision, recall (of
all partners and of the findable ones), F1 and the share of companies without a partner that were matched; recall of
candidate generation; and calibration of the match probability: expected calibration error (Naeini, Cooper and
Hauskrecht 2015) over ten bins of equal width, and a diagram as SVG. Does not compare with other tools:
``compare_peers`` does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.parquet as pq

from enrich_dist.core.tables import markdown_table
from enrich_dist.matching.config import CandidateConfig, DecisionConfig
from enrich_dist.pipeline.linking import LinkSummary, link
from scripts.generator.generate import write_common_names
from scripts.measuring import SAMPLE, benchmark_parser, generate_case, write_record
from scripts.peers.cases import Case, Known, read_case, read_labels
from scripts.peers.scoring import Answer, count_companies, score

BINS: Final = 10


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
        cases = [read_case(directory, companies=None, recipients=None, seed=0)]
        if options.labels:
            cases.append(read_labels(options.labels, options.recipients_file, seed=0))
        for case in cases:
            report["cases"][case.name] = measured = measure(case, scratch / "links" / case.name)
            print(_table(case.name, measured))
            if options.diagrams:
                options.diagrams.mkdir(parents=True, exist_ok=True)
                title = f"{case.name}, calibration error {measured['ece']:.3f}"
                svg = reliability_svg(measured["reliability"], title)
                (options.diagrams / f"reliability-{case.name}.svg").write_text(svg, "utf-8")
        report["equal_names"] = equal_names(scratch / "equal", options.seed)
        print(f"equal names in different places: {report['equal_names']}")
    write_record(options.output, "accuracy", report, quick=options.quick)


def _options() -> argparse.Namespace:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--case", type=Path, help="a case directory; without it one is generated")
    parser.add_argument("--recipients", type=int, help="recipients to generate [300000]")
    parser.add_argument("--companies", type=int, help="companies to generate [40000]")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--labels", type=Path, help="CSV of labelled companies")
    parser.add_argument("--recipients-file", type=Path, help="the recipients of the labels")
    parser.add_argument("--diagrams", type=Path, help="directory for the reliability diagrams")
    options = parser.parse_args()
    if options.labels and not options.recipients_file:
        parser.error("--labels needs --recipients-file")
    options.recipients = options.recipients or (3_000 if options.quick else 300_000)
    options.companies = options.companies or (600 if options.quick else 40_000)
    return options


def measure(case: Case, scratch: Path) -> dict[str, Any]:
    """Link the case, score the links and return its figures."""
    scratch.mkdir(parents=True)
    left, right = case.write(scratch)
    # Links below the review threshold as well, so that their probabilities are judged too.
    all_links = DecisionConfig(accept_probability=DecisionConfig().accept_probability, review_probability=0.0)
    summary, links = _link(left, right, scratch, all_links, with_review=True)
    answers = [
        Answer(company, found["right_id"], found["probability"], found["status"] == "matched")
        if (found := links.get(company))
        else Answer(company, None, None, False)
        for company in case.known
    ]
    points = score(answers, case.known)
    bins = reliability(answers, case.known)
    own, floor = points["own"], points["floor"]
    findable = [answer.right_id in case.known[answer.left_id].acceptable for answer in answers
                if case.known[answer.left_id].findable]  # fmt: skip
    return {
        **count_companies(case.known, case.known),
        "recipients": len(case.right),
        "precision": own.precision,
        "recall": own.recall,
        "recall_findable": own.recall_findable,
        "f1": own.f1,
        "f1_findable": own.f1_findable,
        "no_match_wrong": own.no_match_wrong,
        "recall_by_kind": dict(own.recall_by_kind),
        "wrong_by_kind": dict(own.wrong_by_kind),
        "best_f1": points["best_f1"].f1,
        "recall_at_98": floor.recall,
        "recall_findable_at_98": floor.recall_findable,
        "estimated": {name: summary.accuracy[name] for name in ("precision", "recall")},
        "reliability": bins,
        "ece": round(expected_calibration_error(bins), 4),
        # The best candidate is right: a lower bound of the recall of candidate generation.
        "candidate_recall": round(float(np.mean(findable)), 4) if findable else 0.0,
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


def reliability(answers: Sequence[Answer], known: Mapping[str, Known]) -> list[dict[str, float]]:
    """Return the best candidates in bins of match probability: companies, mean probability and share right."""
    found = [answer for answer in answers if answer.score is not None]
    probability = np.array([answer.score for answer in found], dtype=np.float64)
    right = np.array([answer.right_id in known[answer.left_id].acceptable for answer in found], dtype=bool)
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [
        {
            "companies": int(inside.sum()),
            "probability": round(float(probability[inside].mean()), 4),
            "right": round(float(right[inside].mean()), 4),
        }
        for at in range(BINS)
        if (inside := number == at).any()
    ]


def expected_calibration_error(bins: Sequence[Mapping[str, float]]) -> float:
    """Return the mean difference of probability and share right, weighted by companies."""
    errors = [abs(item["probability"] - item["right"]) for item in bins]
    return float(np.average(errors, weights=[item["companies"] for item in bins])) if bins else 0.0


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
