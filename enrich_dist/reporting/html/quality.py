"""The sections on the result of a run: its verdict, its rates, how sure it is, and what is left undecided.

Every number is one of the facts, formatted. A section that has nothing to show says so in a sentence. Does not cover
how the run went (``work``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from enrich_dist.core.markdown import percent
from enrich_dist.reporting.html import charts
from enrich_dist.reporting.html.charts import Chart, Share
from enrich_dist.reporting.html.facts import RunFacts
from enrich_dist.reporting.html.parts import Section, Table, captioned, table
from enrich_dist.results import report
from enrich_dist.results.unresolved import UnresolvedCompany

_MIN_LABELS = 5
_FEW_AWARDS = 20
_GROUPS = ("agency", "state", "award_year", "identifier_type", "phase", "program")


def verdict(facts: RunFacts) -> Section:
    """The verdict with its checks."""
    rows = [
        (check["name"].replace("_", " "), "passed" if check["passed"] else "FAILED", check["reason"])
        for check in facts.verdict["checks"]
    ]
    if facts.passed:
        text = "The result is published." if facts.published else "The result may be published, and is not yet."
    else:
        text = f"Nothing was published: {'; '.join(facts.verdict['reasons'])}."
    return Section(
        "verdict",
        "Verdict",
        (text,),
        tables=(table("Checks of the verdict", ("check", "outcome", "finding"), rows, folded=False),),
    )


def methods(facts: RunFacts) -> Section:
    """Accepted matches by method."""
    rows = [(name, awards, companies, share) for name, awards, companies, share in report.method_rows(facts.metrics)]
    if not rows:
        return Section("methods", "Accepted matches by method", ("Nothing is accepted.",))
    chart = charts.shares(
        "methods",
        "Share of the valid awards, by the method of their match",
        _listed((name, share) for name, _, _, share in rows),
        [Share(name, share, percent(share), f"· {awards:,} awards") for name, awards, _, share in rows],
    )
    shown = table(
        "Accepted matches by method",
        ("method", "awards", "companies", "share of awards"),
        [(name, awards, companies, percent(share)) for name, awards, companies, share in rows],
    )
    return Section("methods", "Accepted matches by method", charts=((chart, shown),))


def groups(facts: RunFacts) -> Section:
    """Match rates by what awards have in common."""
    return Section(
        "groups",
        "Match rates",
        (
            "Share of the valid awards with an accepted match, the commonest values first. A low rate in a large group "
            "tells where partners are missing among the recipients, or where names differ. Grey: fewer than "
            f"{_FEW_AWARDS} awards, too few to compare.",
        ),
        charts=tuple(_group(facts, group) for group in sorted(facts.metrics["by"], key=_group_order)),
    )


def _group(facts: RunFacts, group: str) -> tuple[Chart, Table]:
    title = f"Match rate by {group.replace('_', ' ')}"
    head = (group.replace("_", " "), "awards", "matched", "match rate")
    every = [(str(i["value"]), i["awards"], i["matched"], i["match_rate"]) for i in facts.metrics["by"][group]]
    if group == "award_year":
        every.sort(key=lambda row: row[0])
        rows = [_rate(value, awards, rate) for value, awards, _, rate in every]
        chart = charts.columns_of_shares(f"by-{group}", title, _extremes(every), rows, "award year")
    else:
        few = report.group_rows(facts.metrics, group)
        rows = [_rate(value, awards, rate) for value, awards, _, rate in few]
        chart = charts.shares(f"by-{group}", title, _listed((value, rate) for value, _, _, rate in few[:5]), rows)
    return chart, table(
        title, head, [(value, awards, matched, percent(rate)) for value, awards, matched, rate in every]
    )


def _rate(value: str, awards: int, rate: float) -> Share:
    return Share(value, rate, percent(rate), f"of {awards:,}", pale=awards < _FEW_AWARDS)


def _group_order(group: str) -> int:
    """Those of a kind side by side; one that is new comes last."""
    return _GROUPS.index(group) if group in _GROUPS else len(_GROUPS)


def distributions(facts: RunFacts) -> Section:
    """How sure the best candidates are."""
    decided = {setting.key: setting.value for setting in facts.settings}
    marks = [
        (float(decided[f"matching.{name}"]), text)
        for name, text in (("review_probability", "review from here"), ("accept_probability", "accepted from here"))
        if f"matching.{name}" in decided
    ]
    bins = facts.metrics["probability_distribution"]
    weights = facts.candidates.weights
    statuses = tuple(charts.STATUS_COLOURS)
    if not weights:
        return Section("distributions", "Probabilities and scores", ("No company has a candidate.",))
    probability = charts.stacked(
        "probabilities",
        "Companies by the match probability of their best candidate",
        f"Most lie in the highest bin: {bins[-1]['matched']:,} are matched with a probability of at least "
        f"{bins[-1]['from_probability']:.2f}.",
        bins=[(item["from_probability"], item["to_probability"]) for item in bins],
        counts={status: [item[status] for item in bins] for status in statuses},
        axis="match probability",
        marks=marks,
    )
    score = charts.stacked(
        "scores",
        "Companies by the score of their best candidate",
        f"Scores reach from {weights[0].from_bits} to {weights[-1].to_bits} bits.",
        bins=[(item.from_bits, item.to_bits) for item in weights],
        counts={status: [getattr(item, status) for item in weights] for status in statuses},
        axis="match weight, bits",
    )
    return Section(
        "distributions",
        "Probabilities and scores",
        (
            "A score is the sum of what the comparisons weigh, in bits: each doubles the odds. The probability also "
            "knows how many recipients there are, and the company's other candidates. Companies without any candidate "
            f"({facts.candidates.without_candidate_total:,}) are in neither chart.",
        ),
        charts=(
            (
                probability,
                table(
                    "Companies by match probability",
                    ("match probability", *statuses),
                    [
                        (f"{i['from_probability']:.2f} to {i['to_probability']:.2f}", *(i[s] for s in statuses))
                        for i in reversed(bins)
                    ],
                ),
            ),
            (
                score,
                table(
                    "Companies by score",
                    ("bits", *statuses),
                    [(f"{w.from_bits} to {w.to_bits}", *(getattr(w, s) for s in statuses)) for w in reversed(weights)],
                ),
            ),
        ),
    )


def reliability(facts: RunFacts) -> Section:
    """Whether the probabilities are honest."""
    title, found = "Are the probabilities honest?", facts.reliability
    estimated = report.accuracy_sentence(facts.metrics)
    if isinstance(found, str):
        return Section("reliability", title, (estimated, found))
    if sum(item.companies for item in found.bins) < _MIN_LABELS:
        few = f"{found.identified:,} companies share an identifier with a recipient: too few to measure it in this run."
        return Section("reliability", title, (estimated, few))
    points = [
        (item.mean_probability, item.correct / item.companies, *_wilson(item.correct, item.companies), item.companies)
        for item in found.bins
    ]
    chart = charts.reliability(
        "reliability",
        "Reliability: how often a best candidate is right, by its probability",
        "; ".join(f"at probability {mean:.2f}: {percent(right)} of {n:,}" for mean, right, _, _, n in points),
        points,
    )
    rows = [
        (f"{item.from_probability:.1f} to {item.to_probability:.1f}", item.companies, f"{item.mean_probability:.3f}",
         item.correct, percent(right), f"{percent(low)} to {percent(high)}")
        for item, (_, right, low, high, _) in zip(found.bins, points, strict=True)
    ]  # fmt: skip
    head = ("probability", "companies", "mean probability", "right", "share right", "95% interval")
    of_all = "" if found.companies == found.identified else f" of the {found.identified:,}"
    return Section(
        "reliability",
        title,
        (
            estimated,
            f"Judged by {found.companies:,}{of_all} companies that share a UEI or DUNS with a recipient, whose "
            f"identifiers were hidden; {found.without_candidate:,} have no candidate by name. Points on the line are "
            "honest, points above it too modest. As all these companies have a partner, low probabilities come out "
            "too modest here.",
        ),
        charts=((chart, table("Reliability by probability", head, rows)),),
    )


def undecided(facts: RunFacts) -> Section:
    """Companies without an accepted match, with their best candidates."""
    found = facts.candidates
    text = [
        f"{found.with_candidate_total:,} companies have a candidate that was not accepted; for "
        f"{found.without_candidate_total:,} the search found none."
    ]
    tables = []
    if found.with_candidate:
        text.append(
            "First come those where a decision gains most: awards times probability. All candidates of one: "
            "enrich-dist explain --company KEY. To decide: enrich-dist review export."
        )
        head = ("company", "awards", "status", "best candidate", "probability", "why", "key")
        tables.append(
            table(
                captioned(
                    "Unmatched companies with their best candidate", found.with_candidate, found.with_candidate_total
                ),
                head,
                [_undecided_row(item) for item in found.with_candidate],
                folded=False,
            )
        )
    if found.without_candidate:
        rows = [(item.company, item.awards, item.company_key) for item in found.without_candidate]
        caption = captioned(
            "Companies without any candidate, by their awards", found.without_candidate, found.without_candidate_total
        )
        tables.append(table(caption, ("company", "awards", "key"), rows))
    if not tables:
        text = ["Every company has an accepted match."]
    return Section("undecided", "Unmatched awards and their best candidates", tuple(text), tables=tuple(tables))


def _undecided_row(item: UnresolvedCompany) -> tuple[object, ...]:
    place = f" ({item.candidate_place})" if item.candidate_place else ""
    probability = "" if item.probability is None else f"{item.probability:.3f}"
    candidate = f"{item.candidate or ''}{place}"
    return item.company, item.awards, item.status, candidate, probability, item.evidence or "", item.company_key


def accounting(facts: RunFacts) -> Section:
    """Every row read, accounted for."""
    document = facts.metrics["reconciliation"]
    rows = [(kind, part.replace("_", " "), count) for kind in ("awards", "recipients")
            for part, count in document[kind].items()]  # fmt: skip
    tables = [table("Rows in, and rows accounted for", ("table", "rows", "count"), rows, folded=False)]
    if facts.metrics["rejects"]:
        rejects = [
            (i["source_file"], i["outcome"], i["column"] or "", i["reason"], i["count"])
            for i in facts.metrics["rejects"]
        ]
        head = ("file", "outcome", "column", "reason", "count")
        tables.append(table("Rejected rows and repaired cells", head, rejects))
    text = "; ".join(document["differences"]) or "Every row read is accounted for"
    return Section("accounting", "Every row accounted for", (f"{text}.",), tables=tuple(tables))


def model(facts: RunFacts) -> Section:
    """What each comparison weighs."""
    model = facts.metrics["model"]
    text = [
        f"Weights are estimated from {model['recipients']:,} recipients and {model['identified_pairs']:,} pairs that "
        f"agree on an identifier. {percent(model['partner_share'])} of the companies have a partner among the "
        "recipients, by the run's own estimate."
    ]
    if decisions := report.decisions_text(facts.metrics["overrides"]):
        text.append(f"Decisions by persons: {decisions}")
    rows = [(name, outcome, f"{bits:+.2f}") for name, outcome, bits in report.model_rows(model)]
    return Section(
        "model",
        "The matching model",
        tuple(text),
        tables=(table("What each comparison weighs, in bits", ("comparison", "outcome", "bits"), rows),),
    )


def _wilson(part: int, whole: int) -> tuple[float, float]:
    """95% interval of a share (Wilson 1927)."""
    z2 = 1.96**2
    centre = (part + z2 / 2) / (whole + z2)
    spread = (1.96 * (part * (whole - part) / whole + z2 / 4) ** 0.5) / (whole + z2)
    return max(0.0, centre - spread), min(1.0, centre + spread)


def _listed(items: Iterable[tuple[str, float]]) -> str:
    return "; ".join(f"{name}: {percent(share)}" for name, share in items)


def _extremes(rows: Sequence[tuple[str, int, int, float]]) -> str:
    if not rows:
        return "No award."
    most = max(rows, key=lambda row: row[1])
    return f"{len(rows)} values; the commonest is {most[0]} with {most[1]:,} awards and a rate of {percent(most[3])}."
