"""The report of real runs, also blocked ones and ones with names that look like markup."""

from __future__ import annotations

import html
import json
import re
from copy import deepcopy
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from markupsafe import escape

from enrich_dist.core.console import PlainConsole
from enrich_dist.core.tables import percent
from enrich_dist.errors import SettingsError, StateError
from enrich_dist.events import AttemptTimes, Event, Notice, emit, listening
from enrich_dist.farm import diagnosis as doctor
from enrich_dist.farm.attempts import AttemptLedger, FailedAttempt, FailureKind, Marker
from enrich_dist.farm.logs import ChunkLog, read_chunk_log
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.reporting.html import make_report, write_run_report
from enrich_dist.reporting.html.contents import all_sections, tiles
from enrich_dist.reporting.html.render import render_html
from enrich_dist.reporting.html.report_data import ReportData, read_report_data
from enrich_dist.reporting.html.section import MAX_ROWS, Section
from enrich_dist.reporting.summary import print_summary
from enrich_dist.results import quality, report
from enrich_dist.results.calibration import Calibration, CalibrationBin, measure_calibration
from enrich_dist.results.quality import Gate
from enrich_dist.results.unresolved import read_unresolved
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.runs.journal import read_runs
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
    values = run.flat()
    directory.record_settings("test", values, {"chunk_size": "command line"})
    pipeline = run_in_process(run)
    pipeline.publish_awards()
    finish_run(pipeline)
    return pipeline


@pytest.fixture(scope="module")
def data(known: Pipeline) -> ReportData:
    return read_report_data(known.directory)


def sections_of(data: ReportData) -> dict[str, Section]:
    return {section.key: section for section in all_sections(data)}


def text_of(section: Section) -> str:
    tables = [*section.tables, *section.folded, *(table for _, table in section.charts)]
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


def test_report_is_outside_of_result(known: Pipeline, data: ReportData) -> None:
    directory = known.directory
    page = directory.html_report.read_text("utf-8")

    assert data.status == "published"
    assert PLOTLY in page
    assert list(directory.root.rglob("*.html")) == [directory.html_report]
    for step in ("enriched_awards", "published_awards"):
        assert directory.latest(step).paths["html_report"] == str(directory.html_report)


def test_numbers_equal_the_metrics_document(known: Pipeline, data: ReportData) -> None:
    metrics, shown = data.metrics, sections_of(data)
    matched = sum(award.status == "matched" for award in AWARDS)

    assert metrics["awards"]["matched"] == matched
    ((_, methods),) = shown["methods"].charts
    assert sum(int(row[1]) for row in methods.rows) == matched
    groups = {chart.key.removeprefix("by-"): table for chart, table in shown["groups"].charts}
    assert set(groups) == set(metrics["by"])
    for group, table in groups.items():
        expected = sorted((str(i["value"]), f"{i['awards']:,}", percent(i["match_rate"])) for i in
                          metrics["by"][group])  # fmt: skip
        assert sorted((row[0], row[1], row[3]) for row in table.rows) == expected
    probability, weight = (table for _, table in shown["distributions"].charts)
    for column, status in enumerate(("matched", "review", "unmatched"), start=1):
        counted = sum(item[status] for item in metrics["probability_distribution"])
        assert sum(int(row[column]) for row in probability.rows) == counted
        assert sum(int(row[column]) for row in weight.rows) == counted
    for check in data.verdict["checks"]:
        assert check["reason"] in text_of(shown["verdict"])


def test_unresolved_companies_have_best_candidate(data: ReportData) -> None:
    text = text_of(sections_of(data)["unresolved"])

    assert "Ambiguous Optics" in text
    assert "AMBIGUOUS OPTICS" in text
    assert "name equal" in text
    assert "Nobody Knows Us Corporation" in text
    assert "Kitware" not in text, "it is matched"


def test_empty_sections_of_first_run(data: ReportData) -> None:
    shown = sections_of(data)

    for key in ("comparison", "failures", "timeline"):  # the chunks were matched in this process
        assert shown[key].tables == ()
        assert shown[key].charts == ()
        assert shown[key].text


