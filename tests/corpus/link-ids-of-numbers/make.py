"""Writes the left table with ids of type int64."""

import pyarrow as pa
import pyarrow.parquet as pq

names = ["Quorvex Optics Inc", "Zymerlan Robotics Inc"]
place = {"city": ["Boston"] * 2, "state": ["MA"] * 2, "zip": ["02110"] * 2}
pq.write_table(pa.table({"id": [7, 8], "name": names, **place}), "left.parquet")
