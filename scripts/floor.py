"""The minimum work of any matcher, as a reference for speed: read both files, normalise names, join by UEI and DUNS.

    python scripts/floor.py RECIPIENTS.parquet AWARDS.csv

One process on all cores, which prints the rows of each join. It compares no names and writes nothing. The time of a run
divided by the time of the floor, measured on the same machine in the same session, is comparable across machines.
"""

from __future__ import annotations

import sys

import duckdb

_NORMAL = "trim(regexp_replace(upper({0}), '[^A-Z0-9]+', ' ', 'g'))"


def main(recipients: str, awards: str) -> None:
    """Read, normalise, join."""
    connection = duckdb.connect()
    connection.read_parquet(recipients).create_view("source")
    connection.read_csv(awards, all_varchar=True).create_view("awards")
    connection.execute(f"""
        create table recipients as
        select {_NORMAL.format("legal_business_name")} as name, uei, duns, address_line_1, city, state, zip5 from source
    """)
    connection.execute(f"""
        create table companies as
        select distinct {_NORMAL.format('"Company"')} as name, "UEI" as uei, "Duns" as duns from awards
    """)
    for identifier in ("uei", "duns"):
        [(pairs,)] = connection.execute(
            f"select count(*) from recipients join companies using ({identifier})"
        ).fetchall()
        print(f"{identifier}: {pairs}")


if __name__ == "__main__":
    main(*sys.argv[1:])
