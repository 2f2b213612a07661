"""PostgreSQL dumps: real ones by pg_dump, and synthetic ones of every archive version."""

from __future__ import annotations

import builtins
import gzip
import io
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from enrich_dist.errors import SourceError
from enrich_dist.sources import text_file
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.pg_dump.source import DumpSource
from enrich_dist.sources.pg_dump.toc import TocError, copied_columns, parse_toc
from enrich_dist.sources.protocol import ReadOptions
from enrich_dist.sources.recipients import check_recipients, read_recipients
from tests.support import dumps
from tests.support.postgres_server import PostgresServer

# As USAspending defines it; other tables have columns with the same names.
TABLE = """
    create schema if not exists rpt;
    create table rpt.recipient_lookup (
        id bigint, recipient_hash uuid, legal_business_name text, duns text, address_line_1 text, address_line_2 text,
        business_types_codes text[], city text, congressional_district text, country_code text, parent_duns text,
        parent_legal_business_name text, state text, zip4 text, zip5 text, alternate_names text[], source text not null,
        update_date timestamp not null, uei text, parent_uei text);
    create table public.recipient_profile (recipient_hash uuid, recipient_name text, uei text, city text, state text,
                                           zip5 text, "Strange ""name"", with comma" text);
    create table rpt.big_one (filler text);
"""
ROWS = r"""
    insert into rpt.recipient_lookup
        (id, recipient_hash, legal_business_name, uei, alternate_names, address_line_1, address_line_2, city, state,
         zip5, source, update_date)
    values
    (1, '00000000-0000-0000-0000-000000000001', E'ACME\t"ROCKETS"\\\nINC', 'D7SRYQVNKMV3',
     array['A, B', null, E'C "q" \\ z', 'NULL', '', E'tab\there', '{braces}'], E'1 Main\rStreet', '', 'Troy', 'MI',
     '48083', 'sam', now()),
    (2, '00000000-0000-0000-0000-000000000002', null, null, '{}', null, null, null, null, null, 'fpds', now()),
    (3, '00000000-0000-0000-0000-000000000003', E'\\N', null, null, E'\\.', null, 'Zürich', null, null, 'x', now()),
    (4, '00000000-0000-0000-0000-000000000004', 'PLAIN LLC', 'C7SRYQVNKMV4', array['ONE'], '2 Main', null, 'Reno', 'NV',
     '89501', 'x', now());
    insert into public.recipient_profile values (gen_random_uuid(), 'PROFILE', null, 'Ames', 'IA', '50010', 'x');
    insert into rpt.big_one select repeat(md5(i::text), 30) from generate_series(1, 2000) i;
"""


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> PostgresServer:
    made = postgres.create_database("data_store_api")
    made.execute(TABLE + ROWS)
    return made


