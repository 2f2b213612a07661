"""One known case, read from every format of source, publishes the same bytes."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from distributed import Client

from tests.conftest import run_steps
from tests.support import dumps
from tests.support import known_case as known
from tests.support.object_store import ObjectStore
from tests.support.postgres_server import PostgresServer
from tests.support.published import published_bytes

pytestmark = [pytest.mark.cluster, pytest.mark.long]

# These name the source of rejected rows; all other files must be equal.
NAMING = ("rejects.csv", "metrics.json", "report.md", "enrich_dist.duckdb:rejects")


@dataclass(frozen=True)
class Sources:
    """The known case in every format, its rows sorted by key as those of a database."""

    awards: Path
    parquet: Path
    csv: Path
    dump: Path
    uri: str
    objects: str


@pytest.fixture(scope="module")
def sources(postgres: PostgresServer, store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("sources")
    awards, recipients = known.write_inputs(folder)
    table = pq.read_table(recipients).sort_by("recipient_hash")
    pq.write_table(table, recipients)

    server = postgres.create_database("published")
    columns = ", ".join(f"{name} {'text[]' if name == 'alternate_names' else 'text'}" for name in table.column_names)
    server.execute(f"create schema rpt; create table rpt.recipient_lookup ({columns}); create table rpt.other (x int)")
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(server.uri) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("recipient_lookup", table, mode="append", db_schema_name="rpt")
        connection.commit()
    dump = dumps.zipped(server.dump(folder / "dump"), folder / "usaspending-db.zip")
    for file in (awards, recipients, dump):
        store.write(f"published/{file.name}", file.read_bytes())
    flat = folder / "recipients.csv"
    names = [None if names is None else "|".join(names) for names in table["alternate_names"].to_pylist()]
    position = table.column_names.index("alternate_names")
    pa.csv.write_csv(table.set_column(position, "alternate_names", pa.array(names, pa.string())), flat)
    return Sources(awards, recipients, flat, dump, server.socket_uri, store.uri("published/{}"))


def test_awards_object_publishes_same_bytes(
    sources: Sources, from_parquet: Path, client: Client, tmp_path: Path
) -> None:
    settings = known.settings(tmp_path, inputs=(sources.objects.format(sources.awards.name), sources.parquet))

    run_steps(settings, lambda: client)

    found, expected = published_bytes(settings.paths.work_dir), published_bytes(from_parquet)
    assert {name for name in expected if found.get(name) != expected[name]} == set()


@pytest.fixture(scope="module")
def from_parquet(sources: Sources, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(sources, sources.parquet, client, tmp_path_factory.mktemp("parquet"))


def run(sources: Sources, recipients: Path | str, client: Client, folder: Path) -> Path:
    settings = known.settings(folder, inputs=(sources.awards, recipients))
    run_steps(settings, lambda: client)
    return settings.paths.work_dir


FORMATS: dict[str, Callable[[Sources], Path | str]] = {
    "a dump in a zip": lambda sources: sources.dump,
    "a table of a database": lambda sources: sources.uri,
    "Parquet in an object store": lambda sources: sources.objects.format(sources.parquet.name),
    "a dump in an object store": lambda sources: sources.objects.format(sources.dump.name),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_publishes_same_bytes(
    sources: Sources, from_parquet: Path, client: Client, tmp_path: Path, kind: str
) -> None:
    work_dir = run(sources, FORMATS[kind](sources), client, tmp_path)

    found, expected = published_bytes(work_dir), published_bytes(from_parquet)
    assert set(found) == set(expected)
    assert {name for name in found if found[name] != expected[name]} <= set(NAMING)
    assert "enriched_awards.parquet" not in NAMING
    for name in ("rejects.csv", "metrics.json", "report.md"):
        texts = [(path / "published/current" / name).read_text("utf-8") for path in (work_dir, from_parquet)]
        source = Path(FORMATS[kind](sources)).name.partition("?")[0]
        called = "recipient_lookup" if "database" in kind else source
        assert texts[0].replace(called, sources.parquet.name) == texts[1]


def test_csv_differs_in_row_numbers(sources: Sources, from_parquet: Path, client: Client, tmp_path: Path) -> None:
    """The header is row 1 of a CSV file."""
    work_dir = run(sources, sources.csv, client, tmp_path)

    tables = [pq.read_table(path / "published/current/enriched_awards.parquet") for path in (work_dir, from_parquet)]
    if "recipient_source_row" in tables[0].column_names:
        moved = pc.add(tables[1]["recipient_source_row"], 1)
        position = tables[1].column_names.index("recipient_source_row")
        tables[1] = tables[1].set_column(position, tables[1].schema.field(position), moved)
    assert tables[0].equals(tables[1])


def test_several_sources_publish_same_bytes(
    sources: Sources, from_parquet: Path, client: Client, tmp_path: Path
) -> None:
    """Half of the rows from each of two files."""
    table = pq.read_table(sources.parquet)
    halves = [tmp_path / "first.parquet", tmp_path / "second.parquet"]
    for path, part in zip(halves, (table.slice(0, 25), table.slice(25)), strict=True):
        pq.write_table(part, path)

    work_dir = run(sources, [str(path) for path in halves], client, tmp_path / "run")  # type: ignore[arg-type]

    found, expected = published_bytes(work_dir), published_bytes(from_parquet)
    assert {name for name in found if found[name] != expected[name]} <= set(NAMING)
    with (work_dir / "published/current/rejects.csv").open(encoding="utf-8", newline="") as handle:
        files = {row["source_file"] for row in csv.DictReader(handle)}
    assert files & {"first.parquet", "second.parquet"}
    shutil.rmtree(tmp_path)
