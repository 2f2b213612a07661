"""A directory and a real object store behave alike, and an unusable location is refused with a remedy."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from enrich_dist.core.storage import LOCATION_FILE, Entry, Storage, open_storage
from enrich_dist.errors import SettingsError, StorageError
from enrich_dist.farm.attempts import FailureKind
from enrich_dist.farm.policy import classify_error
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


def test_stored_file_is_read_back(storage: Storage, tmp_path: Path) -> None:
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


def test_missing_file_is_an_error(storage: Storage, tmp_path: Path) -> None:
    assert storage.list() == []
    for read in (storage.get, storage.size, storage.digest, lambda name: storage.fetch(name, tmp_path / "copies")):
        with pytest.raises(FileNotFoundError):
            read("none")
    storage.delete("none")
    storage.put("a", b"1")
    storage.delete("a")
    assert storage.list() == []


def test_usable_location_passes_check(storage: Storage) -> None:
    storage.check()
    storage.check()
    assert [entry.name for entry in storage.list()] == [LOCATION_FILE]


def test_list_ignores_markers_and_subprefixes(store: ObjectStore) -> None:
    storage = open_storage(store.uri("listed"))
    storage.put("a", b"1")
    store.client().create_dir(f"{BUCKET}/listed")  # a marker, as other clients create it
    store.write("listed/deeper/b", b"2")
    store.write("listed-another/c", b"3")
    assert storage.list() == [Entry("a", 1)]


def test_missing_bucket_fails_check(store: ObjectStore) -> None:
    with pytest.raises(StorageError, match="NO_SUCH_BUCKET") as refused:
        open_storage(store.uri("p", bucket="nowhere")).check()
    assert (refused.value.remedy or "").startswith("Create the bucket")


def test_wrong_credentials_fail_check(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    with pytest.raises(StorageError, match="SIGNATURE_DOES_NOT_MATCH") as refused:
        open_storage(store.uri("p")).check()
    assert (refused.value.remedy or "").startswith("Check the credentials")
    assert "not-the-secret" not in str(refused.value)


def test_store_errors_are_classified(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def kind(storage: Storage) -> FailureKind:
        with pytest.raises(OSError, match="AWS Error") as failed:
            storage.put("a", b"1")
        return classify_error(failed.value)

    assert kind(open_storage(store.uri("p", bucket="nowhere"))) is FailureKind.CRASH  # retried, counted
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
    assert kind(open_storage(store.uri("p"))) is FailureKind.ENVIRONMENT  # stops the run at once


def test_missing_checksum_support_fails_check(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_REQUEST_CHECKSUM_CALCULATION")
    with pytest.raises(StorageError) as refused:
        open_storage(store.uri("p")).check()
    assert "AWS_REQUEST_CHECKSUM_CALCULATION=when_required" in (refused.value.remedy or "")


@pytest.mark.long
def test_unreachable_store_fails_check() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nothing listens
        storage = open_storage(ObjectStore(taken.getsockname()[1]).uri("p"))
        with pytest.raises(StorageError, match="NETWORK_CONNECTION") as refused:
            storage.check()
    assert (refused.value.remedy or "").startswith("Check endpoint_override")


def test_impossible_directory_fails_check(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(StorageError, match=r"file/checkpoints cannot be used: Not a directory\. Set paths\."):
        open_storage(tmp_path / "file" / "checkpoints").check()


def test_transient_store_error_is_retried(store: ObjectStore) -> None:
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
def test_persistent_store_error_is_raised(store: ObjectStore) -> None:
    with faulty(store, lambda method, path: True) as way:
        storage = open_storage(store.uri("lasting", port=way.port))
        with pytest.raises(OSError, match="HTTP status 503"):
            storage.get("a")
        assert 2 <= way.failed <= 10


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("gs://bucket/prefix", "scheme 'gs' is not supported; use a path or s3://bucket/prefix"),
        ("file:///tmp/x", "scheme 'file' is not supported"),
        (f"s3://key:{SECRET_KEY}@bucket/prefix", "must not contain credentials; set AWS_ACCESS_KEY_ID"),
        (f"s3://bucket/prefix?secret_key={SECRET_KEY}", "unknown option secret_key; the options are endpoint_override"),
        (f"s3://bucket/prefix?access_key=k&secret_key={SECRET_KEY}", "unknown option access_key, secret_key"),
        (f"s3://bucket/prefix#{SECRET_KEY}", "unknown option after #"),
        ("s3:///prefix", "the bucket is missing"),
        ("s3://bucket", "the prefix in the bucket is missing"),
        ("s3://bucket/prefix?scheme=ftp", "option scheme must be http or https"),
    ],
)
def test_malformed_location_is_refused(location: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(BASE, [f"paths.checkpoints={location}"], {})
    assert message in str(refused.value)
    assert "paths.checkpoints (command line)" in str(refused.value)
    assert SECRET_KEY not in str(refused.value)


@pytest.mark.parametrize("location", ["some/directory", "s3://bucket/a/b?region=eu-central-1&endpoint_override=h:9000"])
def test_valid_location_is_kept(location: str) -> None:
    assert load_settings(BASE, [f"paths.checkpoints={location}"], {}).settings.paths.checkpoints == location
