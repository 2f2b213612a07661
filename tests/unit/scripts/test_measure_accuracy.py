"""The script that measures accuracy, on a small case of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from enrich_dist.core.files import read_json
from scripts.measure_accuracy import main


@pytest.mark.long
def test_it_measures_a_case_that_it_makes_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, diagrams = tmp_path / "found.json", tmp_path / "diagrams"
    sizes = ["--recipients", "3000", "--companies", "600"]
    monkeypatch.setattr(sys, "argv", ["x", *sizes, "--output", str(output), "--diagrams", str(diagrams)])

    main()

    found = read_json(output)
    [case] = found["cases"].values()
    assert (case["companies"], case["recipients"]) == (600, 3000)
    assert case["partners"] > case["findable"] > 0
    assert case["precision"] > 0.9
    assert found["equal_names"]["decided"] == 700
    assert len(list(diagrams.glob("*.svg"))) == 1
