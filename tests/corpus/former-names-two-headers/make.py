from pathlib import Path
from zipfile import ZipFile

folder = Path("downloads")
folder.mkdir()
Path("old.csv").rename(folder / "old.csv")
with ZipFile(folder / "new.zip", "w") as archive:
    archive.write("new.csv", "Contracts_PrimeTransactions_1.csv")
    archive.writestr("Contracts_Subawards_1.csv", "prime_award_piid,subawardee_name\nA1,SOMEBODY\n")
