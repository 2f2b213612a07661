"""The accuracy measurement on a small generated case."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from enrich_dist.core.files import read_json
from scripts.measure_accuracy import main


@pytest.mark.long
def test_generated_case_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output, diagrams = tmp_path / "output", tmp_path / "diagrams"
    monkeypatch.setattr(sys, "argv", ["x", "--quick", "--output", str(output), "--diagrams", str(diagrams)])

    main()

    [record] = output.glob("*-accuracy.json")
    found = read_json(record)
    [case] = found["cases"].values()
    assert (case["companies"], case["recipients"]) == (600, 3000)
    assert case["with_partner"] > case["findable"] > 0
    assert case["precision"] > 0.9
    assert found["equal_names"]["decided"] == 700
    assert len(list(diagrams.glob("*.svg"))) == 1
