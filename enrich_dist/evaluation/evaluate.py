"""Evaluate a result against labels: figures at every threshold, calibration, segments, misses and blocking.

Companies without a label are ignored. An answer is right if its recipient is one that the labels name, by id or UEI;
another row of the same organisation is not, and is counted apart (``errors``). Does not cover how it is displayed
(``reporting.evaluation``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from enrich_dist.evaluation.figures import (
    OWN,
    Curve,
    Interval,
    Judged,
    Point,
    calibration_bins,
    curve,
    expected_calibration_error,
    operating_points,
    point_at,
    wilson_interval,
)
from enrich_dist.evaluation.resolve import Resolved, resolve_labels
from enrich_dist.evaluation.subjects import Subject
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.results.calibration import CalibrationBin
from enrich_dist.results.former_names import former_names_sql
from enrich_dist.results.review import evidence_sql
from enrich_dist.results.scoring import Scores
from enrich_dist.results.tables import Table, create_table
from enrich_dist.schema import NameLevel

STEPS: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98, 0.99)
"""Thresholds of the table; the curve has all."""
MISSED, WRONG, FALSE = "missed", "wrong recipient", "false match"
"""Outcomes that are errors: a partner was not accepted, another was accepted, one was accepted where there is none."""
RIGHT, REJECTED = "right", "rightly unmatched"
OUTCOMES: Final = (RIGHT, REJECTED, MISSED, WRONG, FALSE)
KIND_SEPARATOR: Final = "+"
"""A label of several kinds (``cut+city``) counts under each."""
NOT_A_CANDIDATE, SAME_ORGANISATION = "not a candidate", "another row of the same organisation was chosen"
IS_BEST: Final = ("in review", "best candidate, below the review threshold", "best candidate, not accepted")
"""Reasons of a miss whose labelled recipient is the best candidate."""

_SEGMENTS: Final = {
    "kind": f"unnest(string_split(kind, '{KIND_SEPARATOR}'))",
    "segment": "segment",
    "state": "state",
    "place": "case when not has_place then 'company without a place' when recipient_id is null then 'no candidate' "
    "when not recipient_has_place then 'best candidate without a place' else 'both with a place' end",
    "method": "coalesce(match_method, 'no candidate')",
    "name level": f"coalesce({[level.label for level in NameLevel]}[name_level + 1], 'no candidate')",
}


@dataclass(frozen=True)
class Share:
    """A share of companies with its 95% interval."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """The share, None of nothing."""
        return self.part / self.whole if self.whole else None

    @property
    def interval(self) -> Interval:
        """Wilson's interval."""
        return wilson_interval(self.part, self.whole)


@dataclass(frozen=True)
class Segment:
    """Companies of one value of a property, by outcome (``OUTCOMES``)."""

    name: str
    value: str
    outcomes: Mapping[str, int]

    @property
    def precision(self) -> Share:
        """Right of the accepted."""
        right = self.outcomes[RIGHT]
        return Share(right, right + self.outcomes[WRONG] + self.outcomes[FALSE])

    @property
    def recall(self) -> Share:
        """Right of the companies with a partner."""
        right = self.outcomes[RIGHT]
        return Share(right, right + self.outcomes[WRONG] + self.outcomes[MISSED])


@dataclass(frozen=True)
class Evaluation:
    """Accuracy of a result on labelled companies.

    ``rows``: labels read; ``unlabelled``: companies of the result without a label, which are ignored. ``problems``: see
    ``Resolved``. ``points``: see ``figures.operating_points``; ``steps``: at ``STEPS`` and at the own threshold.
    ``bins``: best candidates by match probability. ``labelled_precision``: mean probability of the accepted matches of
    labelled companies; ``estimated``: of the whole result, by itself
    (``quality.estimate_accuracy``). ``blocking``: labelled partners among
    the candidates, and ``blocking_findable`` of the findable; None where the candidates are not known. ``errors``: a
    row per error (``ERROR_COLUMNS``). ``answers``: a row per company with its outcome, by the first row of its labels.
    """

    title: str
    note: str
    identifiers_hidden: bool
    decision: DecisionConfig | None
    rows: int
    unlabelled: int
    problems: pa.Table
    judged: Judged
    points: Mapping[str, Point]
    floor: float
    steps: tuple[Point, ...]
    curve: Curve
    bins: tuple[CalibrationBin, ...]
    calibration_error: float | None
    labelled_precision: float | None
    estimated: Mapping[str, Any] | None
    blocking: Share | None
    blocking_findable: Share | None
    segments: tuple[Segment, ...]
    outcomes: Mapping[str, int]
    errors: pa.Table
    answers: pa.Table

    @property
    def same_organisation(self) -> int:
        """Errors in which another row of the labelled organisation was chosen."""
        reasons: list[str] = self.errors["reason"].to_pylist()
        return reasons.count(SAME_ORGANISATION)

    @property
    def own(self) -> Point:
        """The figures at the threshold of the result."""
        return self.points[OWN]

    @property
    def companies(self) -> int:
        """Labelled companies that were found in the result."""
        return len(self.answers)


