"""The report of a result as tables, sentences and Markdown, from its metrics document and verdict alone."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from enrich_dist import schema
from enrich_dist.core.tables import Table, make_table, percent
from enrich_dist.plain_text import markdown_text
from enrich_dist.results.method_table import method_table
from enrich_dist.results.reliability import describe
from enrich_dist.sources.column_statistics import SourceColumns

MAX_GROUP_ROWS = 15
_TYPES = {"UEI and DUNS": "uei_and_duns", "UEI only": "uei_only", "DUNS only": "duns_only", "none": "no_identifier"}
_BAND_ENDS = (0, 50, 75, 90, 95, 100)  # percent; bins of the distribution begin at multiples of 5
_IDENTIFIER_LEVELS = (schema.Agreement.CONFLICT.label, schema.Agreement.AGREE.label)


def group_table(metrics: Mapping[str, Any], group: str) -> Table:
    """Return the match rate by the values of one award column, as in ``group_rows``."""
    title = group.replace("_", " ")
    rows = [(value, awards, matched, percent(rate)) for value, awards, matched, rate in group_rows(metrics, group)]
    return make_table((title, "awards", "matched", "match rate"), rows, f"Match rate by {title}")


def group_rows(metrics: Mapping[str, Any], group: str) -> list[tuple[str, int, int, float]]:
    """Return value, awards, matched awards and match rate; values after the 15 most frequent are one row."""
    items = metrics["by"][group]
    rows = [(str(i["value"]), i["awards"], i["matched"], i["match_rate"]) for i in items[:MAX_GROUP_ROWS]]
    rest = items[MAX_GROUP_ROWS:]
    if rest:
        awards, matched = sum(i["awards"] for i in rest), sum(i["matched"] for i in rest)
        rows.append((f"{len(rest)} others", awards, matched, matched / awards))
    return rows


def probability_table(metrics: Mapping[str, Any]) -> Table:
    """Return companies by the match probability of their best candidate, without empty bins."""
    statuses = ("matched", "review", "unmatched")
    rows = [
        (f"{i['from_probability']:.2f} to {i['to_probability']:.2f}", *(i[status] for status in statuses))
        for i in reversed(metrics["probability_distribution"])
        if any(i[status] for status in statuses)
    ]
    return make_table(("match probability", *statuses), rows, "Companies by match probability")


def plotted_numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the match rate by identifier type, and the companies by the match probability of their best candidate.

    A type of identifier that no award has is left out; bands are named by their ends in percent.
    """
    rates = {i["value"]: i["match_rate"] for i in metrics["by"]["identifier_type"]}
    numbers: dict[str, float] = {f"match_rate_{name}": rates[value] for value, name in _TYPES.items() if value in rates}
    for low, high in pairwise(_BAND_ENDS):
        bins = (i for i in metrics["probability_distribution"] if low <= round(100 * i["from_probability"]) < high)
        count = sum(i["matched"] + i["review"] + i["unmatched"] for i in bins)
        numbers[f"companies_probability_{low}_to_{high}"] = count
    return numbers


def awards_sentence(metrics: Mapping[str, Any]) -> str:
    """Return how many awards are matched, for review and unmatched."""
    awards = metrics["awards"]
    return (
        f"{awards['matched']:,} of {awards['valid']:,} valid awards have an accepted match "
        f"({percent(metrics['match_rate'])}), {awards['review']:,} are for review, {awards['unmatched']:,} unmatched."
    )


def accuracy_sentence(metrics: Mapping[str, Any]) -> str:
    """Return the estimated precision and recall of the accepted matches, with their intervals, and why they are not
    reliable if they are not."""
    parts: list[str] = []
    for name in ("precision", "recall"):
        share = metrics["accuracy"][name]
        if share["estimate"] is not None:
            low, high = percent(share["low"]), percent(share["high"])
            parts.append(f"{name} {percent(share['estimate'])} (95% interval {low} to {high})")
    if not parts:
        return "No match is accepted."
    doubt = describe(metrics["accuracy"])
    return f"Estimated {' and '.join(parts)}{f', {doubt}' if doubt else ''}."


def address_sentence(metrics: Mapping[str, Any]) -> str:
    """Return how many companies are in review by their address alone; empty for results of versions without it."""
    if not (companies := metrics.get("review_by_address", 0)):
        return ""
    left_out = metrics["model"]["addresses_left_out"]
    return (
        f"{companies:,} companies are for review because a recipient of another name has their address. Recipients at "
        f"addresses of too many companies, which are not compared by address: {left_out:,}."
    )


def check_table(verdict: Mapping[str, Any]) -> Table:
    """Return every check of the verdict."""
    rows = [(c["name"], "passed" if c["passed"] else "FAILED", c["reason"]) for c in verdict["checks"]]
    return make_table(("check", "outcome", "finding"), rows, "Checks of the verdict")


def reconciliation_table(metrics: Mapping[str, Any]) -> Table:
    """Return rows read and where each of them went."""
    document = metrics["reconciliation"]
    rows = [(name, part, count) for name in ("awards", "recipients") for part, count in document[name].items()]
    return make_table(("table", "rows", "count"), rows, "Rows read and where they went")


