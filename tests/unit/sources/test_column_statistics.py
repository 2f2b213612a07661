"""Statistics of input columns: counts, samples, and warnings of columns that look wrong."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrich_dist.core.files import read_json
from enrich_dist.events import Notice, listening
from enrich_dist.run_lifecycle import finish_run
from enrich_dist.settings import load_settings
from enrich_dist.sources import column_statistics
from enrich_dist.sources.awards import read_awards
from enrich_dist.sources.column_statistics import ColumnTally, SourceColumns
from enrich_dist.sources.columns import AWARD_LAYOUT, RECIPIENT_LAYOUT
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.protocol import ReadOptions
from enrich_dist.sources.recipients import read_recipients
from enrich_dist.store.run_directory import Output
from tests.support.in_process import run_in_process

UEI = "QK7MB3XW9TRA"


def columns_of(path: Path, batch_rows: int, **column_map: str | None) -> SourceColumns:
    source, tally = open_source(path), ColumnTally()
    for _ in read_recipients(source, column_map, batch_rows=batch_rows, tally=tally):
        pass
    return tally.result(*source.columns(ReadOptions(column_map, batch_rows, path.parent)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    table = {
        "recipient_hash": [f"{number:03}" for number in range(100)],
        "vendor": ["Quorvex Optics", "Zelmora Sensors"] * 50,
        "alternate_names": [["A", "B"], None] * 50,
        "LEI": ["5299000", None, UEI, "5299001"] * 25,
        "city": [None, ""] * 50,
        "state": ["MA", "OH", "MA", "N/A"] * 25,
        "zip5": ["02139"] * 100,
        "x" * 60: ["y"] * 100,
    }
    pq.write_table(pa.table(table), tmp_path / "recipients.parquet")
    return tmp_path / "recipients.parquet"


def test_counts_and_examples(path: Path) -> None:
    found = columns_of(path, 30, name="vendor", uei="LEI")

    by_name = {item.column: item for item in found.mapped}
    uei = by_name["uei"]
    assert (uei.header, uei.rows, uei.null, uei.not_understood) == ("LEI", 100, 25, 50)
    assert (uei.distinct, uei.distinct_rows) == (3, 100)
    assert (uei.examples, uei.lost) == (("5299000", "5299001", UEI), ("5299000", "5299001"))
    assert by_name["name"].examples == ("Quorvex Optics", "Zelmora Sensors")
    assert (by_name["alternate_names"].null, by_name["alternate_names"].examples) == (50, ("A|B",))
    assert by_name["state"].examples[0] == "MA"
    assert found.unmapped == ("x" * 60,)
    assert [row[0] for row in found.table().rows][-1] == "not mapped"


def test_wrong_columns_are_warned_of(path: Path) -> None:
    found = columns_of(path, 30, name="vendor", uei="LEI")

    messages = found.warnings(RECIPIENT_LAYOUT)
    assert len(messages) == 2
    assert all(text in messages[0] for text in ("'LEI'", "66.7%", "'5299000'", "inputs.recipient_columns.uei"))
    assert all(text in messages[1] for text in ("'city'", "inputs.recipient_columns.city"))
    assert columns_of(path, 30, name="vendor", uei=None, city=None).warnings(RECIPIENT_LAYOUT) == []


@given(st.integers(1, 60), st.sampled_from([7, 30, 1000]))
def test_batches_do_not_matter(batch_rows: int, sample_rows: int) -> None:
    values = pa.array([str(number % 7) if number % 5 else None for number in range(200)])
    reasons = pa.array(["odd" if number % 3 == 0 and number % 5 else None for number in range(200)])

    def measured(size: int) -> SourceColumns:
        tally = ColumnTally()
        batches = []
        for start in range(0, 200, size):
            raw, reason = values.slice(start, size), reasons.slice(start, size)
            rows = pa.array(range(start + 1, start + 1 + len(raw)), pa.int64())
            cleaned = pc.if_else(pc.is_valid(reason), None, raw)
            batches.append(tally.measure(rows, {"uei": raw}, {"uei": cleaned}, {"uei": reason}))
        for batch in batches:
            tally.add(batch)
        return tally.result({"uei": "UEI"}, [])

    before, column_statistics.SAMPLE_ROWS = column_statistics.SAMPLE_ROWS, sample_rows
    try:
        found = measured(batch_rows)
        assert found == measured(200)
    finally:
        column_statistics.SAMPLE_ROWS = before
    assert found.mapped[0].distinct_rows <= sample_rows
    assert SourceColumns.of_document(found.document()) == found


def test_awards_have_statistics(tmp_path: Path) -> None:
    path = tmp_path / "awards.csv"
    path.write_text("Company,Agency,Phase,Award Year,UEI,City,State,Zip,Note\n" + f"A,DOE,I,19,{UEI},X,MA,ABC,n\n" * 2)

    found = read_awards(path, {}).columns

    assert [(item.column, item.not_understood) for item in found.mapped if item.not_understood] == [
        ("award_year", 2), ("zip", 2)
    ]  # fmt: skip
    assert found.unmapped == ("Note",)
    assert [text.split("(")[1].split(")")[0] for text in found.warnings(AWARD_LAYOUT)] == ["award_year", "zip"]


def test_steps_store_report_and_warn(tmp_path: Path) -> None:
    """The report escapes headers and values; a reused step warns again."""
    award = f"<b>|Quorvex Optics,DOE,I,19,{UEI},Lexford,MA,02139\n"
    (tmp_path / "awards.csv").write_text("Company,Agency,Phase,Award Year,UEI,City,State,Zip\n" + award)
    recipient = f"r1,QUORVEX OPTICS,{UEI},LEXFORD,MA,02139,x\n"
    (tmp_path / "recipients.csv").write_text("recipient_hash,name,uei,city,state,zip5,<i>odd|\n" + recipient)
    overrides = [f"inputs.{name}={tmp_path / name}.csv" for name in ("awards", "recipients")]
    settings = load_settings(None, [*overrides, f"paths.work_dir={tmp_path / 'work'}"], environ={}).settings
    seen: list[object] = []

    with listening(seen.append):
        pipeline = run_in_process(settings)
        pipeline.ingest_awards()

    warnings = [event.message for event in seen if isinstance(event, Notice) and "award_year" in event.message]
    assert len(warnings) == 2
    result = pipeline.directory.output(Output.RESULT)
    columns = read_json(result / "metrics.json")["columns"]
    assert columns["recipients"]["unmapped"] == ["<i>odd|"]
    assert columns["awards"]["mapped"][0]["examples"] == ["<b>|Quorvex Optics"]
    finish_run(pipeline)
    for text in ((result / "report.md").read_text("utf-8"), pipeline.directory.html_report.read_text("utf-8")):
        assert "not understood" in text
        assert "<b>|" not in text
        assert "<i>odd|" not in text