def test_settings_have_origins(data: ReportData) -> None:
    section = sections_of(data)["settings"]
    (overridden,), (every,) = section.tables, section.folded

    assert ("chunk_size", "10", "command line") in overridden.rows
    assert {row[0] for row in overridden.rows} == {
        "chunk_size", "inputs.awards", "inputs.recipients", "match_rate_threshold", "paths.work_dir"
    }  # fmt: skip
    assert ("timeout_seconds", "default") in {(row[0], row[2]) for row in every.rows}


def test_memory_equals_the_records(data: ReportData) -> None:
    (chart, table), *_ = sections_of(data)["memory"].charts

    assert sum(int(row[2]) for row in table.rows) == len(data.records)
    assert {trace["name"] for trace in chart.figure["data"]} >= {"measured peak", "projected"}


def test_run_is_compared_with_others(tmp_path: Path) -> None:
    run = settings(tmp_path)
    finish_run(run_in_process(run))
    stricter = run.model_copy(update={"matching": run.matching.model_copy(update={"accept_probability": 0.98})})
    second = Pipeline(stricter, "second")

    second.enrich_awards()
    finish_run(second)

    data = read_report_data(second.directory, against="test")
    assert data.previous is not None
    assert (data.previous.run_id, data.run.run_id) == ("test", "second")
    assert data.against == data.previous
    (table,) = sections_of(data)["comparison"].tables
    assert table.head == ("metric", "this run", "previous run", "change", "run test", "change")
    row = next(row for row in table.rows if row[0] == "awards matched")
    before, now = (run.numbers["awards_matched"] for run in (data.previous, data.run))
    assert now < before
    assert row == ("awards matched", f"{now:,.0f}", f"{before:,.0f}", *[row[3], f"{before:,.0f}", row[3]])
    assert row[3].startswith(f"{now - before:+,.0f}")
    # This run only evaluated the result: it has no matching time of its own.
    assert next(row for row in table.rows if row[0] == "matching time (s)")[1] == ""
    assert len(read_runs(second.directory)) == 2


def test_blocked_report_has_reason(tmp_path: Path) -> None:
    pipeline = run_in_process(settings(tmp_path, match_rate_threshold=0.99))
    finish_run(pipeline)

    data = read_report_data(pipeline.directory)
    page = pipeline.directory.html_report.read_text("utf-8")
    (reason,) = data.verdict["reasons"]
    assert data.status == "blocked"
    assert html.escape(reason) in page
    assert reason in make_markdown(pipeline.directory, tmp_path)
    assert data.run.status == "blocked"


