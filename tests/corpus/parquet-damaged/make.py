from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

pq.write_table(pa.table({"name": ["Quorvex Optics"], "uei": ["QK7MB3XW9TRA"]}), "whole")
data = Path("whole").read_bytes()
Path("cut.parquet").write_bytes(data[:-9])
Path("footer.parquet").write_bytes(data[:-60] + b"\xff" * 40 + data[-20:])
Path("length.parquet").write_bytes(data[:-8] + b"\xff\xff\xff\x7fPAR1")
Path("empty.parquet").write_bytes(b"")
