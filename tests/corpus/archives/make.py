import tarfile
from pathlib import Path

with tarfile.open("rows.tar.gz", "w:gz") as archive:
    archive.add("plain.csv")
Path("rows.7z").write_bytes(b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(60))
Path("rows.rar").write_bytes(b"Rar!\x1a\x07\x01\x00" + bytes(60))
