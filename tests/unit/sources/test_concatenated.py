"""Several sources as one: different columns, row locations, digests and settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist import schema
from enrich_dist.errors import SettingsError, SourceError
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import InputSettings, Settings, load_settings
from enrich_dist.sources import chunks
from enrich_dist.sources.inputs import recipient_source
from enrich_dist.sources.protocol import ReadOptions
from enrich_dist.sources.recipients import check_recipients, read_recipients
from enrich_dist.sources.rejects import RowRange, with_file_rows
from enrich_dist.store.artifacts import open_verified
from enrich_dist.store.run_directory import Output
from tests.conftest import enrich_dist
from tests.support import known_case as known
from tests.unit.sources.test_pg_dump import made

UEI = "D7SRYQVNKMV3"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Three sources with similar content in different formats and columns."""
    parquet, csv = tmp_path / "one.parquet", tmp_path / "two.csv"
    pq.write_table(
        pa.table(
            {
                "recipient_hash": ["h1", "h2", "h3"],
                "legal_business_name": ["ONE", None, "THREE"],
                "alternate_names": [["UNO"], [], None],
                "uei": [UEI, None, None],
                "city": ["Troy", None, "Reno"],
                "state": ["MI", None, "NV"],
                "zip5": pa.array([48083, None, 89501], pa.int32()),
            }
        ),
        parquet,
    )
    csv.write_text(
        "Vendor Name,Alternate Name,City,State,ZIP Code\n"
        'FOUR,"QUATTRO; VIER",Ames,Iowa,50010-1234\n,,,,\nSIX,,Boise,ID,83702\n',
        "utf-8",
    )
    dump = made(tmp_path / "dump", b"SEVEN\tNome\n\\N\tNome\n\\.\n\n\n")
    return {"parquet": parquet, "csv": csv, "dump": dump}


def listed(files: dict[str, Path]) -> list[Any]:
    return [
        str(files["parquet"]),
        {"location": str(files["csv"]), "columns": {"uei": None}},
        {"location": str(files["dump"]), "columns": {"uei": None, "state": None, "zip5": None}},
    ]


def read(inputs: InputSettings, batch_rows: int = 2) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    batches = list(read_recipients(recipient_source(inputs), inputs.recipient_columns, batch_rows=batch_rows))
    assert all(batch.rows_read <= batch_rows for batch in batches)
    return (
        pa.concat_tables(batch.recipients for batch in batches).to_pylist(),
        [row for batch in batches for row in batch.rejects.to_pylist()],
    )


def test_different_columns_are_reconciled(files: dict[str, Path]) -> None:
    check_recipients(recipient_source(InputSettings(recipients=listed(files))), {})
    recipients, _ = read(InputSettings(recipients=listed(files)))

    found = {row["name"]: row for row in recipients}
    assert list(found) == ["ONE", "THREE", "FOUR", "SIX", "SEVEN"]
    assert (found["ONE"]["zip5"], found["ONE"]["alternate_names"], found["ONE"]["uei"]) == ("48083", ["UNO"], UEI)
    assert (found["FOUR"]["zip5"], found["FOUR"]["alternate_names"]) == ("50010", ["QUATTRO", "VIER"])
    assert (found["FOUR"]["state"], found["FOUR"]["uei"]) == ("IA", None)
    assert (found["SEVEN"]["city"], found["SEVEN"]["state"]) == ("Nome", None)
    assert len({row["recipient_id"] for row in recipients}) == 5
    assert [row["source_row"] for row in recipients] == sorted({row["source_row"] for row in recipients})


@pytest.mark.parametrize("batch_rows", [1, 3, 100])
def test_parts_of_other_types_are_read_as_one(tmp_path: Path, batch_rows: int) -> None:
    texts = pa.table({"recipient_id": ["1", "2"], "name": ["A", "B"], "zip5": ["02139", None], "uei": [UEI, None]})
    texts = texts.append_column("city", pa.array(["X", "Y"])).append_column("state", pa.array(["MA", None]))
    numbers = texts.set_column(0, "recipient_id", pa.array([3, 4])).set_column(2, "zip5", pa.array([2139.0, None]))
    numbers = numbers.drop_columns(["uei"]).append_column("uei", pa.nulls(2))  # also in another order
    for name, table in (("texts", texts), ("numbers", numbers)):
        pq.write_table(table, tmp_path / f"{name}.parquet")

    parts = [str(tmp_path / "texts.parquet"), str(tmp_path / "numbers.parquet")]
    found, rejects = read(InputSettings(recipients=parts), batch_rows)

    assert [(row["recipient_id"], row["zip5"], row["uei"]) for row in found] == [
        ("1", "02139", UEI), ("2", None, None), ("3", "02139", None), ("4", None, None)
    ]  # fmt: skip
    assert rejects == []


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_rejects_name_source_and_row(files: dict[str, Path], batch_rows: int) -> None:
    _, rejects = read(InputSettings(recipients=listed(files)), batch_rows)

    assert [(row["source_file"], row["source_row"]) for row in rejects] == [
        ("one.parquet", 2),
        ("two.csv", 3),
        ("dump", 2),
    ]


