import base64

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe


class Vault(pe.KmsClient):
    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: str, _: str) -> bytes:
        return base64.b64decode(key)


table = pa.table(
    {"name": ["Quorvex Optics"], "uei": ["QK7MB3XW9TRA"], "city": ["A"], "state": ["MA"], "zip5": ["02139"]}
)
connection = pe.KmsConnectionConfig()
for path, plain in (("footer.parquet", False), ("column", True)):
    how = pe.EncryptionConfiguration(footer_key="a", column_keys={"b": ["uei"]}, plaintext_footer=plain)
    properties = pe.CryptoFactory(lambda _: Vault()).file_encryption_properties(connection, how)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
