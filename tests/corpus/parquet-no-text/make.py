import datetime

import pyarrow as pa
import pyarrow.parquet as pq

columns = [pa.array([{"legal": "A"}]), pa.array([True]), pa.array([datetime.date(2026, 11, 30)]), pa.array([1.0])]
columns[3] = columns[0]
for number, column in enumerate(columns):
    texts = {"id": ["1"], "uei": [None], "city": ["Lexford"], "state": ["MA"], "zip5": ["02139"]}
    pq.write_table(pa.table(texts | {"legal_name": column}), f"{number}.parquet")
