import pyarrow as pa
import pyarrow.parquet as pq

names = pa.array([b"Quorvex Optics", b"Universit\xe4t Quelldorf"], pa.binary())
for kind, column in {
    "binary": names,
    "string": names.view(pa.string()),
    "dictionary": names.dictionary_encode(),
}.items():
    texts = {"uei": [None] * 2, "city": ["Lexford"] * 2, "state": ["MA"] * 2, "zip5": ["02139"] * 2}
    pq.write_table(pa.table(texts | {"name": column}), f"{kind}.parquet")