ERROR_COLUMNS: Final = (
    "outcome", "reason", "company_key", "company_name", "company_place", "labelled_recipients", "labelled_ueis",
    "labelled_name", "labelled_place", "labelled_probability", "labelled_evidence", "best_recipient", "best_name",
    "best_place", "best_probability", "best_status", "best_evidence", "kind", "segment", "label_row",
)  # fmt: skip


def evaluate(subject: Subject, labels: pa.Table, *, floor: float) -> Evaluation:
    """Evaluate the result on ``labels`` (``labels.read_labels``); ``floor``: precision at which recall is reported."""
    connection = subject.connection
    resolved = resolve_labels(subject, labels)
    [(all_companies,)] = connection.execute(f"select count(*) from {subject.companies}").fetchall()
    subject, scores = subject.score(resolved.labelled)
    answers = _answers(subject, resolved)
    found = None if scores is None else _labelled_candidates(scores, resolved)
    table = connection.sql(f"from {answers} order by first_row").to_arrow_table()
    judged = _judged(table)
    points = operating_points(judged, floor=floor)
    bins = calibration_bins(judged.score[judged.has], judged.right[judged.has])
    blocking, blocking_findable = _blocking(subject, answers, found)
    accepted = judged.score[judged.own]
    shipped = None if subject.decision is None else subject.decision.accept_probability
    return Evaluation(
        title=subject.title,
        note=subject.note,
        identifiers_hidden=subject.identifiers_hidden,
        decision=subject.decision,
        rows=resolved.rows,
        unlabelled=int(all_companies) - len(table),
        problems=resolved.problems,
        judged=judged,
        points=points,
        floor=floor,
        steps=tuple(point_at(judged, at) for at in sorted({*STEPS, *([] if shipped is None else [shipped])})),
        curve=curve(judged),
        bins=bins,
        calibration_error=expected_calibration_error(bins),
        labelled_precision=float(accepted.mean()) if len(accepted) else None,
        estimated=subject.estimated,
        blocking=blocking,
        blocking_findable=blocking_findable,
        segments=_segments(subject, answers),
        outcomes={name: Counter(table["outcome"].to_pylist())[name] for name in OUTCOMES},
        errors=_errors(subject, answers, found),
        answers=table.select(["first_row", "company_key", "company_name", "outcome", "match_probability",
                              "recipient_id", "recipient_name"]),
    )  # fmt: skip


def _answers(subject: Subject, resolved: Resolved) -> Table:
    """Return the labelled companies with their best candidates and outcomes."""
    right = "coalesce(list_contains(l.ids, m.recipient_id) or list_contains(l.ueis, m.recipient_uei), false)"
    return create_table(
        subject.connection,
        "answers",
        f"""
        select l.*, c.company_key, c.name as company_name, c.locations[1].state as state,
               c.locations[1].city as city, coalesce(list_bool_or(list_transform(c.locations,
                   lambda p: p.state is not null or p.zip5 is not null or p.city is not null)), false) as has_place,
               m.match_probability, coalesce(m.match_status, 'unmatched') as match_status, m.match_method, m.name_level,
               m.recipient_id, m.recipient_name, m.recipient_city, m.recipient_state,
               m.recipient_city is not null or m.recipient_state is not null as recipient_has_place,
               {right} as is_right,
               case when partner and match_status = 'matched' and {right} then '{RIGHT}'
                    when partner and match_status = 'matched' then '{WRONG}' when partner then '{MISSED}'
                    when match_status = 'matched' then '{FALSE}' else '{REJECTED}' end as outcome
        from {resolved.labelled} l join {subject.companies} c using (company_id)
        left join {subject.matches} m using (company_id)
        """,
    )


