"""An evaluation as sentences and tables, on the terminal and as a JSON document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from rich.padding import Padding
from rich.text import Text

from enrich_dist.core.console import PlainConsole
from enrich_dist.core.tables import Table, counted, make_table, percent
from enrich_dist.evaluation.compare import Comparison
from enrich_dist.evaluation.evaluate import FALSE, IS_BEST, MISSED, OUTCOMES, WRONG, Evaluation, Share
from enrich_dist.evaluation.figures import BEST_F1, FLOOR, OWN, Interval, Point
from enrich_dist.reporting.terminal import rich_table
from enrich_dist.results.explanation import format_probability
from enrich_dist.results.reliability import describe

_FEW: Final = 30
"""Companies of a segment below which its shares say little."""


def labels_sentence(found: Evaluation) -> str:
    """Return how many labels and companies were used."""
    partners = int(found.judged.partner.sum())
    return (
        f"{counted(found.rows, 'label')} of {counted(found.companies, 'company', 'companies')}: {partners:,} with a "
        f"partner, {found.companies - partners:,} without. {counted(found.unlabelled, 'company', 'companies')} without "
        "a label are ignored."
    )


def evidence_sentence(found: Evaluation) -> str:
    """Return whether identifiers were used."""
    if found.identifiers_hidden:
        return "Identifiers and human review decisions are hidden: this is the accuracy by name and place."
    return "Identifiers are used where both sides have them; --hide-identifiers measures names and places alone."


def calibration_sentence(found: Evaluation) -> str:
    """Return the calibration error, and estimated compared with measured precision."""
    if found.calibration_error is None:
        return "No labelled company has a candidate, so calibration cannot be measured."
    parts = [f"Calibration error {found.calibration_error:.3f}."]
    if found.labelled_precision is not None and found.own.precision is not None:
        difference = found.labelled_precision - found.own.precision
        parts.append(
            f"Precision of the labelled matches: estimated {percent(found.labelled_precision)}, measured "
            f"{percent(found.own.precision)} (difference {100 * difference:+.1f} points)."
        )
    if found.estimated is not None:
        shares = [(name, found.estimated[name]["estimate"]) for name in ("precision", "recall")]
        listed = [f"{name} {percent(share)}" for name, share in shares if share is not None]
        doubt = f", {text}" if (text := describe(found.estimated)) else ""
        parts.append(f"The whole result estimates its {' and '.join(listed)}{doubt}." if listed else "")
    return " ".join(filter(None, parts))


def blocking_sentence(found: Evaluation) -> str:
    """Return the share of labelled partners among the candidates; empty where it is not known."""
    if found.blocking is None or found.blocking_findable is None:
        return ""
    text = f"Blocking found {_of(found.blocking)} of the labelled partners"
    if found.blocking_findable.whole != found.blocking.whole:
        text += f", {_of(found.blocking_findable)} of the findable"
    return f"{text}."


def organisation_sentence(found: Evaluation) -> str:
    """Return how many errors are another row of the labelled organisation; empty without any."""
    if not found.same_organisation:
        return ""
    errors = counted(found.same_organisation, "error is", "errors are")
    return f"{errors} another row of the labelled organisation: add such rows to the labels if they are acceptable."


def points_table(found: Evaluation) -> Table:
    """Return the figures at the threshold of the result, at the best F1, and at the given precision."""
    points = [found.points[name] for name in (OWN, BEST_F1, FLOOR)]
    shipped = None if found.decision is None else found.decision.accept_probability

    def threshold(point: Point) -> str:
        at = shipped if point is found.own and shipped is not None else point.threshold
        return "–" if at is None else f"{at:.3f}"

    rows: list[tuple[str, Callable[[Point], str]]] = [
        ("probability at least", threshold),
        ("accepted", lambda point: f"{point.predicted:,}"),
        ("right", lambda point: f"{point.right:,}"),
        ("precision", lambda point: "–" if point.precision is None else percent(point.precision)),
        ("  95% interval", lambda point: _interval(point.precision_interval)),
        ("recall", lambda point: percent(point.recall)),
        ("  95% interval", lambda point: _interval(point.recall_interval)),
        ("recall of the findable", lambda point: percent(point.recall_findable)),
        ("  95% interval", lambda point: _interval(point.recall_findable_interval)),
        ("F1", lambda point: f"{point.f1:.3f}"),
        ("  95% interval", lambda point: f"{point.f1_interval[0]:.3f} to {point.f1_interval[1]:.3f}"),
        ("no partner, matched", lambda point: percent(point.no_match_wrong)),
        ("  95% interval", lambda point: _interval(point.no_match_wrong_interval)),
    ]
    if (found.judged.findable == found.judged.partner).all():
        rows = [row for at, row in enumerate(rows) if at not in (7, 8)]
    head = ("figure", "as shipped", "best F1", f"precision {percent(found.floor)}")
    return make_table(head, [(name, *map(value, points)) for name, value in rows], "Accuracy")


def thresholds_table(found: Evaluation, *, intervals: bool) -> Table:
    """Return the figures at fixed thresholds and at that of the result."""
    shipped = None if found.decision is None else found.decision.accept_probability

    def cells(point: Point) -> tuple[str, ...]:
        mark = " (shipped)" if point.threshold == shipped else ""
        precision = "–" if point.precision is None else percent(point.precision)
        shares = [
            (precision, _interval(point.precision_interval)),
            (percent(point.recall), _interval(point.recall_interval)),
            (f"{point.f1:.3f}", f"{point.f1_interval[0]:.3f} to {point.f1_interval[1]:.3f}"),
            (percent(point.no_match_wrong), _interval(point.no_match_wrong_interval)),
        ]
        figures = [cell for share in shares for cell in (share if intervals else share[:1])]
        return f"{point.threshold:g}{mark}", f"{point.predicted:,}", f"{point.right:,}", *figures

    names = ("precision", "recall", "F1", "no partner, matched")
    head = [name for figure in names for name in ((figure, "95% interval") if intervals else (figure,))]
    return make_table(("probability", "accepted", "right", *head), map(cells, found.steps), "Accuracy by threshold")


def calibration_table(found: Evaluation) -> Table:
    """Return the bins of the calibration."""
    rows = [
        (f"{item.from_probability:.1f} to {item.to_probability:.1f}", item.companies, f"{item.mean_probability:.3f}",
         item.correct, _of(Share(item.correct, item.companies)))
        for item in found.bins
    ]  # fmt: skip
    head = ("probability", "companies", "mean probability", "right", "share right")
    return make_table(head, rows, "Calibration of the best candidates")


def segment_tables(found: Evaluation) -> list[Table]:
    """Return a table per property with the outcomes of its values."""
    tables = []
    for name in dict.fromkeys(segment.name for segment in found.segments):
        rows = [
            (
                segment.value + (" (few)" if sum(segment.outcomes.values()) < _FEW else ""),
                *(segment.outcomes[outcome] for outcome in OUTCOMES),
                *("" if share.value is None else percent(share.value) for share in (segment.precision, segment.recall)),
            )
            for segment in found.segments
            if segment.name == name
        ]
        tables.append(make_table((name, *OUTCOMES, "precision", "recall"), rows, f"Companies by {name}"))
    return tables


def error_tables(found: Evaluation, limit: int) -> list[Table]:
    """Return at most ``limit`` false matches and misses each, with the reason and the evidence in bits."""
    tables = []
    for outcomes, caption in (((FALSE, WRONG), "False matches"), ((MISSED,), "Misses")):
        rows = [row for row in found.errors.to_pylist() if row["outcome"] in outcomes]
        more = f" (the first {limit:,} of {len(rows):,})" if len(rows) > limit else ""
        head = ("company", "reason", "labelled recipient", "best candidate", "label row")
        tables.append(make_table(head, map(_error_cells, rows[:limit]), f"{caption}{more}"))
    return tables


def problems_table(found: Evaluation, limit: int) -> Table:
    """Return at most ``limit`` labels that could not be used."""
    rows = [["" if cell is None else cell for cell in row.values()] for row in found.problems.to_pylist()[:limit]]
    more = f" (the first {limit:,} of {len(found.problems):,})" if len(found.problems) > limit else ""
    return make_table(("row", "column", "value", "problem"), rows, f"Labels that are not used{more}")


def problems_sentence(found: Evaluation) -> str:
    """Return how many labels could not be used, by problem; empty without any."""
    counts = dict(found.problems.group_by("problem").aggregate([("row", "count")]).to_pydict())
    listed = [f"{problem} ({number:,})" for problem, number in zip(counts["problem"], counts["row_count"], strict=True)]
    total = counted(len(found.problems), "label is", "labels are")
    return f"{total} not used: {'; '.join(listed)}." if listed else ""


def comparison_sentence(found: Comparison) -> str:
    """Return the result of McNemar's test."""
    p = "< 0.0001" if found.p_value < 0.0001 else f"= {found.p_value:.4f}"
    return (
        f"Of {counted(found.companies, 'company', 'companies')}, both results are correct for {found.both:,}, only "
        f"{found.first} for {found.only_first:,}, only {found.second} for {found.only_second:,}, neither for "
        f"{found.neither:,}. McNemar's test (exact): p {p}."
    )


