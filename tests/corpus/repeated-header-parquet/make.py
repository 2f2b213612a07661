import pyarrow as pa
import pyarrow.parquet as pq

rows = [
    ("r1", "QUORVEX OPTICS LLC", "", "TROY", "MI", "48083"),
    ("Recipient Hash", "Recipient Name", "UEI", "City", "State", "Zip"),
    ("r2", "ZELMORA SENSORS INC", "", "AMES", "IA", "50010"),
]
names = ["recipient_hash", "legal_business_name", "uei", "city", "state", "zip5"]
pq.write_table(pa.table([pa.array(cells) for cells in zip(*rows, strict=True)], names=names), "recipients.parquet")
