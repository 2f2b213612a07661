"""Samples come from all over a Parquet file, and from the beginning of any other source."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from enrich_dist.planning.sample import Sample, open_sample
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.parquet import ParquetSource


def grouped(path: Path, rows: int, groups: int) -> Path:
    pq.write_table(pa.table({"number": list(range(rows))}), path, row_group_size=-(-rows // groups))
    return path


def path_of(sample: Sample) -> str:
    assert isinstance(sample.source, ParquetSource)
    return sample.source.where


def test_row_groups_are_sampled_evenly(tmp_path: Path) -> None:
    path = grouped(tmp_path / "r.parquet", 10_000, 20)

    with open_sample(open_source(path), 800, tmp_path / "scratch") as sample:
        numbers = pq.read_table(path_of(sample))["number"].to_pylist()
        assert (len(numbers), sample.places) == (800, 8)
        assert (min(numbers), max(numbers)) == (500, 9_099)  # groups 1 to 18 of 20

    assert not list((tmp_path / "scratch").iterdir())


def test_small_row_groups_are_used_whole(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    with pq.ParquetWriter(path, pa.schema([("number", pa.int64())])) as writer:
        for size in (10, 500, 500):
            writer.write_table(pa.table({"number": list(range(size))}))

    with open_sample(open_source(path), 410, tmp_path / "scratch") as sample:
        assert pq.read_metadata(path_of(sample)).num_rows == 410


@pytest.mark.parametrize(("groups", "rows"), [(1, 100), (20, 10_000)])
def test_other_files_are_sampled_first(tmp_path: Path, groups: int, rows: int) -> None:
    path = grouped(tmp_path / "r.parquet", 10_000, groups)

    with open_sample(open_source(path), rows, tmp_path) as sample:
        assert (path_of(sample), sample.places) == (str(path), 1)
