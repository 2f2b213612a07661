import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

columns = {name: ["x"] for name in ("nom\u00e9", "uei", "city", "state", "zip5")}
pq.write_table(pa.table(columns), "column.parquet", store_schema=False)
with zipfile.ZipFile("member.zip", "w") as archive:
    archive.writestr("nom\u00e9.csv", "name,uei,city,state,zip5\n")
for path in (Path("column.parquet"), Path("member.zip")):
    path.write_bytes(path.read_bytes().replace(b"\xc3\xa9", b"\xc3("))
