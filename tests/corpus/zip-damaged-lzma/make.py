import zipfile
from pathlib import Path

path = Path("recipients.zip")
with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
    archive.writestr("recipients.csv", "name,uei,city,state,zip5\n" + "Quorvex Optics,,Lexford,MA,02139\n" * 20)
data = bytearray(path.read_bytes())
data[60:66] = bytes(6)
path.write_bytes(data)
