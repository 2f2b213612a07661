"""Files of a real object store are read in place, and errors have a remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from enrich_dist.core.storage import s3
from enrich_dist.errors import SourceError
from enrich_dist.sources import check_awards, read_awards
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.protocol import ReadOptions
from enrich_dist.sources.recipients import check_recipients, read_recipients
from enrich_dist.sources.source_file import as_file
from tests.support import dumps
from tests.support.object_store import ACCESS_KEY, BUCKET, SECRET_KEY, ObjectStore, faulty
from tests.unit.sources.test_pg_dump import made

SAMPLE = Path(__file__).parents[3] / "data" / "sample" / "recipients.parquet"
ABSENT = {"uei": None, "state": None, "zip5": None}


@pytest.fixture(scope="module")
def files(store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sample in every format and compression, as local files and in the store."""
    folder = tmp_path_factory.mktemp("files")
    table = pq.read_table(SAMPLE).slice(0, 3000)
    pq.write_table(table, folder / "r.parquet", row_group_size=1000)
    flat = table.drop_columns([name for name in table.column_names if pa.types.is_nested(table[name].type)])
    pa.csv.write_csv(flat, folder / "r.csv")
    with pa.CompressedOutputStream(folder / "r.csv.gz", "gzip") as out:
        pa.csv.write_csv(flat, out)
    rows = b"".join(b"VENDOR %d\tTown\n" % number for number in range(5000)) + b"\\.\n\n\n"
    dump = made(folder / "dump", rows)
    (dump / "huge.dat").write_bytes(os.urandom(60 << 20))  # not needed
    dumps.zipped(dump, folder / "r.zip")
    found = {path.name: path for path in folder.iterdir() if path.is_file()}
    for name, path in found.items():
        store.write(f"inputs/{name}", path.read_bytes())
    return found


def read(location: str | Path, batch_rows: int = 700) -> pa.Table:
    columns = ABSENT if str(location).partition("?")[0].endswith("zip") else {}
    return pa.concat_tables(batch.recipients for batch in read_recipients(location, columns, batch_rows=batch_rows))


@pytest.mark.parametrize("name", ["r.parquet", "r.csv", "r.csv.gz", "r.zip"])
def test_object_equals_local_file(store: ObjectStore, files: dict[str, Path], name: str, tmp_path: Path) -> None:
    uri, reading = store.uri(f"inputs/{name}"), ReadOptions({}, 10, tmp_path)

    assert read(uri).equals(read(files[name]))
    remote, local = open_source(uri), open_source(files[name])
    assert remote.digest(reading) == local.digest(reading)
    assert remote.row_count() == local.row_count()
    assert remote.name == name


def test_awards_object_equals_local_file(store: ObjectStore) -> None:
    sample = SAMPLE.with_name("sbir_awards.csv.gz")
    store.write("inputs/sbir_awards.csv.gz", sample.read_bytes())
    uri = store.uri("inputs/sbir_awards.csv.gz")

    check_awards(uri, {})
    found, expected = read_awards(uri, {}), read_awards(sample, {})
    assert found.awards.equals(expected.awards)
    assert found.rejects.equals(expected.rejects)
    assert as_file(uri).digest() == as_file(sample).digest()


def test_missing_awards_object_is_an_error(store: ObjectStore) -> None:
    with pytest.raises(SourceError, match=r"absent\.csv") as caught:
        check_awards(store.uri("inputs/absent.csv"), {})
    assert caught.value.remedy == "Check the path under inputs."
    assert SECRET_KEY not in str(caught.value)


def test_only_needed_zip_member_is_fetched(store: ObjectStore, files: dict[str, Path]) -> None:
    fetched: list[int] = []
    real = s3._Reader.readinto

    def counted(self: s3._Reader, buffer: memoryview) -> int:
        count = real(self, buffer)
        fetched.append(count)
        return count

    s3._Reader.readinto = counted  # type: ignore[method-assign]
    try:
        assert len(read(store.uri("inputs/r.zip"))) == 5000
    finally:
        s3._Reader.readinto = real  # type: ignore[method-assign]

    assert files["r.zip"].stat().st_size > 60_000_000
    # Each time that the archive is opened, a buffer is filled at its beginning and at its end.
    assert sum(fetched) < 45_000_000


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{BUCKET}/inputs/nowhere.parquet", r"nowhere\.parquet: the file does not exist"),
        ("nobucket/x.parquet", r"cannot be read|does not exist"),
    ],
)
def test_missing_object_is_an_error(store: ObjectStore, path: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        check_recipients(f"s3://{path}?endpoint_override=127.0.0.1:{store.port}&scheme=http", {})


@pytest.mark.long
def test_store_error_while_reading(store: ObjectStore, files: dict[str, Path]) -> None:
    seen: list[str] = []

    def fails(method: str, path: str) -> bool:
        seen.append(method)
        return method == "GET" and len(seen) > 4

    with faulty(store, fails) as way, pytest.raises(SourceError, match="that the store is up"):
        read(store.uri("inputs/r.csv", port=way.port), batch_rows=10)


@pytest.mark.parametrize(
    "uri",
    [
        "s3://key:hunter2@bucket/x.parquet",
        "s3://bucket",
        "s3://bucket/x?secret_key=hunter2",
        "ftp://hunter2@host/x.parquet",
    ],
)
def test_malformed_location_is_refused(uri: str) -> None:
    with pytest.raises(SourceError) as raised:
        as_file(uri)
    assert raised.value.path == f"{uri.partition('://')[0]}://…"
    assert "hunter2" not in str(raised.value)


def test_credentials_file_is_used(store: ObjectStore, files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text(f"[default]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n", "utf-8")
    environment = {name: value for name, value in os.environ.items() if "ACCESS_KEY" not in name}
    script = "import sys; from enrich_dist.sources import check_recipients; check_recipients(sys.argv[1], {})"
    command = [sys.executable, "-c", script, store.uri("inputs/r.parquet")]

    def run(**further: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={**environment, **further}, capture_output=True, text=True, check=False, timeout=120
        )

    without = run(HOME=str(tmp_path / "none"))
    assert without.returncode
    assert "SourceError: s3://" in without.stderr
    found = run(AWS_SHARED_CREDENTIALS_FILE=str(path))
    assert found.returncode == 0, found.stderr
