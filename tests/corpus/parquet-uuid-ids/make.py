import pyarrow as pa
import pyarrow.parquet as pq

ids = [bytes.fromhex("0123456789abcdef8123456789abcdef"), None]
for name, kind in (("logical", pa.uuid()), ("bytes", pa.binary(16))):
    table = {
        "recipient_hash": pa.array(ids, kind),
        "name": ["Quorvex Optics", "Zelmora Sensors"],
        "uei": [None, "QK7MB3XW9TRA"],
        "city": ["Lexford", "Marlow"],
        "state": ["MA", "OH"],
        "zip5": ["02139", "45431"],
    }
    pq.write_table(pa.table(table), f"{name}.parquet")
