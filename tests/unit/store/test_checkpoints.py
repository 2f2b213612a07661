"""The checkpoint store: which checkpoints are valid."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist import schema
from enrich_dist.errors import CorruptionError
from enrich_dist.store.checkpoints import CheckpointRecord, CheckpointStore, checkpoint_key
from tests.support.checkpoint_files import counts_path, data_path, record_path

KEY = checkpoint_key(chunk_digest="c", index_digest="i", matcher_key="m")
OTHER_KEY = checkpoint_key(chunk_digest="d", index_digest="i", matcher_key="m")


def candidates(rows: int = 3) -> pa.Table:
    columns = {field.name: pa.nulls(rows, field.type) for field in schema.CANDIDATE}
    columns["company_id"] = pa.array(range(rows), pa.int32())
    return pa.table(columns)


KNOWN = {
    "rows_in": 10, "rows_with_candidates": 3, "rows_without_candidates": 7, "rows_quarantined": 0, "quarantined": [],
    "seconds": 0.5,
    "peak_memory_bytes": 1, "memory_method": "vmhwm", "memory_limit_bytes": 0, "worker": "0", "host": "here", "pid": 1,
    "attempt": 1, "parts": 1, "projected_peak_memory_bytes": 2, "batch_rows": 10, "batch_rows_least": 10,
    "degradations": 0,
}  # fmt: skip


COUNTS = pa.table(
    [["concept", "recipients"], pa.array([5, 0], pa.int32()), pa.array([3, 10], pa.int64())], schema=schema.COUNT
)
TABLES = {"candidates": data_path, "counts": counts_path}


def write(store: CheckpointStore, key: str = KEY, counts: pa.Table = COUNTS) -> CheckpointRecord:
    return store.write(key, candidates(), counts, lambda: KNOWN)


def test_a_checkpoint_is_found_again(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    written = write(store)

    assert store.read_record(KEY) == written
    assert pq.read_table(data_path(store, KEY)).equals(candidates())
    assert pq.read_table(counts_path(store, KEY)).equals(COUNTS)
    assert written.candidates == 3
    assert store.find([KEY, OTHER_KEY]) == ({KEY: written}, [])


def test_bytes_depend_on_tables_only(tmp_path: Path) -> None:
    one, again = write(CheckpointStore(tmp_path / "a")), write(CheckpointStore(tmp_path / "b"))
    other = write(CheckpointStore(tmp_path / "c"), counts=COUNTS.slice(1))

    assert (one.blake3, one.counts_blake3) == (again.blake3, again.counts_blake3)
    assert other.blake3 == one.blake3
    assert other.counts_blake3 != one.counts_blake3


def test_record_fields_follow_the_tables(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    there = []

    def known() -> dict[str, Any]:
        there.extend(sorted(path.name for path in tmp_path.iterdir()))
        return KNOWN

    store.write(KEY, candidates(), COUNTS, known)

    assert there == sorted(path(store, KEY).name for path in TABLES.values())


def test_every_part_of_the_key_matters() -> None:
    keys = {
        KEY,
        checkpoint_key(chunk_digest="x", index_digest="i", matcher_key="m"),
        checkpoint_key(chunk_digest="c", index_digest="x", matcher_key="m"),
        checkpoint_key(chunk_digest="c", index_digest="i", matcher_key="x"),
        checkpoint_key(chunk_digest="ci", index_digest="", matcher_key="m"),
    }
    assert len(keys) == 5


def is_none(store: CheckpointStore) -> bool:
    """Return whether the checkpoint is refused and reported as damaged."""
    with pytest.raises(CorruptionError):
        store.read_record(KEY)
    valid, damaged = store.find([KEY])
    return valid == {} and len(damaged) == 1


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes() + b"\0"),
        lambda path: pq.write_table(pa.table({"a": [1]}), path),
    ],
    ids=["truncated", "missing", "empty", "longer", "other-schema"],
)
def test_damaged_table_invalidates_checkpoint(tmp_path: Path, table: str, damage: Callable[[Path], object]) -> None:
    store = CheckpointStore(tmp_path)
    write(store)
    damage(TABLES[table](store, KEY))

    assert is_none(store)


def test_tables_that_changed_places_are_none(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    write(store)
    data_path(store, KEY).rename(tmp_path / "aside")
    counts_path(store, KEY).rename(data_path(store, KEY))
    (tmp_path / "aside").rename(counts_path(store, KEY))

    assert is_none(store)


def test_counts_of_another_checkpoint_are_none(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    write(store)
    write(store, OTHER_KEY, counts=COUNTS.slice(1))
    counts_path(store, OTHER_KEY).replace(counts_path(store, KEY))

    assert is_none(store)


def _foreign(store: CheckpointStore) -> None:
    write(store, OTHER_KEY)
    record_path(store, OTHER_KEY).replace(record_path(store, KEY))


def _changed(**values: Any) -> Callable[[CheckpointStore], None]:
    """Return a record with other fields; None removes a field."""

    def change(store: CheckpointStore) -> None:
        record = {**json.loads(record_path(store, KEY).read_text("utf-8")), **values}
        record = {name: value for name, value in record.items() if value is not None}
        record_path(store, KEY).write_text(json.dumps(record), "utf-8")

    return change


@pytest.mark.parametrize(
    "damage",
    [
        _foreign,
        _changed(rows_in=11),
        _changed(counts_blake3=None),
        _changed(counts_bytes="7"),
        lambda store: record_path(store, KEY).write_text("", "utf-8"),
        lambda store: record_path(store, KEY).write_text("[]", "utf-8"),
        lambda store: record_path(store, KEY).write_text('{"key": 1}', "utf-8"),
    ],
    ids=["foreign", "miscounted", "without-counts", "other-type", "torn", "list", "other-document"],
)
def test_a_damaged_checkpoint_is_none(tmp_path: Path, damage: Callable[[CheckpointStore], None]) -> None:
    store = CheckpointStore(tmp_path)
    write(store)
    damage(store)

    assert is_none(store)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)

    with pytest.raises(TypeError):
        store.write(KEY, candidates(), COUNTS, lambda: {"rows_in": 10})

    assert not record_path(store, KEY).exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []
    assert store.find([KEY]) == ({}, [])
