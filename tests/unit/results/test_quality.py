"""Estimated accuracy, reconciliation of rows, and the verdict."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa
import pytest

from enrich_dist.results import quality
from enrich_dist.results.quality import Gate
from enrich_dist.results.report import accuracy_sentence

# --- accuracy --------------------------------------------------------------------------------------------------


def accuracy(*matches: tuple[Any, ...], unreachable_share: float = 0.0) -> dict[str, Any]:
    """Estimated from matches (status, probability, probability of any partner, awards, method)."""
    names = ("match_status", "match_probability", "partner_probability", "award_count", "match_method")
    columns = {name: [match[at] for match in matches] for at, name in enumerate(names)}
    types = dict(zip(names, (pa.string(), pa.float64(), pa.float64(), pa.int32(), pa.string()), strict=True))
    with duckdb.connect() as connection:
        table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
        connection.from_arrow(table).create("company_matches")
        return quality.estimate_accuracy(connection, unreachable_share=unreachable_share)


GOOD, DOUBTFUL = ("matched", 0.98, 1.0, 1, "exact_name"), ("review", 0.5, 1.0, 5, "exact_name")
NO_PARTNER = ("unmatched", None, None, 3, None)


def test_precision_is_mean_accepted_probability() -> None:
    found = accuracy(*[GOOD] * 3, ("matched", 0.7, 0.8, 7, "uei"), DOUBTFUL, NO_PARTNER)

    assert found["precision"]["estimate"] == pytest.approx((3 * 0.98 + 0.7) / 4)
    assert found["precision_by_award"] == pytest.approx((3 * 0.98 + 7 * 0.7) / 10)


def test_recall_is_of_expected_partners() -> None:
    found = accuracy(*[GOOD] * 3, DOUBTFUL, NO_PARTNER)

    assert found["expected_partners"] == pytest.approx(4)
    assert found["recall"]["estimate"] == pytest.approx(3 * 0.98 / 4)


def test_unreachable_partners_lower_recall_by_name() -> None:
    named = accuracy(*[GOOD] * 4, unreachable_share=0.2)
    identified = accuracy(*[(*GOOD[:4], "uei")] * 4, unreachable_share=0.2)

    assert named["expected_partners"] == pytest.approx(5)
    assert named["recall"]["estimate"] == pytest.approx(4 * 0.98 / 5)
    assert identified["expected_partners"] == pytest.approx(4)
    assert named["precision"] == identified["precision"]


@pytest.mark.parametrize("measure", ["precision", "recall"])
def test_intervals_shrink_with_more_matches(measure: str) -> None:
    few, many = accuracy(*[GOOD] * 10, DOUBTFUL)[measure], accuracy(*[GOOD] * 1000, *[DOUBTFUL] * 100)[measure]

    for share in (few, many):
        assert 0 <= share["low"] < share["estimate"] < share["high"] <= 1
    assert many["high"] - many["low"] < (few["high"] - few["low"]) / 4


def test_interval_uses_jeffreys_prior() -> None:
    """Nine of ten right: the interval that Brown, Cai and DasGupta (2001) tabulate."""
    share = accuracy(*[("matched", 0.9, 1.0, 1, "uei")] * 10)["precision"]
    assert (share["low"], share["high"]) == (pytest.approx(0.619, abs=5e-3), pytest.approx(0.989, abs=5e-3))


def test_shares_of_nothing_are_unknown() -> None:
    found = accuracy(NO_PARTNER)

    assert found["precision"] == found["recall"] == {"estimate": None, "low": None, "high": None}
    assert found["precision_by_award"] is None
    assert accuracy()["expected_partners"] == 0


# --- reconciliation and verdict --------------------------------------------------------------------------------

AWARDS = {"valid": 10, "matched": 7, "review": 1, "unmatched": 2}


def reconcile(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "rows_read": 12, "rows_rejected": 2, "source_rows": 21, "rejected_rows": 1,
        "chunks": [(10, 3, 7, 0), (10, 0, 9, 1)], "candidates_written": 5, "candidates_read": 5, **changes,
    }  # fmt: skip
    rows = {name: values.pop(name) for name in ("rows_read", "rows_rejected", "source_rows", "rejected_rows")}
    return quality.reconcile(AWARDS, rows, rows, **values)


def test_rows_that_are_accounted_for_balance() -> None:
    found = reconcile()

    assert found["balanced"]
    assert found["awards"] == {
        "read": 12, "matched": 7, "review": 1, "unmatched": 2, "invalid": 2, "quarantined": 0,
    }  # fmt: skip
    assert found["recipients"] == {
        "read": 21, "with_candidates": 3, "without_candidates": 16, "invalid": 1, "quarantined": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"rows_read": 13}, "13 award rows were read, 12 are accounted for"),
        ({"candidates_read": 4}, "workers wrote 5 candidates, the reduce read 4"),
        ({"source_rows": 22}, "22 recipient rows were read, 21 are accounted for"),
        ({"chunks": [(10, 3, 7, 0), (10, 0, 9, 0)], "source_rows": 20}, "chunk 1 was planned with 10 rows, 9"),
    ],
)
def test_missing_row_is_reported_and_blocks(changes: dict[str, Any], sentence: str) -> None:
    found = reconcile(**changes)

    verdict = judge(reconciliation=found)

    [difference] = found["differences"]
    assert difference.startswith(sentence)
    assert verdict["reasons"] == [difference]
    assert [check["name"] for check in verdict["checks"] if not check["passed"]] == ["reconciliation"]


def judge(
    rate: float = 0.7,
    threshold: float = 0.7,
    precision: float | None = 0.99,
    least: float = 0.95,
    set_aside: float = 0.1,
    **changes: Any,
) -> dict[str, Any]:
    metrics = {
        "match_rate": rate,
        "awards": AWARDS,
        "accuracy": {"precision": {"estimate": precision}},
        "reconciliation": reconcile(),
        "completeness": {"chunks_missing": 0},
        **changes,
    }
    return quality.judge(
        metrics, Gate(match_rate_threshold=threshold, min_estimated_precision=least, max_quarantined_share=set_aside)
    )


def test_match_rate_at_threshold_passes() -> None:
    assert judge(0.7)["status"] == "passed"
    assert judge(0.6999)["status"] == "blocked"
    assert "match rate 69.99% (minimum 70.00%)" in judge(0.6999)["reasons"][0]


def test_low_precision_blocks_any_match_rate() -> None:
    assert judge(1.0, precision=0.95)["status"] == "passed"
    verdict = judge(1.0, precision=0.9499)

    assert verdict["status"] == "blocked"
    assert verdict["reasons"] == ["estimated precision 94.99% (minimum 95.00%)"]
    check = quality.get_check(verdict, "estimated_precision")
    assert (check["passed"], check["value"], check["threshold"]) == (False, 0.9499, 0.95)


@pytest.mark.parametrize(("precision", "status"), [(0.96, "passed"), (0.94, "blocked")])
def test_a_doubtful_precision_gates_all_the_same(precision: float, status: str) -> None:
    doubtful = {"precision": {"estimate": precision}, "reliable": False, "reasons": ["few matches", "no places"]}

    verdict = judge(accuracy=doubtful)

    assert verdict["status"] == status
    reason = quality.get_check(verdict, "estimated_precision")["reason"]
    assert reason == f"estimated precision {precision:.1%} (minimum 95.0%), not reliable here: few matches; no places"


@pytest.mark.parametrize("assessed", [{}, {"reliable": True, "reasons": []}], ids=["earlier version", "reliable"])
def test_reliable_and_earlier_estimates_have_no_doubt(assessed: dict[str, Any]) -> None:
    share = {"estimate": 0.96, "low": 0.95, "high": 0.97}

    verdict = judge(accuracy={"precision": share, "recall": share, **assessed})

    assert quality.get_check(verdict, "estimated_precision")["reason"] == "estimated precision 96.0% (minimum 95.0%)"
    sentence = accuracy_sentence({"accuracy": {"precision": share, "recall": share, **assessed}})
    assert sentence.endswith("recall 96.0% (95% interval 95.0% to 97.0%).")


def test_without_matches_precision_passes() -> None:
    assert judge(0.0, threshold=0.0, precision=None)["status"] == "passed"


def test_missing_chunk_blocks() -> None:
    verdict = judge(completeness={"chunks_missing": 1})

    assert verdict["status"] == "blocked"
    assert verdict["reasons"] == ["planned chunks missing from the result: 1"]


def test_every_failed_check_is_a_reason() -> None:
    verdict = judge(
        0.1,
        precision=0.1,
        set_aside=0.01,
        completeness={"chunks_missing": 1},
        reconciliation=reconcile(candidates_read=4),
    )

    assert [check["passed"] for check in verdict["checks"]] == [False] * 5
    assert len(verdict["reasons"]) == 5
    assert "1 of 21 recipients are quarantined: 4.8% (maximum 1.0%)" in verdict["reasons"]
