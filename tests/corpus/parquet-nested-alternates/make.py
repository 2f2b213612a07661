import pyarrow as pa
import pyarrow.parquet as pq

columns = [
    pa.array([[{"name": "Oskarin"}]]),
    pa.array([{"name": "Oskarin"}]),
    pa.array([[("a", "Oskarin")]], pa.map_(pa.string(), pa.string())),
    pa.array([[["Oskarin"]]]),
]
for number, column in enumerate(columns):
    texts = {"name": ["Quorvex Optics"], "uei": [None], "city": ["Lexford"], "state": ["MA"], "zip5": ["02139"]}
    pq.write_table(pa.table(texts | {"dba_name": column}), f"{number}.parquet")
