import bz2
import gzip
import lzma
from pathlib import Path

import pyarrow as pa

text = Path("plain.csv").read_bytes()
Path("r.csv.gz").write_bytes(gzip.compress(text, mtime=0))
Path("r.csv.bz2").write_bytes(bz2.compress(text))
Path("r.csv.xz").write_bytes(lzma.compress(text))
for codec in ("zstd", "lz4"):
    with pa.CompressedOutputStream(f"r.{codec}", codec) as stream:
        stream.write(text)
Path("utf16.csv").write_bytes(text.decode().encode("utf-16"))
Path("utf16-without-mark.csv").write_bytes(text.decode().encode("utf-16-le"))
