"""Tables of a real PostgreSQL: rows, order, digest, concurrent changes and passwords."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from enrich_dist.errors import EnrichError, SettingsError, SourceError
from enrich_dist.pipeline.steps import Pipeline
from enrich_dist.settings import Settings, load_settings
from enrich_dist.sources import postgres as postgres_source
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.protocol import ReadOptions
from enrich_dist.sources.recipients import check_recipients, read_recipients
from tests.conftest import enrich_dist
from tests.support.known_case import write_inputs
from tests.support.postgres_server import PASSWORD, PostgresServer
from tests.unit.sources.test_pg_dump import ROWS, TABLE, check_rows


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> PostgresServer:
    made = postgres.create_database("sources")
    made.execute(TABLE + ROWS)
    return made


@pytest.fixture(autouse=True)
def _password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)


def recipients(uri: str, table: str | None = None, batch_rows: int = 3, columns: Any = None) -> list[dict[str, Any]]:
    batches = list(read_recipients(open_source(uri, table), columns or {}, batch_rows=batch_rows))
    return pa.concat_tables(batch.recipients for batch in batches).to_pylist()


def test_table_is_read(database: PostgresServer) -> None:
    check_recipients(database.uri_without_password, {})
    check_rows(recipients(database.uri_without_password))
    check_rows(recipients(database.socket_uri))


def test_rejects_name_table_and_row(database: PostgresServer) -> None:
    [batch] = read_recipients(database.uri_without_password, {}, batch_rows=100)

    assert batch.rows_read == 4
    [reject] = batch.rejects.to_pylist()
    assert (reject["source_file"], reject["source_row"]) == ("recipient_lookup", 2)
    assert reject["value"] == "00000000-0000-0000-0000-000000000002"


@pytest.mark.parametrize("batch_rows", [1, 2, 4, 100])
def test_batches_have_batch_rows(database: PostgresServer, batch_rows: int) -> None:
    batches = list(read_recipients(database.uri_without_password, {}, batch_rows=batch_rows))

    sizes = [len(range(4)[first : first + batch_rows]) for first in range(0, 4, batch_rows)]
    assert [batch.rows_read for batch in batches] == sizes


@pytest.mark.parametrize("table", ["recipient_profile", "public.recipient_profile"])
def test_table_is_found_without_schema(database: PostgresServer, table: str) -> None:
    [row] = recipients(database.uri_without_password, table)

    assert (row["name"], row["city"]) == ("PROFILE", "Ames")


def test_order_and_digest_ignore_storage(postgres: PostgresServer, tmp_path: Path) -> None:
    """The same rows in another order and with an additional column."""
    one, other = postgres.create_database("one"), postgres.create_database("other")
    fill = "insert into recipient_lookup (recipient_hash, legal_business_name, uei, alternate_names, city, state, zip5)"
    rows = "select md5((i % 400)::text), case i % 3 when 0 then 'é' when 1 then 'Z' else 'a' end || i, null, "
    rows += "array['x' || i, null], null, '', null from generate_series(1, 500) i order by"
    create = "create table recipient_lookup (recipient_hash text, legal_business_name text, uei text, "
    create += "alternate_names text[], city text, state text, zip5 text"
    one.execute(f"{create}); {fill} {rows} i")
    other.execute(f"{create}, source text default now()::text); {fill} {rows} md5(i::text)")
    options = ReadOptions({}, 10, tmp_path)

    digests = [open_source(server.uri, None).digest(options) for server in (one, other)]
    found = [recipients(server.uri, batch_rows=70) for server in (one, other)]
    assert digests[0] == digests[1]
    assert found[0] == found[1]
    assert [row["recipient_id"] for row in found[0]] == sorted(row["recipient_id"] for row in found[0])

    other.execute("update recipient_lookup set state = null where legal_business_name = 'Z1'")  # '' before
    assert open_source(other.uri, None).digest(options) != digests[0]


def test_stream_equals_digested_rows(postgres: PostgresServer, tmp_path: Path) -> None:
    """Concurrent changes are not visible."""
    made = postgres.create_database("changing")
    made.execute("""
        create table recipient_lookup as
        select 'N' || i as name, 'h' || i as recipient_hash, null::text uei, null::text city, null::text state,
               null::text zip5
        from generate_series(1, 100) i
    """)
    source, options = open_source(made.uri, None), ReadOptions({}, 10, tmp_path)

    digest = source.digest(options)
    made.execute("delete from recipient_lookup where name <> 'N1'")
    batches = read_recipients(source, {}, batch_rows=10)
    read = len(next(batches).recipients)
    made.execute("delete from recipient_lookup")
    made.execute("insert into recipient_lookup values ('NEW', 'h0')")
    read += sum(len(batch.recipients) for batch in batches)

    assert read == 100
    assert open_source(made.uri, None).digest(options) != digest


def test_server_side_cursor_is_used(postgres: PostgresServer) -> None:
    made = postgres.create_database("cursors")
    made.execute("create table recipient_lookup as select 'N' || i as name, null::text uei, null::text city, "
                 "null::text state, null::text zip5 from generate_series(1, 1000) i")  # fmt: skip
    batches = read_recipients(made.uri, {}, batch_rows=10)

    next(batches)

    query = "select count(*), max(state), max(query) from pg_stat_activity where application_name = 'enrich_dist'"
    assert made.execute(query).strip() == "1|idle in transaction|fetch forward 10 from recipients"
    batches.close()  # before the end
    assert made.execute(query).startswith("0|")


@pytest.mark.long
def test_memory_does_not_grow_with_rows(postgres: PostgresServer) -> None:
    made = postgres.create_database("large")
    made.execute("create table recipient_lookup as select md5(i::text) recipient_hash, 'VENDOR NUMBER ' || i as name, "
                 "null::text uei, repeat('x', 50) city, null::text state, null::text zip5 "
                 "from generate_series(1, 300000) i")  # fmt: skip
    script = """