@pytest.fixture(scope="module")
def dump(database: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return database.dump(tmp_path_factory.mktemp("dump") / "data_store_api_dump")


def recipients(location: Path, member: str | None = None, batch_rows: int = 3) -> list[dict[str, Any]]:
    batches = list(read_recipients(open_source(location, member), {}, batch_rows=batch_rows))
    return pa.concat_tables(batch.recipients for batch in batches).to_pylist()


def file_of(dump: Path, table: str) -> str:
    return next(t.file for t in parse_toc((dump / "toc.dat").read_bytes()).tables if t.table == table)


def check_rows(found: list[dict[str, Any]]) -> None:
    assert [row["source_row"] for row in found] == [1, 3, 4]
    first, odd, plain = found
    assert first["recipient_id"] == "00000000-0000-0000-0000-000000000001"
    assert first["name"] == 'ACME "ROCKETS"\\ INC'  # cleaning collapses white space
    assert first["alternate_names"] == ["A, B", 'C "q" \\ z', "tab here", "{braces}"]
    assert (first["address_line_1"], first["address_line_2"]) == ("1 Main Street", None)
    assert (odd["name"], odd["address_line_1"], odd["city"]) == ("\\N", None, "Zürich")
    assert (plain["name"], plain["alternate_names"], plain["zip5"]) == ("PLAIN LLC", ["ONE"], "89501")


def test_real_dump_directory(dump: Path) -> None:
    check_recipients(dump, {})
    check_rows(recipients(dump))


def test_real_dump_in_zip(dump: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = dumps.zipped(dump, tmp_path / "usaspending-db.zip")
    opened: list[str] = []
    real = zipfile.ZipFile.open

    def record_member(self: zipfile.ZipFile, name: Any, *arguments: Any, **options: Any) -> Any:
        opened.append(getattr(name, "filename", name).rpartition("/")[2])
        return real(self, name, *arguments, **options)

    written: list[str] = []
    real_open = builtins.open

    def record_write(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wax+"):
            written.append(str(file))
        return real_open(file, mode, *arguments, **options)

    monkeypatch.setattr(zipfile.ZipFile, "open", record_member)
    monkeypatch.setattr(builtins, "open", record_write)
    monkeypatch.setattr(io, "open", record_write)

    check_rows(recipients(path))
    open_source(path).digest(ReadOptions({}, 1, tmp_path))
    assert set(opened) == {"toc.dat", file_of(dump, "recipient_lookup") + ".gz"}
    assert written == []
    assert sorted(file.name for file in tmp_path.iterdir()) == ["usaspending-db.zip"]


def test_rejects_name_file_and_row(dump: Path) -> None:
    batches = list(read_recipients(dump, {}, batch_rows=100))

    assert [batch.rows_read for batch in batches] == [4]
    [reject] = batches[0].rejects.to_pylist()
    assert (reject["source_file"], reject["source_row"], reject["outcome"]) == ("data_store_api_dump", 2, "rejected")
    assert reject["value"] == "00000000-0000-0000-0000-000000000002"


@pytest.mark.parametrize(
    "called", ["recipient_profile", "public.recipient_profile", "FILE", "FILE.gz", "folder/FILE.gz"]
)
def test_table_is_found_by_any_name(dump: Path, called: str) -> None:
    member = called.replace("FILE", file_of(dump, "recipient_profile"))

    [row] = recipients(dump, member)

    assert (row["name"], row["city"]) == ("PROFILE", "Ames")


@pytest.mark.parametrize("packing", ["none", "lz4", "zstd"])
def test_all_compressions_are_read(dump: Path, tmp_path: Path, packing: str) -> None:
    """PostgreSQL 16 and later also compress by LZ4 and Zstandard."""
    other = shutil.copytree(dump, tmp_path / "dump")
    for file in other.glob("*.dat.gz"):
        plain = gzip.decompress(file.read_bytes())
        file.unlink()
        target = other / file.stem
        if packing == "none":
            target.write_bytes(plain)
        else:
            suffix = {"lz4": ".lz4", "zstd": ".zst"}[packing]
            target.with_name(target.name + suffix).write_bytes(pa.compress(plain, packing, asbytes=True))

    check_rows(recipients(other))
    check_rows(recipients(dumps.zipped(other, tmp_path / "dump.zip", under="")))


def test_uncompressed_dump_is_read(database: PostgresServer, tmp_path: Path) -> None:
    check_rows(recipients(database.dump(tmp_path / "dump", "--compress=0")))


def test_batch_size_does_not_matter(dump: Path) -> None:
    assert recipients(dump, batch_rows=1) == recipients(dump, batch_rows=2) == recipients(dump, batch_rows=100)


def test_digest_is_of_table_only(database: PostgresServer, dump: Path, tmp_path: Path) -> None:
    options = ReadOptions({}, 1, tmp_path)
    digest = open_source(dump).digest(options)

    database.execute("insert into rpt.big_one values ('more')")
    assert open_source(database.dump(tmp_path / "other")).digest(options) == digest
    zipped = dumps.zipped(dump, tmp_path / "dump.zip")
    assert open_source(zipped).digest(options) == digest

    changed = shutil.copytree(dump, tmp_path / "changed")
    file = changed / (file_of(dump, "recipient_lookup") + ".gz")
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b"PLAIN LLC", b"PLAIN INC"), mtime=0))
    assert open_source(changed).digest(options) != digest


