"""Where checkpoints lie: a directory and a real object store behave alike, and a place that cannot be used is told."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from enrich_dist.core.storage import LOCATION_FILE, Entry, Storage, open_storage
from enrich_dist.errors import SettingsError, StorageError
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.failures import classify
from enrich_dist.settings import load_settings
from tests.conftest import REPOSITORY
from tests.support.object_store import BUCKET, SECRET_KEY, ObjectStore, faulty

BASE = REPOSITORY / "config" / "base.yaml"


@pytest.fixture(params=["directory", "object store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "directory":
        return open_storage(tmp_path / "checkpoints")
    store: ObjectStore = request.getfixturevalue("store")
    return open_storage(store.uri(f"unit/{tmp_path.name}"))


def test_a_file_is_kept_whole_and_found_again(storage: Storage, tmp_path: Path) -> None:
    data = bytes(range(256)) * 12_000  # some blocks
    storage.put("b", b"other")
    storage.put("a", b"before")
    storage.put("a", data)

    assert storage.list() == [Entry("a", len(data)), Entry("b", 5)]
    assert storage.get("a") == data
    assert storage.size("a") == len(data)
    assert storage.digest("a") == storage.digest("a") != storage.digest("b")
    assert storage.fetch("a", tmp_path / "copies").read_bytes() == data
    with storage.open("a") as file:
        file.seek(256)
        assert file.read(2) == b"\0\1"


def test_what_is_not_there_is_told(storage: Storage, tmp_path: Path) -> None:
    assert storage.list() == []
    for read in (storage.get, storage.size, storage.digest, lambda name: storage.fetch(name, tmp_path / "copies")):
        with pytest.raises(FileNotFoundError):
            read("none")
    storage.delete("none")
    storage.put("a", b"1")
    storage.delete("a")
    assert storage.list() == []


def test_a_place_that_can_be_used_passes_the_check(storage: Storage) -> None:
    storage.check()
    storage.check()
    assert [entry.name for entry in storage.list()] == [LOCATION_FILE]


def test_what_else_stands_under_a_prefix_is_no_file(store: ObjectStore) -> None:
    storage = open_storage(store.uri("beside"))
    storage.put("a", b"1")
    store.client().create_dir(f"{BUCKET}/beside")  # a mark, as other clients leave it
    store.write("beside/deeper/b", b"2")
    store.write("beside-another/c", b"3")
    assert storage.list() == [Entry("a", 1)]


def test_a_bucket_that_is_not_there_is_told(store: ObjectStore) -> None:
    with pytest.raises(StorageError, match=r"s3://nowhere/p.* cannot be used: .*NO_SUCH_BUCKET.*Create the bucket"):
        open_storage(store.uri("p", bucket="nowhere")).check()


def test_credentials_that_do_not_fit_are_told_and_never_shown(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StorageError, match=r"SIGNATURE_DOES_NOT_MATCH.*Check the credentials") as refused:
        open_storage(store.uri("p")).check()
    assert "not-the-secret" not in str(refused.value)


def test_what_the_farm_makes_of_an_error_of_the_store(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(storage: Storage) -> FailureKind:
        with pytest.raises(OSError, match="AWS Error") as failed:
            storage.put("a", b"1")
        return classify(failed.value, begun=True, short_of_memory=False)

    assert kind(open_storage(store.uri("p", bucket="nowhere"))) is FailureKind.CRASH  # tried again, counted
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    assert kind(open_storage(store.uri("p"))) is FailureKind.ENVIRONMENT  # stops the run at once


def test_a_store_that_knows_no_checksums_is_told_with_what_helps(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION")
    with pytest.raises(StorageError, match="AWS_REQUEST_CHECKSUM_CALCULATION=when_required"):
        open_storage(store.uri("p")).check()


@pytest.mark.long
def test_a_store_that_is_not_up_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        storage = open_storage(ObjectStore(taken.getsockname()[1]).uri("p"))
        with pytest.raises(StorageError, match=r"NETWORK_CONNECTION.*Check endpoint_override.*the store is up"):
            storage.check()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(StorageError, match=r"file/checkpoints cannot be used: Not a directory.*name a directory"):
        open_storage(tmp_path / "file" / "checkpoints").check()


def test_a_passing_error_of_the_store_is_tried_again(store: ObjectStore) -> None:
    left = 2

    def fails(method: str, path: str) -> bool:
        nonlocal left
        left -= method == "PUT"
        return method == "PUT" and left >= 0

    with faulty(store, fails) as way:
        storage = open_storage(store.uri("passing", port=way.port))
        storage.put("a", b"content")
        assert way.failed == 2
    assert open_storage(store.uri("passing")).get("a") == b"content"


@pytest.mark.long
def test_a_lasting_error_of_the_store_is_tried_a_bounded_number_of_times(store: ObjectStore) -> None:
    with faulty(store, lambda method, path: True) as way:
        storage = open_storage(store.uri("lasting", port=way.port))
        with pytest.raises(OSError, match="HTTP status 503"):
            storage.get("a")
        assert 2 <= way.failed <= 10


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("gs://bucket/prefix", "scheme 'gs' is not known; write a directory, or s3://bucket/prefix"),
        ("file:///tmp/x", "scheme 'file' is not known; write a directory"),
        (f"s3://key:{SECRET_KEY}@bucket/prefix", "credentials must not stand in it; set AWS_ACCESS_KEY_ID"),
        (f"s3://bucket/prefix?secret_key={SECRET_KEY}", "option secret_key is not known; there are endpoint_override"),
        (f"s3://bucket/prefix?access_key=k&secret_key={SECRET_KEY}", "option access_key, secret_key is not known"),
        (f"s3://bucket/prefix#{SECRET_KEY}", "option after # is not known"),
        ("s3:///prefix", "names no bucket"),
        ("s3://bucket", "names no prefix"),
        ("s3://bucket/prefix?scheme=ftp", "option scheme must be http or https"),
    ],
)
def test_a_location_that_cannot_be_one_is_refused_and_no_secret_shown(location: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(BASE, [f"paths.checkpoints={location}"], {})
    assert message in str(refused.value)
    assert "paths.checkpoints (command line)" in str(refused.value)
    assert SECRET_KEY not in str(refused.value)


@pytest.mark.parametrize("location", ["some/directory", "s3://bucket/a/b?region=eu-central-1&endpoint_override=h:9000"])
def test_a_location_is_taken_as_it_is(location: str) -> None:
    assert load_settings(BASE, [f"paths.checkpoints={location}"], {}).settings.paths.checkpoints == location
