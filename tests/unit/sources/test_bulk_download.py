"""Bulk downloads of prime awards: awards aggregated to recipients, every row accounted for."""

from __future__ import annotations

import csv
import gzip
import io
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from enrich_dist.errors import SourceError
from enrich_dist.sources import chunks
from enrich_dist.sources.bulk_download import BulkDownload
from enrich_dist.sources.formats import open_source
from enrich_dist.sources.protocol import ReadOptions
from enrich_dist.sources.recipient_files import CsvSource
from enrich_dist.sources.recipients import RecipientBatch, check_recipients, read_recipients
from enrich_dist.store.artifacts import get_or_build

# Some of USAspending's headers, including columns that are not read.
CONTRACTS = [
    "contract_transaction_unique_key", "contract_award_unique_key", "award_id_piid", "action_date", "recipient_uei",
    "recipient_duns", "recipient_name", "recipient_name_raw", "recipient_doing_business_as_name",
    "recipient_parent_uei", "recipient_parent_name", "recipient_country_code", "recipient_address_line_1",
    "recipient_address_line_2", "recipient_city_name", "recipient_state_code", "recipient_zip_4_code",
    "prime_award_transaction_recipient_cd_current",
]  # fmt: skip
ASSISTANCE = [
    "assistance_transaction_unique_key", "assistance_award_unique_key", "award_id_fain", "recipient_uei",
    "recipient_duns", "recipient_name", "recipient_address_line_1", "recipient_city_name", "recipient_state_code",
    "recipient_zip_code", "recipient_zip_last_4_code",
]  # fmt: skip
UEI, OTHER = "D7SRYQVNKMV3", "C7SRYQVNKMV4"


def award(headers: Sequence[str], **values: str) -> list[str]:
    """Return a row; keys are headers without ``recipient_``."""
    row = dict.fromkeys(headers, "") | {headers[1]: "key"}
    for name, value in values.items():
        [header] = [header for header in headers if header == f"recipient_{name}"]
        row[header] = value
    return list(row.values())


def text(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([headers, *rows])
    return out.getvalue()


CONTRACT_ROWS = [
    award(CONTRACTS, uei=UEI, name="ACME INC", address_line_1="1 MAIN ST", city_name="TROY", state_code="MI",
          zip_4_code="480831234", doing_business_as_name="ACME ROCKETS"),
    award(CONTRACTS, uei=UEI.lower(), name="ACME HOLDINGS", address_line_1="2 MAIN ST", city_name="TROY",
          state_code="MI", zip_4_code="48083"),
    award(CONTRACTS, uei=UEI, name="ACME HOLDINGS", address_line_1="2 MAIN ST", city_name="TROY", state_code="MI",
          zip_4_code="48083"),
    award(CONTRACTS, uei=UEI, name="ACME HOLDINGS", address_line_1="2 MAIN ST", city_name="TROY", state_code="MI",
          zip_4_code="48083"),
    award(CONTRACTS, duns="153865951", name="OLD DUNS, LLC", city_name="AMES", state_code="IA", zip_4_code="50010"),
    award(CONTRACTS),
    ["too", "short"],
    award(CONTRACTS, name="NAMELESS TOWN", city_name="RENO", state_code="NV", zip_4_code="89501"),
    award(CONTRACTS, name="Nameless Town", city_name="RENO", state_code="NV", zip_4_code="89501"),
    award(CONTRACTS, name="NAMELESS TOWN", city_name="MIAMI", state_code="FL", zip_4_code="33101"),
]  # fmt: skip
ASSISTANCE_ROWS = [
    award(ASSISTANCE, uei=UEI, name="ACME UNIVERSITY", city_name="TROY", state_code="MI", zip_code="48083",
          zip_last_4_code="1234"),
    award(ASSISTANCE, uei=OTHER, name="BETA COLLEGE", city_name="BOISE", state_code="ID", zip_code="83702",
          zip_last_4_code="0001"),
]  # fmt: skip


@pytest.fixture
def download(tmp_path: Path) -> Path:
    path = tmp_path / "All_PrimeAwards.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Contracts_PrimeTransactions_1.csv", text(CONTRACTS, CONTRACT_ROWS))
        archive.writestr("Assistance_PrimeTransactions_1.csv", text(ASSISTANCE, ASSISTANCE_ROWS))
        archive.writestr("Contracts_Subawards_1.csv", text(["prime_award_unique_key", "subawardee_name"], [["k", "X"]]))
        archive.writestr("readme.txt", "x")
    return path


def read(path: Path, batch_rows: int = 100, member: str | None = None) -> list[RecipientBatch]:
    return list(read_recipients(open_source(path, member), {}, batch_rows=batch_rows, scratch=path.parent))


def rows(batches: Sequence[RecipientBatch]) -> list[dict[str, Any]]:
    return pa.concat_tables(batch.recipients for batch in batches).to_pylist()


def test_awards_become_recipients(download: Path) -> None:
    check_recipients(download, {})
    acme, duns, reno, miami, beta = rows(read(download))

    assert (acme["name"], acme["uei"], acme["recipient_id"]) == ("ACME HOLDINGS", UEI, UEI)
    assert acme["alternate_names"] == ["ACME INC", "ACME ROCKETS", "ACME UNIVERSITY"]
    assert (acme["address_line_1"], acme["zip5"], acme["zip4"]) == ("2 MAIN ST", "48083", None)
    assert (duns["name"], duns["duns"], duns["uei"]) == ("OLD DUNS, LLC", "153865951", None)
    assert (reno["name"], reno["alternate_names"], reno["state"]) == ("NAMELESS TOWN", ["Nameless Town"], "NV")
    assert (miami["name"], miami["state"]) == ("NAMELESS TOWN", "FL")
    assert (beta["name"], beta["zip5"], beta["zip4"]) == ("BETA COLLEGE", "83702", "0001")


