import json
from pathlib import Path

rows = [
    {
        "name": "QUORVEX OPTICS",
        "uei": None,
        "city": "TROY",
        "state": "MI",
        "zip5": "48083",
        "alternate_names": ["A, B", "C"],
    },
    {"name": "ZELMORA SENSORS", "uei": "", "city": "AMES", "state": "IA", "zip5": 50010, "alternate_names": []},
]
Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
Path("rows.json").write_text(json.dumps(rows, indent=1))
Path("answer.json").write_text(json.dumps({"count": 2, "results": rows}, indent=1))
