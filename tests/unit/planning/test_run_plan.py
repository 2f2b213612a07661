"""Plans of small cases: largest blocks, left-out pairs, and the same numbers in a run and its report."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from enrich_dist.core.files import read_json
from enrich_dist.errors import SourceError
from enrich_dist.matching.blocking import candidate_pairs, prepare
from enrich_dist.matching.index import open_index
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.planning.run_plan import RunPlan, make_plan
from enrich_dist.reporting.plan import print_plan
from enrich_dist.results.report import model_text
from enrich_dist.settings import Settings
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.recipients import read_recipients
from enrich_dist.store.run_directory import Output
from tests.conftest import enrich_dist
from tests.support import known_case as known
from tests.support.in_process import run_in_process
from tests.support.known_case import AWARD_HEADER, RECIPIENT_NAMES

STATES = ["AL", "AK", "AZ", "AR", "CO", "CT", "DE", "FL", "GA", "HI", "ID", "IL"]
SYLLABLES = ["BA", "KO", "LU", "MI", "NE", "RU", "SA", "TO", "VI", "ZE"]
# Companies with one name in several states, and with one common word in one state.
NAMESAKES = [("Twinned Wombats", state) for state in STATES]
SYSTEMS = [(f"{first}{second}{third} Systems", "OH") for first in SYLLABLES for second, third in ("QU", "XO", "PY")]
STATELESS = [(f"{first}WYCH Systems", "") for first in SYLLABLES[:3]]
COMPANIES = [*NAMESAKES, *SYSTEMS, *STATELESS, ("Advanced Digital Zymurgy", "OH")]
RECIPIENTS = [
    *[("TWINNED WOMBATS LLC", "AL")] * 3,
    *[("ADVANCED SYSTEMS", "OH"), ("DIGITAL SYSTEMS", "OH")] * 2,
    ("ADVANCED SYSTEMS", "TX"),
    ("ADVANCED DIGITAL ZYMURGY", "OH"),
    *((f"UNRELATED VENDOR {first}{second}", "NE") for first in SYLLABLES for second in SYLLABLES),
]


def write_inputs(folder: Path) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    awards, recipients = folder / "awards.csv", folder / "recipients.parquet"
    with awards.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, AWARD_HEADER, restval="")
        writer.writeheader()
        for number, (name, state) in enumerate(COMPANIES):
            writer.writerow({"Company": name, "State": state, "Award Title": f"Award {number}", "Award Year": "2020"})
    columns = {
        "recipient_hash": [f"r-{number}" for number in range(len(RECIPIENTS))],
        "legal_business_name": [name for name, _ in RECIPIENTS],
        "state": [state for _, state in RECIPIENTS],
    }
    absent = pa.nulls(len(RECIPIENTS), pa.string())
    pq.write_table(pa.table({name: columns.get(name, absent) for name in RECIPIENT_NAMES}), recipients)
    return awards, recipients


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_inputs(tmp_path_factory.mktemp("plan"))


@pytest.fixture(autouse=True)
def _few_names_are_frequent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words in more than 20 names are frequent, as those in more than 250 are in a large index."""
    monkeypatch.setattr("enrich_dist.matching.vocabulary.MAX_RARE_POSTINGS", 20)


@pytest.fixture
def settings(tmp_path: Path, inputs: tuple[Path, Path]) -> Settings:
    return made(tmp_path, inputs)


def made(folder: Path, inputs: tuple[Path, Path], **matching: Any) -> Settings:
    return known.settings(folder, inputs=inputs, matching=matching, chunk_size=1000)