def test_every_row_is_accounted_for(download: Path) -> None:
    [batch] = read(download)

    assert batch.rows_read == len(CONTRACT_ROWS) + len(ASSISTANCE_ROWS)
    assert (len(batch.recipients), batch.rows_rejected, batch.rows_merged) == (5, 2, 5)
    found = [(row["source_file"], row["source_row"], row["reason"]) for row in batch.rejects.to_pylist()]
    name = "All_PrimeAwards.zip/Contracts_PrimeTransactions_1.csv"
    assert found == [(name, 7, "no name and no valid identifier"), (name, 8, "2 cells, the header 18")]


@pytest.mark.parametrize("batch_rows", [1, 2, 3, 5])
def test_batch_size_does_not_matter(download: Path, batch_rows: int) -> None:
    complete, batches = read(download), read(download, batch_rows)

    assert rows(batches) == rows(complete)
    for count in ("rows_read", "rows_merged", "rows_rejected"):
        assert sum(getattr(batch, count) for batch in batches) == sum(getattr(batch, count) for batch in complete)
    assert [row for batch in batches for row in batch.rejects.to_pylist()] == complete[0].rejects.to_pylist()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_single_file_with_any_compression(tmp_path: Path, pack: Any) -> None:
    path = tmp_path / "contracts.csv"
    path.write_bytes(pack(text(CONTRACTS, CONTRACT_ROWS).encode()))

    assert [row["name"] for row in rows(read(path))] == [
        "ACME HOLDINGS",
        "OLD DUNS, LLC",
        "NAMELESS TOWN",
        "NAMELESS TOWN",
    ]


def test_zip_member_can_be_named(download: Path) -> None:
    batches = read(download, member="Assistance_PrimeTransactions_1.csv")

    assert [row["name"] for row in rows(batches)] == ["ACME UNIVERSITY", "BETA COLLEGE"]
    with pytest.raises(SourceError, match=r"no files Nowhere\.csv; it contains Contracts_PrimeTransactions_1\.csv"):
        check_recipients(open_source(download, "Nowhere.csv"), {})


def test_recipient_table_is_not_detected(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("recipient_name,recipient_uei,city,state,zip5\nA,,,,\n", "utf-8")

    assert type(open_source(path)) is CsvSource


def test_digest_depends_on_members(download: Path, tmp_path: Path) -> None:
    options = ReadOptions({}, 1, tmp_path)
    complete, one = open_source(download), open_source(download, "Assistance_PrimeTransactions_1.csv")

    assert isinstance(complete, BulkDownload)
    assert complete.digest(options) == open_source(download).digest(options) != one.digest(options)


def test_chunk_plan_has_merged_rows(download: Path, tmp_path: Path) -> None:
    stored = get_or_build(tmp_path / "chunks", lambda folder: chunks.write_chunks(iter(read(download, 2)), folder))

    assert stored.facts["source_rows"] == 12
    assert stored.facts["rows"] + stored.facts["rejected_rows"] + stored.facts["merged_rows"] == 12
    assert [part.name for part in chunks.row_ranges_of(stored)] == [
        "All_PrimeAwards.zip/Contracts_PrimeTransactions_1.csv",
        "All_PrimeAwards.zip/Assistance_PrimeTransactions_1.csv",
    ]


def test_file_without_awards_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "contracts.csv"
    path.write_text(text(CONTRACTS, []), "utf-8")

    with pytest.raises(SourceError, match="contains no row"):
        check_recipients(path, {})


def test_late_damage_is_a_source_error(tmp_path: Path) -> None:
    path = tmp_path / "contracts.csv"
    path.write_bytes(gzip.compress(text(CONTRACTS, CONTRACT_ROWS * 5000).encode())[:-20])

    with pytest.raises(SourceError, match="damaged or incomplete"):
        read(path)


@pytest.mark.long
def test_memory_is_bounded(tmp_path: Path) -> None:
    """The worst case, as many recipients as awards: DuckDB spills."""
    path = tmp_path / "contracts.csv.gz"
    with gzip.open(path, "wt", compresslevel=1) as out:
        out.write(",".join(CONTRACTS) + "\n")
        for number in range(300_000):
            out.write(",".join(award(CONTRACTS, uei=f"A{number:011d}", name=f"VENDOR {number} " + "OF MANY WORDS " * 8,
                                     address_line_1=f"{number} MAIN STREET " * 6)) + "\n")  # fmt: skip
    script = """
import sys
from functools import partial
from pathlib import Path
import enrich_dist.sources.bulk_download as bulk
from enrich_dist.core.resource_usage import Meter
from enrich_dist.sources import read_recipients
bulk.connect = partial(bulk.connect, memory_mb=150)
with Meter() as meter:  # not ru_maxrss, which includes the parent process
    batches = read_recipients(Path(sys.argv[1]), {}, batch_rows=5000, scratch=Path(sys.argv[2]))
    rows = sum(len(batch.recipients) for batch in batches)
print(rows, meter.peak_memory_bytes // 1000)
"""
    command = [sys.executable, "-c", script, path, tmp_path / "scratch"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    count, peak = map(int, done.stdout.split())

    assert count == 300_000
    assert peak < 600_000  # kB
    assert not [file for file in (tmp_path / "scratch").rglob("*") if file.is_file()]
