"""A table is the same in every format that can hold it, and what is no table ends with an error of a source."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich_dist.errors import SourceError
from enrich_dist.sources.recipients import read_recipients
from enrich_dist.sources.source_file import SourceFile
from enrich_dist.sources.table_file import open_table

HEADER = ["name", "uei", "city", "state", "zip5"]
# Zero bytes and many control characters make a file binary.
CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from(",;|\t\n\r\"' "), max_size=8)
ROWS = st.lists(st.lists(CELLS, min_size=len(HEADER), max_size=len(HEADER)), min_size=1, max_size=5)
Rows = list[list[str]]


def delimited(delimiter: str, encoding: str = "utf-8") -> Callable[[Rows], bytes]:
    def write(rows: Rows) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=delimiter).writerows([HEADER, *rows])
        return text.getvalue().encode(encoding)

    return write


def objects(rows: Rows) -> list[dict[str, str]]:
    return [dict(zip(HEADER, cells, strict=True)) for cells in rows]


PLAIN = delimited(",")
FORMATS: dict[str, Callable[[Rows], bytes]] = {
    "comma": PLAIN,
    "semicolon": delimited(";"),
    "tab": delimited("\t"),
    "pipe": delimited("|"),
    "utf-8 with mark": delimited(",", "utf-8-sig"),
    "utf-16": delimited(";", "utf-16"),
    "sep": lambda rows: b"sep=|\r\n" + delimited("|")(rows),
    "preamble": lambda rows: b"Vendors,,\r\n\r\n" + PLAIN(rows),
    "gzip": lambda rows: gzip.compress(PLAIN(rows)),
    "bzip2": lambda rows: bz2.compress(PLAIN(rows)),
    "xz": lambda rows: lzma.compress(PLAIN(rows)),
    "zstd": lambda rows: bytes(pa.compress(PLAIN(rows), "zstd", asbytes=True)),
    "json lines": lambda rows: "\n".join(map(json.dumps, objects(rows))).encode(),
    "json array": lambda rows: json.dumps(objects(rows), indent=1).encode(),
}


@pytest.mark.parametrize("name", FORMATS)
@given(rows=ROWS)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_format_has_the_same_cells(tmp_path: Path, name: str, rows: Rows) -> None:
    path = tmp_path / "table"
    path.write_bytes(FORMATS[name](rows))

    with open_table(SourceFile(path)) as table:
        assert table.header == tuple(HEADER)
        columns = zip(*([column.to_pylist() for column in block.cells] for block in table.blocks()), strict=True)
        found = [[cell for part in column for cell in part] for column in columns]

    assert [list(cells) for cells in zip(*found, strict=True)] == rows
    assert table.bad_records == []


STARTS = [b"", b"name,uei,city,state,zip5\n", b'[{"name":', b'{"name": "a"}\n', b"BOF PUBLIC V2 \n", b"sep=;\n", b"<"]
STARTS += [b"PK\x03\x04", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"]
STARTS += [b"\xff\xfe", b"\xfe\xff", b"\xff\xfe\x00\x00", b"\xef\xbb\xbf", b"PAR1"]


@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=60) | CELLS.map(str.encode))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path: Path, start: bytes, rest: bytes) -> None:
    read_or_refuse(tmp_path / "table", start + rest)


@given(rows=ROWS, name=st.sampled_from(sorted(FORMATS)), data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_tables_are_read_or_refused(tmp_path: Path, rows: Rows, name: str, data: st.DataObject) -> None:
    content = bytearray(FORMATS[name](rows))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    read_or_refuse(tmp_path / "table", bytes(content[: data.draw(st.integers(1, len(content)))]))


def read_or_refuse(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    column_map = dict.fromkeys(("uei", "city", "state", "zip5"))
    try:
        recipients = sum(len(batch.recipients) for batch in read_recipients(path, column_map, batch_rows=2))
    except SourceError:
        return
    assert recipients
