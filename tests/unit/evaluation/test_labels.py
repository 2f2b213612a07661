"""Reading labels: formats, headers, and hostile files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist.core.table_files import write_table
from enrich_dist.errors import SourceError
from enrich_dist.evaluation.labels import LAYOUT, make_labels, read_labels

TEXT = (
    "left_id,sbir_company,address,state,recipient_uei,recipient_hash,kind,findable\n"
    " L1,  Acme Widgets ,1 Main St,NY,abc123def456,h-1,exact,yes\n"
    ",,,,,,,\n"
    " L1,  Acme Widgets ,1 Main St,NY,,h-2,exact,\n"
    "L2,Nobody,,,,,none,\n"
)


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_labels_are_read(tmp_path: Path) -> None:
    found = read_labels(write(tmp_path / "labels.csv", TEXT), {})

    assert found.column_names == ["row", *LAYOUT.aliases]
    first, second, nobody = found.to_pylist()
    assert {name: value for name, value in first.items() if value is not None} == {
        "row": 2, "left_id": " L1", "company": "Acme Widgets", "state": "NY", "right_id": "h-1",
        "right_uei": "ABC123DEF456", "kind": "exact", "findable": True,
    }  # fmt: skip
    assert (second["row"], second["right_id"], second["right_uei"], second["findable"]) == (4, "h-2", None, None)
    assert (nobody["row"], nobody["right_id"], nobody["findable"]) == (5, None, None)


@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx", "jsonl"])
def test_every_format_has_the_same_labels(tmp_path: Path, ending: str) -> None:
    table = pa.table({"left_id": ["1", "2"], "right_id": ["a", None], "kind": ["exact", "none"]})
    path = tmp_path / f"labels.{ending}"
    if ending == "parquet":
        pq.write_table(table, path)
    else:
        write_table(table, path)

    found = read_labels(path, {})

    assert found.select(["left_id", "right_id", "kind"]).to_pylist() == table.to_pylist()


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "labels.csv", "Vendor;Right one\nAcme;h-1\n")

    [found] = read_labels(path, {"company": "Vendor", "right_id": "Right one"}).to_pylist()

    assert (found["company"], found["right_id"]) == ("Acme", "h-1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("left_id,right_id\n", "has no labels"),
        ("left_id,right_id\n,\n", "has no labels"),
        ("left_id,kind\n1,exact\n", "no column for its right recipient: right_id, right_uei"),
        ("right_id,kind\nr,exact\n", "no column for the company: left_id, company_key, award, company"),
        ("left_id,right_id,recipient_hash\n1,r,r\n", "both match right_id"),
        ("left_id,right_id,findable\n1,r,perhaps\n", "row 2: 'perhaps' is neither true nor false"),
        ("left_id,right_id\n1,r,x,y\n", "row 2"),
        ("left_id,right_id\n1,r\n1,\n", "row 2 names a recipient, row 3 none"),
    ],
)
def test_unusable_labels_are_refused(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path / "labels.csv", text)

    with pytest.raises(SourceError) as error:
        read_labels(path, {})

    assert expected in str(error.value)
    assert str(path) in str(error.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        read_labels(tmp_path / "labels.csv", {})


def test_labels_from_memory_have_all_columns() -> None:
    found = make_labels({"left_id": pa.array(["1"]), "findable": pa.array([True])})

    assert set(found.column_names) == {"row", *LAYOUT.aliases}
    assert found["row"].to_pylist() == [1]