def as_text(plan: RunPlan) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    print_plan(console, plan)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_counts_match_blocking(settings: Settings, inputs: tuple[Path, Path]) -> None:
    plan = make_plan(settings)

    pipeline = Pipeline(settings, "test")
    index = open_index(pipeline.directory.output(Output.INDEX))
    [batch] = read_recipients(inputs[1], {}, batch_rows=10_000)
    pairs = candidate_pairs(index, prepare(index, batch.recipients), settings.matching.candidates())
    assert (plan.work.awards, plan.work.companies) == (len(COMPANIES), len(COMPANIES))
    assert (plan.work.source_rows, plan.sample.rows, plan.sample.recipients) == (len(RECIPIENTS),) * 3
    assert plan.sample.pairs == len(pairs.rows) >= 3 * len(STATES)
    assert plan.sample.with_candidate == len(set(pairs.rows.tolist()))
    assert plan.distinct_names == len(SYSTEMS) + len(STATELESS) + 2
    assert plan.sample.seconds > 0
    assert plan.chunks == 1


def test_largest_blocks_are_found(settings: Settings) -> None:
    plan = make_plan(settings)

    word, name = plan.sample.words[0], plan.sample.names[0]
    assert "SYSTEM" in word.text
    # Four lookups by recipients in Ohio, with two names: ADVANCED SYSTEMS and DIGITAL SYSTEMS.
    assert (word.state, word.size, word.lookups, word.pairs) == ("OH", len(SYSTEMS), 4, 4 * len(SYSTEMS))
    assert word.capped
    assert (name.text, name.size, name.lookups, name.pairs) == ("TWINNED WOMBATS", 12, 3, 36)
    assert (plan.sample.large_blocks, plan.sample.lookups_left_out, plan.sample.pairs_left_out) == (0, 0, 0)
    assert "nothing is left out" in as_text(plan)


@pytest.mark.parametrize("limit", [2, 11, 12, 29, 30])
def test_cap_leaves_out_what_run_reports(tmp_path: Path, inputs: tuple[Path, Path], limit: int) -> None:
    capped = made(tmp_path, inputs, max_block_size=limit)
    plan = make_plan(capped)

    pipeline = run_in_process(capped)
    model = read_json(pipeline.directory.output(Output.RESULT) / "metrics.json")["model"]
    report = (pipeline.directory.output(Output.RESULT) / "report.md").read_text("utf-8")

    assert (plan.sample.lookups_left_out, plan.sample.pairs_left_out) == (
        model["blocks_left_out"],
        model["pairs_left_out"],
    )
    assert (plan.sample.large_blocks > 0) == (limit < 30)
    if limit == 2:
        # Also the three companies without a state, in which the recipient of another state is searched as well.
        assert (plan.sample.large_blocks, plan.sample.pairs_left_out) == (3, 3 * 12 + 4 * 30 + 5 * 3)
    if limit == 11:
        # A name shared by twelve companies, looked up three times; a word of thirty, looked up four times.
        assert (plan.sample.large_blocks, plan.sample.lookups_left_out, plan.sample.pairs_left_out) == (
            2,
            7,
            3 * 12 + 4 * 30,
        )
        assert "7 lookups into blocks larger than matching.max_block_size were left out, of 156 pairs in all" in report
        text = as_text(plan)
        assert "2 blocks are larger than matching.max_block_size (11) and left out: 7 lookups" in " ".join(text.split())
        assert sum(line.endswith("left out") for line in text.splitlines()) == 2
    if limit == 30:
        assert "No block was larger than matching.max_block_size" in report
    assert model_text(model) in report


