"""The comparison of kernels: hand-made names whose pairs are known, and how truth and table are put together."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from scripts.compare_kernels import Truth, markdown, run
from scripts.name_kernels import KERNELS, Side
from scripts.peers.answers import COLUMNS
from scripts.peers.cases import Known


def table(prefix: str, *names: str | None) -> pa.Table:
    rows = [
        {"id": f"{prefix}{row}", "name": name, "city": "Dayton", "state": "OH", "zip": "45402", "alternate_names": []}
        for row, name in enumerate(names)
    ]
    return pa.Table.from_pylist(rows, schema=COLUMNS)


LEFT = table("L", "Bantalian Dredging, Inc.", None, "Quorvex Photonics LLC", *(f"Word{n} Systems" for n in range(600)))
RIGHT = table("R", "QUORVEX PHOTONICS", "BANTALIAN DREDGING CO", "Elsewhere Partners")
KNOWN = {
    "L0": Known(frozenset({"R1"}), findable=True, kind="same"),
    "L2": Known(frozenset({"R0"}), findable=False, kind="same"),
    "L3": Known(frozenset({"R9"}), findable=True, kind="same"),
}
NOBODY = Known(frozenset(), findable=False, kind="none")


@pytest.mark.parametrize("name", ["ours", "sql", "sql-exact"])
def test_a_kernel_finds_equal_names(name: str, tmp_path: Path) -> None:
    companies, recipients = Side.of(LEFT), Side.of(RIGHT)
    pairs, record = run(KERNELS[name], companies, recipients, tmp_path, repeats=1)
    assert list(zip(pairs.recipients.tolist(), pairs.companies.tolist(), strict=True)) == [(0, 2), (1, 0)]
    assert record["names"] == 3
    truth = Truth.of({identity: KNOWN.get(identity, NOBODY) for identity in LEFT["id"].to_pylist()}, LEFT, RIGHT)
    assert truth.recall(pairs) == {"partners": 2, "findable": 1, "recall": 1.0, "recall_findable": 1.0}
    assert truth.among(1).recall(pairs) == {"partners": 1, "findable": 0, "recall": 1.0, "recall_findable": None}


def test_what_was_not_measured_stays_in_the_table() -> None:
    missing = {"title": "grams", "name": "grams", "how": "cosine", "end": "not measured: scipy is not installed"}
    report = {"case": "c", "recipients": 3, "companies": 2, "repeats": 1, "cpu_count": 1, "load_average_at_end": 0.0}
    assert "| grams: not measured: scipy is not installed | – |" in markdown({**report, "kernels": [missing]})
