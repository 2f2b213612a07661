import pyarrow as pa
import pyarrow.parquet as pq

columns = [
    ("recipient.name", pa.array(["Quorvex Optics"])),
    ("recipient", pa.array([{"name": 1, "other": "x"}])),
    ("note", pa.array(["x"])),
    ("note", pa.array([2])),
    ("uei", pa.array(["QK7MB3XW9TRA"])),
    ("city", pa.array(["Lexford"])),
    ("state", pa.array(["MA"])),
    ("zip5", pa.array(["02139"])),
    ("duns", pa.nulls(1)),
]
names, arrays = zip(*columns, strict=True)
pq.write_table(pa.Table.from_arrays(list(arrays), names=list(names)), "recipients.parquet")