def test_sorted_file_is_estimated_right(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    table = pq.read_table(inputs[1])
    recipients = tmp_path / "sorted.parquet"
    # All matching rows are at the end.
    unmatched, matching = table.slice(len(table) - 100), table.slice(0, 3)
    whole = pa.concat_tables([*[unmatched] * 9, *[matching] * 300])
    pq.write_table(whole, recipients, row_group_size=100)

    plan = make_plan(made(tmp_path, (inputs[0], recipients)), sample_rows=400)

    assert plan.sample.places == 8
    assert plan.scaled(plan.sample.with_candidate) == pytest.approx(900, rel=0.2)


def test_sample_is_scaled(settings: Settings) -> None:
    plan = make_plan(settings, sample_rows=9)

    assert (plan.sample.rows, plan.work.source_rows, plan.source_rows_exact) == (9, len(RECIPIENTS), True)
    assert plan.scaled(18) == round(18 * len(RECIPIENTS) / 9)
    text = as_text(plan)
    assert f"{len(RECIPIENTS)} recipient rows; the first 9 were matched" in text
    assert "all, expected" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_memory_matches_run(settings: Settings) -> None:
    plan = make_plan(settings)
    pipeline = Pipeline(settings, "test")
    pipeline.partition_recipients()

    [task] = pipeline.tasks()
    assert plan.projection.peak_bytes == task.projected_peak_bytes
    text = " ".join(as_text(plan).split())
    assert f"A worker needs {plan.projection.peak_bytes / 1e6:,.0f} MB = " in text
    assert f"the minimum is {plan.projection.min_threshold_mb:,}" in text


def test_refused_run_is_announced(settings: Settings) -> None:
    minimum = make_plan(settings).projection.min_threshold_mb

    plan = make_plan(settings.model_copy(update={"memory_threshold_mb": minimum - 1}))

    assert f"Raise it to {minimum:,} or more" in " ".join(as_text(plan).split())


def test_batches_change_no_number(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    whole, cut = (make_plan(made(tmp_path / str(rows), inputs, batch_rows=rows)).sample for rows in (65_536, 7))

    assert (whole.pairs, whole.with_candidate, whole.names) == (cut.pairs, cut.with_candidate, cut.names)


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "zip"])
def test_csv_rows_are_estimated(tmp_path: Path, kind: str) -> None:
    text = "id,name\n" + "".join(f"{number},VENDOR NUMBER {number}\n" for number in range(200_000))
    path = tmp_path / f"recipients.{kind}"
    if kind == "csv":
        path.write_text(text, "utf-8")
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(text.encode(), 1))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("recipients.csv", text)

    rows, exact = open_source(path).row_count()

    assert rows == pytest.approx(200_000, rel=0.01)
    assert not exact


def test_long_csv_is_estimated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enrich_dist.sources.text_file._SAMPLE_BYTES", 100_000)
    text = "id,name\n" + "".join(f"{number:09d},VENDOR NUMBER {number:09d}\n" for number in range(100_000))
    plain, packed = tmp_path / "r.csv", tmp_path / "r.csv.gz"
    plain.write_text(text, "utf-8")
    packed.write_bytes(gzip.compress(text.encode(), 1))

    assert open_source(plain).row_count()[0] == pytest.approx(100_000, rel=0.02)
    assert open_source(packed).row_count()[0] == pytest.approx(100_000, rel=0.35)


def test_estimated_row_count_is_marked(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    recipients = tmp_path / "recipients.csv"
    table = pq.read_table(inputs[1])
    pa.csv.write_csv(table, recipients)

    plan = make_plan(made(tmp_path, (inputs[0], recipients)), sample_rows=50)

    assert not plan.source_rows_exact
    assert plan.work.source_rows == pytest.approx(len(RECIPIENTS), abs=2)
    assert "About " in as_text(plan)


def test_sample_without_recipients_is_refused(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    empty = tmp_path / "empty.parquet"
    pq.write_table(pa.table({name: pa.nulls(5, pa.string()) for name in RECIPIENT_NAMES}), empty)

    with pytest.raises(SourceError):
        make_plan(made(tmp_path, (inputs[0], empty)))


def test_command_prints_and_keeps_work(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    work = tmp_path / "work"
    where = ("--set", f"paths.work_dir={work}", "--set", f"inputs.awards={inputs[0]}")

    printed = enrich_dist("plan", *where, "--set", f"inputs.recipients={inputs[1]}", COLUMNS="80")
    refused = enrich_dist("plan", *where)

    assert printed.returncode == 0
    assert "TWINNED WOMBATS" in printed.stdout
    assert max(len(line) for line in printed.stdout.splitlines()) <= 80
    assert refused.returncode == 2
    assert "inputs.recipients is not set" in refused.stderr
    pipeline = Pipeline(known.settings(tmp_path, inputs=inputs), "test")
    assert pipeline.ingest_awards().reused
    assert pipeline.join_companies().reused
    assert not list(work.glob("chunks/*"))
