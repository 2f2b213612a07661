"""The run report: from the files of a real run, blocked runs and hostile names included; nothing harms the run."""

from __future__ import annotations

import html
import json
import re
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from markupsafe import escape

from enrich_dist.core.markdown import percent
from enrich_dist.errors import StateError
from enrich_dist.events import AttemptTimes, Event, Notice, emit, listening
from enrich_dist.farm import diagnosis as doctor
from enrich_dist.farm.attempts import AttemptLedger, FailedAttempt, FailureKind
from enrich_dist.farm.chunk_log import ChunkLog, read_chunk_log
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.reporting.html import make_report, write_run_report
from enrich_dist.reporting.html.facts import RunFacts, gather
from enrich_dist.reporting.html.page import render_page
from enrich_dist.reporting.html.parts import MAX_ROWS, Section
from enrich_dist.reporting.html.sections import all_sections
from enrich_dist.results import report
from enrich_dist.results.calibration import Calibration, CalibrationBin, measure_calibration
from enrich_dist.results.unresolved import read_unresolved
from enrich_dist.run import finish_run
from enrich_dist.runs.journal import read_runs
from enrich_dist.settings import flatten
from enrich_dist.store.run_directory import Output, RunDirectory
from tests.conftest import enrich_dist
from tests.support.in_process import run_in_process
from tests.support.known_case import AWARDS, settings
from tests.support.report_case import HOSTILE_NAME, hostile_run, of_thousands

PLOTLY = "plotly.js v"


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The known case: published, its settings recorded."""
    run = settings(tmp_path_factory.mktemp("known"))
    directory = RunDirectory(run.paths.work_dir)
    values = flatten(run.model_dump(mode="json"))
    directory.record_settings("test", values, {"chunk_size": "command line"})
    pipeline = run_in_process(run)
    pipeline.publish_awards()
    finish_run(pipeline)
    return pipeline


@pytest.fixture(scope="module")
def facts(known: Pipeline) -> RunFacts:
    return gather(known.directory)


def sections_of(facts: RunFacts) -> dict[str, Section]:
    return {section.key: section for section in all_sections(facts)}


def text_of(section: Section) -> str:
    tables = [*section.tables, *(table for _, table in section.charts if table)]
    return " ".join([*section.text, *(cell for table in tables for row in table.rows for cell in row)])


def charts_of(page: str) -> dict[str, object]:
    (text,) = re.findall(r'<script type="application/json" id="charts">(.*?)</script>', page, flags=re.DOTALL)
    return dict(json.loads(text))


class Outline(HTMLParser):
    """Elements of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def test_the_job_leaves_its_report_beside_the_result_and_not_in_it(known: Pipeline, facts: RunFacts) -> None:
    directory = known.directory
    page = directory.html_report.read_text("utf-8")

    assert facts.status == "published"
    assert PLOTLY in page
    assert list(directory.root.rglob("*.html")) == [directory.html_report]
    for step in ("enriched_awards", "published_awards"):
        assert directory.latest(step).paths["html_report"] == str(directory.html_report)


def test_every_number_is_that_of_the_metrics_document(known: Pipeline, facts: RunFacts) -> None:
    metrics, shown = facts.metrics, sections_of(facts)
    matched = sum(award.status == "matched" for award in AWARDS)

    assert metrics["awards"]["matched"] == matched
    ((_, methods),) = shown["methods"].charts
    assert methods is not None
    assert sum(int(row[1]) for row in methods.rows) == matched
    groups = {chart.key.removeprefix("by-"): table for chart, table in shown["groups"].charts}
    assert set(groups) == set(metrics["by"])
    for group, table in groups.items():
        assert table is not None
        expected = sorted((str(i["value"]), f"{i['awards']:,}", percent(i["match_rate"])) for i in
                          metrics["by"][group])  # fmt: skip
        assert sorted((row[0], row[1], row[3]) for row in table.rows) == expected
    probability, score = (table for _, table in shown["distributions"].charts)
    assert probability is not None
    assert score is not None
    for column, status in enumerate(("matched", "review", "unmatched"), start=1):
        counted = sum(item[status] for item in metrics["probability_distribution"])
        assert sum(int(row[column]) for row in probability.rows) == counted
        assert sum(int(row[column]) for row in score.rows) == counted
    for check in facts.verdict["checks"]:
        assert check["reason"] in text_of(shown["verdict"])


