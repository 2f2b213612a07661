import pyarrow as pa
import pyarrow.parquet as pq

names = ["company", "agency", "phase", "award_year", "uei", "city", "state", "zip"]
pq.write_table(pa.table({name: ["1"] for name in names} | {"keywords": pa.array([["laser"]])}), "awards.parquet")
