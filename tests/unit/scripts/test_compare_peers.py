"""Comparison with peers: accuracy counted by hand, hidden identifiers, and one peer in its own process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scripts.compare_peers import our_answers, whole_seconds
from scripts.measuring import ROOT, measure_process
from scripts.peers.answers import COLUMNS, NONE, best_per_left, one_row_per_name, read_answers, write_part
from scripts.peers.cases import Known, read_case, read_labels
from scripts.peers.methods import PEERS, plain_name
from scripts.peers.run import sample_size
from scripts.peers.scoring import Answer, count_companies, score

NO_PARTNER = Known(frozenset(), findable=False, kind="none")


def partner(*recipients: str, findable: bool = True, kind: str = "exact") -> Known:
    return Known(frozenset(recipients), findable, kind)


def answer(left: str, right: str | None, value: float | None, accepted: bool = True) -> Answer:
    return Answer(left, right, value, accepted)


KNOWN = {
    "a": partner("1"),
    "b": partner("2", "3"),
    "c": partner("4", findable=False, kind="renamed"),
    "d": NO_PARTNER,
}
ANSWERS = [
    answer("a", "1", 0.9),
    answer("b", "3", 0.8),
    answer("c", "9", 0.7, accepted=False),
    answer("d", "9", 0.6, accepted=False),
]


def test_own_point_counts_accepted_answers() -> None:
    own = score(ANSWERS, KNOWN)["own"]
    assert (own.predicted, own.right, own.precision, own.threshold) == (2, 2, 1.0, 0.8)
    assert own.recall == pytest.approx(2 / 3)
    assert own.recall_findable == 1.0
    assert own.f1 == pytest.approx(2 * 2 / (2 + 3))
    assert own.no_match_wrong == 0.0
    assert own.recall_by_kind == {"exact": 1.0, "renamed": 0.0}
    assert own.wrong_by_kind == {"none": 0.0}


def test_answer_without_partner_is_wrong() -> None:
    own = score([answer("a", "1", 0.9), answer("d", "1", 0.9)], KNOWN)["own"]
    assert (own.precision, own.recall, own.no_match_wrong) == (0.5, 1.0, 1.0)


def test_compound_kind_counts_under_each() -> None:
    known = {"a": partner("1", kind="cut+city"), "b": partner("2", kind="city"), "n": NO_PARTNER}
    own = score([answer("a", "1", 1.0), answer("b", "9", 1.0), answer("n", "9", 1.0)], known)["own"]
    assert own.recall_by_kind == {"cut": 1.0, "city": 0.5}
    assert own.wrong_by_kind == {"none": 1.0}


def test_sweep_finds_best_f1() -> None:
    answers = [answer("a", "1", 0.9), answer("c", "9", 0.8), answer("b", "2", 0.7), answer("d", "9", 0.6)]
    best = score(answers, KNOWN)["best_f1"]
    assert best.threshold == 0.7
    assert best.f1 == pytest.approx(2 * 2 / (3 + 3))


def test_equal_scores_are_accepted_together() -> None:
    tied = [answer("a", "1", 0.9), answer("d", "9", 0.9), answer("b", "2", 0.5)]
    points = score(tied, KNOWN)
    assert points["floor"].predicted == 0
    assert points["floor"].threshold is None
    assert points["best_f1"].predicted == 3
    apart = [answer("a", "1", 0.91), answer("d", "9", 0.9), answer("b", "2", 0.5)]
    assert score(apart, KNOWN)["floor"].predicted == 1


def test_floor_holds_for_whole_set() -> None:
    known = {f"p{n}": partner(str(n)) for n in range(100)} | {"n": NO_PARTNER}
    # The highest score is wrong; with the right ones below it precision climbs to 100 of 101.
    answers = [answer("n", "x", 2.0), *(answer(f"p{n}", str(n), 1.0 - n / 1000) for n in range(100))]
    floor = score(answers, known)["floor"]
    assert (floor.right, floor.predicted, floor.recall, floor.no_match_wrong) == (100, 101, 1.0, 1.0)

    few = answers[:40]
    assert score(few, {one.left_id: known[one.left_id] for one in few})["floor"].predicted == 0


def test_precision_equal_to_floor_suffices() -> None:
    known = {f"p{n}": partner(str(n)) for n in range(49)} | {"n": NO_PARTNER}
    answers = [*(answer(f"p{n}", str(n), 1.0) for n in range(49)), answer("n", "x", 1.0)]
    assert score(answers, known)["floor"].recall == 1.0


def test_missing_candidate_lowers_recall_only() -> None:
    own = score([answer("a", "1", 1.0), answer("b", None, None, accepted=False)], KNOWN)["own"]
    assert (own.precision, own.recall) == (1.0, 0.5)


@pytest.mark.parametrize("answers", [[], [answer("a", None, None, accepted=False)]])
def test_nothing_predicted(answers: list[Answer]) -> None:
    for point in score(answers, KNOWN).values():
        assert (point.predicted, point.precision, point.recall, point.f1) == (0, None, 0.0, 0.0)


def test_two_answers_per_company_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one"):
        score([answer("a", "1", 1.0), answer("a", "2", 1.0)], KNOWN)


def test_companies_are_counted() -> None:
    expected = {"companies": 4, "with_partner": 3, "findable": 2, "no_partner": 1}

    assert count_companies(KNOWN, KNOWN) == expected


def test_only_search_is_extrapolated() -> None:
    assert whole_seconds(30.0, {"answer_seconds": 20.0}, 100, 1_000) == pytest.approx(30 + 20 * 9)
    assert whole_seconds(30.0, {}, 1_000, 1_000) == 30.0
    assert whole_seconds(30.0, {}, 0, 1_000) is None


def test_pair_budget_limits_companies() -> None:
    assert sample_size(PEERS["tfidf"], 300_000, 50) is None
    assert sample_size(PEERS["token-set"], 300_000, None) == 200
    assert sample_size(PEERS["token-set"], 300_000, 50) == 50


def test_plain_names() -> None:
    assert plain_name("The A.B.C. Widget Co., Inc.") == "ABC WIDGET"
    assert plain_name("Company, Inc.") == "COMPANY INC"
    assert plain_name("O'Hara & Söhne LLC") == "OHARA AND SOHNE"


def test_best_name_gives_the_answer(tmp_path: Path) -> None:
    side = pa.table(
        [pa.array([value]) for value in ("x", "First", None, None, None, None)] + [pa.array([["Second", "First"]])],
        schema=COLUMNS,
    )
    rows = one_row_per_name(side)
    assert rows["name"].to_pylist() == ["First", "Second"]
    left_ids = pa.array(["x", "x", "y"])
    best = best_per_left(left_ids, pa.array(["r0", "r1"]), np.array([0, 1, NONE]), np.array([0.2, 0.7, 0.0]), 0.5)
    write_part(tmp_path / "out", best)
    assert read_answers(tmp_path / "out").to_pylist() == [
        {"left_id": "x", "right_id": "r1", "score": 0.7, "accepted": True},
        {"left_id": "y", "right_id": None, "score": None, "accepted": False},
    ]


RECIPIENT_COLUMNS = ("recipient_hash", "legal_business_name", "uei", "duns", "parent_uei")
PLACE_COLUMNS = ("address_line_1", "address_line_2", "city", "state", "zip5")


def write_recipients_file(path: Path) -> None:
    names = ["ACME WIDGETS LLC", "BOREAL OPTICS INC", "BOREAL OPTICS LLC", "UNRELATED CORP"]
    columns = {
        **{name: [f"{name}-{row}" for row in range(len(names))] for name in RECIPIENT_COLUMNS},
        **{name: pa.nulls(len(names), pa.string()) for name in PLACE_COLUMNS},
        "legal_business_name": names,
        "uei": [f"UEI{row}" if row < 3 else None for row in range(len(names))],
        "alternate_names": pa.array([[], [], [], ["Third Name"]], pa.list_(pa.string())),
    }
    pq.write_table(pa.table(columns), path)


def write_case(directory: Path) -> None:
    directory.mkdir()
    write_recipients_file(directory / "recipients.parquet")
    companies = ["Acme Widgets, Inc.", "Boreal Optics", "Third Name Inc", "No Partner LLC"]
    organisations = {
        "id": ["c0", "c1", "c2", "c3"],
        "name": companies,
        **{name: pa.nulls(4, pa.string()) for name in ("address", "city", "state", "zip", "uei", "duns")},
        "alternate_names": pa.array([[]] * 4, pa.list_(pa.string())),
    }
    pq.write_table(pa.table(organisations), directory / "organisations.parquet")
    hashes = [f"recipient_hash-{row}" for row in range(4)]
    truth = {
        "company": ["c0", "c1", "c2", "c3"],
        "recipient_hash": [hashes[0], hashes[1], hashes[3], None],
        "acceptable": pa.array([[hashes[0]], hashes[1:3], [hashes[3]], []], pa.list_(pa.string())),
        "findable": [True, True, True, False],
        "kind": ["exact", "exact", "alternate", "none"],
    }
    pq.write_table(pa.table(truth), directory / "truth.parquet")


def test_inputs_have_no_identifiers(tmp_path: Path) -> None:
    write_case(tmp_path / "case")
    case = read_case(tmp_path / "case", companies=None, recipients=None, seed=3)
    for path in case.write(tmp_path):
        table = pq.read_table(path)
        assert table.schema.names == COLUMNS.names
        text = repr(table.to_pylist())
        assert not any(secret in text for secret in ("uei", "UEI", "duns", "recipient_hash", "'c0'"))
    right = dict(zip(case.right["id"].to_pylist(), case.right["name"].to_pylist(), strict=True))
    known = {
        left["name"]: sorted(right[identity] for identity in case.known[left["id"]].acceptable)
        for left in case.left.to_pylist()
    }
    assert known == {
        "Acme Widgets, Inc.": ["ACME WIDGETS LLC"],
        "Boreal Optics": ["BOREAL OPTICS INC", "BOREAL OPTICS LLC"],
        "Third Name Inc": ["UNRELATED CORP"],
        "No Partner LLC": [],
    }


def test_part_of_case_keeps_partners(tmp_path: Path) -> None:
    write_case(tmp_path / "case")
    case = read_case(tmp_path / "case", companies=2, recipients=3, seed=3)
    assert (len(case.left), len(case.right)) == (2, 3)


def test_labels_become_a_case(tmp_path: Path) -> None:
    write_recipients_file(tmp_path / "recipients.parquet")
    header = "left_id,sbir_company,address,address2,city,state,zip,recipient_uei,recipient_hash,tier,kind\n"
    rows = [
        "s1,Boreal Optics,1 Main St,Suite 2,Boston,MA,02108,UEI1,recipient_hash-1,A_manual,exact",
        "s1,Boreal Optics,,,,,,UEI2,recipient_hash-2,A_manual,exact",
        "s2,Missing,,,,,,,,ADJ_nomatch,none",
        "s3,Renamed,,,,,,UEI0,recipient_hash-0,A_manual,unrelated",
    ]
    labels = tmp_path / "labels.csv"
    labels.write_text(header + "\n".join(rows) + "\n", "utf-8")
    case = read_labels(labels, tmp_path / "recipients.parquet", seed=1)
    assert len(case.right) == 3
    facts = {row["name"]: case.known[row["id"]] for row in case.left.to_pylist()}
    assert {name: (len(fact.acceptable), fact.findable) for name, fact in facts.items()} == {
        "Boreal Optics": (2, True),
        "Missing": (0, False),
        "Renamed": (1, False),
    }
    assert "1 Main St Suite 2" in case.left["address"].to_pylist()


def test_peer_runs_in_own_process(tmp_path: Path) -> None:
    write_case(tmp_path / "case")
    case = read_case(tmp_path / "case", companies=None, recipients=None, seed=3)
    left, right = case.write(tmp_path)
    command = [sys.executable, "-m", "scripts.peers.run", "exact", left, right, tmp_path / "out"]
    measured = measure_process(command, cwd=ROOT, timeout=60)
    assert measured.end == "finished", measured.tail
    assert measured.wall_seconds > 0
    assert measured.peak_bytes > 10_000_000
    points = score([Answer(**row) for row in read_answers(tmp_path / "out").to_pylist()], case.known)
    assert (points["own"].right, points["own"].predicted) == (3, 3)


def test_whole_comparison(tmp_path: Path) -> None:
    write_case(tmp_path / "case")
    command = [sys.executable, "-m", "scripts.compare_peers", "--case", tmp_path / "case", "--output", tmp_path]

    done = measure_process([*command, "--only", "exact"], cwd=ROOT, timeout=60)

    assert "| exact normalised name | 4 | 1.000 (0.610–1.000) | 1.000 (0.610–1.000) | 1.000 |" in done.tail
    [record] = tmp_path.glob("*-peers-case.json")
    text = record.read_text("utf-8")
    (report,) = json.loads(text)["cases"]
    (figures,) = report["contestants"]
    assert (figures["end"], figures["extrapolated"], figures["accuracy"]["floor"]["recall"]) == ("finished", False, 1.0)
    assert figures["libraries"]["pyarrow"]
    assert str(tmp_path) not in text


def test_answers_of_own_command(tmp_path: Path) -> None:
    links = tmp_path / "links.csv"
    rows = ["L1,R1,20.5,exact_name,0.9,matched", "L2,R2,9.0,fuzzy_name,0.4,review", "L2,R3,8.0,fuzzy_name,0.5,review"]
    links.write_text("\n".join(["left_id,right_id,score,method,probability,status", *rows]) + "\n", "utf-8")
    answers = our_answers(links, ["L1", "L2", "L3"])
    assert [(one.left_id, one.right_id, one.accepted) for one in answers] == [
        ("L1", "R1", True),
        ("L2", "R3", False),
        ("L3", None, False),
    ]
    assert our_answers(tmp_path / "absent.csv", ["L1"]) == []


def test_timeout_ends_process_and_children(tmp_path: Path) -> None:
    child = (
        "import subprocess, sys; print('began', flush=True); "
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    )
    measured = measure_process([sys.executable, "-c", child], cwd=tmp_path, timeout=0.5)
    assert measured.end == "time limit"
    assert measured.wall_seconds < 5
    assert "began" in measured.tail


def test_failed_process_returns_its_output(tmp_path: Path) -> None:
    measured = measure_process([sys.executable, "-c", "raise SystemExit('no luck')"], cwd=tmp_path, timeout=30)
    assert (measured.end, "no luck" in measured.tail) == ("failed", True)
