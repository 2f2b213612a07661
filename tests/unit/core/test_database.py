"""DuckDB connections have no network access and bounded memory."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from enrich_dist.core.database import OFFLINE, connect, evaluate


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
    assert folder == str(tmp_path / "scratch")
