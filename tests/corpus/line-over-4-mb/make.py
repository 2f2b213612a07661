from pathlib import Path

header = "recipient_hash,legal_business_name,uei,city,state,zip5\n"
Path("long.csv").write_text(header + "r1,QUORVEX,,TROY,MI," + "x" * 13_000_000 + "\nr2,ZELMORA,,AMES,IA,50010\n")
