"""Damaged checkpoints are detected on both kinds of storage: torn, altered, of another schema or another chunk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrich_dist import schema
from enrich_dist.core.files import bytes_digest, document_digest, json_bytes, parse_json
from enrich_dist.errors import CorruptionError
from enrich_dist.store.checkpoints import CheckpointStore, candidates_name, counts_name, record_name
from tests.support.object_store import ObjectStore
from tests.unit.store.test_checkpoints import COUNTS, KEY, KNOWN, OTHER_KEY, candidates

NAMES = {"candidates": candidates_name(KEY), "counts": counts_name(KEY), "record": record_name(KEY)}
FIELDS = {"candidates": ("bytes", "blake3"), "counts": ("counts_bytes", "counts_blake3")}


@pytest.fixture(params=["directory", pytest.param("object store", marks=pytest.mark.long)])
def checkpoints(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStore:
    if request.param == "directory":
        return CheckpointStore(tmp_path / "checkpoints")
    store: ObjectStore = request.getfixturevalue("store")
    return CheckpointStore(store.uri(f"damage/{tmp_path.name}"))


def write(checkpoints: CheckpointStore, key: str = KEY, rows: int = 3) -> None:
    checkpoints.write(key, candidates(rows), COUNTS, lambda: KNOWN)


def damage_message(checkpoints: CheckpointStore, copies: Path) -> str:
    """Return the error message; every way to read the checkpoint must raise it."""
    with pytest.raises(CorruptionError) as read:
        checkpoints.read_record(KEY)
    with pytest.raises(CorruptionError) as fetched:
        checkpoints.fetch(KEY, copies, refresh=True)
    found, damaged = checkpoints.find_tables([KEY, OTHER_KEY], copies, refresh=True)
    assert (found, damaged) == ({}, [str(fetched.value)])
    assert str(read.value) == str(fetched.value)
    return str(read.value)


def flip(data: bytes, position: int, bit: int) -> bytes:
    altered = bytearray(data)
    altered[position % len(data)] ^= 1 << bit
    return bytes(altered)


DAMAGE: dict[str, Callable[[bytes, int, int], bytes]] = {
    "flipped": flip,
    "cut": lambda data, position, bit: data[: position % len(data)],
    "torn": lambda data, position, bit: data[: position % len(data)] + bytes(len(data) - position % len(data)),
    "longer": lambda data, position, bit: data + bytes([bit]),
}


@pytest.mark.faults
@given(
    file=st.sampled_from(sorted(NAMES)),
    damage=st.sampled_from(sorted(DAMAGE)),
    position=st.integers(min_value=0, max_value=1 << 20),
    bit=st.integers(0, 7),
)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_byte_is_detected_and_rewritten(
    checkpoints: CheckpointStore, tmp_path: Path, file: str, damage: str, position: int, bit: int
) -> None:
    write(checkpoints)
    original = checkpoints.storage.get(NAMES[file])
    altered = DAMAGE[damage](original, position, bit)
    if altered == original:
        return
    checkpoints.storage.put(NAMES[file], altered)

    assert NAMES[file] in damage_message(checkpoints, tmp_path / "copies")
    write(checkpoints)
    assert checkpoints.fetch(KEY, tmp_path / "copies").record == checkpoints.read_record(KEY)


def test_flipped_record_bit_is_detected(tmp_path: Path) -> None:
    """Also where the record stays plausible: another worker name, other seconds."""
    checkpoints = CheckpointStore(tmp_path)
    write(checkpoints)
    path = tmp_path / NAMES["record"]
    original = path.read_bytes()
    for position in range(len(original)):
        path.write_bytes(flip(original, position, 0))
        with pytest.raises(CorruptionError):
            checkpoints.read_record(KEY)


@pytest.mark.parametrize("file", ["candidates", "counts"])
def test_missing_table_is_detected(checkpoints: CheckpointStore, tmp_path: Path, file: str) -> None:
    write(checkpoints)
    checkpoints.storage.delete(NAMES[file])
    assert f"{NAMES[file]} is missing" in damage_message(checkpoints, tmp_path / "copies")


def test_tables_need_a_record(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    """A writer that is killed early leaves them."""
    write(checkpoints)
    checkpoints.storage.delete(NAMES["record"])
    assert checkpoints.find_tables([KEY], tmp_path / "copies") == ({}, [])
    with pytest.raises(FileNotFoundError):
        checkpoints.read_record(KEY)


def replace_table(checkpoints: CheckpointStore, table: str, data: bytes) -> None:
    """Replace a table and record the size and digest of the new bytes."""
    size, digest_field = FIELDS[table]
    checkpoints.storage.put(NAMES[table], data)
    resign(checkpoints, **{size: len(data), digest_field: bytes_digest(data)})


def resign(checkpoints: CheckpointStore, **values: Any) -> None:
    """Change fields of the record (None removes one) and recompute its digest."""
    document = {**parse_json(checkpoints.storage.get(NAMES["record"]), ""), **values}
    document = {name: value for name, value in document.items() if value is not None and name != "record_blake3"}
    checkpoints.storage.put(NAMES["record"], json_bytes({**document, "record_blake3": document_digest(document)}))


def encoded(table: pa.Table, key: str | None = KEY) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"enrich_dist.checkpoint": key} if key else None), sink)
    return bytes(sink.getvalue())


_FEWER = schema.CANDIDATE.remove(schema.CANDIDATE.get_field_index("name_level"))


@pytest.mark.parametrize(
    ("table", "data", "message"),
    [
        ("candidates", encoded(_FEWER.empty_table()), "has other columns"),
        ("candidates", encoded(candidates().set_column(0, "company_id", pa.array([1, 2, 3], pa.int64()))), "has other"),
        ("candidates", encoded(COUNTS), "has other columns"),
        ("counts", encoded(COUNTS.rename_columns(["kind", "key", "n"])), "has other columns"),
        ("candidates", encoded(candidates(), OTHER_KEY), "belongs to another checkpoint"),
        ("counts", encoded(COUNTS, OTHER_KEY), "belongs to another checkpoint"),
        ("candidates", encoded(candidates(), None), "belongs to another checkpoint"),
        ("candidates", encoded(candidates(2)), "has 2 rows, but its record says 3"),
        ("candidates", b"no Parquet file at all", "is not a Parquet file"),
        ("counts", b"", "is not a Parquet file"),
        ("counts", b"PAR1" + bytes(range(40)) + b"\x28\0\0\0PAR1", "is not a Parquet file"),
    ],
    ids=[
        "fewer",
        "type",
        "counts",
        "name",
        "other chunk",
        "other counts",
        "no key",
        "rows",
        "no Parquet",
        "empty",
        "no footer",
    ],
)
def test_wrong_table_is_detected(
    checkpoints: CheckpointStore, tmp_path: Path, table: str, data: bytes, message: str
) -> None:
    write(checkpoints)
    replace_table(checkpoints, table, data)
    assert f"{NAMES[table]} {message}" in damage_message(checkpoints, tmp_path / "copies")


def test_same_tables_stay_valid(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    write(checkpoints)
    replace_table(checkpoints, "candidates", encoded(candidates()))
    replace_table(checkpoints, "counts", encoded(COUNTS))
    assert checkpoints.fetch(KEY, tmp_path / "copies").record == checkpoints.read_record(KEY)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"key": OTHER_KEY}, "belongs to another checkpoint"),
        ({"rows_in": 11}, "row counts do not add up"),
        ({"rows_quarantined": 1, "rows_in": 11}, "not the number of rows listed"),
        ({"counts_blake3": None}, "is not a checkpoint record"),  # of an older format
        ({"tiles": 4}, "is not a checkpoint record"),  # of a newer one
        ({"rows_in": "10"}, "is not a checkpoint record"),
    ],
)
def test_wrong_record_is_detected(
    checkpoints: CheckpointStore, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    write(checkpoints)
    resign(checkpoints, **values)
    assert message in damage_message(checkpoints, tmp_path / "copies")


def test_checkpoint_of_other_key_is_detected(checkpoints: CheckpointStore, tmp_path: Path) -> None:
    write(checkpoints)
    write(checkpoints, OTHER_KEY, rows=2)
    for name in (candidates_name, counts_name, record_name):
        checkpoints.storage.put(name(KEY), checkpoints.storage.get(name(OTHER_KEY)))
    with pytest.raises(CorruptionError, match="belongs to another checkpoint"):
        checkpoints.read_record(KEY)


def test_other_schema_is_not_written(checkpoints: CheckpointStore) -> None:
    with pytest.raises(CorruptionError, match="other columns"):
        checkpoints.write(KEY, _FEWER.empty_table(), COUNTS, lambda: KNOWN)
    assert checkpoints.storage.list() == []


def test_valid_copy_is_reused(store: ObjectStore, tmp_path: Path) -> None:
    checkpoints = CheckpointStore(store.uri(f"copies/{tmp_path.name}"))
    write(checkpoints)
    copy = checkpoints.fetch(KEY, tmp_path).candidates
    good = copy.read_bytes()
    checkpoints.storage.put(NAMES["candidates"], b"damaged")

    assert checkpoints.fetch(KEY, tmp_path).candidates.read_bytes() == good
    with pytest.raises(CorruptionError):
        checkpoints.fetch(KEY, tmp_path, refresh=True)
    checkpoints.storage.put(NAMES["candidates"], good)
    copy.write_bytes(flip(good, 7, 7))
    assert checkpoints.fetch(KEY, tmp_path).candidates.read_bytes() == good
