from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

rows = [
    {"recipient_hash": "r1", "legal_business_name": "QUORVEX OPTICS LLC", "uei": None, "duns": "153865951"},
    {"recipient_hash": "r2", "legal_business_name": "ZELMORA SENSORS INC", "uei": None, "duns": "080394069"},
]
places = [
    {"address_line_1": "1 ELM ST", "city": "TROY", "state": "MI", "zip5": "48083"},
    {"address_line_1": "2 OAK ST", "city": "AMES", "state": "IA", "zip5": "50010"},
]
table = pa.Table.from_pylist([row | place for row, place in zip(rows, places, strict=True)])
folder, by_state = Path("recipients.parquet"), Path("by_state")
folder.mkdir()
for part in (0, 1):
    name = f"part-{part:05d}-c0de.snappy.parquet"
    pq.write_table(table.slice(part, 1), folder / name)
    (folder / f".{name}.crc").write_bytes(b"crc\x00")
    state = by_state / f"state={'MI' if part else 'IA'}"  # not the states in the files
    state.mkdir(parents=True)
    pq.write_table(table.slice(part, 1), state / "part-0.parquet")
for name in ("_SUCCESS", "_committed_123", "_started_123"):
    (folder / name).write_text("{}")
