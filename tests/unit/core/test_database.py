"""DuckDB connections stay on this machine and within their bounds."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from enrich_dist.core.database import OFFLINE, connect
from enrich_dist.sources import engine


def test_nothing_is_fetched_at_run_time(tmp_path: Path) -> None:
    with connect(memory_mb=200, scratch=tmp_path) as connection:
        found = dict(connection.execute("select name, value from duckdb_settings()").fetchall())

    assert {name: found[name] for name in OFFLINE} == dict.fromkeys(OFFLINE, "false")
    assert OFFLINE.keys() <= engine._CONFIG.keys()


def test_an_extension_that_is_not_built_in_is_an_error_and_no_download(tmp_path: Path) -> None:
    with (
        connect(memory_mb=200, scratch=tmp_path) as connection,
        pytest.raises(duckdb.Error, match=r"(?i)extension|httpfs"),
    ):
        connection.execute("from read_parquet('s3://nowhere/file.parquet')")


def test_memory_is_bounded_and_spills_to_the_scratch_directory(tmp_path: Path) -> None:
    with connect(memory_mb=200, scratch=tmp_path / "scratch") as connection:
        [(limit, folder)] = connection.execute(
            "select current_setting('memory_limit'), current_setting('temp_directory')"
        ).fetchall()

    assert limit == "190.7 MiB"
    assert folder == str(tmp_path / "scratch")
