import pyarrow as pa
import pyarrow.parquet as pq

lists = [["Oskarin", "Dramoor &amp; Co"], None, ["Fenwarr", "Gristol"]]
text, large, view = pa.string(), pa.large_string(), pa.string_view()
kinds = [pa.list_(text), pa.list_(text, 2), pa.large_list(large), pa.list_view(text), pa.large_list_view(view)]
kinds += [pa.list_(pa.binary()), pa.list_(pa.dictionary(pa.int32(), text))]
columns = [pa.array(lists, kind) for kind in kinds]
joined = ["Oskarin|Dramoor &amp; Co", None, "Fenwarr|Gristol"]
columns.append(pa.array(joined).dictionary_encode())
columns.append(pa.array(['["Oskarin", "Dramoor &amp; Co"]', None, '["Fenwarr", "Gristol"]'], pa.json_()))
for number, column in enumerate(columns):
    table = {
        "name": ["Quorvex Optics", "Zelmora Sensors", "Norvik Tool"],
        "alternate_names": column,
        "uei": pa.nulls(3),
        "city": ["Lexford"] * 3,
        "state": ["MA"] * 3,
        "zip5": ["02139"] * 3,
    }
    pq.write_table(pa.table(table), f"{number}.parquet")
