"""Why a company has the recipient it has, or none: everything that the decision was made from.

Covers each candidate with its comparisons, their weights, its rivals and its probability, from the files of the latest
result alone, and the reason in words. Weights are in bits: each adds to the logarithm of the odds. Does not cover how a
company is found (``lookup``) nor how this is shown (``observe.explanation``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from enrich_dist import schema
from enrich_dist.errors import CorruptionError, StateError
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import lone_probability
from enrich_dist.matching.shared_words import ComparedNames, SharedWords, shared_words, word_information
from enrich_dist.matching.weights import weight_sql
from enrich_dist.results.lookup import companies_with_candidate, fetch_rows, format_place
from enrich_dist.results.overrides import find_recipients
from enrich_dist.results.reopen import ReopenedResult
from enrich_dist.results.scoring import Scores
from enrich_dist.schema import MIN_SAME_TOWN, NameKind, NameLevel, PlaceLevel, StreetLevel
from enrich_dist.store.run_directory import Output, RunDirectory

# Organisations of less than this play no part in what is told.
_WORTH_TELLING = 0.001
_TOLERANCE = 1.5e-6  # probabilities are rounded to six decimals


@dataclass(frozen=True)
class Recipient:
    """A row of the recipients."""

    recipient_id: str
    source_row: int
    name: str | None
    uei: str | None
    duns: str | None
    street: str | None
    place: str


@dataclass(frozen=True)
class Comparison:
    """One comparison of a pair: its outcome in words and its weight (bits)."""

    name: str
    outcome: str
    weight: float


@dataclass(frozen=True)
class Candidate:
    """An organisation among a company's candidates, by its best row.

    ``prior`` + the weights of the ``comparisons`` = ``prior`` + ``match_weight`` = ``total`` (bits).
    ``alone``: probability without rivals, at most ``max_lone_probability``. ``name_bits``: bits of the company's name,
    bits of it that agree, and the maximum for any name. ``also``: other rows of the same organisation.
    """

    recipient: Recipient
    method: str
    prior: float
    comparisons: tuple[Comparison, ...]
    name_kind: str
    words: SharedWords | None
    name_bits: tuple[float, float, float]
    match_weight: float
    alone: float
    probability: float
    confirmed: bool
    also: tuple[Recipient, ...]

    @property
    def max_lone_probability(self) -> float:
        """What ``alone`` would be if all that can agree did."""
        return lone_probability(math.inf, self.method)

    @property
    def total(self) -> float:
        """Logarithm of the odds before rivals are looked at, bits."""
        return self.prior + self.match_weight


@dataclass(frozen=True)
class Company:
    """A company as the run knows it; ``places`` are its distinct towns."""

    company_id: int
    key: str
    name: str | None
    names: tuple[str, ...]
    ueis: tuple[str, ...]
    duns: tuple[str, ...]
    places: tuple[str, ...]
    award_count: int


@dataclass(frozen=True)
class Explanation:
    """A company's candidates and what became of them.

    ``candidates`` are the best of ``organisations`` ones; ``no_match_probability`` is that of none of them:
    the company has no partner, or one that is no candidate;
    ``rejected_recipients``: candidates that a person rejected. ``notes`` tell what a reader should know besides.
    """

    company: Company
    status: str
    method: str | None
    reason: str
    notes: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    organisations: int
    shown_probability: float
    no_match_probability: float
    recipients: int
    rejected_recipients: tuple[Recipient, ...]


@dataclass(frozen=True)
class Appearance:
    """A company that had the recipient as a candidate, and what became of it."""

    company_key: str
    company_name: str | None
    award_count: int
    recipient: Recipient
    match_weight: float
    probability: float | None
    outcome: str


def explain_company(
    directory: RunDirectory, result: ReopenedResult, decision: DecisionConfig, company_id: int, *, candidates: int
) -> Explanation:
    """All that the decision on a company was made from; at most so many candidates in full.

    Raises ``StateError`` when what the files of now say is not what the result says.
    """
    [match] = fetch_rows(
        result.connection, "from company_matches where company_id = $company_id", {"company_id": company_id}
    )
    [company] = fetch_rows(
        result.connection, "from companies where company_id = $company_id", {"company_id": company_id}
    )
    scores = result.score_companies([company_id])
    rows = _judged_rows(scores)
    best = [row for row in rows if row["place"] is not None]
    _require_same(match, best)
    told = best[:candidates]
    words = _words(directory, result, told)
    prior = float(np.log2(scores.prior_odds))
    own = _company(company)
    shown = tuple(
        Candidate(
            recipient=_recipient(row),
            method=row["match_method"],
            prior=prior,
            comparisons=_comparisons(row, own),
            name_kind=NameKind(row["name_kind"]).label,
            words=shared,
            name_bits=(
                row["name_bits"],
                row["name_agreement"] * row["name_bits"],
                float(result.weights.max_name_bits[row["name_level"]]),
            ),
            match_weight=row["match_weight"],
            alone=lone_probability(prior + row["match_weight"], row["match_method"]),
            probability=row["probability"],
            confirmed=row["confirmed"],
            also=tuple(
                _recipient(other)
                for other in rows
                if other["organisation"] == row["organisation"]
                and other["organisation"] is not None
                and other["source_row"] != row["source_row"]
            ),
        )
        for row, shared in zip(told, words, strict=True)
    )
    rejected_recipients = tuple(_recipient(row) for row in rows if row["organisation"] is None)
    return Explanation(
        company=own,
        status=match["match_status"],
        method=match["match_method"],
        reason=_reason(match, decision, best, shown, len(rejected_recipients)),
        notes=_notes(match, decision),
        candidates=shown,
        organisations=len(best),
        shown_probability=sum(candidate.probability for candidate in shown),
        no_match_probability=1.0 - min(1.0, sum(row["probability"] for row in best)),
        recipients=result.weights.recipients,
        rejected_recipients=rejected_recipients,
    )


def explain_recipient(directory: RunDirectory, result: ReopenedResult, asked: str) -> list[Appearance]:
    """Every company that had the recipient, or one with this UEI, as a candidate; the most probable first.

    Raises ``SettingsError`` when there is none.
    """
    asked = asked.strip()
    companies = companies_with_candidate(directory, result, asked)
    rows = _judged_rows(result.score_companies(companies))
    matches = {
        row["company_id"]: row
        for row in fetch_rows(
            result.connection,
            "from company_matches where company_id in (select unnest($ids))",
            {"ids": companies},
        )
    }
    winners = {row["company_id"]: row["organisation"] for row in rows if row["place"] == 1}
    own = {(row["company_id"], row["organisation"]): row["probability"] for row in rows if row["place"] is not None}
    asked_for = [row for row in rows if row["recipient_id"] == asked or row["uei"] == asked.upper()]
    found = [
        Appearance(
            company_key=match["company_key"],
            company_name=match["company_name"],
            award_count=match["award_count"],
            recipient=_recipient(row),
            match_weight=row["match_weight"],
            probability=own.get((row["company_id"], row["organisation"])),
            outcome=_outcome(row, match, winners.get(row["company_id"])),
        )
        for row in asked_for
        for match in [matches[row["company_id"]]]
    ]
    return sorted(found, key=lambda item: (-(item.probability or -1.0), -item.match_weight, item.company_key))


def _outcome(row: Mapping[str, Any], match: Mapping[str, Any], winner: str | None) -> str:
    if row["organisation"] is None:
        return "rejected by a person"
    status = {"matched": "won: accepted", "review": "best, waits for review", "unmatched": "best, not accepted"}
    if row["place"] == 1:
        return status[match["match_status"]]
    if row["organisation"] == winner:
        return f"same organisation as {match['recipient_id']} ({status[match['match_status']]})"
    return (
        f"behind {match['recipient_name'] or match['recipient_id']} "
        f"({format_probability(match['match_probability'])}, {match['match_status']})"
    )


def _judged_rows(scores: Scores) -> list[dict[str, Any]]:
    """Candidates, best first, with organisation (null: ruled out), place and probability (null: not its best row)."""
    return fetch_rows(
        scores.connection,
        f"""
        select w.*, organisation, place, probability
        from {scores.weighed} w left join {scores.rivals} using (company_id, source_row)
        left join {scores.judged} using (company_id, source_row)
        order by company_id, place nulls last, w.match_weight desc, w.recipient_id, source_row
        """,
    )


def _require_same(match: Mapping[str, Any], best: Sequence[Mapping[str, Any]]) -> None:
    first = (best[0]["recipient_id"], best[0]["probability"]) if best else (None, None)
    same = match["recipient_id"] == first[0]
    if not same or (best and abs(match["match_probability"] - first[1]) > _TOLERANCE):
        raise StateError(
            f"The result says {match['recipient_id']} with {match['match_probability']}, the files of now {first[0]} "
            f"with {first[1]}: decisions of persons were imported, or settings changed, since it was made.",
            remedy="Run `enrich-dist run` again; then explain its result.",
        )


def _company(row: Mapping[str, Any]) -> Company:
    places = dict.fromkeys(format_place(at["city"], at["state"], at["zip5"]) for at in row["locations"])
    return Company(
        company_id=row["company_id"],
        key=row["company_key"],
        name=row["name"],
        names=tuple(row["names"]),
        ueis=tuple(row["ueis"]),
        duns=tuple(row["duns"]),
        places=tuple(places),
        award_count=row["award_count"],
    )


def _recipient(row: Mapping[str, Any]) -> Recipient:
    street = ", ".join(line for line in (row["address_line_1"], row["address_line_2"]) if line)
    return Recipient(
        recipient_id=row["recipient_id"],
        source_row=row["source_row"],
        name=row["name"],
        uei=row["uei"],
        duns=row["duns"],
        street=street or None,
        place=format_place(row["city"], row["state"], row["zip5"]),
    )


def _comparisons(row: Mapping[str, Any], company: Company) -> tuple[Comparison, ...]:
    """The comparisons in the order of ``weight_sql``, and the word of a person where there is one."""
    name, kind = NameLevel(row["name_level"]).label, NameKind(row["name_kind"])
    place, street = PlaceLevel(row["place_level"]), StreetLevel(row["street_level"])
    counts = place >= MIN_SAME_TOWN or street == StreetLevel.UNKNOWN
    outcomes = {
        "name": name if kind == NameKind.LEGAL else f"{name} ({kind.label} name)",
        "place": place.label,
        "street": street.label if counts else f"{street.label}, not in town",
        "uei": _identifier(row["uei_agreement"], row["uei"], company.ueis),
        "duns": _identifier(row["duns_agreement"], row["duns"], company.duns),
    }
    told = [Comparison(name, outcomes[name], row[f"{name}_weight"]) for name in weight_sql()]
    if row["confirmed"]:
        rest = row["match_weight"] - sum(comparison.weight for comparison in told)
        told.append(Comparison("person", "confirmed", rest))
    return tuple(told)


def _identifier(agreement: int, theirs: str | None, ours: Sequence[str]) -> str:
    if agreement:
        return f"agree: {theirs}" if agreement > 0 else f"conflict: {', '.join(ours[:2])} and {theirs}"
    return "not comparable"


def _words(
    directory: RunDirectory, result: ReopenedResult, rows: Sequence[Mapping[str, Any]]
) -> list[SharedWords | None]:
    """What the names of the candidates share, in their order."""
    recipients = pa.Table.from_pylist([{**row, "alternate_names": None} for row in rows], schema=schema.RECIPIENT)
    pairs = [
        ComparedNames(number, row["name_code"], row["name_kind"], row["name_level"]) for number, row in enumerate(rows)
    ]
    if any(row["name_kind"] != NameKind.LEGAL for row in rows):
        recipients = _with_alternate_names(directory, result, recipients)
    concepts = result.counts["concept"]
    information = word_information(concepts, result.weights.recipients, result.index.vocabulary)
    return shared_words(result.index, recipients, pairs, information, concepts)


def _with_alternate_names(directory: RunDirectory, result: ReopenedResult, recipients: pa.Table) -> pa.Table:
    """Candidates do not keep alternate names: they are fetched from the chunks, if these are there."""
    try:
        plan = directory.output(Output.CHUNKS)
        found = find_recipients(result.connection, plan, recipients["recipient_id"])
    except CorruptionError:
        return recipients
    names = {row["recipient_id"]: row["alternate_names"] for row in found.to_pylist()}
    column = pa.array([names.get(key) for key in recipients["recipient_id"].to_pylist()], pa.list_(pa.string()))
    return recipients.set_column(recipients.schema.get_field_index("alternate_names"), "alternate_names", column)


def _status_by(decision: DecisionConfig, probability: float | None) -> str:
    if probability is not None and probability >= decision.accept_probability:
        return "matched"
    return "review" if probability is not None and probability >= decision.review_probability else "unmatched"


def _notes(match: Mapping[str, Any], decision: DecisionConfig) -> tuple[str, ...]:
    if _status_by(decision, match["match_probability"]) != match["match_status"]:
        return (
            f"The result was judged with other thresholds than the settings of now (accept_probability "
            f"{decision.accept_probability}, review_probability {decision.review_probability}).",
        )
    return ()


def _reason(
    match: Mapping[str, Any],
    decision: DecisionConfig,
    best: Sequence[Mapping[str, Any]],
    shown: Sequence[Candidate],
    rejected_recipients: int,
) -> str:
    """One sentence on why the winner won, or none did."""
    if not best:
        if rejected_recipients:
            return f"unmatched: decided by a person, who rejected all {rejected_recipients} candidates"
        return "unmatched: no candidate; no recipient shares an identifier or enough of the name"
    first, probability = best[0], _exact_text(match["match_probability"])
    status = match["match_status"]
    consistent = _status_by(decision, match["match_probability"]) == status
    if first["confirmed"]:
        return f"{'accepted' if status == 'matched' else status}: decided by a person, who confirmed this pair"
    least = decision.accept_probability if status != "unmatched" else decision.review_probability
    if status == "matched":
        return f"accepted: probability {probability}" + (f" ≥ {least:g}" if consistent else "")
    because = _rivals(best) if shown[0].alone >= least else _weakness(shown[0])
    return f"{status}: {because}; best candidate {probability}" + (f" < {least:g}" if consistent else "")


def _rivals(best: Sequence[Mapping[str, Any]]) -> str:
    """Who shares the probability with the best candidate."""
    near = [row for row in best if row["probability"] >= max(_WORTH_TELLING, best[0]["probability"] / 4)]
    if len(near) == 1:
        return f"{len(best) - 1} other organisations take a share each"
    alike = "one name" if all(row["name_level"] == NameLevel.EQUAL for row in near) else "similar names"
    places = {format_place(row["city"], row["state"]).upper() for row in near}
    where = "in different places"
    if len(places) == 1:
        where = "without a known place" if places == {format_place(None, None).upper()} else "in one place"
    return f"{'two' if len(near) == 2 else len(near)} organisations of {alike} {where} share the probability"


def _weakness(candidate: Candidate) -> str:
    """What keeps the odds of a candidate low, whatever its rivals."""
    worst = min(candidate.comparisons, key=lambda comparison: comparison.weight)
    if worst.weight < 0:
        return f"{_LABELS[worst.name]} speaks most against it ({worst.outcome})"
    if sum(comparison.weight != 0 for comparison in candidate.comparisons) == 1:
        return "nothing but the name can be compared, and it alone says too little"
    return "what agrees says too little among so many recipients"


_LABELS = {"name": "the name", "place": "the place", "street": "the street", "uei": "the UEI", "duns": "the DUNS"}


def _exact_text(probability: float) -> str:
    """A probability to be compared with a threshold: with all its decimals where three would be 0 or 1."""
    return f"{probability:.3f}" if 0.0005 <= probability < 0.9995 or probability == 1 else f"{probability:.6f}"


def format_probability(probability: float) -> str:
    """A probability with three decimals that is never rounded to 0 or 1."""
    if 0 < probability < 0.0005:
        return "< 0.001"
    return "> 0.999" if 0.9995 <= probability < 1 else f"{probability:.3f}"
