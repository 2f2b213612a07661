"""The written report of a result: Markdown made from the metrics document and the verdict, and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from enrich_dist import schema
from enrich_dist.core.markdown import markdown_table, percent

LONGEST_GROUP = 15
_IDENTIFIER_LEVELS = (schema.Agreement.CONFLICT.label, schema.Agreement.AGREE.label)


def method_table(metrics: Mapping[str, Any]) -> str:
    """Accepted matches by method, with their share of the valid awards."""
    rows = [(method, awards, companies, percent(share)) for method, awards, companies, share in method_rows(metrics)]
    return markdown_table(("method", "awards", "companies", "share of awards"), rows)


def method_rows(metrics: Mapping[str, Any]) -> list[tuple[str, int, int, float]]:
    """Method, awards, companies and share of the valid awards, in the order of the cascade."""
    valid = metrics["awards"]["valid"]
    return [
        (item["method"], item["awards"], item["companies"], item["awards"] / valid if valid else 0.0)
        for item in metrics["by_method"]
    ]


def group_table(metrics: Mapping[str, Any], group: str) -> str:
    """Match rate by the values of one award column, the commonest first; the rest in one line."""
    rows = [(value, awards, matched, percent(rate)) for value, awards, matched, rate in group_rows(metrics, group)]
    return markdown_table((group.replace("_", " "), "awards", "matched", "match rate"), rows)


def group_rows(metrics: Mapping[str, Any], group: str) -> list[tuple[str, int, int, float]]:
    """Value, awards, matched and match rate, the commonest first; those after the first 15 in one row."""
    items = metrics["by"][group]
    rows = [(str(i["value"]), i["awards"], i["matched"], i["match_rate"]) for i in items[:LONGEST_GROUP]]
    rest = items[LONGEST_GROUP:]
    if rest:
        awards, matched = sum(i["awards"] for i in rest), sum(i["matched"] for i in rest)
        rows.append((f"{len(rest)} others", awards, matched, matched / awards))
    return rows


def probability_table(metrics: Mapping[str, Any]) -> str:
    """Companies by the match probability of their best candidate."""
    rows = [
        (f"{i['from_probability']:.2f} to {i['to_probability']:.2f}", i["matched"], i["review"], i["unmatched"])
        for i in reversed(metrics["probability_distribution"])
        if i["matched"] or i["review"] or i["unmatched"]
    ]
    return markdown_table(("match probability", "matched", "review", "unmatched"), rows)


def accuracy_sentence(metrics: Mapping[str, Any]) -> str:
    """Estimated precision and recall of the accepted matches, with their intervals."""
    parts: list[str] = []
    for name in ("precision", "recall"):
        share = metrics["accuracy"][name]
        if share["estimate"] is not None:
            low, high = percent(share["low"]), percent(share["high"])
            parts.append(f"{name} {percent(share['estimate'])} (95% interval {low} to {high})")
    return f"Estimated {' and '.join(parts)}." if parts else "Nothing is accepted."


def verdict_table(verdict: Mapping[str, Any]) -> str:
    """Every check of the verdict."""
    rows = [(c["name"], "passed" if c["passed"] else "FAILED", c["reason"]) for c in verdict["checks"]]
    return markdown_table(("check", "outcome", "finding"), rows)


def reconciliation_table(metrics: Mapping[str, Any]) -> str:
    """Rows in and rows accounted for."""
    document = metrics["reconciliation"]
    rows = [(table, part, count) for table in ("awards", "recipients") for part, count in document[table].items()]
    return markdown_table(("table", "rows", "count"), rows)


def rejects_table(metrics: Mapping[str, Any]) -> str:
    """What the sources rejected or repaired, by reason."""
    rows = [(i["source_file"], i["outcome"], i["column"] or "", i["reason"], i["count"]) for i in metrics["rejects"]]
    return markdown_table(("file", "outcome", "column", "reason", "count"), rows)


def decisions_text(decided: Mapping[str, Any]) -> str:
    """How many decisions of persons act (metrics "overrides"), and which ones do not; empty without any."""
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
    """What the comparisons weighed in this run (metrics "model"), and what the search left out."""
    rows = [(comparison, outcome, f"{bits:+.2f}") for comparison, outcome, bits in model_rows(model)]
    left_out = (
        f"{model['blocks_left_out']:,} lookups into blocks larger than matching.max_block_size were left out, of "
        f"{model['pairs_left_out']:,} pairs in all."
        if model["blocks_left_out"]
        else "No block was larger than matching.max_block_size: no pair was left out."
    )
    return (
        f"Estimated from {model['recipients']:,} recipients and {model['identified_pairs']:,} pairs that agree on an "
        f"identifier. {percent(model['partner_share'])} of the companies have a partner among the recipients.\n\n"
        "Weights in bits: each bit doubles the odds. To that of a name comes what the words say that agree: a rare one "
        "more than a common one.\n\n" + markdown_table(("comparison", "outcome", "bits"), rows) + f"\n\n{left_out}"
    )


def model_rows(model: Mapping[str, Any]) -> list[tuple[str, str, float]]:
    """Comparison, outcome and what it weighs, in bits."""
    levels = {"name": schema.NameLevel, "place": schema.PlaceLevel, "street": schema.StreetLevel}
    outcomes = {name: level.labels() for name, level in levels.items()}
    outcomes |= {"uei": _IDENTIFIER_LEVELS, "duns": _IDENTIFIER_LEVELS}
    return [
        (comparison.upper() if comparison in ("uei", "duns") else comparison, outcome, float(bits))
        for comparison, names in outcomes.items()
        for outcome, bits in zip(names, model[comparison], strict=True)
    ]


def render(metrics: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    """The whole report as Markdown."""
    awards, companies = metrics["awards"], metrics["companies"]
    passed = verdict["status"] == "passed"
    sections = [
        "# SBIR awards and their USAspending recipients",
        f"**Verdict: {'passed' if passed else 'blocked'}.** "
        + ("The result may be published." if passed else "Not published: " + "; ".join(verdict["reasons"]) + "."),
        verdict_table(verdict),
        "## Awards\n\n"
        f"{awards['matched']:,} of {awards['valid']:,} valid awards have an accepted match "
        f"({percent(metrics['match_rate'])}); {awards['review']:,} wait for review, {awards['unmatched']:,} are "
        f"unmatched. By company: {companies['matched']:,} of {companies['valid']:,} "
        f"({percent(companies['match_rate'])}).",
        "## Accepted matches by method\n\n" + method_table(metrics),
        "## Accuracy, estimated from the match probabilities\n\n" + accuracy_sentence(metrics),
        "## Companies by match probability of their best candidate\n\n" + probability_table(metrics),
        *(f"## Match rate by {group.replace('_', ' ')}\n\n" + group_table(metrics, group) for group in metrics["by"]),
        "## Every row accounted for\n\n" + reconciliation_table(metrics),
    ]
    sections.append("## The matching model\n\n" + model_text(metrics["model"]))
    if decisions := decisions_text(metrics["overrides"]):
        sections.append("## Decisions by persons\n\n" + decisions)
    if metrics["rejects"]:
        sections.append("## Rejected rows and repaired cells\n\n" + rejects_table(metrics))
    return "\n\n".join(sections) + "\n"
