"""Switched-off rules and varied constants change the result, and nothing remains of them."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from enrich_dist.matching import decisions, weights, words
from enrich_dist.results import scoring
from enrich_dist.schema import NameLevel
from scripts import ablation, sensitivity
from scripts.peers.cases import Case
from scripts.peers.records import Record, as_table, known_of
from scripts.switches import Change, constant, merged, without_lines, wrapped

NAMES = ("VELTARA OPTICS", "ZIBENTOR MARINE", "KOLDRANIC ENGINEERING", "PIXTORIUM FOODS", "ORMUXATION SYSTEMS")


def small_case() -> Case:
    """Five names with a typing error each, in one town."""
    right = as_table([Record(f"r{row}", name, "1 ELM ST", "TROY", "OH", "45373") for row, name in enumerate(NAMES)])
    mistyped = [name[:3] + name[4:] for name in NAMES]
    left = as_table([Record(f"l{row}", name, None, "TROY", "OH", "45373") for row, name in enumerate(mistyped)])
    truth = {f"l{row}": frozenset({f"r{row}"}) for row in range(len(NAMES))}
    return Case("small", left, right, known_of(truth, left, right))


def rule(name: str) -> Change:
    return next(one for one in ablation.RULES if one.name == name)


def test_rule_that_is_switched_off_changes_the_result(tmp_path: Path) -> None:
    off = [rule("typing errors"), rule("share of companies with a match (EM)")]

    whole, without, repeated = ablation.run(off, [small_case()], tmp_path)

    assert whole["sets"]["small"]["recall"] == 1.0
    assert without["sets"]["small"]["recall"] < 1.0
    assert without["sets"]["small"]["candidates"] < whole["sets"]["small"]["candidates"]
    assert repeated["sets"]["small"]["candidates"] == whole["sets"]["small"]["candidates"]
    assert repeated["sets"]["small"]["cpu"] == 0.0
    assert "| blocking | typing errors | -" in ablation.table([whole, without])


def test_change_ends_with_its_context() -> None:
    before = words.families()
    changes = [
        Change("constant", "", constant("decisions.MAX_PARTNER_SHARE", 0.5)),
        Change("words", "", without_lines("word_families.txt")),
        Change("function", "", wrapped("weights", "estimate", lambda _: lambda *_: None)),
    ]
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(change.in_force())
        assert decisions.MAX_PARTNER_SHARE == scoring.MAX_PARTNER_SHARE == 0.5
        assert len(words.families()) < len(before)
        assert weights.estimate(None, None, None) is None  # type: ignore[arg-type]
    assert decisions.MAX_PARTNER_SHARE == scoring.MAX_PARTNER_SHARE != 0.5
    assert words.families() == before
    assert weights.estimate.__module__ == weights.__name__


def test_what_no_longer_exists_is_an_error() -> None:
    with pytest.raises(AttributeError), Change("", "", constant("weights.NO_SUCH_BITS", 0.0)).in_force():
        pass


def test_merged_level_is_seen_in_vectors(tmp_path: Path) -> None:
    merge = Change("typo", "", merged("name_level", {NameLevel.TYPO: NameLevel.NOTHING_IN_COMMON}))

    whole, without = ablation.run([merge], [small_case()], tmp_path)

    assert without["sets"]["small"]["recall"] < whole["sets"]["small"]["recall"]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("A_BITS", 2.0, [1.0, 3.0]),
        ("A_BITS", (0.0, -3.0), [(0.0, -4.0), (0.0, -2.0)]),
        ("SHARE", 0.8, [0.6, 1.0]),
        ("COUNT", 8, [6, 10]),
        ("SHARES", (0.2, 0.8), [(0.2, 0.6), (0.2, 1.0)]),
        ("SCALES", (4.0, 8.0), [(3.0, 6.0), (5.0, 10.0)]),
        ("TEXT", "6", []),
    ],
)
def test_variations(name: str, value: object, expected: list[object]) -> None:
    found = [changed for _, changed in sensitivity.variations(name, value)]

    assert found == [pytest.approx(one) for one in expected]


def test_every_constant_is_varied() -> None:
    names = {change.name.rpartition(" ")[0] for change in sensitivity.constants()}

    assert {"weights.INFORMATION_SCALE", "decisions.UNSEEN_PARTNER_SHARE", "blocking.MIN_OVERLAP_STATE"} <= names
    assert not {name for name in names if "ENGINE_VERSION" in name or "Agreement" in name}
