"""Explanations of a small run: numbers, reasons, lookups, refusals and display."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from enrich_dist import schema
from enrich_dist.core.files import read_json, write_json
from enrich_dist.errors import SettingsError, StateError
from enrich_dist.matching.config import DecisionConfig
from enrich_dist.matching.decisions import ADDRESS_SHARE, IDENTIFIED_METHODS, SAME_PLACE
from enrich_dist.matching.index import build_index, open_index
from enrich_dist.matching.shared_words import (
    MISSING,
    MISTYPED,
    WRITTEN_OTHERWISE,
    ComparedNames,
    shared_words,
    word_information,
)
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.reporting.explanation import bar, print_appearances, print_explanation
from enrich_dist.results.explain import explain_company, explain_recipient
from enrich_dist.results.explanation import HUMAN_REVIEW, Explanation
from enrich_dist.results.lookup import find_awards, find_company
from enrich_dist.results.reopen import ReopenedResult, reopen_result
from enrich_dist.schema import NameLevel
from enrich_dist.store.run_directory import Output
from tests.conftest import enrich_dist
from tests.support import known_case as known
from tests.support.in_process import run_in_process

DECISION = DecisionConfig(accept_probability=0.65, review_probability=0.05)
# A sibling of a recipient, two firms with one name and no identifier, and one that shares part of its name.
FURTHER = [
    ("Kitware & Sons Tract 101", "Clifton Park", "NY", "12065"),
    ("Doppelganger Instruments", "", "WA", "98101"),
    ("Doppelganger Instruments Inc", "", "RI", "02903"),
    ("Spectral Dynamics Zymurgy", "Boulder", "CO", "80301"),
]


def write_awards(plain: Path, path: Path) -> Path:
    """Write the known awards with award numbers; the last two share a contract number with the first."""
    with plain.open(encoding="utf-8", newline="") as handle:
        header, *rows = list(csv.reader(handle))
    for further in FURTHER:
        values = dict(zip(("Company", "City", "State", "Zip"), further, strict=True))
        rows.append(
            [values.get(name, "" if name == "UEI" else cell) for name, cell in zip(header, rows[0], strict=True)]
        )
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow([*header, "Agency Tracking Number", "Contract"])
        for number, row in enumerate(rows):
            shared = number == 0 or number >= len(rows) - 2
            writer.writerow([*row, f"T-{number}", "SHARED-1" if shared else f"C-{number}"] if any(row) else row)
    return path


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Any:
    # DuckDB would take these names for a column and for a pattern.
    folder = tmp_path_factory.mktemp("explain") / "state=ZZ" / "run[1]"
    awards, recipients = known.write_inputs(folder / "inputs")
    awards = write_awards(awards, folder / "inputs" / "numbered.csv")
    return known.settings(folder, inputs=(awards, recipients), matching=DECISION.__dict__)


@pytest.fixture(scope="module")
def pipeline(settings: Any) -> Pipeline:
    return run_in_process(settings)


@pytest.fixture(scope="module")
def result(pipeline: Pipeline) -> Iterator[ReopenedResult]:
    with reopen_result(pipeline.directory) as opened:
        yield opened


def matches(pipeline: Pipeline) -> list[dict[str, Any]]:
    path = pipeline.directory.output(Output.RESULT) / "company_matches.parquet"
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def explained(pipeline: Pipeline, result: ReopenedResult, name: str, candidates: int = 5) -> Explanation:
    company_id = find_company(result, name)
    return explain_company(result, DECISION, company_id, candidates=candidates)


def as_text(explanation: Explanation) -> str:
    console = Console(file=io.StringIO(), width=80)
    print_explanation(console, explanation, [])
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_numbers_agree_with_the_result(pipeline: Pipeline, result: ReopenedResult) -> None:
    rows = matches(pipeline)
    assert len(rows) == len({item.company for item in known.AWARDS}) - 1 + len(FURTHER)  # two awards are one company
    for row in rows:
        explanation = explain_company(result, DECISION, row["company_id"], candidates=100)

        assert explanation.status == row["match_status"]
        assert explanation.no_match_probability == pytest.approx(1 - (row["partner_probability"] or 0), abs=2e-6)
        assert explanation.organisations == len(explanation.candidates)
        for candidate in explanation.candidates:
            waterfall = candidate.prior + sum(comparison.weight for comparison in candidate.comparisons)
            assert waterfall == pytest.approx(candidate.prior + candidate.match_weight, abs=1e-9)
            assert candidate.total == pytest.approx(waterfall)
            assert candidate.alone >= candidate.probability - 1e-6
            if candidate.method == SAME_PLACE:
                assert candidate.probability <= candidate.max_lone_probability <= max(ADDRESS_SHARE)
                continue
            is_sibling = any(comparison.name == "sibling" for comparison in candidate.comparisons)
            assert candidate.max_lone_probability == (
                1.0 if candidate.method in IDENTIFIED_METHODS else pytest.approx(0.4 if is_sibling else 0.990, abs=5e-4)
            )
            if explanation.organisations == 1:
                assert candidate.alone == pytest.approx(candidate.probability, abs=2e-6)
            if candidate.words is not None:
                words = sum(word.bits for word in candidate.words.words)
                assert words == pytest.approx(candidate.name_bits[0], abs=1e-6)
        if not explanation.candidates:
            assert row["match_probability"] is None
            continue
        best, *others = explanation.candidates
        assert best.published.recipient_id == row["recipient_id"]
        assert best.published in (best.recipient, *best.also)
        assert best.match_weight == pytest.approx(row["match_weight"])
        assert best.method == row["match_method"]
        assert best.probability == pytest.approx(row["match_probability"], abs=1e-6)
        assert (others[0].probability if others else 0.0) == pytest.approx(row["runner_up_probability"], abs=1e-6)
        for comparison in best.comparisons:
            expected = 0.0 if comparison.name == "address" else row[f"{comparison.name}_weight"]
            assert comparison.weight == pytest.approx(expected)


def test_siblings_are_reviewed_and_name_their_words(pipeline: Pipeline, result: ReopenedResult) -> None:
    explanation = explained(pipeline, result, "Kitware & Sons Tract 101")
    [sibling] = [each for each in explanation.candidates[0].comparisons if each.name == "sibling"]
    assert explanation.status == "review"
    assert sibling.weight < 0
    assert sibling.outcome == "a number on one side only: TRACT 101 / (none)"
    assert sibling.outcome in explanation.reason


def test_prior_agrees_with_the_metrics(pipeline: Pipeline, result: ReopenedResult) -> None:
    model = read_json(pipeline.directory.output(Output.RESULT) / "metrics.json")["model"]

    candidate = explained(pipeline, result, "Common Name Labs").candidates[0]

    odds = model["partner_share"] / (1 - model["partner_share"]) / model["recipients"]
    assert 2**candidate.prior == pytest.approx(odds)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Kitware & Sons", "accepted: probability 0.990"),
        ("Ambiguous Optics", "review: two organisations of one name in one place share the probability; best"),
        ("Wandering Robotics", "review: two organisations of one name in different places share the probability; best"),
        (
            "Contrary Propulsion",
            "review: the UEI is the strongest evidence against it (conflict: QK7QM2QP9QW6 and TK7TM2TP9TW9)",
        ),
        ("Nobody Knows Us Corporation", "unmatched: no candidate"),
        (
            "Quixotic Biomedical",
            "review: only the address agrees (same house number and suite; 1 name of recipients and 2 companies share",
        ),
    ],
)
def test_reason_is_one_sentence(pipeline: Pipeline, result: ReopenedResult, name: str, reason: str) -> None:
    explanation = explained(pipeline, result, name)

    assert explanation.reason.startswith(reason)
    if explanation.status == "review":
        assert explanation.reason.endswith(" < 0.65")
    if explanation.status == "matched":
        assert explanation.reason.endswith(" ≥ 0.65")


def test_words_have_agreement_and_bits(pipeline: Pipeline, result: ReopenedResult) -> None:
    words = explained(pipeline, result, "Spectral Dynamics Researh").candidates[0].words

    assert words is not None
    assert (words.company_name, words.recipient_name) == ("SPECTRAL DYNAMICS RESEARH", "SPECTRAL DYNAMICS RESEARCH")
    assert [(word.text, word.agreement) for word in words.words] == [
        ("SPECTRAL", "agrees"), ("DYNAMICS", "agrees"), ("RESEARH", "mistyped"),
    ]  # fmt: skip
    assert words.additional == ()


def test_words_on_one_side_are_listed(pipeline: Pipeline, result: ReopenedResult) -> None:
    words = explained(pipeline, result, "Spectral Dynamics Zymurgy").candidates[0].words

    assert words is not None
    assert {word.text: word.agreement for word in words.words} == {
        "SPECTRAL": "agrees", "DYNAMICS": "agrees", "ZYMURGY": "missing",
    }  # fmt: skip
    assert words.additional == ("RESEARCH",)
    bits = {word.text: word.bits for word in words.words}
    assert bits["ZYMURGY"] > bits["DYNAMICS"] > 0


@pytest.mark.parametrize(
    ("level", "agreement"),
    [
        (NameLevel.TYPO, MISTYPED),
        (NameLevel.SPELLING_VARIANT, WRITTEN_OTHERWISE),
        (NameLevel.DIFFERENT_WORDS, MISSING),
    ],
)
def test_words_follow_the_whole_name(tmp_path: Path, level: NameLevel, agreement: str) -> None:
    company = dict.fromkeys(schema.COMPANY.names, None) | {
        "company_id": 0, "company_key": "k", "name": "Placeless Analytics", "names": [], "ueis": [], "duns": [],
        "locations": [], "award_count": 1,
    }  # fmt: skip
    build_index(pa.Table.from_pylist([company], schema=schema.COMPANY), tmp_path)
    index = open_index(tmp_path)
    rows = [{"source_row": 1, "recipient_id": "r", "name": "PLACELESSANALITICS"}]
    recipients = pa.Table.from_pylist(rows, schema=schema.RECIPIENT)
    first = int(index.vocabulary.arrays["name_tokens"][0])
    pair = ComparedNames(row=0, name_code=0, name_kind=0, name_level=level)

    nameless = ComparedNames(row=0, name_code=-1, name_kind=0, name_level=NameLevel.NOTHING_IN_COMMON)
    found = shared_words(
        index, recipients, [pair, nameless], word_information({}, 1000, index.vocabulary), {first: 7}
    )  # fmt: skip

    assert found[1] is None
    assert found[0] is not None
    assert [word.agreement for word in found[0].words] == [agreement, agreement]
    assert sorted(word.frequency for word in found[0].words) == [0, 7]


def test_alternate_name_is_shown(pipeline: Pipeline, result: ReopenedResult) -> None:
    candidate = explained(pipeline, result, "Old Name Robotics").candidates[0]

    assert candidate.name_kind == "alternate"
    assert candidate.comparisons[0].outcome == "equal (alternate name)"
    assert candidate.words is not None
    assert candidate.words.recipient_name == "OLD NAME ROBOTICS"


def test_alternate_name_needs_chunk_files(settings: Any, tmp_path: Path) -> None:
    moved = settings.model_copy(update={"paths": settings.paths.model_copy(update={"work_dir": tmp_path / "work"})})
    pipeline = run_in_process(moved)
    for path in pipeline.directory.output(Output.CHUNKS).glob("0*.parquet"):
        path.unlink()

    with reopen_result(pipeline.directory) as opened:
        assert explained(pipeline, opened, "Old Name Robotics").candidates[0].words is None
        assert explained(pipeline, opened, "Ambiguous Optics").candidates[0].words is not None


def test_company_is_found_by_any_spelling(result: ReopenedResult) -> None:
    keys = {"NAME:KITWARE AND SONS|NY", "name:KITWARE AND SONS|NY", "kitware & sons inc", "The Kitware and Sons, LLC"}

    assert len({find_company(result, asked) for asked in keys}) == 1


def test_companies_with_one_name_are_listed(result: ReopenedResult) -> None:
    with pytest.raises(SettingsError, match="2 companies have the name 'doppelganger instruments'") as refused:
        find_company(result, "doppelganger instruments")

    lines = str(refused.value).splitlines()
    assert "--company KEY" in lines[0]
    assert sorted(line.split("  ")[1] for line in lines[1:]) == [
        "name:DOPPELGANGER INSTRUMENTS|RI", "name:DOPPELGANGER INSTRUMENTS|WA",
    ]  # fmt: skip
    assert find_company(result, "name:DOPPELGANGER INSTRUMENTS|RI") >= 0


def test_part_of_a_name_lists_companies(result: ReopenedResult) -> None:
    with pytest.raises(SettingsError, match="1 have names that contain it") as refused:
        find_company(result, "measure")

    assert "Omni Measurement Systems, Milton VT, awards: 1" in str(refused.value)


def test_award_is_found_by_each_number(pipeline: Pipeline, result: ReopenedResult) -> None:
    awards = pq.read_table(pipeline.directory.output(Output.AWARDS) / "awards.parquet").to_pylist()
    award = next(row for row in awards if row["contract"] == "C-3")

    found = [find_awards(result, asked) for asked in (award["award_id"], "c-3", " T-3 ")]

    assert {(item.award_id, item.company_key) for [item] in found} == {(award["award_id"], "duns:045678901")}


def test_ambiguous_award_number_is_refused(result: ReopenedResult) -> None:
    with pytest.raises(SettingsError, match="'SHARED-1' names 3 awards of several companies") as refused:
        find_awards(result, "SHARED-1")

    assert "--award AWARD_ID" in str(refused.value)
    assert "DOPPELGANGER INSTRUMENTS|RI" in str(refused.value)


def test_recipient_lists_won_and_lost_companies(pipeline: Pipeline, result: ReopenedResult) -> None:
    [won] = explain_recipient(result, "r-franchise-b")
    [lost] = explain_recipient(result, "hk7hm2hp9hw8")

    assert (won.company_name, won.outcome) == ("Common Name Labs", "won: accepted")
    assert lost.recipient.recipient_id == "r-franchise-a"
    assert lost.outcome.startswith("behind COMMON NAME LABS (")
    assert lost.outcome.endswith("matched)")
    assert lost.probability is not None
    assert won.probability is not None
    assert lost.probability < 0.01 < won.probability


@pytest.mark.parametrize(
    ("find", "asked", "message"),
    [
        (find_awards, "no-such-award", "No valid award has"),
        (find_company, "Completely Unheard Of", "No company has the key or name"),
        (find_company, "", "No company has the key or name"),
    ],
)
def test_unknown_award_or_company_is_refused(result: ReopenedResult, find: Any, asked: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as refused:
        find(result, asked)

    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("r-unheard-of", "The run has no recipient with the id or UEI 'r-unheard-of'"),
        (
            "r-noise-3",
            "The recipient 'r-noise-3' .UNRELATED VENDOR NUMBER 3 DDD, OMAHA NE. is a candidate of no",
        ),
    ],
)
def test_recipient_without_company_is_refused(
    pipeline: Pipeline, result: ReopenedResult, asked: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=message):
        explain_recipient(result, asked)


def test_other_thresholds_are_noted(pipeline: Pipeline, result: ReopenedResult) -> None:
    company = find_company(result, "Ambiguous Optics")

    other = DecisionConfig(accept_probability=0.3)
    explanation = explain_company(result, other, company, candidates=1)

    assert explanation.status == "review"
    assert "judged with other thresholds" in (explanation.note or "")
    assert "0.3" not in explanation.reason


def test_explanations_fit_80_columns(pipeline: Pipeline, result: ReopenedResult) -> None:
    for row in matches(pipeline):
        explanation = explain_company(result, DECISION, row["company_id"], candidates=3)
        text = as_text(explanation)
        assert max(len(line) for line in text.splitlines()) <= 80
        assert "\x1b" not in text
        for candidate in explanation.candidates:
            assert candidate.recipient.recipient_id in text
            by_address = candidate.method == SAME_PLACE
            assert ("by its address alone" if by_address else f"{candidate.total:+.1f} bits") in text
    console = Console(file=io.StringIO(), width=80)
    print_appearances(console, explain_recipient(result, "r-franchise-a"))
    assert isinstance(console.file, io.StringIO)
    assert max(len(line) for line in console.file.getvalue().splitlines()) <= 80


def test_display_shows_words_and_rivals(pipeline: Pipeline, result: ReopenedResult) -> None:
    text = as_text(explained(pipeline, result, "Ambiguous Optics"))

    assert "Review: two organisations of one name in one place" in " ".join(text.split())
    assert "with 1 other organisation" in " ".join(text.split())
    assert "no matching recipient" in text
    [line] = [line for line in text.splitlines() if line.split()[:1] == ["prior"]][:1]
    assert "▒" in line
    assert "█" not in line


@pytest.mark.parametrize(
    ("before", "after", "drawn"),
    [(0.0, -10.0, "▒▒▒▒▒▒▒▒▒▒▒▒▒"), (-10.0, 10.0, "█" * 25), (0.0, 0.01, "            ·"), (0.0, 500.0, "█" * 13)],
)
def test_bar_spans_both_totals(before: float, after: float, drawn: str) -> None:
    text = bar(before, after, -10.0, 10.0).plain

    assert text.rstrip() == drawn or text.strip() == drawn


def decide(pipeline: Pipeline, *decisions: tuple[str, str, str]) -> None:
    rows = [dict(zip(schema.OVERRIDE.names, row, strict=True)) for row in decisions]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema.OVERRIDE), pipeline.directory.overrides)
    pipeline.enrich_awards()


@pytest.fixture
def decided(pipeline: Pipeline, settings: Any, tmp_path: Path) -> Pipeline:
    """A copy of the run with its own decisions."""
    moved = settings.model_copy(update={"paths": settings.paths.model_copy(update={"work_dir": tmp_path / "work"})})
    shutil.copytree(pipeline.directory.root, moved.paths.work_dir)
    copy = Pipeline(moved, run_id="test")
    copy.ingest_awards()
    copy.join_companies()
    copy.partition_recipients()
    copy.farm_chunks(lambda: pytest.fail("a chunk has no checkpoint"))
    copy.enrich_awards()
    return copy


OPTICS, NOBODY = "name:AMBIGUOUS OPTICS|FL", "name:NOBODY KNOWS US|AK"


def test_confirmed_pair_is_explained(decided: Pipeline) -> None:
    decide(decided, (OPTICS, "r-ambiguous-b", "confirm"))

    with reopen_result(decided.directory) as opened:
        explanation = explained(decided, opened, OPTICS)

    assert explanation.reason == "accepted: human review confirmed this pair"
    best = explanation.candidates[0]
    assert best.recipient.recipient_id == "r-ambiguous-b"
    assert best.comparisons[-1].name == HUMAN_REVIEW
    assert sum(comparison.weight for comparison in best.comparisons) == pytest.approx(best.match_weight)
    assert max(len(line) for line in as_text(explanation).splitlines()) <= 80


def test_confirmed_pair_becomes_a_candidate(decided: Pipeline) -> None:
    decide(decided, (NOBODY, "r-noise-3", "confirm"))

    with reopen_result(decided.directory) as opened:
        explanation = explained(decided, opened, NOBODY)

    assert [candidate.recipient.recipient_id for candidate in explanation.candidates] == ["r-noise-3"]
    assert explanation.candidates[0].words is None
    assert explanation.reason.startswith("accepted: human review confirmed")


def test_rejected_candidates_are_listed(decided: Pipeline) -> None:
    decide(decided, (OPTICS, "r-ambiguous-a", "reject"), (OPTICS, "r-ambiguous-b", "reject"))

    with reopen_result(decided.directory) as opened:
        explanation = explained(decided, opened, OPTICS)
        [appearance] = explain_recipient(opened, "r-ambiguous-a")

    assert explanation.reason == "unmatched: human review rejected all 2 candidates"
    assert {item.recipient_id for item in explanation.rejected_recipients} == {"r-ambiguous-a", "r-ambiguous-b"}
    assert "Rejected in review: r-ambiguous-a" in as_text(explanation)
    assert appearance.outcome == "rejected in human review"


def test_later_decisions_change_no_explanation(decided: Pipeline) -> None:
    row = dict(zip(schema.OVERRIDE.names, (OPTICS, "r-ambiguous-b", "confirm"), strict=True))
    pq.write_table(pa.Table.from_pylist([row], schema=schema.OVERRIDE), decided.directory.overrides)

    with reopen_result(decided.directory) as opened:
        assert explained(decided, opened, OPTICS).status == "review"


def test_checkpoints_of_another_run_are_refused(decided: Pipeline) -> None:
    plan = read_json(decided.directory.farm_plan)
    write_json(decided.directory.farm_plan, {"chunks": plan["chunks"][1:]})

    with pytest.raises(StateError, match="checkpoints are not those"), reopen_result(decided.directory):
        pass


def test_changed_companies_are_refused(decided: Pipeline, tmp_path: Path) -> None:
    awards, recipients = known.write_inputs(tmp_path / "inputs")
    other = known.settings(tmp_path, inputs=(awards, recipients))
    again = Pipeline(other, run_id="other")
    again.ingest_awards()
    again.join_companies()

    with pytest.raises(StateError, match="companies changed"), reopen_result(decided.directory):
        pass


def test_command_explains_and_refuses(pipeline: Pipeline) -> None:
    where = ("--set", f"paths.work_dir={pipeline.directory.root}", "--set", "matching.accept_probability=0.65")

    explained_award = enrich_dist("explain", "--award", "C-4", "--candidates", "1", *where, COLUMNS="80")
    unknown = enrich_dist("explain", "--company", "Completely Unheard Of", *where)
    unclear = enrich_dist("explain", *where)
    both = enrich_dist("explain", "--award", "C-4", "--company", "Kitware", *where)

    assert explained_award.returncode == 0
    assert "Accepted: probability" in explained_award.stdout
    assert "KITWARE" in explained_award.stdout
    assert "r-exact" in explained_award.stdout
    assert max(len(line) for line in explained_award.stdout.splitlines()) <= 80
    assert explained_award.stderr == ""
    assert (unknown.returncode, unclear.returncode, both.returncode) == (2, 2, 2)
    assert "No company has the key or name" in unknown.stderr
    assert "one of --award, --company and --recipient" in unclear.stderr


def test_files_of_another_version_are_refused(decided: Pipeline) -> None:
    index = decided.directory.output(Output.INDEX)
    (index / "vocabulary_weights.npy").unlink()

    with pytest.raises(StateError, match="incomplete or of another version"), reopen_result(decided.directory):
        pass


def test_command_without_result_fails(tmp_path: Path) -> None:
    finished = enrich_dist("explain", "--company", "Anything", "--set", f"paths.work_dir={tmp_path / 'work'}")

    assert finished.returncode == 1
    assert "has no output of the step 'enriched_awards'" in finished.stderr