def _judged(table: pa.Table) -> Judged:
    def flags(name: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return np.array(table[name].to_pylist(), dtype=bool)

    kinds = [set((kind or "").split(KIND_SEPARATOR)) for kind in table["kind"].to_pylist()]
    return Judged(
        score=np.array([-np.inf if p is None else p for p in table["match_probability"].to_pylist()], dtype=np.float64),
        has=table["recipient_id"].combine_chunks().is_valid().to_numpy(zero_copy_only=False),
        accepted=np.array([status == "matched" for status in table["match_status"].to_pylist()], dtype=bool),
        right=flags("is_right"),
        partner=flags("partner"),
        findable=flags("findable"),
        kinds={kind: np.array([kind in of for of in kinds], dtype=bool) for kind in sorted(set().union(*kinds) - {""})},
    )


def _labelled_candidates(scores: Scores, resolved: Resolved) -> Table:
    """Return the best candidate of each company that its labels name, with the place of its organisation."""
    return create_table(
        scores.connection,
        "labelled_candidates",
        f"""
        with organisations as (
            select company_id, organisation, place, probability
            from {scores.judged} join {scores.rivals} using (company_id, source_row)
        )
        select w.company_id, w.name as candidate_name, organisation,
               nullif(concat_ws(', ', w.city, w.state), '') as candidate_place, place,
               probability as labelled_probability,
               {evidence_sql(former_names_sql())} as labelled_evidence
        from {scores.weighed} w join {resolved.labelled} l using (company_id)
        left join {scores.rivals} using (company_id, source_row) left join organisations o
            using (company_id, organisation)
        where partner and (list_contains(ids, w.recipient_id) or list_contains(ueis, w.uei))
        qualify row_number() over (
            partition by w.company_id
            order by probability desc nulls last, w.match_weight desc, w.recipient_id, w.source_row) = 1
        """,
    )


def _blocking(subject: Subject, answers: Table, found: Table | None) -> tuple[Share | None, Share | None]:
    if found is None:
        return None, None
    [row] = subject.connection.execute(f"""
        select count(f.company_id), count(*) filter (partner),
               count(f.company_id) filter (findable), count(*) filter (findable)
        from {answers} left join {found} f using (company_id)
    """).fetchall()
    return Share(*row[:2]), Share(*row[2:])


def _segments(subject: Subject, answers: Table) -> tuple[Segment, ...]:
    counts = ", ".join(f"count(*) filter (outcome = '{name}')" for name in OUTCOMES)
    rows: list[tuple[Any, ...]] = []
    for name, expression in _SEGMENTS.items():
        rows += subject.connection.execute(f"""
            select '{name}', coalesce(value, '(none)') as value, {counts}
            from (select {expression} as value, outcome from {answers})
            group by all order by count(*) desc, value
        """).fetchall()
    found = [Segment(name, value, dict(zip(OUTCOMES, counts, strict=True))) for name, value, *counts in rows]
    values = Counter(segment.name for segment in found)
    return tuple(segment for segment in found if values[segment.name] > 1 or segment.value != "(none)")


def _errors(subject: Subject, answers: Table, found: Table | None) -> pa.Table:
    """Return a row per error with the reason and the evidence of both candidates, the gravest first."""
    connection = subject.connection
    known = found is not None
    evidence = evidence_sql("recipient_former_names") if known else "null::varchar"
    best = f"left join (select company_id, {evidence} as best_evidence from {subject.matches}) m using (company_id)"
    right = f"left join {found} f using (company_id)" if known else ""
    reason = (
        f"""
        case when not partner then 'accepted, but the labels name no recipient'
             when f.company_id is null then '{NOT_A_CANDIDATE}'
             when place is null then 'rejected in human review'
             when place = 1 and not is_right then '{SAME_ORGANISATION}'
             when place = 1 and match_status = 'review' then '{IS_BEST[0]}'
             when place = 1 then '{IS_BEST[1]}'
             when match_status = 'matched' then 'another candidate ranks before it'
             else 'another candidate ranks before it, and none is accepted' end
        """
        if known
        else f"""
        case when not partner then 'accepted, but the labels name no recipient'
             when is_right then '{IS_BEST[2]}' when recipient_id is null then 'no candidate'
             else 'another candidate is best' end
        """
    )
    of_label = (
        "coalesce(candidate_name, right_name) as labelled_name, coalesce(candidate_place, right_place) as "
        "labelled_place, labelled_probability, labelled_evidence"
        if known
        else "right_name as labelled_name, right_place as labelled_place, null::double as labelled_probability, "
        "null::varchar as labelled_evidence"
    )
    query = f"""
        select outcome, {reason} as reason, a.company_key, a.company_name,
               nullif(concat_ws(', ', a.city, a.state), '') as company_place,
               nullif(array_to_string(list_sort(ids), '; '), '') as labelled_recipients,
               nullif(array_to_string(list_sort(ueis), '; '), '') as labelled_ueis, {of_label},
               a.recipient_id as best_recipient, a.recipient_name as best_name,
               nullif(concat_ws(', ', a.recipient_city, a.recipient_state), '') as best_place,
               a.match_probability as best_probability, a.match_status as best_status,
               case when a.recipient_id is not null then m.best_evidence end as best_evidence, kind, segment,
               first_row as label_row
        from {answers} a {right} {best}
        where outcome in ('{MISSED}', '{WRONG}', '{FALSE}')
        order by list_position(['{FALSE}', '{WRONG}', '{MISSED}'], outcome), a.match_probability desc nulls last,
                 first_row
    """
    return connection.sql(query).to_arrow_table().select(list(ERROR_COLUMNS))