import sys
from enrich_dist.core.resource_usage import Meter
from enrich_dist.sources import read_recipients
rows = 0
with Meter() as meter:  # not ru_maxrss, which includes the parent process
    for batch in read_recipients(sys.argv[1], {}, batch_rows=5000):
        rows += batch.rows_read
        if rows == 20_000:
            first = meter.peak_memory_bytes // 1000
print(rows, first, meter.peak_memory_bytes // 1000)
"""
    command = [sys.executable, "-c", script, made.uri]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    rows, first, last = map(int, done.stdout.split())

    assert rows == 300_000
    assert last - first < 30_000  # kB; the rows are some 45 MB


def test_rows_are_counted(database: PostgresServer) -> None:
    assert open_source(database.uri, None).row_count() == (4, True)


@pytest.mark.parametrize(
    ("change", "table", "message"),
    [
        ({}, "nowhere", r"no such table.*--member"),
        ({}, "rpt.big_one", r"no column for name, for .* among the headers 'filler'"),
        ({"/sources": "/nowhere"}, None, r'database "nowhere" does not exist\. Check host, port and database'),
        ({PASSWORD: "wrong"}, None, r"password authentication failed.*PGPASSWORD, ~/\.pgpass"),
        ({"127.0.0.1": "127.0.0.1:1"}, None, r"Connection refused.*the server is up"),
    ],
)
def test_errors_do_not_show_password(
    database: PostgresServer, change: dict[str, str], table: str | None, message: str
) -> None:
    uri = database.uri
    for before, after in change.items():
        uri = uri.replace(f"{before}:{database.port}" if before[0] == "1" else before, after)

    with pytest.raises(SourceError, match=message) as raised:
        check_recipients(open_source(uri, table), {})
    shown = str(raised.value)
    assert "sources" in shown or "nowhere" in shown
    assert PASSWORD not in shown
    assert "enrich:" not in shown
    assert raised.value.__cause__ is None


def test_missing_privilege_is_reported(database: PostgresServer) -> None:
    database.execute("do $$ begin create role unprivileged login password 'x'; exception when others then end $$;")
    uri = database.socket_uri.replace("enrich@", "unprivileged@")

    with pytest.raises(SourceError, match=r"permission denied.*GRANT"):
        check_recipients(uri, {})


def test_ambiguous_table_is_refused(database: PostgresServer) -> None:
    database.execute("create schema a; create schema b; create table a.twice (name text); create table b.twice (x int)")

    with pytest.raises(SourceError, match="several: in the schemas a, b"):
        check_recipients(open_source(database.uri, "twice"), {})


def test_column_type_is_checked(database: PostgresServer) -> None:
    with pytest.raises(SourceError, match=r"column 'update_date': cannot be read as text.*timestamp"):
        check_recipients(database.uri, {"duns": "update_date"})


def test_pgpass_file_is_used(database: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGPASSWORD")
    with pytest.raises(SourceError, match="no password supplied"):
        check_recipients(database.uri_without_password, {})

    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:*:*:{database.user}:{PASSWORD}\n", "utf-8")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    check_recipients(database.uri_without_password, {})


@pytest.mark.parametrize("form", ["{uri}", "postgresql://127.0.0.1/x?password={password}", "[a.parquet, {uri}]",
                                  "[{{location: {uri}}}]"])  # fmt: skip
def test_password_in_settings_is_refused(form: str) -> None:
    text = form.format(uri=f"postgresql://enrich:{PASSWORD}@127.0.0.1/x", password=PASSWORD)

    finished = enrich_dist("run", "--set", f"inputs.recipients={text}", "--set", "inputs.awards=a.csv")

    assert finished.returncode == 2
    assert "PGPASSWORD" in finished.stderr
    assert PASSWORD not in finished.stderr + finished.stdout


def test_key_in_awards_uri_is_refused() -> None:
    finished = enrich_dist("run", "--set", f"inputs.awards=s3://reader:{PASSWORD}@bucket/awards.csv")

    assert finished.returncode == 2
    assert "AWS_SECRET_ACCESS_KEY" in finished.stderr
    assert PASSWORD not in finished.stderr + finished.stdout


def test_run_stores_no_password(postgres: PostgresServer, tmp_path: Path) -> None:
    made = postgres.create_database("resumed")
    made.execute("""
        create table recipient_lookup as
        select 'N' || i as name, md5(i::text) as recipient_hash, null::text uei, null::text city, null::text state,
               null::text zip5
        from generate_series(1, 100) i
    """)
    awards, _ = write_inputs(tmp_path / "known")
    settings = Settings(
        inputs={"awards": awards, "recipients": made.uri_without_password},
        paths={"work_dir": tmp_path / "work"},
        chunk_size=30,
    )
    pipeline = Pipeline(settings, run_id="test")

    first = pipeline.partition_recipients()
    made.execute("create table moved as select * from recipient_lookup order by name; "
                 "drop table recipient_lookup; alter table moved rename to recipient_lookup")  # fmt: skip
    again = pipeline.partition_recipients()

    assert (first.reused, again.reused) == (False, True)
    assert (first.numbers["chunks"], first.rows) == (4, 100)
    assert first.source == f"postgresql://127.0.0.1:{made.port}/resumed, table recipient_lookup"
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"recipient_lookup" in kept
    assert PASSWORD.encode() not in kept

    made.execute("insert into recipient_lookup values ('MORE', 'h', null, null, null, null)")
    assert not pipeline.partition_recipients().reused


def test_user_in_settings_is_allowed() -> None:
    settings = load_settings(None, ["inputs.recipients=postgresql://enrich@db/x"], {}).settings

    assert settings.inputs.recipients == "postgresql://enrich@db/x"


def test_missing_package_has_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_source, "_PACKAGES", ("no_such_package",))

    with pytest.raises(SettingsError, match=r"pip install adbc-driver-postgresql adbc-driver-manager"):
        check_recipients("postgresql://db/x", {})


def test_server_error_while_reading(postgres: PostgresServer) -> None:
    made = postgres.create_database("failing")
    made.execute("""
        create table numbers as select i from generate_series(1, 100) i;
        create function name_of(i int) returns text language plpgsql as
            $$ begin if i = 77 then raise exception 'row 77 is bad'; end if; return 'N' || i; end $$;
        create view recipient_lookup as select name_of(i) as name, null::text uei, null::text city, null::text state,
                                               null::text zip5 from numbers
    """)

    with pytest.raises(EnrichError, match="row 77 is bad"):
        list(read_recipients(made.uri, {}, batch_rows=10))
