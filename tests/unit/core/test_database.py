"""DuckDB connections have no network access and bounded memory."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist.core.database import OFFLINE, attach_sql, connect, evaluate, read_parquet
from tests.support.odd_paths import ODD_NAMES


def test_extensions_are_never_downloaded(tmp_path: Path) -> None:
    with connect(memory_mb=200, scratch=tmp_path) as connection:
        found = dict(connection.execute("select name, value from duckdb_settings()").fetchall())

    assert {name: found[name] for name in OFFLINE} == dict.fromkeys(OFFLINE, "false")
    for name in OFFLINE:
        assert evaluate(f"x || current_setting('{name}')", pa.array(["a", "b"])).to_pylist() == ["afalse", "bfalse"]


def test_missing_extension_is_an_error(tmp_path: Path) -> None:
    with (
        connect(memory_mb=200, scratch=tmp_path) as connection,
        pytest.raises(duckdb.Error, match=r"(?i)extension|httpfs"),
    ):
        connection.execute("from read_parquet('s3://nowhere/file.parquet')")


def test_memory_limit_and_scratch_are_set(tmp_path: Path) -> None:
    with connect(memory_mb=200, scratch=tmp_path / "scratch") as connection:
        [(limit, folder)] = connection.execute(
            "select current_setting('memory_limit'), current_setting('temp_directory')"
        ).fetchall()

    assert limit == "190.7 MiB"
    assert Path(folder).parent == tmp_path / "scratch"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_path_is_no_syntax(name: str, tmp_path: Path) -> None:
    """Beside it is a directory that the name would match as a pattern; ``state`` is a column, not the directory."""
    folder, decoy = tmp_path / name, tmp_path / name.translate({ord("["): None, ord("]"): None, ord("*"): "x"})
    for place in {decoy, folder}:
        place.mkdir()
        pq.write_table(pa.table({"state": [str(place)]}), place / "rows.parquet")

    with connect(folder / "new.duckdb", scratch=folder / "scratch") as connection:
        read_parquet(connection, [folder / "rows.parquet"]).create("rows")
    with connect(scratch=folder / "scratch") as connection:
        connection.execute(attach_sql(folder / "new.duckdb", "made"))
        assert connection.sql("from made.rows").fetchall() == [(str(folder),)]
    assert {path.name for path in tmp_path.iterdir()} == {name, decoy.name}


def test_a_relative_path_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("sqlite:new", "~"):
        Path(name).mkdir()
        with connect(Path(name, "new.duckdb"), scratch=Path(name, "scratch")) as connection:
            connection.execute("create table made as select 1")

    assert sorted(path.parent.name for path in tmp_path.rglob("new.duckdb")) == ["sqlite:new", "~"]
