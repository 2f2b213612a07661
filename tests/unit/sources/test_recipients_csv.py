"""Recipients from CSV: the same rows as from Parquet, and errors that only CSV has."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich_dist.errors import SourceError
from enrich_dist.sources.recipients import check_recipients, read_recipients
from tests.conftest import REPOSITORY

HEADER = "recipient_hash,legal_business_name,uei,duns,city,state,zip5,alternate_names\n"
SAMPLE = REPOSITORY / "data" / "sample" / "recipients.parquet"


def write(path: Path, *lines: str) -> Path:
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines), "utf-8")
    return path


def test_csv_equals_parquet(tmp_path: Path) -> None:
    table = pq.read_table(SAMPLE).slice(0, 30_000)
    columns = [name for name in table.column_names if name != "alternate_names"]
    parquet, csv = tmp_path / "r.parquet", tmp_path / "r.csv"
    pq.write_table(table.select(columns), parquet)
    pa.csv.write_csv(table.select(columns), csv)

    from_parquet = list(read_recipients(parquet, {}, batch_rows=7_000))
    from_csv = list(read_recipients(csv, {}, batch_rows=7_000))

    assert [batch.rows_read for batch in from_csv] == [7_000, 7_000, 7_000, 7_000, 2_000]
    for left, right in zip(from_parquet, from_csv, strict=True):
        # The header is row 1 of a CSV file.
        assert right.recipients["source_row"][0].as_py() == left.recipients["source_row"][0].as_py() + 1
        assert right.recipients.drop_columns(["source_row"]).equals(left.recipients.drop_columns(["source_row"]))


def test_compressed_csv_with_lists(tmp_path: Path) -> None:
    path = tmp_path / "r.csv.gz"
    path.write_bytes(gzip.compress((HEADER + 'h1,"ACME, INC",,,Troy,NY,12180,"{ACME LABS,""B, C""}"\n').encode()))

    [batch] = read_recipients(path, {}, batch_rows=10)

    [row] = batch.recipients.to_pylist()
    assert (row["source_row"], row["name"]) == (2, "ACME, INC")
    assert row["alternate_names"] == ["ACME LABS", "B, C"]


def test_short_row_is_rejected(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.csv",
        "h1,ACME,,,Troy,NY,12180,",
        "h2,BOLT,,Troy,NY,12180",
        "h3,COIL,,,Troy,NY,12180,",
        "h4,,,,Troy,NY,12180,",
    )

    [batch] = read_recipients(path, {}, batch_rows=10)

    assert batch.rows_read == 4
    assert batch.recipients["source_row"].to_pylist() == [2, 4]
    assert [(row["source_row"], row["outcome"], row["reason"]) for row in batch.rejects.to_pylist()] == [
        (3, "rejected", "6 cells, the header 8"),
        (5, "rejected", "no name and no valid identifier"),
    ]


@given(wide=st.lists(st.booleans(), min_size=1, max_size=40), batch_rows=st.integers(1, 12))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_batches_count_bad_rows(tmp_path: Path, wide: list[bool], batch_rows: int) -> None:
    lines = [f"h{n},NAME {n},,,Troy,NY,12180,{',' if bad else ''}" for n, bad in enumerate(wide)]
    path = write(tmp_path / "r.csv", *lines)
    if all(wide):
        with pytest.raises(SourceError, match=f"{len(wide)} rows have 9 cells, the header 8"):
            list(read_recipients(path, {}, batch_rows=batch_rows))
        return

    batches = list(read_recipients(path, {}, batch_rows=batch_rows))

    assert [batch.rows_read for batch in batches[:-1]] == [batch_rows] * (len(batches) - 1)
    assert sum(batch.rows_read for batch in batches) == len(wide)
    good = [row for batch in batches for row in batch.recipients["source_row"].to_pylist()]
    bad = [row for batch in batches for row in batch.rejects["source_row"].to_pylist()]
    assert good == [n + 2 for n, is_bad in enumerate(wide) if not is_bad]
    assert bad == [n + 2 for n, is_bad in enumerate(wide) if is_bad]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (HEADER, "no rows"),
        ("recipient_hash,legal_business_name,uei,city,state\nh1,ACME,,Troy,NY\n", "zip5"),
    ],
    ids=["empty", "header-only", "missing-column"],
)
def test_unusable_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(content, "utf-8")

    with pytest.raises(SourceError, match=message) as failure:
        check_recipients(path, {})
    assert str(path) in str(failure.value)
