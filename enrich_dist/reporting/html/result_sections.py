"""Sections on the result of a run: verdict, match rates, calibration, unresolved companies and the matching model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from enrich_dist.core.tables import Table, make_table, percent
from enrich_dist.evaluation.figures import wilson_interval
from enrich_dist.reporting.html import charts
from enrich_dist.reporting.html.charts import Chart, Share
from enrich_dist.reporting.html.report_data import ReportData
from enrich_dist.reporting.html.section import Section, limited_table, make_section
from enrich_dist.results import report
from enrich_dist.results.method_table import method_table
from enrich_dist.results.unresolved import UnresolvedCompany

_MIN_COMPANIES = 5
_MIN_AWARDS = 20
_GROUPS = ("agency", "state", "award_year", "identifier_type", "phase", "program")


def verdict(data: ReportData) -> Section:
    """Return the verdict with its checks."""
    if data.passed:
        text = "The result is published." if data.published else "The result may be published, and is not yet."
    else:
        text = f"Nothing was published: {'; '.join(data.verdict['reasons'])}."
    return make_section("verdict", "Verdict", text, tables=[report.check_table(data.verdict)])


def methods(data: ReportData) -> Section:
    """Return accepted matches by method."""
    table = method_table(data.metrics)
    if not table.rows:
        return make_section("methods", table.caption, "No match is accepted.")
    valid = data.metrics["awards"]["valid"]
    rows = [
        Share(i["method"], i["awards"] / valid, percent(i["awards"] / valid), f"· {i['awards']:,} awards")
        for i in data.metrics["by_method"]
    ]
    chart = charts.shares("methods", "Share of valid awards by match method", _listed(rows), rows)
    return make_section("methods", table.caption, charts=[(chart, table)])


def groups(data: ReportData) -> Section:
    """Return match rates by groups of awards."""
    return make_section(
        "groups",
        "Match rates",
        "Share of valid awards with an accepted match, most frequent values first. A low rate in a large group means "
        f"that recipients are missing, or that names differ. Grey bars have fewer than {_MIN_AWARDS} awards, too few "
        "to compare.",
        # Unknown groups are last.
        charts=[_group(data, group) for group in sorted(data.metrics["by"], key=(*_GROUPS, *data.metrics["by"]).index)],
    )


def _group(data: ReportData, group: str) -> tuple[Chart, Table]:
    title = group.replace("_", " ")
    caption = f"Match rate by {title}"
    every = [(str(i["value"]), i["awards"], i["matched"], i["match_rate"]) for i in data.metrics["by"][group]]
    if group == "award_year":
        every.sort()
        chart = charts.columns_of_shares(f"by-{group}", caption, _summary_of_years(every), _rates(every), title)
    else:
        bars = _rates(report.group_rows(data.metrics, group))
        chart = charts.shares(f"by-{group}", caption, _listed(bars[:5]), bars)
    rows = [(value, awards, matched, percent(rate)) for value, awards, matched, rate in every]
    return chart, make_table((title, "awards", "matched", "match rate"), rows, caption)


def _rates(rows: Iterable[tuple[str, int, int, float]]) -> list[Share]:
    return [Share(value, rate, percent(rate), f"of {n:,}", pale=n < _MIN_AWARDS) for value, n, _, rate in rows]


def distributions(data: ReportData) -> Section:
    """Return the match probabilities and weights of the best candidates."""
    title = "Match probabilities and weights"
    used = {setting.key: setting.value for setting in data.settings}
    thresholds = [
        (float(used[f"matching.{name}"]), text)
        for name, text in (("review_probability", "review threshold"), ("accept_probability", "acceptance threshold"))
        if f"matching.{name}" in used
    ]
    bins, weights = data.metrics["probability_distribution"], data.unresolved.weights
    statuses = tuple(charts.STATUS_COLOURS)
    if not weights:
        return make_section("distributions", title, "No company has a candidate.")
    probability = charts.stacked(
        "probabilities",
        "Companies by the match probability of their best candidate",
        f"{bins[-1]['matched']:,} companies are matched with a probability of at least "
        f"{bins[-1]['from_probability']:.2f}.",
        bins=[(item["from_probability"], item["to_probability"]) for item in bins],
        counts={status: [item[status] for item in bins] for status in statuses},
        axis="match probability",
        marks=thresholds,
    )
    weight = charts.stacked(
        "weights",
        "Companies by the match weight of their best candidate",
        f"Weights range from {weights[0].from_bits} to {weights[-1].to_bits} bits.",
        bins=[(item.from_bits, item.to_bits) for item in weights],
        counts={status: [getattr(item, status) for item in weights] for status in statuses},
        axis="match weight (bits)",
    )
    weight_rows = [
        (f"{item.from_bits} to {item.to_bits}", *(getattr(item, status) for status in statuses))
        for item in reversed(weights)
    ]
    return make_section(
        "distributions",
        title,
        "The match weight is the sum of the weights of all comparisons, in bits: each bit doubles the odds. The match "
        "probability also depends on the number of recipients and on the company's other candidates. "
        f"{data.unresolved.without_candidate_total:,} companies have no candidate and are in neither chart.",
        charts=[
            (probability, report.probability_table(data.metrics)),
            (weight, make_table(("bits", *statuses), weight_rows, "Companies by match weight")),
        ],
    )


def calibration(data: ReportData) -> Section:
    """Return how well match probabilities agree with the share of correct candidates."""
    title, found = "Calibration", data.calibration
    estimated = report.accuracy_sentence(data.metrics)
    if isinstance(found, str):
        return make_section("calibration", title, estimated, found)
    if sum(item.companies for item in found.bins) < _MIN_COMPANIES:
        few = f"{found.identified:,} companies share an identifier with a recipient: too few to measure calibration."
        return make_section("calibration", title, estimated, few)
    points = [
        (
            item.mean_probability,
            item.correct / item.companies,
            *wilson_interval(item.correct, item.companies),
            item.companies,
        )
        for item in found.bins
    ]
    chart = charts.calibration(
        "calibration",
        "Share of correct best candidates by match probability",
        "; ".join(f"at probability {mean:.2f}: {percent(share)} of {n:,}" for mean, share, _, _, n in points),
        points,
    )
    rows = [
        (f"{item.from_probability:.1f} to {item.to_probability:.1f}", item.companies, f"{item.mean_probability:.3f}",
         item.correct, percent(share), f"{percent(low)} to {percent(high)}")
        for item, (_, share, low, high, _) in zip(found.bins, points, strict=True)
    ]  # fmt: skip
    head = ("probability", "companies", "mean probability", "correct", "share correct", "95% interval")
    sampled = "" if found.companies == found.identified else f" of {found.identified:,}"
    return make_section(
        "calibration",
        title,
        estimated,
        f"Measured on {found.companies:,}{sampled} companies that share a UEI or DUNS with a recipient, with these "
        f"identifiers hidden; {found.without_candidate:,} of them have no candidate by name. On the line, "
        "probabilities are calibrated; above it, they are too low. Because each of these companies has a partner, "
        "low probabilities are underestimated here.",
        charts=[(chart, make_table(head, rows, "Calibration by match probability"))],
    )


def unresolved(data: ReportData) -> Section:
    """Return companies without an accepted match, with their best candidates."""
    title, found = "Unresolved companies and their best candidates", data.unresolved
    if not found.with_candidate and not found.without_candidate:
        return make_section("unresolved", title, "Every company has an accepted match.")
    text = [
        f"{found.with_candidate_total:,} companies have a candidate that was not accepted; "
        f"{found.without_candidate_total:,} companies have no candidate."
    ]
    if found.with_candidate:
        text.append(
            "The companies for which a decision gains most (awards times probability) are first. To see all "
            "candidates of a company: enrich-dist explain --company KEY. To decide: enrich-dist review export."
        )
    candidates = limited_table(
        ("company", "awards", "status", "best candidate", "probability", "evidence", "key"),
        [_unresolved_row(item) for item in found.with_candidate],
        "Companies with a candidate that was not accepted",
        total=found.with_candidate_total,
    )
    without = limited_table(
        ("company", "awards", "key"),
        [(item.company, item.awards, item.company_key) for item in found.without_candidate],
        "Companies without a candidate, by number of awards",
        total=found.without_candidate_total,
    )
    return make_section("unresolved", title, *text, tables=[candidates], folded=[without])


def _unresolved_row(item: UnresolvedCompany) -> tuple[object, ...]:
    candidate = f"{item.candidate or ''}" + (f" ({item.candidate_place})" if item.candidate_place else "")
    probability = "" if item.probability is None else f"{item.probability:.3f}"
    return item.company, item.awards, item.status, candidate, probability, item.evidence or "", item.company_key


def reconciliation(data: ReportData) -> Section:
    """Return where every row read went."""
    text = "; ".join(data.metrics["reconciliation"]["differences"]) or "Every row read is accounted for"
    return make_section(
        "reconciliation",
        "Row reconciliation",
        f"{text}.",
        tables=[report.reconciliation_table(data.metrics)],
        folded=[report.rejects_table(data.metrics), report.shared_table(data.metrics)],
    )


def columns(data: ReportData) -> Section:
    """Return the statistics of the input columns."""
    return make_section(
        "columns",
        "Input columns",
        "A column that is null or not understood in most rows, or whose examples are no values of its kind, shows a "
        "wrong column map (inputs.award_columns, inputs.recipient_columns). Columns without a meaning are last.",
        folded=report.column_tables(data.metrics),
    )


def model(data: ReportData) -> Section:
    """Return the match weights of each comparison."""
    decisions = report.decisions_text(data.metrics["overrides"])
    return make_section(
        "model",
        "Matching model",
        report.model_text(data.metrics["model"]),
        f"Human review decisions: {decisions}" if decisions else "",
        folded=[report.model_table(data.metrics["model"])],
    )


def _listed(rows: Iterable[Share]) -> str:
    return "; ".join(f"{row.label}: {row.text}" for row in rows)


def _summary_of_years(rows: Sequence[tuple[str, int, int, float]]) -> str:
    if not rows:
        return "No awards."
    value, awards, _, rate = max(rows, key=lambda row: row[1])
    return f"{len(rows)} values; the most frequent is {value} with {awards:,} awards and a rate of {percent(rate)}."
