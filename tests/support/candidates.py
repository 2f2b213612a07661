"""Hand-made candidates, and checkpoints of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from enrich_dist import schema
from enrich_dist.matching.keys import recipient_keys
from enrich_dist.schema import Agreement, NameLevel, PlaceLevel

EXACT_NAME = {"name_level": NameLevel.EQUAL, "name_agreement": 1.0, "name_similarity": 1.0}
OTHER_STATE = {"place_level": PlaceLevel.DIFFERENT_STATE, "state_agreement": Agreement.CONFLICT}
SAME_TOWN = {"place_level": PlaceLevel.SAME_CITY_AND_ZIP, "state_agreement": 1, "city_agreement": 1, "zip_agreement": 1}
BOSTON = {"city": "BOSTON", "state": "MA", "zip5": "02110"}
SALEM = {"city": "SALEM", "state": "MA", "zip5": "01970"}
MAIN, ELM = {"address_line_1": "1 MAIN ST"}, {"address_line_1": "9 ELM RD"}


def candidate(company_id: int, recipient_id: str, **values: Any) -> dict[str, Any]:
    """Return a candidate that agrees only in the given values; the company's name has the company's number."""
    agreements = ("uei", "duns", "state", "city", "zip")
    return {
        "company_id": company_id,
        **{f"{name}_agreement": 0 for name in agreements},
        "name_level": NameLevel.ADDITIONAL_WORDS,
        "name_agreement": 0.2,
        "name_similarity": 0.2,
        "name_kind": 0,
        "name_code": company_id,
        "place_level": 0,
        "sibling_level": 0,
        "street_level": 0,
        "address_level": 0,
        "address_companies": 0,
        "source_row": sum(map(ord, recipient_id)),
        "recipient_id": recipient_id,
        **values,
    }


def candidate_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Return candidates with the keys of their recipients, as the matcher makes them."""
    recipients = pa.Table.from_pylist(list(rows), schema=schema.RECIPIENT)
    keys = recipient_keys(recipients).to_pylist()
    return pa.Table.from_pylist([{**row, **key} for row, key in zip(rows, keys, strict=True)], schema=schema.CANDIDATE)


def write_checkpoints(folder: Path, *chunks: Sequence[dict[str, Any]]) -> list[Path]:
    """Write one file per chunk of candidates."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, rows in enumerate(chunks):
        paths.append(folder / f"{number}.parquet")
        pq.write_table(candidate_table(rows), paths[-1])
    return paths


def drop_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Drop the temporary tables and views: each example of a property leaves some, and many fill the memory."""
    for name, kind in connection.execute(
        "select table_name, table_type from information_schema.tables where table_catalog = 'temp'"
    ).fetchall():
        connection.execute(f'drop {"view" if kind == "VIEW" else "table"} "{name}"')