def test_empty_table_is_refused(postgres: PostgresServer, tmp_path: Path) -> None:
    empty = postgres.create_database("empty_one")
    empty.execute(TABLE)
    folder = empty.dump(tmp_path / "dump")

    for read in (lambda: check_recipients(folder, {}), lambda: list(read_recipients(folder, {}, batch_rows=5))):
        with pytest.raises(SourceError, match="no rows"):
            read()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--inserts"], "not COPY text.*without --inserts"),
        (["--schema-only"], "no table or file recipient_lookup; it contains none"),
        (["--exclude-table=rpt.recipient_lookup"], "contains public.recipient_profile, rpt.big_one.*--member"),
    ],
)
def test_other_dump_options_are_refused(
    database: PostgresServer, tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(SourceError, match=message):
        check_recipients(database.dump(tmp_path / "dump", *options), {})


def test_custom_format_is_refused(database: PostgresServer, dump: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dump"
    folder.mkdir()
    database.run("pg_dump", "--format=custom", "--file", folder / "toc.dat")

    with pytest.raises(SourceError, match=r"format is 'custom', not directory.*--format=directory"):
        check_recipients(folder, {})


# Incomplete and harmful dumps.


def made(folder: Path, rows: bytes = b"A\tx\n\\.\n\n\n", **options: Any) -> Path:
    """Return a dump of one table with the columns name and city."""
    folder.mkdir(exist_ok=True)
    entries = [
        dumps.Entry("ENCODING", "ENCODING", definition=f"SET client_encoding = '{options.pop('encoding', 'UTF8')}';\n"),
        dumps.rows_of("recipient_lookup", ["name", "city"], "7.dat"),
        *options.pop("entries", []),
    ]
    (folder / "toc.dat").write_bytes(dumps.toc(entries, **options))
    (folder / "7.dat").write_bytes(rows)
    return folder


ABSENT = {"uei": None, "state": None, "zip5": None}


def names(location: Path, member: str | None = None) -> list[str]:
    batches = list(read_recipients(open_source(location, member), ABSENT, batch_rows=100))
    return [name for batch in batches for name in batch.recipients["name"].to_pylist()]


@pytest.mark.parametrize("size", [4, 8])
@pytest.mark.parametrize("version", dumps.VERSIONS)
def test_every_archive_version_is_read(tmp_path: Path, version: tuple[int, int], size: int) -> None:
    folder = made(tmp_path / "dump", version=version, size=size)

    contents = parse_toc((folder / "toc.dat").read_bytes())
    assert [(table.name, table.columns, table.file) for table in contents.tables] == [
        ("rpt.recipient_lookup", ("name", "city"), "7.dat")
    ]
    assert contents.encoding == "UTF8"
    assert names(folder) == ["A"]


@pytest.mark.parametrize("version", [(1, 11), (1, 17), (2, 0)])
def test_unknown_version_is_refused(version: tuple[int, int]) -> None:
    with pytest.raises(TocError, match=r"1\.12 to 1\.16"):
        parse_toc(dumps.toc([], version))


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("COPY rpt.t (a, b) FROM stdin;\n", ("a", "b")),
        ('COPY "odd (x)"."t" ("A b", "say ""hi"", (you)", c) FROM stdin;\n', ("A b", 'say "hi", (you)', "c")),
        ("COPY t (a b) FROM stdin;", None),
        ("COPY " + "a" * 50_000, None),  # must not backtrack
        ("COPY " + '"a.' * 20_000, None),
        ("COPY t FROM stdin;", None),
        ("INSERT INTO t VALUES (1);", None),
        ("", None),
    ],
)
def test_columns_of_copy_statement(statement: str, columns: tuple[str, ...] | None) -> None:
    assert copied_columns(statement) == columns


def test_huge_length_is_refused() -> None:
    with pytest.raises(TocError, match="truncated"):
        parse_toc(dumps.toc([], size=8)[:-9] + dumps.integer(2**62, 8) + dumps.integer(1, 8))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (b"A\tx\nB\ty\n", r"ends before the rows do"),
        (b"A\tx\n\\.\nB\ty\n", r"continues after the end"),
        (b"A" * (13 << 20) + b"\tx\n\\.\n", r"a row is longer than 4 MB"),
        (gzip.compress(b"A\tx\n" * 5000 + b"\\.\n")[:-30], r"damaged or incomplete"),
        (b"\x28\xb5\x2f\xfd" + b"nonsense" * 5, r"damaged or incomplete"),
        (b"", "ends before the rows do"),
    ],
    ids=["no end", "text after the end", "a long row", "truncated gzip", "bad zstd", "empty"],
)
def test_damaged_rows_are_refused(tmp_path: Path, rows: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as raised:
        names(made(tmp_path / "dump", rows))
    assert "7.dat" in str(raised.value)


def test_bad_rows_are_rejected_alone(tmp_path: Path) -> None:
    folder = made(tmp_path / "dump", b"A\tx\nB\nC\tx\\377\nD\ty\\\nE\tz\n\\.\n")

    [batch] = read_recipients(folder, ABSENT, batch_rows=100)

    assert batch.recipients["name"].to_pylist() == ["A", "E"]
    assert batch.rows_read == 5
    found = [(row["source_row"], row["reason"]) for row in batch.rejects.to_pylist()]
    assert [row for row, _ in found] == [2, 3, 4]
    assert found[0][1] == "1 cells, the table 2"
    assert "escape" in found[1][1]


def test_latin1_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"in LATIN1.*--encoding=UTF8"):
        names(made(tmp_path / "dump", encoding="LATIN1"))
    assert names(made(tmp_path / "dump", b"Caf\xe9\tx\n\\.\n", encoding="SQL_ASCII")) == ["Café"]