def test_unmatched_companies_stand_with_their_best_candidate(facts: RunFacts) -> None:
    text = text_of(sections_of(facts)["undecided"])

    assert "Ambiguous Optics" in text
    assert "AMBIGUOUS OPTICS" in text
    assert "name equal" in text
    assert "Nobody Knows Us Corporation" in text
    assert "Kitware" not in text  # matched


def test_the_first_run_has_nothing_to_show_in_some_sections_and_says_so(facts: RunFacts) -> None:
    shown = sections_of(facts)

    assert shown["comparison"].tables == ()
    assert "No earlier run" in shown["comparison"].text[0]
    assert shown["trouble"].tables == ()
    assert "No attempt failed. No worker came near its memory limit. No recipient was set aside." in shown[
        "trouble"].text[0]  # fmt: skip
    # Matched in this process: no farm, and so no timeline.
    assert shown["timeline"].charts == ()
    assert shown["timeline"].text[-1].startswith("No timeline was kept")


def test_settings_stand_with_their_origin(facts: RunFacts) -> None:
    given, every = sections_of(facts)["settings"].tables

    assert ("chunk_size", "10", "command line") in given.rows
    assert {row[0] for row in given.rows} == {
        "chunk_size", "inputs.awards", "inputs.recipients", "match_rate_threshold", "paths.work_dir"
    }  # fmt: skip
    assert ("timeout_seconds", "default") in {(row[0], row[2]) for row in every.rows}


def test_memory_is_that_of_the_records(facts: RunFacts) -> None:
    (chart, table), *_ = sections_of(facts)["memory"].charts

    assert table is not None
    assert sum(int(row[2]) for row in table.rows) == len(facts.records)
    assert {trace["name"] for trace in chart.figure["data"]} >= {"measured peak", "projected"}


def test_a_later_run_is_compared_with_the_one_before_and_with_one_that_is_named(tmp_path: Path) -> None:
    run = settings(tmp_path)
    finish_run(run_in_process(run))
    stricter = run.model_copy(update={"matching": run.matching.model_copy(update={"accept_probability": 0.98})})
    second = Pipeline(stricter, "second")

    second.enrich_awards()
    finish_run(second)

    facts = gather(second.directory, against="test")
    assert facts.previous is not None
    assert (facts.previous.run_id, facts.summary.run_id) == ("test", "second")
    assert facts.against == facts.previous
    (table,) = sections_of(facts)["comparison"].tables
    assert table.head == ("figure", "this run", "previous run", "change", "run test", "change")
    row = next(row for row in table.rows if row[0] == "awards matched")
    before, now = (run.numbers["awards_matched"] for run in (facts.previous, facts.summary))
    assert now < before
    assert row == ("awards matched", f"{now:,.0f}", f"{before:,.0f}", *[row[3], f"{before:,.0f}", row[3]])
    assert row[3].startswith(f"{now - before:+,.0f}")
    # Only judged anew: the farm's figures are not this run's.
    assert next(row for row in table.rows if row[0] == "seconds of the farm")[1] == ""
    assert len(read_runs(second.directory)) == 2


def test_a_blocked_run_has_a_report_with_its_reason(tmp_path: Path) -> None:
    pipeline = run_in_process(settings(tmp_path, match_rate_threshold=0.99))
    finish_run(pipeline)

    facts = gather(pipeline.directory)
    page = pipeline.directory.html_report.read_text("utf-8")
    (reason,) = facts.verdict["reasons"]
    assert facts.status == "blocked"
    assert html.escape(reason) in page
    assert reason in make_markdown(pipeline.directory, tmp_path)
    assert facts.summary.status == "blocked"


def make_markdown(directory: RunDirectory, folder: Path) -> str:
    make_report(directory, html=folder / "r.html", markdown=folder / "r.md")
    return (folder / "r.md").read_text("utf-8")


def test_the_markdown_holds_the_written_report_and_the_run(known: Pipeline, facts: RunFacts, tmp_path: Path) -> None:
    text = make_markdown(known.directory, tmp_path)

    assert "\n## Settings\n\n5 of " in text
    assert "\n- `setting chunk_size = 10 (command line)`\n" in text

    assert text.startswith("# Run report: published\n")
    assert report.verdict_table(facts.verdict) in text
    for title in ("## Compared with earlier runs", "## Memory per worker", "## Degradations and failures"):
        assert title in text
    assert re.findall(r"^# ", text, flags=re.MULTILINE) == ["# "]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    pipeline = hostile_run(tmp_path)
    page = pipeline.directory.html_report.read_text("utf-8")

    outline = Outline(page)
    assert str(escape(HOSTILE_NAME)) in page
    assert HOSTILE_NAME not in page
    assert outline.count("script") == 3
    assert outline.count("img") == 0
    assert all(not name.startswith("on") for _, attributes in outline.elements for name in attributes)
    assert HOSTILE_NAME in json.dumps(charts_of(page), ensure_ascii=False)


