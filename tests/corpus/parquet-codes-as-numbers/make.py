import pyarrow as pa
import pyarrow.parquet as pq

numbers = {"recipient_id": [1, 12345678901, 3], "zip5": [2139, 97201, None], "duns": [41327146, 743252063, None]}
texts = {"name": ["Quorvex Optics", "Zelmora Sensors", "Norvik Tool"], "city": ["Lexford"] * 3, "state": ["MA"] * 3}
for kind in (pa.float64(), pa.int64(), pa.decimal128(38, 0), pa.decimal128(38, 10), pa.decimal256(60, 2)):
    columns = {name: pa.array(values, pa.int64()) for name, values in numbers.items()}
    if pa.types.is_decimal(kind):
        columns = {name: values.cast(pa.decimal128(19, 0)) for name, values in columns.items()}
    columns = {name: values.cast(kind) for name, values in columns.items()}
    pq.write_table(pa.table(columns | texts | {"uei": pa.nulls(3)}), f"{kind}.parquet")