def comparison_table(found: Comparison, limit: int) -> Table:
    """Return at most ``limit`` companies for which one of both results is correct."""

    def answer(row: Mapping[str, Any], side: str) -> str:
        name, outcome = row[f"recipient_name_{side}"] or row[f"recipient_id_{side}"], str(row[f"outcome_{side}"])
        return f"{outcome}: {name} ({format_probability(row[f'match_probability_{side}'])})" if name else outcome

    rows = [
        (row["company_name"] or row["company_key"], answer(row, "first"), answer(row, "second"), row["label_row"])
        for row in found.discordant.slice(0, limit).to_pylist()
    ]
    more = f" (the first {limit:,} of {len(found.discordant):,})" if len(found.discordant) > limit else ""
    return make_table(("company", found.first, found.second, "label row"), rows, f"Companies that differ{more}")


def print_evaluation(console: PlainConsole, found: Evaluation, comparison: Comparison | None, *, examples: int) -> None:
    """Print the summary: figures, calibration, blocking, the first errors, and the comparison."""
    console.print(Text(f"Evaluation of {found.title}", style="bold"))
    for text in (labels_sentence(found), problems_sentence(found), evidence_sentence(found), found.note):
        if text:
            console.print(text)
    console.print("", rich_table(points_table(found)), "")
    for text in (calibration_sentence(found), blocking_sentence(found), organisation_sentence(found)):
        if text:
            console.print(text)
    console.print("", rich_table(thresholds_table(found, intervals=False)))
    if examples:
        for table in error_tables(found, examples):
            if table.rows:
                console.print("", Text(table.caption, style="bold"), sep="\n")
                for company, outcome, labelled, best, row in table.rows:
                    console.print(f"{company}, label in row {row}", f"  {outcome}", sep="\n")
                    for label, candidate in (("labelled", labelled), ("best", best)):
                        if candidate:
                            console.print(Padding(f"{label:<9} {candidate}", (0, 0, 0, 2), expand=False))
    if len(found.problems):
        table = problems_table(found, max(examples, 1))
        console.print("", Text(table.caption, style="bold"), rich_table(table), sep="\n")
    if comparison is not None:
        console.print(
            "", Text(f"Compared with {comparison.second}", style="bold"), comparison_sentence(comparison), sep="\n"
        )
        if comparison.discordant.num_rows and examples:
            console.print("", rich_table(comparison_table(comparison, examples)))