def test_every_output_says_that_the_estimate_is_not_reliable(
    known: Pipeline, data: ReportData, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons = data.metrics["accuracy"]["reasons"]
    doubt = f"not reliable here: {'; '.join(reasons)}"

    print_summary(PlainConsole(), known.directory, published=True)

    assert f"only {data.metrics['companies']['matched']} matches are accepted" in reasons
    assert data.metrics["accuracy"]["reliable"] is False
    assert doubt in " ".join(capsys.readouterr().out.split())
    assert doubt in text_of(sections_of(data)["verdict"])
    assert doubt in text_of(sections_of(data)["calibration"])
    assert "; not reliable here" in next(tile.detail for tile in tiles(data) if tile.label == "Estimated precision")
    assert f"## Estimated accuracy\n\n{report.accuracy_sentence(data.metrics)}" in report.render(
        data.metrics, data.verdict
    )


def test_results_of_versions_without_the_assessment_are_reported(data: ReportData) -> None:
    old = deepcopy(data.metrics)
    del old["accuracy"]["reliable"], old["accuracy"]["reasons"]
    old_data = replace(data, metrics=old, verdict=quality.judge(old, Gate(0.0, 0.0, 1.0)))

    texts = [text_of(section) for section in all_sections(old_data)] + [tile.detail for tile in tiles(old_data)]

    assert not any("not reliable" in text for text in (*texts, report.render(old, old_data.verdict)))


def make_markdown(directory: RunDirectory, folder: Path) -> str:
    make_report(directory, html=folder / "r.html", markdown=folder / "r.md")
    return (folder / "r.md").read_text("utf-8")


def test_markdown_has_run_and_result(known: Pipeline, data: ReportData, tmp_path: Path) -> None:
    text = make_markdown(known.directory, tmp_path)

    assert "\n- setting chunk_size = 10 (command line)\n" in text
    assert text.startswith("# Run report: published\n")
    assert report.check_table(data.verdict).markdown() in text
    for key in ("comparison", "memory", "failures", "settings"):
        assert f"\n## {sections_of(data)[key].title}\n" in text
    assert re.findall(r"^# ", text, flags=re.MULTILINE) == ["# "]


def test_markup_in_names_is_escaped(tmp_path: Path) -> None:
    pipeline = hostile_run(tmp_path)
    page = pipeline.directory.html_report.read_text("utf-8")

    outline = Outline(page)
    assert str(escape(HOSTILE_NAME)) in page
    assert HOSTILE_NAME not in page
    assert outline.count("script") == 3
    assert outline.count("img") == 0
    assert all(not name.startswith("on") for _, attributes in outline.elements for name in attributes)
    assert HOSTILE_NAME in json.dumps(charts_of(page), ensure_ascii=False)


def test_page_is_self_contained(known: Pipeline) -> None:
    page = known.directory.html_report.read_text("utf-8")

    outline = Outline(page)
    assert [tag for tag, attributes in outline.elements if "src" in attributes or tag == "link"] == []
    assert [value for tag, a in outline.elements if (value := a.get("href")) and not value.startswith("#")] == []
    (policy,) = [a["content"] for tag, a in outline.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert outline.count("h1") == 1


def test_charts_have_text_and_table(known: Pipeline, data: ReportData) -> None:
    for section in all_sections(data):
        for chart, table in section.charts:
            assert len(chart.summary) > 10
            assert table.rows
            assert all(len(row) == len(table.head) for row in table.rows)


def test_rendering_is_deterministic(data: ReportData) -> None:
    assert render_html(data) == render_html(data)


def test_degradations_and_quarantine_are_listed(data: ReportData) -> None:
    chunk, record = next(iter(data.records.items()))
    record = replace(record, degradations=1, batch_rows=1000, batch_rows_least=250, rows_in=record.rows_in + 1,
                     rows_quarantined=1, quarantined=[{"source_row": 17, "reason": "ValueError: odd"}])  # fmt: skip

    text = text_of(sections_of(replace(data, records={**data.records, chunk: record}))["failures"])

    assert "1,000 250" in text
    assert "17 ValueError: odd" in text


def test_file_that_is_no_report_stays(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    directory.html_report.write_text("<html>notes", "utf-8")
    events: list[Event] = []

    with listening(events.append):
        write_run_report(directory)

    assert [getattr(event, "warning", None) for event in events] == [True]
    assert directory.html_report.read_text("utf-8") == "<html>notes"


@pytest.mark.parametrize("name", ["html", "markdown"])
def test_report_replaces_reports_only(tmp_path: Path, known: Pipeline, name: str) -> None:
    paths = {"html": tmp_path / "r.html", "markdown": tmp_path / "r.md"}
    for _ in range(2):
        make_report(known.directory, **paths)
    paths[name].write_text("of others", "utf-8")

    with pytest.raises(SettingsError, match=r"r\.(html|md)"):
        make_report(known.directory, **paths)

    assert paths[name].read_text("utf-8") == "of others"


def test_failed_report_warns_and_is_removed(tmp_path: Path, known: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = RunDirectory(tmp_path)  # without a judged run
    directory.html_report.write_text(render_html(read_report_data(known.directory)), "utf-8")
    events: list[Event] = []

    with listening(events.append):
        write_run_report(directory)

    (notice,) = events
    assert isinstance(notice, Notice)
    assert notice.warning
    assert not directory.html_report.exists()


def test_calibration_hides_identifiers(known: Pipeline) -> None:
    found = measure_calibration(known.directory)

    # Renamed Photonics shares only its UEI with its partner; the other two also share the name.
    assert (found.identified, found.companies) == (3, 3)
    assert sum(item.correct for item in found.bins) == 2
    assert sum(item.companies for item in found.bins) + found.without_candidate == 3


def test_calibration_needs_enough_companies(data: ReportData) -> None:
    measured = Calibration(40, 40, 0, (CalibrationBin(0.2, 0.3, 20, 0.25, 6), CalibrationBin(0.9, 1.0, 20, 0.97, 20)))

    few = sections_of(data)["calibration"]
    ((chart, table),) = sections_of(replace(data, calibration=measured))["calibration"].charts

    assert few.charts == ()
    assert [row[4] for row in table.rows] == ["30.0%", "100.0%"]
    assert chart.figure["data"][1]["y"] == [0.3, 1.0]


def test_unresolved_companies_add_up(known: Pipeline, data: ReportData) -> None:
    result = known.directory.output(Output.RESULT)
    matches = pq.read_table(result / "company_matches.parquet")

    found = read_unresolved(result, known.directory.scratch, limit=1)

    companies = data.metrics["companies"]
    assert found.with_candidate_total + found.without_candidate_total == companies["review"] + companies["unmatched"]
    assert (len(found.with_candidate), len(found.without_candidate)) == (1, 1)
    with_candidate = matches.num_rows - matches["recipient_id"].null_count
    assert sum(item.matched + item.review + item.unmatched for item in found.weights) == with_candidate


def attempt(chunk: int, outcome: str = "finished", started: float | None = 2.0) -> AttemptTimes:
    peak_memory_bytes = 200_000_000 if outcome == "finished" else None
    return AttemptTimes(chunk, 1, outcome, "0", 1.0, started, 3.0, 3.5, peak_memory_bytes)


def test_timeline_shows_the_chunk_log(tmp_path: Path, data: ReportData, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chunks.jsonl"
    monkeypatch.setattr("time.monotonic", lambda: 0.5)
    with ChunkLog(path) as log, listening(log):
        emit(attempt(0))
        emit(Notice("something else"))
        emit(attempt(1, "hang", None))
    older = asdict(attempt(2))
    del older["peak_memory_bytes"]  # earlier versions did not log it
    with path.open("a") as file:
        file.write(json.dumps(older) + "\n")
        file.write('{"chunk_id": 3, "att')

    logged = read_chunk_log(path)

    starts = [(one.chunk_id, one.outcome, one.started_seconds, one.peak_memory_bytes) for one in logged]
    assert starts == [(0, "finished", 1.5, 200_000_000), (1, "hang", None, None), (2, "finished", 2.0, None)]
    assert (logged[0].submitted_seconds, logged[0].finished_seconds, logged[0].received_seconds) == (0.5, 2.5, 3.0)
    ((chart, table),) = sections_of(replace(data, attempts=tuple(logged)))["timeline"].charts
    assert [row[3] for row in table.rows] == ["finished", "hang", "finished"]
    assert chart.figure["data"][0]["base"] == [1.5, 2.0]


def test_report_command(known: Pipeline, tmp_path: Path) -> None:
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
    assert not (tmp_path / "none.html").exists()


def test_unknown_run_to_compare_with(known: Pipeline) -> None:
    with pytest.raises(StateError, match="none"):
        read_report_data(known.directory, against="none")


def test_failed_attempts_are_listed(known: Pipeline, data: ReportData) -> None:
    chunk = doctor.examine(known.directory).chunks[1]
    failed = FailedAttempt(
        chunk.checkpoint_key, chunk.chunk_id, 2, FailureKind.OUT_OF_MEMORY, True, "<too> much memory",
        "split into 2 parts", "Traceback", Marker(chunk.checkpoint_key, 2, "1", "host", 7, 4.0), 1_000_000, 5.0,
    )  # fmt: skip
    ledger = AttemptLedger(known.directory.attempts)
    ledger.add(failed)
    try:
        shown = sections_of(read_report_data(known.directory))["failures"]
        page = render_html(read_report_data(known.directory))
    finally:
        ledger.clear()

    [table] = shown.tables
    row = (str(chunk.chunk_id), "2", "out of memory", "1", "<too> much memory", "split into 2 parts")
    assert table.rows == (row,)
    assert "&lt;too&gt; much memory" in page
    assert sections_of(data)["failures"].tables == ()


def test_large_report_is_truncated(data: ReportData) -> None:
    many = of_thousands(data)

    page = render_html(many)

    assert len(page.encode("utf-8")) < 8_000_000
    for section in all_sections(many):
        for table in [*section.tables, *section.folded, *(table for _, table in section.charts)]:
            assert len(table.rows) <= MAX_ROWS, (section.key, table.caption)
    captions = [table.caption for table in sections_of(many)["failures"].tables]
    assert [caption.partition(" (the first ")[2] for caption in captions] == [
        "500 of 1,500)", "500 of 1,000)", "500 of 3,000)",
    ]  # fmt: skip
