"""Explain why a company has its recipient, or none.

Covers each candidate with its comparisons, weights, rivals and probability, from the files of the latest result. A
weight (bits) is a logarithm to base 2 of odds. Does not cover how a company is found (``lookup``), the reason in words
(``explanation``) or the display (``reporting.explanation``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from enrich_dist import schema
from enrich_dist.core.tables import counted
from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import SAME_PLACE, lone_probability
from enrich_dist.matching.shared_words import MISSING, ComparedNames, SharedWords, shared_words, word_information
from enrich_dist.matching.weight_sql import weight_sql
from enrich_dist.results.explanation import (
    HUMAN_REVIEW,
    Appearance,
    Candidate,
    Company,
    Comparison,
    Explanation,
    Recipient,
    format_probability,
    note_of,
    reason_of,
)
from enrich_dist.results.former_names import called
from enrich_dist.results.lookup import companies_with_candidate, format_place
from enrich_dist.results.organisations import chosen_sql, members_sql
from enrich_dist.results.overrides import find_recipients
from enrich_dist.results.reopen import ReopenedResult
from enrich_dist.results.scoring import Scores
from enrich_dist.results.tables import fetch_rows
from enrich_dist.schema import MIN_SAME_TOWN, AddressLevel, NameKind, NameLevel, PlaceLevel, SiblingLevel, StreetLevel
from enrich_dist.sources.shared_identifiers import describe_shared

_TOLERANCE = 1.5e-6  # probabilities are rounded to six decimals


def explain_company(
    result: ReopenedResult, decision: DecisionConfig, company_id: int, *, candidates: int
) -> Explanation:
    """Explain the decision on a company, with at most ``candidates`` of its organisations.

    Raises ``StateError`` when the current files give another decision than the result.
    """
    [match], [company] = (
        fetch_rows(result.connection, f"from {table} where company_id = $company_id", {"company_id": company_id})
        for table in ("company_matches", "companies")
    )
    scores = result.score_companies([company_id])
    rows = _judged_rows(scores)
    best = [row for row in rows if row["place"] is not None]
    published = {row["organisation"]: row for row in rows if row["is_published"]}
    _require_same(match, best, published)
    listed = best[:candidates]
    prior = float(np.log2(scores.prior_odds))
    own = _company(company)
    shown = tuple(
        Candidate(
            recipient=_recipient(row),
            method=row["match_method"],
            prior=prior,
            comparisons=_comparisons(row, own, shared),
            name_kind=NameKind(row["name_kind"]).label,
            words=shared,
            called=called(row["name_history"], shared) if row["name_kind"] == NameKind.FORMER else None,
            name_bits=(
                row["name_bits"],
                row["name_agreement"] * row["name_bits"],
                row["max_name_information"],
            ),
            match_weight=row["match_weight"],
            alone=lone_probability(
                math.inf if row["match_method"] == SAME_PLACE else prior + row["match_weight"], row["unseen_share"]
            ),
            unseen_share=row["unseen_share"],
            probability=row["probability"],
            confirmed=row["confirmed"],
            published=_recipient(published[row["organisation"]]),
            also=tuple(
                _recipient(other)
                for other in rows
                if other["organisation"] == row["organisation"]
                and other["organisation"] is not None
                and other["source_row"] != row["source_row"]
            ),
        )
        for row, shared in zip(listed, _shared_words(result, listed), strict=True)
    )
    rejected_recipients = tuple(_recipient(row) for row in rows if row["organisation"] is None)
    return Explanation(
        company=own,
        status=match["match_status"],
        method=match["match_method"],
        reason=reason_of(match, decision, best, shown, rejected_count=len(rejected_recipients)),
        note=note_of(match, decision),
        candidates=shown,
        organisations=len(best),
        no_match_probability=1.0 - min(1.0, sum(row["probability"] for row in best)),
        recipients=result.weights.recipients,
        rejected_recipients=rejected_recipients,
        shared_identifiers=_shared_identifiers(result, own.key, rows),
    )


def explain_recipient(result: ReopenedResult, asked: str) -> list[Appearance]:
    """Return every company that has the recipient, or one with this UEI, as a candidate; the most probable first.

    Raises ``SettingsError`` when there is none.
    """
    asked = asked.strip()
    companies = companies_with_candidate(result, asked)
    rows = _judged_rows(result.score_companies(companies))
    query = "from company_matches where company_id in (select unnest($ids))"
    matches = {row["company_id"]: row for row in fetch_rows(result.connection, query, {"ids": companies})}
    winners = {row["company_id"]: row["organisation"] for row in rows if row["place"] == 1}
    own = {(row["company_id"], row["organisation"]): row["probability"] for row in rows if row["place"] is not None}
    found = [
        Appearance(
            **{name: match[name] for name in ("company_key", "company_name", "award_count")},
            recipient=_recipient(row),
            match_weight=row["match_weight"],
            probability=own.get((row["company_id"], row["organisation"])),
            outcome=_outcome(row, match, winners.get(row["company_id"])),
        )
        for row in rows
        for match in [matches[row["company_id"]]]
        if row["recipient_id"] == asked or row["uei"] == asked.upper()
    ]
    return sorted(found, key=lambda item: (-(item.probability or -1.0), -item.match_weight, item.company_key))


def _outcome(row: Mapping[str, Any], match: Mapping[str, Any], winner: int | None) -> str:
    if row["organisation"] is None:
        return "rejected in human review"
    status = {"matched": "won: accepted", "review": "best, in review", "unmatched": "best, not accepted"}
    if row["place"] == 1:
        return status[match["match_status"]]
    if row["organisation"] == winner:
        return f"same organisation as {match['recipient_id']} ({status[match['match_status']]})"
    return (
        f"behind {match['recipient_name'] or match['recipient_id']} "
        f"({format_probability(match['match_probability'])}, {match['match_status']})"
    )


def _shared_identifiers(result: ReopenedResult, key: str, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    found = fetch_rows(
        result.connection,
        """
        with own as (
            select 'uei' as kind, uei as identifier from enriched_awards where company_key = $key
            union select 'duns', duns from enriched_awards where company_key = $key
            union select 'uei', unnest($ueis) union select 'duns', unnest($duns)
        )
        select kind, identifier, side, names from shared_identifiers semi join own using (kind, identifier)
        order by side, kind desc, identifier
        """,
        {"key": key, **{name: [row[kind] for row in rows] for name, kind in (("ueis", "uei"), ("duns", "duns"))}},
    )
    return tuple(map(describe_shared, found))


def _judged_rows(scores: Scores) -> list[dict[str, Any]]:
    """Return candidates, best first.

    ``is_published``: it represents its organisation.

    ``organisation`` is null for a rejected one; ``place`` and ``probability`` are null except for the best row of an
    organisation.
    """
    members = members_sql(chosen_sql(scores.rivals, scores.judged), scores.tables.candidates)
    return fetch_rows(
        scores.connection,
        f"""
        with members as ({members})
        select w.*, r.organisation, place, probability, coalesce(published_row = source_row, false) as is_published
        from {scores.weighed} w left join {scores.rivals} r using (company_id, source_row)
        left join {scores.judged} using (company_id, source_row)
        left join members m on m.company_id = w.company_id and m.organisation = r.organisation
        order by w.company_id, place nulls last, w.match_weight desc, w.recipient_id, source_row
        """,
    )


def _require_same(
    match: Mapping[str, Any], best: Sequence[Mapping[str, Any]], published: Mapping[int, Mapping[str, Any]]
) -> None:
    first = (published[best[0]["organisation"]]["recipient_id"], best[0]["probability"]) if best else (None, None)
    if match["recipient_id"] != first[0] or (best and abs(match["match_probability"] - first[1]) > _TOLERANCE):
        raise StateError(
            f"The result has {match['recipient_id']} with probability {match['match_probability']}, the current files "
            f"give {first[0]} with {first[1]}: review decisions or settings changed since the result was made.",
            remedy="Run `enrich-dist run` again, then explain its result.",
        )


def _company(row: Mapping[str, Any]) -> Company:
    places = dict.fromkeys(format_place(at["city"], at["state"], at["zip5"]) for at in row["locations"])
    same = {name: row[name] for name in ("company_id", "name", "award_count")}
    same |= {name: tuple(row[name]) for name in ("names", "ueis", "duns")}
    return Company(key=row["company_key"], places=tuple(places), **same)


def _recipient(row: Mapping[str, Any]) -> Recipient:
    street = ", ".join(line for line in (row["address_line_1"], row["address_line_2"]) if line)
    place = format_place(row["city"], row["state"], row["zip5"])
    same = {name: row[name] for name in ("recipient_id", "source_row", "name", "uei", "duns")}
    return Recipient(**same, street=street or None, place=place)


def _comparisons(row: Mapping[str, Any], company: Company, shared: SharedWords | None) -> tuple[Comparison, ...]:
    """Return the comparisons in the order of ``weight_sql``, and the human review decision if there is one.

    Siblings only where there is a conflict, the address only where nothing else decides.
    """
    name, kind = NameLevel(row["name_level"]).label, NameKind(row["name_kind"])
    place, street = PlaceLevel(row["place_level"]), StreetLevel(row["street_level"])
    counts = place >= MIN_SAME_TOWN or street == StreetLevel.UNKNOWN
    outcomes = {
        "name": name if kind == NameKind.LEGAL else f"{name} ({kind.label} name)",
        "sibling": _sibling(SiblingLevel(row["sibling_level"]), shared),
        "place": place.label,
        "street": street.label if counts else f"{street.label}, not in town",
        "uei": _identifier(row["uei_agreement"], row["uei"], company.ueis),
        "duns": _identifier(row["duns_agreement"], row["duns"], company.duns),
    }
    comparisons = [Comparison(name, outcomes[name], row[f"{name}_weight"]) for name in weight_sql()]
    if row["sibling_level"] == SiblingLevel.NONE:
        comparisons = [comparison for comparison in comparisons if comparison.name != "sibling"]
    if row["match_method"] == SAME_PLACE:
        after = 1 + [comparison.name for comparison in comparisons].index("street")
        comparisons.insert(after, Comparison("address", _address(row), 0.0))
    if row["confirmed"]:
        rest = row["match_weight"] - sum(comparison.weight for comparison in comparisons)
        comparisons.append(Comparison(HUMAN_REVIEW, "confirmed", rest))
    return tuple(comparisons)


def _sibling(level: SiblingLevel, shared: SharedWords | None) -> str:
    """Return the outcome with the words in which the names differ: ``numbers differ: 101 / 102``."""
    ours = [word.text for word in shared.words if word.agreement == MISSING] if shared else []
    theirs = shared.additional if shared else ()
    if not (ours or theirs):
        return level.label
    return f"{level.label}: {' '.join(ours) or '(none)'} / {' '.join(theirs) or '(none)'}"


def _address(row: Mapping[str, Any]) -> str:
    """Return the outcome with the names at the address: ``same house number; 1 name of recipients and …``."""
    recipients = counted(row["address_names"], "name of recipients", "names of recipients")
    companies = counted(row["address_companies"], "company", "companies")
    return f"{AddressLevel(row['address_level']).label}; {recipients} and {companies} share it"


def _identifier(agreement: int, theirs: str | None, ours: Sequence[str]) -> str:
    if agreement:
        return f"agree: {theirs}" if agreement > 0 else f"conflict: {', '.join(ours[:2])} and {theirs}"
    return "not comparable"


def _shared_words(result: ReopenedResult, rows: Sequence[Mapping[str, Any]]) -> list[SharedWords | None]:
    with_alternates = any(row["name_kind"] != NameKind.LEGAL for row in rows)
    names = _alternate_names(result, [row["recipient_id"] for row in rows]) if with_alternates else {}
    completed = [{**row, "alternate_names": names.get(row["recipient_id"])} for row in rows]
    recipients = pa.Table.from_pylist(completed, schema=schema.RECIPIENT)
    pairs = [
        ComparedNames(number, row["name_code"], row["name_kind"], row["name_level"]) for number, row in enumerate(rows)
    ]
    concepts = result.counts["concept"]
    information = word_information(concepts, result.weights.recipients, result.index.vocabulary)
    return shared_words(result.index, recipients, pairs, information, concepts)


def _alternate_names(result: ReopenedResult, recipient_ids: list[str]) -> dict[str, list[str] | None]:
    """Return the alternate names in the chunk files, none if these no longer exist: candidates do not store them."""
    try:
        found = find_recipients(result.connection, result.plan, pa.array(recipient_ids, pa.string()))
    except CorruptionError:
        return {}
    return {row["recipient_id"]: row["alternate_names"] for row in found.to_pylist()}
