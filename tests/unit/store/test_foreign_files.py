"""Files of others in a work directory or a checkpoint location survive every deletion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from enrich_dist.core.storage import LOCATION_FILE
from enrich_dist.errors import EnrichError, StateError, StorageError
from enrich_dist.events import Event, Notice, listening
from enrich_dist.farm.attempts import AttemptLedger
from enrich_dist.store.artifacts import get_or_build
from enrich_dist.store.checkpoints import CheckpointStore, drop_copies, record_name
from enrich_dist.store.lock import LOCK_FILE, locked
from enrich_dist.store.run_directory import RunDirectory
from tests.support.object_store import ObjectStore
from tests.unit.store.test_checkpoints import KEY, OTHER_KEY, write

FOREIGN = {"notes.json", "data.parquet", f"{'0' * 64}.json", f"{'0' * 64}.parquet", ".tmp-notes", "sub"}
TEMPORARY = ".tmp-0123456789ab.parquet"


def put_foreign(directory: Path) -> None:
    for name in FOREIGN - {"sub"}:
        (directory / name).write_text("of others", "utf-8")
    (directory / "sub").mkdir()


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def build(directory: Path) -> dict[str, Any]:
    (directory / "data").write_bytes(b"content")
    (directory / "more").write_bytes(b"more")
    return {}


@pytest.mark.parametrize("manifest", ["whole", "torn", "missing"])
def test_rebuilt_artifact_leaves_files_of_others(tmp_path: Path, manifest: str) -> None:
    final = tmp_path / "out"
    get_or_build(final, build)
    put_foreign(final)
    (final / "more").unlink()
    (final / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").write_bytes(b"of others")
    if manifest != "whole":
        (final / "manifest.json").unlink()
    if manifest == "torn":
        (final / "manifest.json").write_text("{", "utf-8")
    events: list[Event] = []

    with listening(events.append):
        rebuilt = get_or_build(final, build)

    assert not rebuilt.reused
    assert names(final) == {"data", "more", "manifest.json"}
    (aside,) = (path for path in tmp_path.iterdir() if path.name.startswith("damaged-"))
    assert names(aside) == {*FOREIGN, "more"}
    assert (tmp_path / "elsewhere").read_bytes() == b"of others"
    (notice,) = events
    assert isinstance(notice, Notice)
    assert str(aside) in notice.message


def test_rebuilt_artifact_leaves_nothing_else(tmp_path: Path) -> None:
    get_or_build(tmp_path / "out", build)
    (tmp_path / "out" / "data").write_bytes(b"Content")

    get_or_build(tmp_path / "out", build)

    assert names(tmp_path) == {"out"}


def test_new_farm_clears_only_the_ledger(tmp_path: Path) -> None:
    ledger = AttemptLedger(tmp_path / "attempts")
    with ledger.attempt(KEY, 1, "worker"):
        put_foreign(ledger.directory)
        ledger.clear()
        assert names(ledger.directory) == FOREIGN
    (tmp_path / "link").symlink_to(ledger.directory)
    with ledger.attempt(KEY, 1, "worker"):
        AttemptLedger(tmp_path / "link").clear()
        assert names(ledger.directory) == {*FOREIGN, f"{KEY}.1.running.json"}


def test_only_copies_of_checkpoints_are_dropped(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "copies")
    write(store)
    write(store, OTHER_KEY)
    foreign = {name for name in FOREIGN if not name.startswith("0")}  # made of the copies' own names
    put_foreign(tmp_path / "copies")
    (tmp_path / "copies" / TEMPORARY).touch()
    (tmp_path / "link").symlink_to(tmp_path / "copies")
    before = names(tmp_path / "copies")

    drop_copies(tmp_path / "link", {KEY})
    assert names(tmp_path / "copies") == before
    drop_copies(tmp_path / "copies", {KEY})

    kept = {name for name in before if name.startswith(KEY)}
    assert names(tmp_path / "copies") == foreign | kept


def test_leftovers_are_ours_by_their_content(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    write(store)
    put_foreign(tmp_path)
    (tmp_path / TEMPORARY).touch()
    (tmp_path / record_name(KEY)).write_text("{", "utf-8")  # torn; the tables show whose it is

    ours = {entry.name for entry in store.leftovers(set()) if store.wrote(entry.name)}

    assert ours == names(tmp_path) - FOREIGN


def test_nothing_is_deleted_through_a_linked_location(tmp_path: Path) -> None:
    write(CheckpointStore(tmp_path / "real"))
    (tmp_path / "link").symlink_to(tmp_path / "real")

    with pytest.raises(StorageError):
        CheckpointStore(tmp_path / "link").storage.delete(record_name(KEY))

    assert record_name(KEY) in names(tmp_path / "real")


@pytest.mark.parametrize("entry", sorted(FOREIGN - {f"{'0' * 64}.json", f"{'0' * 64}.parquet"}))
def test_location_with_files_of_others_is_refused(tmp_path: Path, entry: str) -> None:
    store = CheckpointStore(tmp_path)
    write(store)
    store.check()
    (tmp_path / LOCATION_FILE).unlink()
    (tmp_path / entry).mkdir()

    with pytest.raises(StorageError, match=entry):
        store.check()

    assert not (tmp_path / LOCATION_FILE).exists()


@pytest.mark.long
def test_prefix_with_objects_of_others_is_refused(store: ObjectStore, tmp_path: Path) -> None:
    checkpoints = CheckpointStore(store.uri(f"foreign/{tmp_path.name}"))
    checkpoints.check()
    checkpoints.storage.put("notes.txt", b"of others")

    with pytest.raises(StorageError, match=r"notes\.txt"):
        checkpoints.check()


@pytest.mark.parametrize("kind", ["content", "link"])
def test_lock_of_others_is_not_truncated(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    target.write_text("of others", "utf-8")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / LOCK_FILE).hardlink_to(target) if kind == "content" else (
        tmp_path / "work" / LOCK_FILE
    ).symlink_to(target)

    with pytest.raises(StateError), locked(tmp_path / "work", run_id="1", what="test"):
        pass

    assert target.read_text("utf-8") == "of others"


@pytest.mark.parametrize("name", ["awards", "chunks", "checkpoints", "attempts", "scratch", "steps"])
def test_linked_directory_of_a_run_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / TEMPORARY).touch()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / name).symlink_to(tmp_path / "foreign")

    with pytest.raises(EnrichError, match=name):
        RunDirectory(tmp_path / "work").clear_leftovers()

    assert names(tmp_path / "foreign") == {TEMPORARY}
