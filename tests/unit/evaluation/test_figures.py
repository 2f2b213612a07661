"""Figures computed by hand, their intervals, and what holds for any answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.evaluation.figures import (
    BEST_F1,
    FLOOR,
    OWN,
    Judged,
    calibration_bins,
    curve,
    expected_calibration_error,
    f1_interval,
    mcnemar_p_value,
    operating_points,
    point_at,
    wilson_interval,
)

Row = tuple[float, bool, bool, bool, bool, bool]


def judged(*rows: Row) -> Judged:
    """Rows of (score, has, accepted, right, partner, findable)."""
    columns = list(zip(*rows, strict=True)) or [()] * 6
    flags = [np.array(column, dtype=bool) for column in columns[1:]]
    return Judged(np.array(columns[0], dtype=np.float64), *flags)


# Right: accepted, below the threshold; wrong: with a partner, without; no answer: with a partner, without.
KNOWN = judged(
    (0.9, True, True, True, True, True),
    (0.6, True, False, True, True, True),
    (0.8, True, True, False, True, False),
    (0.7, True, True, False, False, False),
    (0.0, False, False, False, True, True),
    (0.0, False, False, False, False, False),
)


def test_figures_of_a_known_truth() -> None:
    own = operating_points(KNOWN)[OWN]

    assert (own.predicted, own.right, own.threshold) == (3, 1, 0.7)
    assert own.precision == pytest.approx(1 / 3)
    assert own.recall == pytest.approx(1 / 4)
    assert own.recall_findable == pytest.approx(1 / 3)
    assert own.f1 == pytest.approx(2 * 1 / (3 + 4))
    assert own.f1_findable == pytest.approx(2 * 1 / (2 + 3)), "without the company that cannot be identified"
    assert own.no_match_wrong == 0.5


def test_curve_of_a_known_truth() -> None:
    found = curve(KNOWN)

    assert found.threshold.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert found.predicted.tolist() == [1, 2, 3, 4]
    assert found.right.tolist() == [1, 1, 1, 2]
    assert found.precision.tolist() == pytest.approx([1, 1 / 2, 1 / 3, 1 / 2])
    assert found.f1.tolist() == pytest.approx([2 / 5, 2 / 6, 2 / 7, 4 / 8])
    points = operating_points(KNOWN)
    assert (points[BEST_F1].threshold, points[FLOOR].threshold) == (0.6, 0.9)


def test_intervals_of_published_examples() -> None:
    # Newcombe 1998, Table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    cases = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for (part, whole), expected in cases.items():
        assert wilson_interval(part, whole) == pytest.approx(expected, abs=5e-5)
    assert wilson_interval(0, 0) == (0, 1)
    assert wilson_interval(7, 7)[1] == 1


def test_interval_of_f1_covers_as_stated() -> None:
    random = np.random.default_rng(3)
    # Right, wrong with a partner, wrong without, missed, and correctly unmatched.
    shares = np.array([0.62, 0.03, 0.02, 0.13, 0.2])
    truth = 2 * shares[0] / (2 * shares[0] + 2 * shares[1] + shares[2] + shares[3])
    covered = []
    for right, wrong, false, missed, _ in random.multinomial(200, shares, size=2_000).tolist():
        low, high = f1_interval(right, right + wrong + false, right + wrong + missed, wrong)
        covered.append(low <= truth <= high)
    assert 0.94 <= np.mean(covered) <= 0.97


def test_mcnemar_equals_the_binomial_test() -> None:
    assert mcnemar_p_value(1, 5) == pytest.approx(2 * (1 + 6) / 2**6)
    assert mcnemar_p_value(0, 10) == pytest.approx(2 / 2**10)
    assert mcnemar_p_value(3, 3) == 1
    assert mcnemar_p_value(0, 0) == 1
    # The statistic of McNemar with continuity correction, for many companies: chi-square 16.05, one degree of freedom.
    assert mcnemar_p_value(101, 59) == pytest.approx(0.0012, abs=2e-4)


def test_calibration_of_known_answers() -> None:
    probability = np.array([0.05, 0.95, 0.97, 0.3, 1.0])
    bins = calibration_bins(probability, np.array([False, True, False, True, True]))

    assert [(item.companies, item.correct) for item in bins] == [(1, 0), (1, 1), (3, 2)]
    assert [item.from_probability for item in bins] == pytest.approx([0.0, 0.3, 0.9])
    expected = (0.05 + 0.7 + abs(0.95 + 0.97 + 1.0 - 2)) / 5
    assert expected_calibration_error(bins) == pytest.approx(expected)
    assert expected_calibration_error(()) is None


rows = st.lists(
    st.tuples(st.sampled_from([0.1, 0.5, 0.5, 0.8, 1.0]), *[st.booleans()] * 5).map(
        lambda row: (row[0], row[1], row[2], row[1] and row[3] and row[4], row[4], row[4] and row[5])
    ),
    max_size=30,
)


@given(rows)
def test_any_answers(given_rows: list[Row]) -> None:
    answers = judged(*given_rows)
    found = curve(answers)

    assert np.all(np.diff(found.threshold) < 0)
    assert np.all(np.diff(found.recall) >= 0), "a lower threshold never loses a match"
    assert np.all(found.right <= found.predicted)
    for number, threshold in enumerate(found.threshold.tolist()):
        single = point_at(answers, threshold)
        assert (single.predicted, single.right) == (found.predicted[number], found.right[number])
        assert single.f1 == pytest.approx(found.f1[number])
    for single in operating_points(answers).values():
        missed = int(answers.partner.sum()) - single.right
        wrong = single.predicted - single.right
        assert single.f1 == pytest.approx(2 * single.right / max(2 * single.right + missed + wrong, 1))
        for value, (low, high) in (
            (single.precision, single.precision_interval),
            (single.recall, single.recall_interval),
            (single.f1, single.f1_interval),
            (single.no_match_wrong, single.no_match_wrong_interval),
        ):
            assert 0 <= low <= high <= 1
            if value is not None and (low, high) != (0, 1):
                assert low - 1e-12 <= value <= high + 1e-12
