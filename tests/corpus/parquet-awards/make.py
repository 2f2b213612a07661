from datetime import date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq

columns = [
    ("Company", pa.array(["Quorvex Optics", "Zelmora Sensors"]).dictionary_encode()),
    ("Agency", pa.array(["DOE", None], pa.large_string())),
    ("Phase", pa.nulls(2)),
    # 23:00 on 1 March in New York is 2 March in UTC.
    ("Proposal Award Date", pa.array([datetime(2019, 3, 2, 4), None], pa.timestamp("ns", "America/New_York"))),
    ("Contract End Date", pa.array([date(2020, 2, 29), None])),
    ("Award Year", pa.array([2019.0, float("nan")])),
    ("Award Amount", pa.array([Decimal("149999.50"), None])),
    ("Number Employees", pa.array([12.0, None], pa.float32())),
    ("Woman Owned", pa.array([True, None])),
    ("HUBZone Owned", pa.array([False, None])),
    ("UEI", pa.array([None, None], pa.string_view())),
    ("Duns", pa.array([413271410.0, float("nan")])),
    ("City", pa.array(["Lexford", None])),
    ("State", pa.array(["MA", None])),
    ("Zip", pa.array([2139, None])),
    ("Note", pa.array([1, 1])),
    ("Note", pa.array([time(1, 30), time(1, 30)])),
]
names, arrays = zip(*columns, strict=True)
pq.write_table(pa.Table.from_arrays(list(arrays), names=list(names)), "awards.parquet")
