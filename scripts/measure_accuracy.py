"""Measure how right the matcher is, and how honest its probabilities are, where the truth is known.

    python -m scripts.measure_accuracy                              planted truth, 300,000 x 40,000, and equal names
    python -m scripts.measure_accuracy --labels L.csv --recipients-file R.parquet     labelled companies besides

Identifiers are hidden. Planted truth is made by ``scripts.generator``. Reported are precision, recall (of all
partners, and of the findable ones), F1 and companies without a partner that were matched, at the default threshold;
the recall of candidate generation; the reliability of the match probability: expected calibration error (Naeini, Cooper
and Hauskrecht 2015) over ten bins of equal width, and a diagram as SVG. Does not compare with others: that is
``compare_peers``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from enrich_dist.core.files import write_json
from enrich_dist.matching import CandidateConfig
from enrich_dist.matching.decisions import DecisionConfig
from enrich_dist.pipeline.linking import link
from scripts.generator.generate import write_awards, write_common_names, write_recipients
from scripts.peers.cases import Case, Known, read_case, read_labels
from scripts.peers.scoring import Answer, score

ROOT: Final = Path(__file__).resolve().parents[1]
SAMPLE: Final = ROOT / "data" / "sample" / "recipients.parquet"
BINS: Final = 10


def main() -> None:
    """Measure what was asked for, print it and write it."""
    options = _options()
    console = Console()
    report: dict[str, Any] = {"timestamp": datetime.now(UTC).isoformat(timespec="seconds"), "cases": {}}
    with tempfile.TemporaryDirectory(prefix="enrich-accuracy-") as name:
        scratch = Path(name)
        case_directory = options.case or _generate(scratch, options.recipients, options.companies, options.seed)
        cases = [read_case(case_directory, companies=None, recipients=None, seed=0)]
        if options.labels:
            cases.append(read_labels(options.labels, options.recipients_file, with_uei_only=True, seed=0))
        for case in cases:
            report["cases"][case.name] = measured = measure(case, scratch / "links" / case.name)
            _print(console, case.name, measured)
            svg = reliability_svg(measured["reliability"], f"{case.name}, calibration error {measured['ece']:.3f}")
            if options.diagrams:
                options.diagrams.mkdir(parents=True, exist_ok=True)
                (options.diagrams / f"reliability-{case.name}.svg").write_text(svg, "utf-8")
        report["equal_names"] = equal_names(scratch / "equal", options.seed)
        console.print(f"equal names in different places: {report['equal_names']}", highlight=False, soft_wrap=True)
    if options.output:
        write_json(options.output, report)


def measure(case: Case, scratch: Path) -> dict[str, Any]:
    """Link the case and score the links; the document of the case."""
    scratch.mkdir(parents=True)
    left, right = case.write(scratch)
    out = scratch / "links.parquet"
    # Every candidate is asked for, so that the probabilities below the thresholds are judged, too.
    shown = DecisionConfig(accept_probability=DecisionConfig().accept_probability, review_probability=0.0)
    summary = link(
        left,
        right,
        out,
        left_columns={},
        right_columns={},
        candidates=CandidateConfig(),
        decision=shown,
        with_review=True,
    )
    links = {row["left_id"]: row for row in pq.read_table(out).to_pylist()}
    answers = [_answer(company, links.get(company)) for company in case.known]
    points = score(answers, case.known)
    bins = reliability(answers, case.known)
    own = points["own"]
    return {
        "companies": len(case.known),
        "recipients": len(case.right),
        "partners": sum(bool(known.acceptable) for known in case.known.values()),
        "findable": sum(known.findable for known in case.known.values()),
        "precision": own.precision,
        "recall": own.recall,
        "recall_findable": own.recall_findable,
        "f1": own.f1,
        "no_match_wrong": own.no_match_wrong,
        "recall_by_kind": dict(own.recall_by_kind),
        "wrong_by_kind": dict(own.wrong_by_kind),
        "best_f1": points["best_f1"].f1,
        "recall_at_98": points["floor"].recall,
        "recall_findable_at_98": points["floor"].recall_findable,
        "estimated": {name: summary.accuracy[name] for name in ("precision", "recall")},
        "reliability": bins,
        "ece": round(expected_calibration_error(bins), 4),
        "candidate_recall": candidate_recall(case.known, links),
    }


def _answer(company: str, found: Mapping[str, Any] | None) -> Answer:
    if found is None:
        return Answer(company, None, None, False)
    return Answer(company, found["right_id"], found["probability"], found["status"] == "matched")


def candidate_recall(known: Mapping[str, Known], links: Mapping[str, Any]) -> float:
    """Share of the findable companies for which the best candidate, however weak, is the right one: what candidate
    generation found is at least that."""
    findable = [company for company, facts in known.items() if facts.findable]
    found = sum(company in links and links[company]["right_id"] in known[company].acceptable for company in findable)
    return round(found / max(len(findable), 1), 4)


def reliability(answers: Sequence[Answer], known: Mapping[str, Known]) -> list[dict[str, float]]:
    """Best candidates by match probability, in bins: how many, their mean probability, the share that is right."""
    asked = [answer for answer in answers if answer.score is not None]
    probability = np.array([answer.score for answer in asked], dtype=np.float64)
    right = np.array([answer.right_id in known[answer.left_id].acceptable for answer in asked], dtype=bool)
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    return [_bin(number == at, probability, right) for at in range(BINS) if (number == at).any()]


def _bin(
    inside: npt.NDArray[np.bool_], probability: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]
) -> dict[str, float]:
    return {
        "companies": int(inside.sum()),
        "probability": round(float(probability[inside].mean()), 4),
        "right": round(float(right[inside].mean()), 4),
    }


def expected_calibration_error(bins: Sequence[Mapping[str, float]]) -> float:
    """Mean distance of probability and share right, weighed by companies."""
    total = sum(item["companies"] for item in bins)
    return sum(item["companies"] * abs(item["probability"] - item["right"]) for item in bins) / max(total, 1)


def equal_names(scratch: Path, seed: int) -> dict[str, Any]:
    """Names borne by many organisations: the right one chosen where the place decides, review where it does not."""
    write_common_names(scratch, sample=SAMPLE, seed=seed)
    out = scratch / "links.parquet"
    link(
        scratch / "left.parquet",
        scratch / "right.parquet",
        out,
        left_columns={},
        right_columns={},
        candidates=CandidateConfig(),
        decision=DecisionConfig(),
        with_review=False,
    )
    links = {row["left_id"]: row["right_id"] for row in pq.read_table(out).to_pylist()}
    truth = pq.read_table(scratch / "truth.parquet").to_pylist()
    decided = [row for row in truth if row["decided"]]
    undecided = [row for row in truth if not row["decided"]]
    accepted = [row for row in decided if row["left_id"] in links]
    right = sum(links[row["left_id"]] == row["right_id"] for row in accepted)
    return {
        "decided": len(decided),
        "accepted": len(accepted),
        "right_of_accepted": round(right / max(len(accepted), 1), 4),
        "right_of_decided": round(right / max(len(decided), 1), 4),
        "undecided": len(undecided),
        "undecided_accepted": sum(row["left_id"] in links for row in undecided),
    }


def reliability_svg(bins: Sequence[Mapping[str, float]], title: str) -> str:
    """The reliability diagram: share right over match probability, dots as large as their bins, the diagonal dashed."""
    size, margin = 320, 48
    most = max((item["companies"] for item in bins), default=1)

    def at(x: float, y: float) -> tuple[float, float]:
        return round(margin + x * size, 1), round(margin + (1 - y) * size, 1)

    points = [at(item["probability"], item["right"]) for item in bins]
    line = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="{3 + 6 * (item["companies"] / most) ** 0.5:.1f}" fill="#1f6feb"/>'
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
        f'transform="rotate(-90 14 {margin + size / 2})">share that is right</text></svg>\n'
    )


def _generate(scratch: Path, recipients: int, companies: int, seed: int) -> Path:
    directory = scratch / f"planted-{recipients}x{companies}"
    directory.mkdir()
    write_recipients(directory / "recipients.parquet", rows=recipients, seed=seed, sample=SAMPLE)
    write_awards(
        directory / "awards.csv",
        companies=companies,
        recipients=directory / "recipients.parquet",
        seed=seed,
        truth=directory / "truth.parquet",
        organisations=directory / "organisations.parquet",
    )
    return directory


def _print(console: Console, name: str, measured: Mapping[str, Any]) -> None:
    table = Table("figure", title=name, title_justify="left")
    table.add_column("value", justify="right")
    for figure in (
        *("companies", "recipients", "partners", "findable", "precision", "recall", "recall_findable", "f1"),
        *("no_match_wrong", "best_f1", "recall_at_98", "recall_findable_at_98", "candidate_recall", "ece"),
    ):
        value = measured[figure]
        table.add_row(figure.replace("_", " "), f"{value:,}" if isinstance(value, int) else f"{value or 0:.4f}")
    console.print(table)
    bins = Table("probability", "share right", "companies")
    for item in measured["reliability"]:
        bins.add_row(f"{item['probability']:.3f}", f"{item['right']:.3f}", f"{item['companies']:,}")
    console.print(bins)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", type=Path, help="a case directory; without it one is generated")
    parser.add_argument("--recipients", type=int, default=300_000)
    parser.add_argument("--companies", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--labels", type=Path, help="CSV of labelled companies")
    parser.add_argument("--recipients-file", type=Path, help="the recipients the labels are of")
    parser.add_argument("--output", type=Path, help="JSON of all figures")
    parser.add_argument("--diagrams", type=Path, help="directory for the reliability diagrams")
    options = parser.parse_args()
    if options.labels and not options.recipients_file:
        parser.error("--labels needs --recipients-file")
    return options


if __name__ == "__main__":
    main()