def evaluation_document(found: Evaluation, comparison: Comparison | None) -> dict[str, Any]:
    """Return the evaluation as a JSON document with every figure, error and problem."""
    document: dict[str, Any] = {
        "result": found.title,
        "identifiers_hidden": found.identifiers_hidden,
        "note": found.note or None,
        "thresholds": None if found.decision is None else found.decision.model_dump(),
        "labels": {
            "rows": found.rows,
            "companies": found.companies,
            "with_partner": int(found.judged.partner.sum()),
            "findable": int(found.judged.findable.sum()),
            "without_partner": int((~found.judged.partner).sum()),
            "unlabelled_companies": found.unlabelled,
            "problems": found.problems.to_pylist(),
        },
        "outcomes": dict(found.outcomes),
        "points": {name: asdict(point) for name, point in found.points.items()},
        "precision_floor": found.floor,
        "thresholds_table": [asdict(point) for point in found.steps],
        "curve": {name: values.tolist() for name, values in vars(found.curve).items()},
        "calibration": {
            "expected_calibration_error": found.calibration_error,
            "bins": [asdict(item) for item in found.bins],
            "estimated_precision_of_labelled": found.labelled_precision,
            "estimated_of_result": found.estimated,
        },
        "blocking_recall": _share_document(found.blocking),
        "blocking_recall_findable": _share_document(found.blocking_findable),
        "segments": [
            {"property": segment.name, "value": segment.value, **segment.outcomes} for segment in found.segments
        ],
        "errors": found.errors.to_pylist(),
    }
    if comparison is not None:
        document["comparison"] = {
            **{name: value for name, value in vars(comparison).items() if name != "discordant"},
            "discordant": comparison.discordant.to_pylist(),
        }
    return document


def _share_document(share: Share | None) -> dict[str, Any] | None:
    return None if share is None else {**asdict(share), "share": share.value, "interval": share.interval}


def _of(share: Share) -> str:
    if share.value is None:
        return "none of 0"
    return f"{percent(share.value)} (95% interval {_interval(share.interval)}; {share.part:,} of {share.whole:,})"


def _interval(interval: Interval) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}"


def _error_cells(row: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Return company, what is wrong, labelled recipient, best candidate and row of the label."""
    company = f"{row['company_name'] or row['company_key']}" + _in(row["company_place"])
    labelled = row["labelled_name"] or row["labelled_recipients"] or row["labelled_ueis"] or ""
    name = row["best_name"] or row["best_recipient"] or ""
    best = "the same" if row["reason"] in IS_BEST else _candidate(name + _in(row["best_place"]), row, "best")
    outcome = f"{row['outcome']}: {row['reason']}"
    return (
        company,
        outcome,
        _candidate(labelled + _in(row["labelled_place"]), row, "labelled"),
        best,
        str(row["label_row"]),
    )


def _candidate(name: str, row: Mapping[str, Any], side: str) -> str:
    if not name:
        return ""
    probability, evidence = row[f"{side}_probability"], row[f"{side}_evidence"]
    parts = [name, "" if probability is None else format_probability(probability), evidence or ""]
    return " · ".join(filter(None, parts))


def _in(place: str | None) -> str:
    return f" ({place})" if place else ""
