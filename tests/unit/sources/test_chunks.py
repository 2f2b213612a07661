"""Chunk files: independent of threads, complete, and bounded in memory."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist import schema
from enrich_dist.errors import EnvironmentFailureError, SourceError
from enrich_dist.sources import chunks, recipients
from enrich_dist.sources.recipients import RecipientBatch, read_recipients
from enrich_dist.store.artifacts import get_or_build
from tests.conftest import REPOSITORY

SAMPLE = REPOSITORY / "data" / "sample" / "recipients.parquet"


def serial_map(
    function: Callable[[int, Any], Any], items: Iterable[Any], *, threads: int, max_pending: int
) -> Iterator[Any]:
    return (function(number, item) for number, item in enumerate(items))


def remaining_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("ordered_map")]


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def odd_source(path: Path, rows: int = 1000) -> Path:
    """Rows that are kept, repaired and rejected throughout the file, in one row group."""
    numbers = range(rows)
    table = pa.table(
        {
            "recipient_hash": [f"h{number}" if number % 11 else None for number in numbers],
            "name": [None if number % 7 == 0 else f" Firm  &amp; Söhne {number}" for number in numbers],
            "uei": [None if number % 3 else f"bad{number}" for number in numbers],
            "duns": [f"{number:09d}" if number % 5 else None for number in numbers],
            "city": ["Troy", "ALBANY "] * (rows // 2),
            "state": ["ny", "New York", None, "nan"] * (rows // 4),
            "zip5": ["12180-1113", "2139", "EC4M", "00000"] * (rows // 4),
            "country_code": ["USA", "USA", "GBR", None] * (rows // 4),
        }
    )
    pq.write_table(table, path)
    return path


def build(source: Path, directory: Path, batch_rows: int) -> dict[str, Any]:
    directory.mkdir()
    return chunks.write_chunks(read_recipients(source, {}, batch_rows=batch_rows), directory)


@pytest.mark.parametrize("batch_rows", [37, 250, 5000])
def test_threads_do_not_change_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_rows: int) -> None:
    source = odd_source(tmp_path / "r.parquet")
    facts = build(source, tmp_path / "threads", batch_rows)
    with monkeypatch.context() as patched:
        patched.setattr(chunks, "ordered_map", serial_map)
        patched.setattr(recipients, "ordered_map", serial_map)
        serial_facts = build(source, tmp_path / "serial", batch_rows)
    write_table = pq.write_table

    def write_late(table: pa.Table, path: Path, **options: Any) -> None:
        time.sleep(int(path.stem) * 5 % 7 / 1000)
        write_table(table, path, **options)

    monkeypatch.setattr(pq, "write_table", write_late)
    late_facts = build(source, tmp_path / "late", batch_rows)

    assert facts == serial_facts == late_facts
    assert content(tmp_path / "threads") == content(tmp_path / "serial") == content(tmp_path / "late")
    assert not remaining_threads()


def test_rows_are_chunked_or_rejected(tmp_path: Path) -> None:
    source = odd_source(tmp_path / "r.parquet")
    stored = get_or_build(
        tmp_path / "chunks",
        lambda directory: chunks.write_chunks(read_recipients(source, {}, batch_rows=90), directory),
    )
    plan = chunks.chunks_of(stored)
    whole = list(read_recipients(source, {}, batch_rows=10_000))

    assert [chunk.rows + chunk.rejected_rows for chunk in plan] == [90] * 11 + [10]
    assert [chunk.path.name for chunk in plan] == [f"{number:06d}.parquet" for number in range(12)]
    tables = [pq.read_table(chunk.path) for chunk in plan]
    assert [len(table) for table in tables] == [chunk.rows for chunk in plan]
    assert all(table.schema.names == schema.RECIPIENT.names for table in tables)
    assert pa.concat_tables(tables).to_pylist() == whole[0].recipients.to_pylist()
    rejects = pq.read_table(stored.path / chunks.REJECTS_FILE)
    assert rejects.to_pylist() == whole[0].rejects.to_pylist()
    assert rejects["source_row"].to_pylist() == sorted(rejects["source_row"].to_pylist())
    assert {"rejected", "repaired"} == set(rejects["outcome"].to_pylist())
    assert stored.facts["source_rows"] == 1000 == stored.facts["rows"] + stored.facts["rejected_rows"]


def test_repeated_columns_are_compressed(tmp_path: Path) -> None:
    build(SAMPLE, tmp_path / "chunks", 50_000)

    columns = pq.read_metadata(tmp_path / "chunks" / "000000.parquet").row_group(0).to_dict()["columns"]
    codec = {column["path_in_schema"]: column["compression"] for column in columns}
    plain = {name for name, found in codec.items() if found == "UNCOMPRESSED"}
    history = {f"name_history.list.element.{field}" for field in ("kind", "first_seen", "last_seen")}  # all null here
    assert plain - history == {"source_row", "recipient_id", "uei", "duns", "zip4"}
    assert set(codec.values()) == {"UNCOMPRESSED", "ZSTD"}


def test_pending_batches_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [batch] = read_recipients(odd_source(tmp_path / "r.parquet"), {}, batch_rows=1000)
    made, most = 0, 0
    written: list[Path] = []
    write_table = pq.write_table

    def write_slowly(*arguments: Any, **options: Any) -> None:
        time.sleep(0.005)
        write_table(*arguments, **options)
        written.append(arguments[1])

    def batches() -> Iterator[RecipientBatch]:
        nonlocal made, most
        for _ in range(30):
            made += 1
            most = max(most, made - len(written))
            yield batch

    monkeypatch.setattr(pq, "write_table", write_slowly)
    chunks.write_chunks(batches(), tmp_path)

    assert made == len(written) == 30
    assert most <= 3  # the one that is made is the third


def test_late_damage_is_raised_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "r.parquet"
    names = pa.array([f"{number * 2654435761 % 2**32:x} Firm" for number in range(100_000)])
    absent = {"uei": None, "city": None, "state": None, "zip5": None}
    pq.write_table(pa.table({"name": names}), source, use_dictionary=False, compression="zstd")
    damaged = bytearray(source.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 2000] = bytes(2000)
    source.write_bytes(bytes(damaged))

    def outcome(directory: Path) -> tuple[str, list[str]]:
        directory.mkdir()
        with pytest.raises(SourceError, match="damaged") as failure:
            chunks.write_chunks(read_recipients(source, absent, batch_rows=1000), directory)
        assert not remaining_threads()
        return str(failure.value), sorted(path.name for path in directory.glob("0*"))

    in_threads = outcome(tmp_path / "threads")
    monkeypatch.setattr(chunks, "ordered_map", serial_map)
    monkeypatch.setattr(recipients, "ordered_map", serial_map)

    assert in_threads == outcome(tmp_path / "serial")
    assert in_threads[1]


def test_full_disk_ends_all_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table = pq.write_table

    def fails_at_third(table: pa.Table, path: Path, **options: Any) -> None:
        if path.name == "000002.parquet":
            raise OSError("no space left on device")
        write_table(table, path, **options)

    monkeypatch.setattr(pq, "write_table", fails_at_third)
    source = odd_source(tmp_path / "r.parquet")

    with pytest.raises(EnvironmentFailureError, match=r"no space left.*Free disk space"):
        get_or_build(
            tmp_path / "chunks",
            lambda directory: chunks.write_chunks(read_recipients(source, {}, batch_rows=10), directory),
        )

    assert [path.name for path in tmp_path.iterdir()] == ["r.parquet"]
    assert not remaining_threads()


_PEAK = """
import re, sys
from pathlib import Path
from enrich_dist.sources.chunks import write_chunks
from enrich_dist.sources import read_recipients
directory = Path(sys.argv[2])
directory.mkdir()
facts = write_chunks(read_recipients(Path(sys.argv[1]), {}, batch_rows=5000), directory)
# Not ru_maxrss, which a process inherits from the one that started it.
print(facts["source_rows"], int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_does_not_grow_with_recipients(tmp_path: Path) -> None:
    sample = pq.read_table(SAMPLE)
    peaks_mib = []
    for copies in (1, 8):
        path = tmp_path / f"{copies}.parquet"
        # One row group, and neither dictionaries nor compression: the file is as large as what must not be held.
        table = pa.concat_tables([sample] * copies)
        pq.write_table(table, path, row_group_size=len(table), use_dictionary=False, compression="none")
        command = [sys.executable, "-c", _PEAK, str(path), str(tmp_path / f"chunks{copies}")]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.match(r"(\d+) (\d+)", output)
        assert found
        assert int(found[1]) == copies * 96_666
        peaks_mib.append(int(found[2]))
    assert peaks_mib[1] - peaks_mib[0] < 25, peaks_mib
