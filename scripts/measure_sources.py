"""Measure seconds, rows per second and peak memory of reading recipients from each format.

    python -m scripts.measure_sources [ROWS]

Generates a table of ROWS (3,000,000) recipients in a temporary PostgreSQL server, dumps it, zips the dump, writes it as
Parquet and as CSV of awards (three per recipient), and reads each in a separate process in batches of 50,000 rows. The
results are in docs/how-to/sources.md. Requires PostgreSQL.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support import dumps, postgres_server

_TABLE = """
    create schema rpt;
    create table rpt.recipient_lookup as
    select i::bigint as id, md5(i::text)::uuid as recipient_hash,
           upper(substr(md5(i::text), 1, 7)) || ' SYSTEMS AND SERVICES ' || i as legal_business_name,
           case when i % 3 > 0 then lpad(i::text, 9, '0') end as duns,
           (i % 9999) || ' MAIN STREET' as address_line_1,
           case when i % 5 = 0 then 'SUITE ' || i % 400 end as address_line_2, array['2X'] as business_types_codes,
           'CITY NUMBER ' || i % 20000 as city, (i % 53)::text as congressional_district, 'USA' as country_code,
           case when i % 7 = 0 then 'PARENT ' || i % 1000 end as parent_legal_business_name, 'NY' as state,
           lpad((i % 9999)::text, 4, '0') as zip4, lpad((i % 99999)::text, 5, '0') as zip5,
           case when i % 20 = 0 then array['DBA, ' || i, E'\\tTABBED "NAME" ' || i] else '{}'::text[] end
               as alternate_names,
           'sam' as source, now()::timestamp as update_date, 'A' || lpad(upper(to_hex(i)), 11, '0') as uei,
           null::text as parent_uei
    from generate_series(1, ROWS) i;
    create table rpt.other as select repeat(md5(i::text), 20) as filler from generate_series(1, 100000) i;
"""
_AWARDS = """
    copy (select 'K' || i || n as contract_award_unique_key, uei as recipient_uei, duns as recipient_duns,
                 legal_business_name as recipient_name, address_line_1 as recipient_address_line_1,
                 city as recipient_city_name, state as recipient_state_code, zip5 || zip4 as recipient_zip_4_code
          from (select *, row_number() over () as i from rpt.recipient_lookup) r, generate_series(1, 3) n)
    to stdout with (format csv, header)
"""
_READ = """
import sys
from pathlib import Path
from enrich_dist.core.resource_usage import Meter
from enrich_dist.sources import read_recipients
from enrich_dist.sources.formats import open_source
with Meter() as meter:
    source = open_source(sys.argv[1])
    rows = sum(batch.rows_read for batch in read_recipients(source, {}, batch_rows=50_000, scratch=Path(sys.argv[2])))
print(rows, meter.seconds, meter.peak_memory_bytes / 1e6)
"""


def main(rows: int) -> None:
    """Generate the sources, read each, and print a table."""
    with tempfile.TemporaryDirectory() as name, postgres_server.running(Path(name) / "log") as server:
        folder = Path(name)
        server.execute(_TABLE.replace("ROWS", str(rows)))
        began = time.perf_counter()
        dump = server.dump(folder / "dump")
        archive = dumps.zipped(dump, folder / "dump.zip")
        print(f"dumped and zipped in {time.perf_counter() - began:.0f} s: {archive.stat().st_size / 1e6:,.0f} MB")
        awards = folder / "awards.csv"
        with awards.open("wb") as out:
            command = ["psql", "--no-psqlrc", "--quiet", "--command", _AWARDS]
            subprocess.run(command, env={"PATH": "/usr/bin", **server.environment}, stdout=out, check=True)
        from adbc_driver_postgresql import dbapi

        parquet = folder / "recipients.parquet"
        query = "select recipient_hash::text, legal_business_name, duns, address_line_1, address_line_2, city, "
        query += "congressional_district, country_code, parent_legal_business_name, state, zip4, zip5, "
        query += "alternate_names, uei, parent_uei from rpt.recipient_lookup"
        with dbapi.connect(server.socket_uri) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            batches = cursor.fetch_record_batch()
            with pq.ParquetWriter(parquet, pa.schema(batches.schema)) as writer:
                for batch in batches:
                    writer.write_batch(batch)
        print(f"{'source':12} {'rows':>12} {'seconds':>8} {'rows/s':>9} {'peak MB':>8}")
        for kind, location in (("Parquet", parquet), ("dump, zip", archive), ("PostgreSQL", server.socket_uri),
                               ("awards CSV", awards)):  # fmt: skip
            command = [sys.executable, "-c", _READ, str(location), str(folder / "scratch")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            count, seconds, peak = map(float, done.stdout.split())
            print(f"{kind:12} {count:12,.0f} {seconds:8.0f} {count / seconds:9,.0f} {peak:8,.0f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000_000)