def test_the_page_is_one_file_that_asks_for_nothing(known: Pipeline) -> None:
    page = known.directory.html_report.read_text("utf-8")

    outline = Outline(page)
    assert [tag for tag, attributes in outline.elements if "src" in attributes or tag == "link"] == []
    assert [value for tag, a in outline.elements if (value := a.get("href")) and not value.startswith("#")] == []
    (policy,) = [a["content"] for tag, a in outline.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert outline.count("h1") == 1


def test_every_chart_has_a_text_and_its_numbers_as_a_table(known: Pipeline, facts: RunFacts) -> None:
    for section in all_sections(facts):
        for chart, table in section.charts:
            assert len(chart.summary) > 10
            assert table is not None
            assert table.rows
            assert all(len(row) == len(table.head) for row in table.rows)


def test_the_same_facts_make_the_same_page(facts: RunFacts) -> None:
    assert render_page(facts) == render_page(facts)


def test_degraded_failed_and_set_aside_chunks_are_listed(facts: RunFacts) -> None:
    chunk, record = next(iter(facts.records.items()))
    record = replace(record, degradations=1, batch_rows=1000, batch_rows_least=250,
                     quarantined=[{"source_row": 17, "reason": "ValueError: odd"}])  # fmt: skip

    text = text_of(sections_of(replace(facts, records={**facts.records, chunk: record}))["trouble"])

    assert "1,000 250" in text
    assert "17 ValueError: odd" in text


def test_a_report_that_fails_warns_and_leaves_no_old_one(
    tmp_path: Path, known: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = RunDirectory(tmp_path)  # nothing was judged here
    directory.html_report.write_text("of an earlier run")
    told: list[Event] = []

    with listening(told.append):
        write_run_report(directory)

    (notice,) = told
    assert isinstance(notice, Notice)
    assert notice.warning
    assert "The result is not affected" in notice.message
    assert not directory.html_report.exists()


def test_reliability_hides_identifiers_and_knows_who_was_right(known: Pipeline) -> None:
    found = measure_calibration(known.directory)

    # Renamed Photonics has nothing but its UEI in common with its partner; the twin and the one by DUNS have the name.
    assert (found.identified, found.companies) == (3, 3)
    assert sum(item.correct for item in found.bins) == 2
    assert sum(item.companies for item in found.bins) + found.without_candidate == 3


def test_reliability_is_drawn_where_enough_is_known(facts: RunFacts) -> None:
    measured = Calibration(40, 40, 0, (CalibrationBin(0.2, 0.3, 20, 0.25, 6), CalibrationBin(0.9, 1.0, 20, 0.97, 20)))

    few = sections_of(facts)["reliability"]
    ((chart, table),) = sections_of(replace(facts, reliability=measured))["reliability"].charts

    assert few.charts == ()
    assert "too few" in few.text[-1]
    assert table is not None
    assert [row[4] for row in table.rows] == ["30.0%", "100.0%"]
    assert chart.figure["data"][1]["y"] == [0.3, 1.0]


def test_candidates_of_a_result_add_up(known: Pipeline, facts: RunFacts) -> None:
    result = known.directory.output(Output.RESULT)
    matches = pq.read_table(result / "company_matches.parquet")

    found = read_unresolved(result, known.directory.scratch, limit=1)

    companies = facts.metrics["companies"]
    assert found.with_candidate_total + found.without_candidate_total == companies["review"] + companies["unmatched"]
    assert (len(found.with_candidate), len(found.without_candidate)) == (1, 1)
    with_candidate = matches.num_rows - matches["recipient_id"].null_count
    assert sum(item.matched + item.review + item.unmatched for item in found.weights) == with_candidate


def attempt(chunk: int, outcome: str = "finished", started: float | None = 2.0) -> AttemptTimes:
    peak_memory_bytes = 200_000_000 if outcome == "finished" else None
    return AttemptTimes(chunk, 1, outcome, "0", 1.0, started, 3.0, 3.5, peak_memory_bytes)


def test_the_chunk_log_keeps_what_was_told_and_the_timeline_shows_it(
    tmp_path: Path, facts: RunFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chunks.jsonl"
    monkeypatch.setattr("time.monotonic", lambda: 0.5)
    with ChunkLog(path) as log, listening(log):
        emit(attempt(0))
        emit(Notice("something else"))
        emit(attempt(1, "hang", None))
    of_before = asdict(attempt(2))
    del of_before["peak_memory_bytes"]  # as versions wrote that did not tell it
    with path.open("a") as file:
        file.write(json.dumps(of_before) + "\n")
        file.write('{"chunk_id": 3, "att')

    kept = read_chunk_log(path)

    starts = [(one.chunk_id, one.outcome, one.started_seconds, one.peak_memory_bytes) for one in kept]
    assert starts == [(0, "finished", 1.5, 200_000_000), (1, "hang", None, None), (2, "finished", 2.0, None)]
    assert (kept[0].submitted_seconds, kept[0].finished_seconds, kept[0].received_seconds) == (0.5, 2.5, 3.0)
    ((chart, table),) = sections_of(replace(facts, attempts=tuple(kept)))["timeline"].charts
    assert table is not None
    assert [row[3] for row in table.rows] == ["finished", "hang", "finished"]
    assert chart.figure["data"][0]["base"] == [1.5, 2.0]


def test_the_command_reports_from_files_alone(known: Pipeline, tmp_path: Path) -> None:
    out, text = tmp_path / "run.html", tmp_path / "run.md"
    arguments = ["--out", out, "--markdown", text]

    done = enrich_dist("report", "--work-dir", known.directory.root, *arguments)
    nothing = enrich_dist("report", "--work-dir", tmp_path / "elsewhere", "--out", tmp_path / "none.html")
    compared = enrich_dist("report", "--work-dir", known.directory.root, "--out", out, "--against", "latest")

    assert done.returncode == 0, done.stderr
    assert compared.returncode == 0, compared.stderr
    assert str(out) in done.stdout
    assert PLOTLY in out.read_text("utf-8")
    assert nothing.returncode == 1
    assert "holds no judged result to report" in nothing.stderr
    assert not (tmp_path / "none.html").exists()


def test_a_run_to_compare_with_that_is_not_there_is_told(known: Pipeline) -> None:
    with pytest.raises(StateError, match="No run's id begins with 'none'"):
        gather(known.directory, against="none")


def test_failed_attempts_stand_with_what_happened_and_what_followed(known: Pipeline, facts: RunFacts) -> None:
    chunk = doctor.examine(known.directory).chunks[1]
    failed = FailedAttempt(
        chunk.checkpoint_key, chunk.chunk_id, 2, FailureKind.OUT_OF_MEMORY, True, "The worker held <too> much.",
        "It is matched in 2 parts.", "Traceback", "1", "host", 7, 1_000_000, 5.0,
    )  # fmt: skip
    ledger = AttemptLedger(known.directory.attempts)
    ledger.add(failed)
    try:
        shown = sections_of(gather(known.directory))["trouble"]
        page = render_page(gather(known.directory))
    finally:
        ledger.clear()

    [table] = shown.tables
    row = (str(chunk.chunk_id), "2", "out of memory", "1", "The worker held <too> much.", "It is matched in 2 parts.")
    assert (table.caption, table.rows, table.folded) == ("Failed attempts", (row,), False)
    assert "No attempt failed" not in " ".join(shown.text)
    assert "The worker held &lt;too&gt; much." in page
    assert sections_of(facts)["trouble"].tables == ()


def test_the_page_of_thousands_of_chunks_stays_small_and_says_what_it_leaves_out(facts: RunFacts) -> None:
    many = of_thousands(facts)

    page = render_page(many)

    assert len(page.encode("utf-8")) < 8_000_000
    for section in all_sections(many):
        for table in [*section.tables, *(table for _, table in section.charts if table is not None)]:
            assert len(table.rows) <= MAX_ROWS, (section.key, table.caption)
    captions = [table.caption for table in sections_of(many)["trouble"].tables]
    assert captions == [
        "Failed attempts (the first 500 of 1,500)",
        "Chunks whose worker took fewer rows at a time, near its memory limit (the first 500 of 1,000)",
        "Recipients that were set aside (the first 500 of 3,000)",
    ]
