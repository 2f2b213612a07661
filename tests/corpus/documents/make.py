from pathlib import Path
from zipfile import ZipFile

Path("report.pdf").write_bytes(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
Path("locked.xlsx").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1024))
Path("rows.sqlite").write_bytes(b"SQLite format 3\x00" + bytes(84))
Path("noise.csv").write_bytes(bytes(range(256)) * 8)
with ZipFile("letter.docx", "w") as archive:
    archive.writestr("word/document.xml", "<w:document/>")
