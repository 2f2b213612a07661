import pyarrow as pa
import pyarrow.parquet as pq

awards = ["company", "agency", "phase", "award_year", "uei", "city", "state", "zip"]
for name, columns in (("recipients", ["name", "uei", "city", "state", "zip5"]), ("awards", awards)):
    pq.write_table(pa.schema({column: pa.string() for column in columns}).empty_table(), f"{name}.parquet")