def rejects_table(metrics: Mapping[str, Any]) -> Table:
    """Return what the sources rejected or repaired, by reason."""
    rows = [(i["source_file"], i["outcome"], i["column"] or "", i["reason"], i["count"]) for i in metrics["rejects"]]
    return make_table(("file", "outcome", "column", "reason", "count"), rows, "Rejected rows and repaired cells")


def column_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Return the statistics of the columns of each input; none for results of versions without them."""
    return [
        SourceColumns.of_document(document).table(f"Columns of the {name}")
        for name, document in metrics.get("columns", {}).items()
    ]


def shared_table(metrics: Mapping[str, Any]) -> Table:
    """Return the identifiers that unlike organisations share, with their holders."""
    rows = [
        (
            f"{i['kind'].upper()} {i['identifier']}",
            i["side"],
            i["rows"],
            "; ".join(i["names"]) + (f" and {more} more" if (more := i["name_count"] - len(i["names"])) else ""),
        )
        for i in metrics["shared_identifiers"]["listed"]
    ]
    return make_table(
        ("identifier", "side", "rows", "holders"), rows, "Identifiers that unlike organisations share: not used"
    )


def decisions_text(decided: Mapping[str, Any]) -> str:
    """Return how many review decisions act (metrics "overrides"), and which do not; empty without any."""
    if not (decided["confirmed"] or decided["rejected"] or decided["without_effect_count"]):
        return ""
    text = f"{decided['confirmed']:,} confirmed, {decided['rejected']:,} rejected."
    shown, count = decided["without_effect"], decided["without_effect_count"]
    if count:
        more = f" and {count - len(shown):,} more" if count > len(shown) else ""
        text += (
            f" Without effect, as their company or recipient is not in this run or the rejected pair is no candidate: "
            f"{count:,} ({'; '.join(shown)}{more})."
        )
    return text


def model_text(model: Mapping[str, Any]) -> str:
    """Return what the weights are estimated from (metrics "model"), and what blocking left out."""
    left_out = (
        f"{model['blocks_left_out']:,} lookups into blocks larger than matching.max_block_size were left out, of "
        f"{model['pairs_left_out']:,} pairs in all."
        if model["blocks_left_out"]
        else "No block was larger than matching.max_block_size: no pair was left out."
    )
    return (
        f"Weights are estimated from {model['recipients']:,} recipients and {model['identified_pairs']:,} pairs that "
        f"agree on an identifier. By this estimate, {percent(model['partner_share'])} of the companies have a partner "
        f"among the recipients. {left_out}"
    )


def model_table(model: Mapping[str, Any]) -> Table:
    """Return the match weight of each outcome of each comparison, and how far the estimation moved it from its shipped
    value, in bits; the latter is empty for results of versions that did not record it."""
    levels: dict[str, type[schema.Level]] = {"name": schema.NameLevel, "sibling": schema.SiblingLevel}
    levels |= {"place": schema.PlaceLevel, "street": schema.StreetLevel}
    outcomes = {name: level.labels() for name, level in levels.items()}
    outcomes |= {"uei": _IDENTIFIER_LEVELS, "duns": _IDENTIFIER_LEVELS}
    rows = []
    for comparison, names in outcomes.items():
        weights = model.get(comparison, [0.0] * len(names))
        shipped = model.get("shipped", {}).get(comparison, weights if "shipped" in model else [None] * len(names))
        rows += [
            (
                comparison.upper() if comparison in ("uei", "duns") else comparison,
                outcome,
                f"{bits:+.2f}",
                "" if before is None else f"{bits - before:+.2f}",
            )
            for outcome, bits, before in zip(names, weights, shipped, strict=True)
        ]
    return make_table(("comparison", "outcome", "bits", "moved"), rows, "Match weights in bits")


def render(metrics: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    """Return the whole report as Markdown."""
    companies = metrics["companies"]
    passed, reasons = verdict["status"] == "passed", "; ".join(verdict["reasons"])
    tables = [
        method_table(metrics),
        probability_table(metrics),
        *(group_table(metrics, group) for group in metrics["by"]),
        reconciliation_table(metrics),
        *([shared_table(metrics)] if metrics["shared_identifiers"]["count"] else []),
        *([rejects_table(metrics)] if metrics["rejects"] else []),
        *column_tables(metrics),
    ]
    sections = [
        "# SBIR awards and their USAspending recipients",
        f"**Verdict: {'passed' if passed else 'blocked'}.** "
        + ("The result may be published." if passed else f"Not published: {markdown_text(reasons)}."),
        check_table(verdict).markdown(),
        f"## Awards\n\n{awards_sentence(metrics)} By company: {companies['matched']:,} of {companies['valid']:,} "
        f"({percent(companies['match_rate'])}). {address_sentence(metrics)}".rstrip(),
        f"## Estimated accuracy\n\n{accuracy_sentence(metrics)}",
        *(f"## {table.caption}\n\n{table.markdown()}" for table in tables),
        f"## Matching model\n\n{model_text(metrics['model'])}\n\nEach bit doubles the odds of a match. Names that "
        "agree also count the words they share: a rare word more than a common one. Moved: by how many bits this run's "
        "candidates changed the shipped value.\n\n" + model_table(metrics["model"]).markdown(),
    ]
    if decisions := decisions_text(metrics["overrides"]):
        sections.append("## Human review decisions\n\n" + markdown_text(decisions))
    return "\n\n".join(sections) + "\n"
