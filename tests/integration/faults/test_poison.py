"""Malformed rows and files, through the real readers and all steps.

Each is accepted, rejected with a counted reason, or refused with file, column, row and remedy. Results of other rows do
not change, and all rows are accounted for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from distributed import Client

from enrich_dist.core.files import read_json
from enrich_dist.pipeline.steps import Pipeline
from tests.conftest import enrich_dist, run_steps
from tests.support.known_case import AWARDS, RECIPIENT_NAMES, RECIPIENT_ROWS, settings, write_inputs

pytestmark = pytest.mark.cluster
SPARSE: dict[str, Any] = dict.fromkeys(RECIPIENT_NAMES) | {"city": "TROY", "state": "MI", "zip5": "48083"}


def with_rows(folder: Path, *rows: dict[str, Any]) -> tuple[Path, Path]:
    """The known case, with further recipients at its end."""
    awards, recipients = write_inputs(folder)
    table = pq.read_table(recipients)
    more = [{**SPARSE, "recipient_hash": f"poison-{number}", **row} for number, row in enumerate(rows)]
    pq.write_table(pa.concat_tables([table, pa.Table.from_pylist(more, schema=table.schema)]), recipients)
    return awards, recipients


def answers(pipeline: Pipeline) -> list[str | None]:
    found = pq.read_table(pipeline.directory.published / "current" / "enriched_awards.parquet")
    ids: list[str | None] = found["recipient_id"].to_pylist()
    return ids


def rejected(pipeline: Pipeline) -> list[dict[str, Any]]:
    rows = pyarrow.csv.read_csv(pipeline.directory.published / "current" / "rejects.csv").to_pylist()
    return [row for row in rows if row["source_row"] > RECIPIENT_ROWS and row["source_file"] == "recipients.parquet"]


def counted(pipeline: Pipeline) -> dict[str, Any]:
    found = read_json(pipeline.directory.published / "current" / "metrics.json")["reconciliation"]
    assert found["balanced"]
    recipients: dict[str, Any] = found["recipients"]
    return recipients


POISON = {
    "a name of 10 MB": {"legal_business_name": "ENDLESS " * 1_250_000},
    "one word of 10 MB": {"legal_business_name": "X" * 10_000_000},
    "a name of NUL bytes": {"legal_business_name": "NUL\0OPTICS\0\0LLC"},
    "right-to-left marks": {"legal_business_name": "\u202eSCITPO LASREVER\u202c \u200fINC\u200e"},
    "control and format characters": {"legal_business_name": "\x01\x1b[31mRED\u2066\u2069\ufeff LABS"},
    "combining marks without end": {"legal_business_name": "Z" + "\u0301" * 100_000},
    "letters outside the basic plane": {"legal_business_name": "\U0001d50a\U0001d52c\U0001f680 SPACE"},
    "a number as name": {"legal_business_name": "1234567890"},
    "a formula as name": {"legal_business_name": '=HYPERLINK("x")'},
    "a town of 1 MB": {"legal_business_name": "SOUND NAME", "city": "T" * 1_000_000},
    "100,000 alternate names": {"legal_business_name": "MANY", "alternate_names": [f"FACE {n}" for n in range(10**5)]},
    "a null among alternate names": {"legal_business_name": "HOLES", "alternate_names": [None, "", "HOLES INC"]},
}  # fmt: skip
NAMELESS = {
    "NUL bytes and nothing else": {"legal_business_name": "\0\0\0"},
    "marks and nothing else": {"legal_business_name": "\u200f\u202e\ufeff"},
}


@pytest.mark.long
def test_poison_rows_change_no_others(tmp_path: Path, client: Client) -> None:
    """All kinds at once, among the sound rows."""
    inputs = with_rows(tmp_path / "inputs", *POISON.values(), *NAMELESS.values())

    pipeline = run_steps(settings(tmp_path, inputs=inputs, max_quarantined_share=0.0), lambda: client)

    assert answers(pipeline) == [award.recipient for award in AWARDS]
    rows = counted(pipeline)
    assert rows["read"] == RECIPIENT_ROWS + len(POISON) + len(NAMELESS)
    assert rows["invalid"] == 1 + len(NAMELESS)
    assert rows["quarantined"] == 0
    assert {(row["outcome"], row["reason"]) for row in rejected(pipeline)} == {
        ("rejected", "no name and no valid identifier")
    }
    numbers = [row["source_row"] for row in rejected(pipeline)]
    assert numbers == [RECIPIENT_ROWS + len(POISON) + 1, RECIPIENT_ROWS + len(POISON) + 2]


def test_numeric_names_and_empty_columns(tmp_path: Path, client: Client) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    table = pq.read_table(recipients)
    numbers = pa.array(range(len(table)), pa.int64())
    table = table.set_column(1, "legal_business_name", numbers)
    for name in ("address_line_1", "alternate_names", "duns"):
        table = table.set_column(table.column_names.index(name), name, pa.nulls(len(table)))
    pq.write_table(table, recipients)

    pipeline = run_steps(settings(tmp_path, inputs=(awards, recipients), match_rate_threshold=0.0), lambda: client)

    by_uei = {award.company: award.recipient for award in AWARDS if award.method == "uei"}
    found = dict(zip([award.company for award in AWARDS], answers(pipeline), strict=True))
    assert by_uei
    assert {company: found[company] for company in by_uei} == by_uei
    assert counted(pipeline)["read"] == RECIPIENT_ROWS


def refused(tmp_path: Path, awards: Path, recipients: Path) -> str:
    """Return the one-line error of the command; no chunk was matched."""
    work = tmp_path / "work"
    done = enrich_dist("run", "--work-dir", work, "--awards", awards, "--recipients", recipients, "--chunk-size", "10")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("Error:")]
    assert not (work / "steps" / "farm_plan.json").exists()
    assert list((work / "chunks").glob("*")) == []
    assert str(recipients) in line
    return line


def broken_text(recipients: Path) -> None:
    table = pq.read_table(recipients)
    names = table["legal_business_name"].cast(pa.binary()).to_pylist()
    names[40] = b"BROKEN \xff\xfe TEXT"
    raw = pa.array(names, pa.binary())
    bad = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    pq.write_table(table.set_column(1, "legal_business_name", bad), recipients)


def damaged_row_group(recipients: Path) -> None:
    table = pq.read_table(recipients)
    pq.write_table(table, recipients, row_group_size=10, compression="zstd", write_page_checksum=True)
    column = pq.read_metadata(recipients).row_group(3).column(1)
    data = bytearray(recipients.read_bytes())
    data[(column.dictionary_page_offset or column.data_page_offset) + column.total_compressed_size - 1] ^= 0xFF
    recipients.write_bytes(data)


def no_rows(recipients: Path) -> None:
    pq.write_table(pq.read_table(recipients).slice(0, 0), recipients)


def without_names(recipients: Path) -> None:
    table = pq.read_table(recipients)
    for name in ("legal_business_name", "uei", "duns"):
        table = table.set_column(table.column_names.index(name), name, pa.nulls(len(table), pa.string()))
    pq.write_table(table, recipients)


@pytest.mark.long
@pytest.mark.parametrize(
    ("spoil", "parts"),
    [
        (broken_text, ["column 'legal_business_name', row 41", "not UTF-8", "Export it again"]),
        (damaged_row_group, ["damaged", "Export or copy it again"]),
        (no_rows, ["no rows", "Export it again"]),
        (without_names, ["no row can be used", "no name and no valid identifier"]),
    ],
    ids=lambda item: item.__name__ if callable(item) else "",
)
def test_poison_file_is_refused(tmp_path: Path, spoil: Any, parts: list[str]) -> None:
    awards, recipients = write_inputs(tmp_path / "inputs")
    spoil(recipients)

    line = refused(tmp_path, awards, recipients)

    assert [part for part in parts if part not in line] == []


@pytest.mark.long
def test_encoded_csv_with_poison_is_counted(tmp_path: Path, client: Client) -> None:
    awards, parquet = write_inputs(tmp_path / "inputs")
    table = pq.read_table(parquet).drop_columns(["alternate_names"])
    recipients = tmp_path / "inputs" / "recipients.csv"
    pyarrow.csv.write_csv(table, recipients)
    poison = [
        b'"p-1","CAF\xc9 OPTICS","","","","TROY","MI","48083"',
        b'"p-2","NUL\x00 INSIDE","","","","TROY","MI","48083"',
        b'"p-3","TOO","MANY","COLUMNS","","","","TROY","MI","48083","X"',
        b'"p-4","' + b"LONG " * 400_000 + b'","","","","TROY","MI","48083"',
        b'"p-5","","","","","TROY","MI","48083"',
    ]
    recipients.write_bytes(recipients.read_bytes() + b"\n".join(poison) + b"\n")

    pipeline = run_steps(settings(tmp_path, inputs=(awards, recipients)), lambda: client)

    rows = counted(pipeline)
    assert rows["read"] == RECIPIENT_ROWS + len(poison)
    assert rows["invalid"] == 1 + 2
    found = pyarrow.csv.read_csv(pipeline.directory.published / "current" / "rejects.csv").to_pylist()
    of_csv = {row["source_row"]: row["reason"] for row in found if row["source_file"] == "recipients.csv"}
    assert "11 cells" in of_csv[RECIPIENT_ROWS + 1 + 3]
    assert of_csv[RECIPIENT_ROWS + 1 + 5] == "no name and no valid identifier"