def test_equal_names_are_numbered(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    copy = tmp_path / "copy" / "one.parquet"
    copy.write_bytes(files["parquet"].read_bytes())

    _, rejects = read(InputSettings(recipients=[str(files["parquet"]), str(copy)]))

    assert [row["source_file"] for row in rejects] == ["one.parquet (input 1)", "one.parquet (input 2)"]


def test_missing_column_names_the_source(files: dict[str, Path]) -> None:
    with pytest.raises(SourceError, match=r"two\.csv, column 'uei'"):
        check_recipients(recipient_source(InputSettings(recipients=[str(files["parquet"]), str(files["csv"])])), {})


def test_digest_depends_on_order(files: dict[str, Path], tmp_path: Path) -> None:
    options = ReadOptions({}, 1, tmp_path)
    one, two, _ = listed(files)

    def digest(*recipients: Any) -> str:
        return recipient_source(InputSettings(recipients=list(recipients))).digest(options)

    assert digest(one, two) == digest(one, two)
    assert len({digest(one, two), digest(two, one), digest(one), digest(one, one)}) == 4
    # A list of one source equals that source.
    assert digest(one) == recipient_source(InputSettings(recipients=one)).digest(options)


def test_run_locates_rows_in_files(files: dict[str, Path], tmp_path: Path) -> None:
    awards, _ = known.write_inputs(tmp_path / "known")
    settings = Settings(
        inputs={"awards": awards, "recipients": listed(files)}, paths={"work_dir": tmp_path / "work"}, chunk_size=2
    )
    pipeline = Pipeline(settings, run_id="test")

    step = pipeline.partition_recipients()
    stored = open_verified(step.path(Output.CHUNKS))

    assert step.numbers["source_rows"] == 8
    assert chunks.row_ranges_of(stored) == [
        RowRange(1, "one.parquet", 1),
        RowRange(4, "two.csv", 1),  # the header is row 1 of the file, and row 4 of all
        RowRange(8, "dump", 1),
    ]
    [chunk] = [chunk for chunk in chunks.chunks_of(stored) if "SEVEN" in pq.read_table(chunk.path)["name"].to_pylist()]
    rows = [{"source_row": row} for row in pq.read_table(chunk.path)["source_row"].to_pylist()]
    located = with_file_rows(pa.Table.from_pylist(rows, schema=schema.REJECT), chunks.row_ranges_of(stored))
    assert located.select(["source_file", "source_row"]).to_pylist() == [{"source_file": "dump", "source_row": 1}]
    assert pipeline.partition_recipients().reused


def test_settings_accept_one_or_list(files: dict[str, Path]) -> None:
    one = load_settings(None, ["inputs.recipients=a.parquet"], {}).settings.inputs
    several = load_settings(None, ["inputs.recipients=[a.parquet, {location: b.zip, member: x.y}]"], {}).settings.inputs
    environment = load_settings(None, [], {"ENRICH_DIST_INPUTS__RECIPIENTS": '["a.csv", "b.csv"]'}).settings.inputs

    assert [item.location for item in one.recipient_inputs] == ["a.parquet"]
    assert [(item.location, item.member) for item in several.recipient_inputs] == [
        ("a.parquet", None),
        ("b.zip", "x.y"),
    ]
    assert [item.location for item in environment.recipient_inputs] == ["a.csv", "b.csv"]
    for wrong in ("inputs.recipients=[{location: a, colour: b}]", "inputs.recipients=[]"):
        if wrong.endswith("[]"):
            with pytest.raises(SettingsError, match=r"inputs\.recipients is not set"):
                recipient_source(load_settings(None, [wrong], {}).settings.inputs)
        else:
            with pytest.raises(SettingsError, match=r"inputs\.recipients"):
                load_settings(None, [wrong], {})


@pytest.mark.long
def test_plan_reads_several_sources(files: dict[str, Path], tmp_path: Path) -> None:
    awards, recipients = known.write_inputs(tmp_path / "known")
    where = ["--set", f"paths.work_dir={tmp_path / 'work'}", "--set", f"inputs.awards={awards}"]

    finished = enrich_dist("plan", *where, "--recipients", recipients, "--recipients", files["parquet"])
    assert finished.returncode == 0, finished.stderr
    assert f"{known.RECIPIENT_ROWS + 3} recipient rows" in finished.stdout

    columns = [part for name in ("uei", "state", "zip5") for part in ("--set", f"inputs.recipient_columns.{name}=null")]
    finished = enrich_dist("plan", *where, *columns, "--recipients", files["dump"], "--member", "7.dat")
    assert finished.returncode == 0, finished.stderr
    refused = enrich_dist("run", *where, *columns, "--recipients", files["dump"], "--member", "nowhere")
    assert refused.returncode == 2
    assert "no table or file nowhere; it contains rpt.recipient_lookup" in refused.stderr
    refused = enrich_dist("run", *where, "--recipients", recipients, "--member", "x")
    assert "is a Parquet file, which has no member 'x'" in refused.stderr
