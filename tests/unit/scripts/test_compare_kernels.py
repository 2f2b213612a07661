"""Kernels on names whose pairs are known, recall, and the table."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from scripts.compare_kernels import KERNELS, Side, markdown, recall, run
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
PARTNERS = {
    "L0": Known(frozenset({"R1"}), findable=True, kind="same"),
    "L2": Known(frozenset({"R0"}), findable=False, kind="same"),
    "L3": Known(frozenset({"R9"}), findable=True, kind="same"),
}
NO_PARTNER = Known(frozenset(), findable=False, kind="none")
KNOWN = {identity: PARTNERS.get(identity, NO_PARTNER) for identity in LEFT["id"].to_pylist()}


@pytest.mark.parametrize("name", ["ours", "sql", "sql-exact", "blocks"])
def test_kernel_finds_equal_names(name: str, tmp_path: Path) -> None:
    pairs, seconds = run(KERNELS[name], Side.of(LEFT), Side.of(RIGHT), tmp_path, repeats=1)

    assert list(zip(pairs.recipients.tolist(), pairs.companies.tolist(), strict=True)) == [(0, 2), (1, 0)]
    assert set(seconds) == {"index_cpu_seconds", "cpu_seconds"}
    whole = {"partners": 2, "findable": 1, "recall_all": 1.0, "recall_findable": 1.0}
    assert recall(pairs, KNOWN, LEFT, RIGHT) == whole
    part = {"partners": 1, "findable": 0, "recall_all": 1.0, "recall_findable": None}
    assert recall(pairs, KNOWN, LEFT, RIGHT.slice(0, 1)) == part


def test_skipped_kernel_stays_in_table() -> None:
    missing = {"title": "grams", "name": "grams", "skipped": "scipy is not installed"}

    assert "| grams: scipy is not installed | – |" in markdown([missing])