def test_schema_distinguishes_equal_names(tmp_path: Path) -> None:
    folder = made(tmp_path / "dump", entries=[dumps.rows_of("recipient_lookup", ["name", "city"], "8.dat", "old")])
    (folder / "8.dat").write_bytes(b"OLD\tx\n\\.\n")

    with pytest.raises(SourceError, match=r"several tables.*rpt\.recipient_lookup, old\.recipient_lookup"):
        names(folder)
    assert names(folder, "old.recipient_lookup") == ["OLD"]


def test_missing_file_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "dump")
    (folder / "7.dat").unlink()

    with pytest.raises(SourceError, match=r"file 7\.dat with the rows of rpt\.recipient_lookup is missing"):
        names(folder)


def test_toc_cannot_name_outside_files(tmp_path: Path) -> None:
    (tmp_path / "secret.dat").write_bytes(b"SECRET\tx\n\\.\n")
    folder = made(tmp_path / "dump", entries=[dumps.rows_of("other", ["name", "city"], "../secret.dat")])

    with pytest.raises(SourceError, match=r"file \.\./secret\.dat with"):
        names(folder, "other")


@pytest.mark.parametrize("member", ["../7.dat", "/etc/7.dat", "C:/7.dat"])
def test_zip_with_outside_members_is_refused(tmp_path: Path, member: str) -> None:
    folder = made(tmp_path / "dump")
    path = dumps.zipped(folder, tmp_path / "dump.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"")

    with pytest.raises(SourceError, match="outside of it"):
        names(path)


@pytest.mark.parametrize("zipped", [False, True])
def test_decompression_bomb_is_refused(tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_file, "_HARMLESS_BYTES", 100_000)
    location = made(tmp_path / "dump", gzip.compress(b"A\tx\n" * 2_000_000 + b"\\.\n"))
    # The rest of the archive is no excuse: it is the table's own file that must be in proportion.
    (location / "big.dat").write_bytes(Path(sys.executable).read_bytes()[:3_000_000])
    if zipped:
        location = dumps.zipped(location, tmp_path / "dump.zip")

    with pytest.raises(SourceError, match="unpacks to more than"):
        names(location)


def test_zip_with_two_dumps_is_refused(tmp_path: Path) -> None:
    folder = made(tmp_path / "dump")
    path = dumps.zipped(folder, tmp_path / "dump.zip", under="a/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.write(folder / "toc.dat", "b/toc.dat")

    with pytest.raises(SourceError, match=r"2 dumps: a/toc\.dat, b/toc\.dat"):
        names(path)


def test_row_count_is_estimated(tmp_path: Path) -> None:
    rows = b"".join(b"VENDOR NUMBER %d\tTown\n" % number for number in range(100_000)) + b"\\.\n\n\n"
    for data in (rows, gzip.compress(rows, 1)):
        rows_found, exact = open_source(made(tmp_path / "dump", data)).row_count()
        assert rows_found == pytest.approx(100_000, rel=0.05)
        assert not exact


@pytest.fixture
def large(tmp_path: Path) -> Path:
    return made(tmp_path / "dump", gzip.compress(b"".join(_many_rows(600_000)) + b"\\.\n\n\n", 1))


def _many_rows(count: int) -> Iterator[bytes]:
    for number in range(count):
        yield b"VENDOR \\t NUMBER %d WITH A NAME THAT IS NOT SHORT\tTown %d\n" % (number, number % 1000)


@pytest.mark.long
def test_memory_does_not_grow_with_rows(large: Path, tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from enrich_dist.core.resource_usage import Meter
from enrich_dist.sources import read_recipients
absent = {"uei": None, "state": None, "zip5": None}
rows = 0
with Meter() as meter:  # not ru_maxrss, which includes the parent process
    for batch in read_recipients(Path(sys.argv[1]), absent, batch_rows=5000):
        rows += batch.rows_read
        if rows == 20_000:
            first = meter.peak_memory_bytes // 1000
print(rows, first, meter.peak_memory_bytes // 1000)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, large], capture_output=True, text=True, check=True, timeout=300
    )
    rows, first, last = map(int, done.stdout.split())

    assert rows == 600_000
    assert last - first < 60_000  # kB; the rows are some 36 MB of text


def test_dump_is_detected_by_content(dump: Path, tmp_path: Path) -> None:
    other = dumps.zipped(dump, tmp_path / "recipients.csv")

    assert isinstance(open_source(other), DumpSource)
