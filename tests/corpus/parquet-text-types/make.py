import pyarrow as pa
import pyarrow.parquet as pq

texts = {
    "recipient_id": ["a", "bb", "ccc"],
    "name": ["Quorvex Optics", "Zelmora Sensors", "Norvik Tool"],
    "city": ["Lexford", None, "Marlow"],
    "state": ["MA", None, "OH"],
    "zip5": ["02139", None, "45431"],
    "uei": [None] * 3,
}
kinds = [pa.string_view(), pa.large_string(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(20)]
kinds += [
    pa.dictionary(pa.int8(), pa.string()),
    pa.dictionary(pa.uint32(), pa.large_string()),
    pa.dictionary(pa.int64(), pa.string()),
]
for number, kind in enumerate(kinds):
    padded = (lambda text: text and text.encode().ljust(20, b"\0")) if kind == pa.binary(20) else (lambda text: text)
    columns = {name: pa.array([*map(padded, values)], kind) for name, values in texts.items()}
    # Row groups of one row, one of them empty, each with a dictionary of its own.
    with pq.ParquetWriter(f"{number}.parquet", pa.schema(dict.fromkeys(texts, kind))) as writer:
        for rows in ((0, 1), (1, 0), (1, 1), (2, 1)):
            writer.write_table(pa.table(columns).slice(*rows))
