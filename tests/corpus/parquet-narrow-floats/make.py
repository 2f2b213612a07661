import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

texts = {"name": ["Quorvex Optics"], "uei": [None], "city": ["Lexford"], "state": ["MA"], "zip5": ["02139"]}
pq.write_table(pa.table(texts | {"duns": pa.array([np.float32(219793247)])}), "float.parquet")
pq.write_table(pa.table(texts | {"duns": pa.array([np.float16(21979)], pa.float16())}), "halffloat.parquet")
