"""Generated benchmark inputs: the same for a seed, readable, flat in memory."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from enrich_dist.bench import generate
from enrich_dist.bench.generate import write_awards, write_recipients
from enrich_dist.sources import read_awards, read_recipients

SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "recipients.parquet"
ROWS, COMPANIES = 2_500, 600


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(generate, "BATCH_ROWS", 1_000)


def recipients(path: Path, rows: int = ROWS, seed: int = 1) -> Path:
    write_recipients(path, rows=rows, seed=seed, sample=SAMPLE)
    return path


@pytest.fixture
def both(tmp_path) -> tuple[Path, Path]:
    table = recipients(tmp_path / "recipients.parquet")
    awards = tmp_path / "awards.csv"
    write_awards(awards, companies=COMPANIES, recipients=table, seed=1)
    return table, awards


def test_same_seed_same_bytes(tmp_path, both):
    table, awards = both
    again, awards_again = recipients(tmp_path / "again.parquet"), tmp_path / "again.csv"
    write_awards(awards_again, companies=COMPANIES, recipients=again, seed=1)
    assert again.read_bytes() == table.read_bytes()
    assert awards_again.read_bytes() == awards.read_bytes()


def test_other_seed_other_rows(tmp_path, both):
    table, awards = both
    other, other_awards = recipients(tmp_path / "other.parquet", seed=2), tmp_path / "other.csv"
    write_awards(other_awards, companies=COMPANIES, recipients=table, seed=2)
    first, second = pq.read_table(table), pq.read_table(other)
    for column in ("recipient_hash", "legal_business_name", "address_line_1"):
        assert pc.mean(pc.equal(first[column], second[column]).cast(pa.float64())).as_py() < 0.05
    assert other_awards.read_bytes() != awards.read_bytes()


def test_shorter_file_is_beginning_of_longer(tmp_path, both):
    table, _ = both
    shorter = recipients(tmp_path / "shorter.parquet", rows=1_700)
    assert pq.read_table(shorter).equals(pq.read_table(table).slice(0, 1_700))


def test_batches_stay_small(both):
    table, _ = both
    metadata = pq.read_metadata(table)
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [1_000, 1_000, 500]


def test_memory_does_not_grow_with_rows(tmp_path, monkeypatch):
    pool = pa.default_memory_pool()
    held: list[int] = []
    make = generate._recipients

    def metered(*args):
        held.append(pool.bytes_allocated())
        return make(*args)

    monkeypatch.setattr(generate, "_recipients", metered)
    recipients(tmp_path / "recipients.parquet", rows=20_000)
    assert len(held) == 20
    # What stays between batches: the writer's footer grows by a little per row group, batches do not pile up.
    batch_bytes = pq.read_table(tmp_path / "recipients.parquet").nbytes / 20
    assert held[-1] - held[2] < batch_bytes


def test_recipients_are_valid(both):
    table, _ = both
    batches = list(read_recipients(table, {}, batch_rows=700))
    assert sum(batch.rows_read for batch in batches) == ROWS
    assert sum(len(batch.recipients) for batch in batches) == ROWS
    assert not any(len(batch.rejects) for batch in batches)
    rows = pa.concat_tables(batch.recipients for batch in batches)
    assert len(rows["recipient_id"].unique()) == ROWS
    for column, share in (("uei", generate.UEI_SHARE), ("duns", generate.DUNS_SHARE), ("zip5", generate.PLACE_SHARE)):
        assert (ROWS - rows[column].null_count) / ROWS == pytest.approx(share, abs=0.05)
    # Places are drawn whole: a generated triple is one of the sample's.
    place = ["city", "state", "zip5"]
    real = next(iter(read_recipients(SAMPLE, {}, batch_rows=200_000))).recipients.select(place).group_by(place)
    drawn = rows.select(place).group_by(place).aggregate([]).drop_null()
    assert drawn.join(real.aggregate([]), place, join_type="left anti").num_rows == 0


def test_names_are_as_common_as_real_ones(both):
    table, _ = both
    names = pq.read_table(table)["legal_business_name"]
    real = pq.read_table(SAMPLE)["legal_business_name"]

    def share(column: pa.ChunkedArray) -> float:
        return float(pc.mean(pc.ends_with(column, pattern=" LLC").cast(pa.float64())).as_py())

    assert share(names) == pytest.approx(share(real), abs=0.05)
    assert not pc.any(pc.is_null(names)).as_py()


def test_awards_are_valid_and_partly_recipients(both):
    table, awards = both
    result = read_awards(awards, {})
    assert result.rows_rejected == 0
    assert result.cells_repaired == 0
    assert result.rows_read == len(result.awards)
    assert COMPANIES <= len(result.awards) <= 4 * COMPANIES
    known = pq.read_table(table)
    for column in ("uei", "duns"):
        borne = result.awards[column].drop_null().unique()
        assert COMPANIES * 0.05 < len(borne) < COMPANIES * 0.3
        assert pc.all(pc.is_in(borne, value_set=known[column].combine_chunks())).as_py()
    names = pc.utf8_upper(result.awards["company"].unique())
    exact = pc.mean(pc.is_in(names, value_set=known["legal_business_name"].combine_chunks()).cast(pa.float64()))
    assert 0.4 < exact.as_py() < 0.7  # 70 % partners, 30 % of them under a changed name


@pytest.mark.parametrize("companies", [0, ROWS + 1])
def test_impossible_numbers_are_refused(tmp_path, both, companies):
    with pytest.raises(ValueError, match="companies must be 1 to 2500"):
        write_awards(tmp_path / "awards.csv", companies=companies, recipients=both[0], seed=1)
    with pytest.raises(ValueError, match="rows must be at least 1"):
        write_recipients(tmp_path / "none.parquet", rows=0, seed=1, sample=SAMPLE)


def test_every_recipient_can_become_a_company(tmp_path, both):
    write_awards(tmp_path / "all.csv", companies=ROWS, recipients=both[0], seed=3)
    assert read_awards(tmp_path / "all.csv", {}).rows_rejected == 0
