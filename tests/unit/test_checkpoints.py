"""The checkpoint store: what it takes for a checkpoint to count as one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich_dist import schema
from enrich_dist.checkpoints import CheckpointRecord, CheckpointStore, checkpoint_key
from enrich_dist.errors import CorruptionError

KEY = checkpoint_key(chunk_sha256="c", index_digest="i", matcher_key="m")
OTHER_KEY = checkpoint_key(chunk_sha256="d", index_digest="i", matcher_key="m")


def candidates(rows: int = 3) -> pa.Table:
    columns = {field.name: pa.nulls(rows, field.type) for field in schema.CANDIDATE}
    columns["company_id"] = pa.array(range(rows), pa.int32())
    return pa.table(columns)


KNOWN = {
    "rows_in": 10, "rows_with_candidates": 3, "rows_without_candidates": 7, "rows_quarantined": 0, "seconds": 0.5,
    "peak_memory_bytes": 1, "memory_method": "vmhwm", "memory_limit_bytes": 0, "worker": "0", "host": "here", "pid": 1,
    "attempt": 1,
}  # fmt: skip


def write(store: CheckpointStore, key: str = KEY) -> CheckpointRecord:
    return store.write(key, candidates(), lambda: KNOWN)


def test_a_checkpoint_is_found_again(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    written = write(store)

    assert store.read_record(KEY) == written
    assert pq.read_table(store.data_path(KEY)).equals(candidates())
    assert store.find([KEY, OTHER_KEY]) == ({KEY: written}, [])


def test_the_bytes_depend_on_the_candidates_alone(tmp_path: Path) -> None:
    assert write(CheckpointStore(tmp_path / "a")).sha256 == write(CheckpointStore(tmp_path / "b")).sha256


def test_every_part_of_the_key_matters() -> None:
    keys = {
        KEY,
        checkpoint_key(chunk_sha256="x", index_digest="i", matcher_key="m"),
        checkpoint_key(chunk_sha256="c", index_digest="x", matcher_key="m"),
        checkpoint_key(chunk_sha256="c", index_digest="i", matcher_key="x"),
        checkpoint_key(chunk_sha256="ci", index_digest="", matcher_key="m"),
    }
    assert len(keys) == 5


def _truncate(store: CheckpointStore) -> None:
    data = store.data_path(KEY).read_bytes()
    store.data_path(KEY).write_bytes(data[: len(data) // 2])


def _foreign(store: CheckpointStore) -> None:
    write(store, OTHER_KEY)
    store.record_path(OTHER_KEY).replace(store.record_path(KEY))


def _miscount(store: CheckpointStore) -> None:
    record = json.loads(store.record_path(KEY).read_text("utf-8"))
    store.record_path(KEY).write_text(json.dumps({**record, "rows_in": 11}), "utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        _foreign,
        _miscount,
        lambda store: store.data_path(KEY).unlink(),
        lambda store: store.data_path(KEY).write_bytes(b""),
        lambda store: store.record_path(KEY).write_text("", "utf-8"),
        lambda store: store.record_path(KEY).write_text("[]", "utf-8"),
        lambda store: store.record_path(KEY).write_text('{"key": 1}', "utf-8"),
        lambda store: pq.write_table(pa.table({"a": [1]}), store.data_path(KEY)),
    ],
    ids=[
        "truncated",
        "foreign",
        "miscounted",
        "missing",
        "empty",
        "torn-record",
        "list",
        "other-record",
        "other-schema",
    ],
)
def test_a_damaged_checkpoint_is_none(tmp_path: Path, damage: Callable[[CheckpointStore], None]) -> None:
    store = CheckpointStore(tmp_path)
    write(store)
    damage(store)

    with pytest.raises(CorruptionError):
        store.read_record(KEY)
    valid, damaged = store.find([KEY])
    assert valid == {}
    assert len(damaged) == 1


@given(position=st.integers(min_value=0), bit=st.integers(0, 7))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_bit_is_found(tmp_path: Path, position: int, bit: int) -> None:
    store = CheckpointStore(tmp_path)
    write(store)
    data = bytearray(store.data_path(KEY).read_bytes())
    data[position % len(data)] ^= 1 << bit
    store.data_path(KEY).write_bytes(data)

    with pytest.raises(CorruptionError):
        store.read_record(KEY)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)

    with pytest.raises(TypeError):
        store.write(KEY, candidates(), lambda: {"rows_in": 10})

    assert not store.record_path(KEY).exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []
    assert store.find([KEY]) == ({}, [])
