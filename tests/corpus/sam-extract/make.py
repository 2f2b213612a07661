from pathlib import Path
from zipfile import ZipFile


def entity(uei: str, name: str, town: str, eft: str = "") -> str:
    fields = [""] * 142
    fields[0], fields[2], fields[5], fields[11], fields[12] = uei, eft, "A", name, name.split()[0] + " WORKS"
    fields[15], fields[17], fields[18], fields[19], fields[20], fields[21] = (
        "1 ELM ST",
        town,
        "MI",
        "48083",
        "0001",
        "USA",
    )
    fields[141] = "!end"
    return "|".join(fields)


lines = [
    "BOF PUBLIC V2 00000000 20260906 0000003 0000001",
    entity("D7SRYQVNKMV3", "QUORVEX OPTICS LLC", "TROY"),
    entity("ZQGGHJH74DW7", 'ZELMORA "Z" SENSORS', "AMES"),
    entity("D7SRYQVNKMV3", "QUORVEX OPTICS LLC", "TROY", "0001"),
    "EOF PUBLIC V2 00000000 20260906 0000003 0000001",
]
Path("extract.dat").write_text("\n".join(lines) + "\n")
Path("cut.dat").write_text("\n".join(lines[:3]) + "\n")
Path("old.dat").write_text("\n".join([lines[0], "|".join(["x"] * 120), lines[-1]]) + "\n")
with ZipFile("extract.ZIP", "w") as archive:
    archive.write("extract.dat")
